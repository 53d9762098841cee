"""The contribution of each augmentation (paper 2, table 6)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from don_kp_ros.configuration import within
from don_kp_ros.data.folder import DataError
from don_kp_ros.studies.cases import Case, CaseStudy
from don_kp_ros.studies.pictures import Pictures


@dataclass(frozen=True)
class Ablation(CaseStudy):
    """Trains with all augmentations and with some of them, all on the same pictures.

    augmentations: for each name, the overrides of the training configuration that switch it off;
    combinations: the augmentations that are on in each training (empty: all); held: share of each
    object's pictures that is held out to measure on.
    """

    kind: ClassVar[str] = 'ablation'

    augmentations: dict[str, tuple[str, ...]] = field(default_factory=dict)
    combinations: tuple[tuple[str, ...], ...] = ()
    held: float = 0.25

    def __post_init__(self) -> None:
        super().__post_init__()
        within('held', self.held, 0.01, 0.9)
        for name in (name for combination in self.combinations for name in combination):
            if name not in self.augmentations:
                raise ValueError(
                    f'combinations names {name}; augmentations has '
                    f'{", ".join(self.augmentations) or "none"}'
                )

    def cases(self, pictures: Pictures) -> list[Case]:
        """Make the cases, all with the same pictures; raises DataError if there are too few."""
        places: dict[str, list[int]] = {}
        for index, name in enumerate(pictures.told or ('',) * len(pictures.images)):
            places.setdefault(name, []).append(index)
        held: set[int] = set()
        for own in places.values():
            wanted = round(self.held * len(own))
            held |= {own[int((i + 0.5) * len(own) / wanted)] for i in range(wanted)}
        learned = tuple(i for i in range(len(pictures.images)) if i not in held)
        if not held or not learned:
            raise DataError(
                f'{pictures.root}: {len(pictures.images)} pictures are too few to hold '
                f'{self.held:.0%} of each object; add some, or change held'
            )
        kept = tuple(sorted(held))
        return [
            Case(
                ' + '.join(combination) or 'none',
                learned,
                kept,
                'held pictures',
                tuple(
                    override
                    for name, overrides in self.augmentations.items()
                    if name not in combination
                    for override in overrides
                ),
            )
            for combination in self.combinations or (tuple(self.augmentations),)
        ]
