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
    """Pictures with masks, and random views of them: their homographies are the truth."""

    kind: ClassVar[str] = 'held_views'

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
        )
        return [Condition('random views', data)]
