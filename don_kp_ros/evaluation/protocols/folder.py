"""Pairs of a folder that come with true correspondences."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from don_kp_ros.data.folder import ImageFolder, read_correspondences
from don_kp_ros.evaluation.pairs import with_truth
from don_kp_ros.evaluation.protocols.protocol import Condition, Protocol
from don_kp_ros.evaluation.reading import Reader


@dataclass(frozen=True)
class Folder(Protocol):
    """A folder with correspondences.npz, or whose validation/ has one (docs/data.md)."""

    kind: ClassVar[str] = 'folder'

    def conditions(self, root: Path, seed: int, reader: Reader) -> list[Condition]:
        """Make one condition of the folder's pairs, evenly spread ones of many."""
        if not (root / 'correspondences.npz').exists() and (root / 'validation').is_dir():
            root = root / 'validation'
        folder = ImageFolder.open(root)
        truth = read_correspondences(root / 'correspondences.npz', len(folder.images))
        samples = reader.samples(folder)
        data = with_truth(samples, truth, [], 'pictures')
        if data.pairs:
            data = data.some(self.pairs, self.queries)
        return [Condition('true correspondences', data)]
