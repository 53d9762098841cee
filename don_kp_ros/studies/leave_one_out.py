"""Objects that were never trained on: leaves each out once, and measures on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from don_kp_ros.configuration import within
from don_kp_ros.data.folder import DataError
from don_kp_ros.evaluation.reading import spread
from don_kp_ros.studies.cases import Case, CaseStudy
from don_kp_ros.studies.pictures import OBJECTS, Pictures


@dataclass(frozen=True)
class LeaveOneOut(CaseStudy):
    """Trains on all objects but one and measures on that one, for each of them.

    objects: greatest number of objects to leave out one at a time, evenly spread (None: all).
    """

    kind: ClassVar[str] = 'leave_one_out'

    objects: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.objects is not None:
            within('objects', self.objects, 1, 1e6)

    def cases(self, pictures: Pictures) -> list[Case]:
        """Make a case of each object that is left out; raises DataError."""
        shown = pictures.objects()
        names = list(dict.fromkeys(shown))
        if len(names) < 2:
            raise DataError(
                f'{pictures.root}: all pictures show one object, {names[0]}; none can be left '
                f'out. Add pictures of others, or say in {OBJECTS} what each shows'
            )
        chosen = [names[i] for i in spread(len(names), self.objects or len(names))]
        return [
            Case(
                f'without {name}',
                tuple(i for i, other in enumerate(shown) if other != name),
                tuple(i for i, other in enumerate(shown) if other == name),
                name,
            )
            for name in chosen
        ]
