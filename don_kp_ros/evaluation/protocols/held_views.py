"""Random views of pictures."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from don_kp_ros.data.folder import ImageFolder
from don_kp_ros.data.pairs import ViewConfiguration
from don_kp_ros.evaluation.pairs import synthetic
from don_kp_ros.evaluation.protocols.protocol import Condition, Protocol
from don_kp_ros.evaluation.reading import Reader


@dataclass(frozen=True)
class HeldViews(Protocol):
    """Random views of pictures with masks: their homographies are the truth.

    both: A is a random view, too, instead of the picture itself; crop: side of square views about
    the object in pixels of a 640-pixel-wide picture, instead of whole pictures.
    """

    kind: ClassVar[str] = 'held_views'

    both: bool = False
    crop: int | None = None
    views: ViewConfiguration = field(default_factory=ViewConfiguration)

    def conditions(self, root: Path, seed: int, reader: Reader) -> list[Condition]:
        """Make one condition; views that show nothing of the object are left out."""
        folder = ImageFolder.open(root)
        samples = list(reader.samples(folder, self.pairs).values())
        data = synthetic(
            samples,
            self.views,
            reader.backgrounds(folder),
            [],
            self.pairs,
            self.queries,
            seed,
            f'{len(samples)} pictures',
            both=self.both,
            crop=self.crop,
        )
        return [Condition('random views', data)]
