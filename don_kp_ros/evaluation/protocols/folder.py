"""Pairs of a folder that come with true correspondences."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from don_kp_ros.data.folder import DataError, ImageFolder, read_correspondences
from don_kp_ros.evaluation.pairs import in_picture, with_truth
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
        folder, file = ImageFolder.open(root), root / 'correspondences.npz'
        truth = read_correspondences(file, len(folder.images))
        samples = reader.samples(folder)
        for number, (a, b) in enumerate(zip(truth.image_a, truth.image_b, strict=True)):
            if a not in samples or b not in samples:
                continue
            name = f'{file}: pair {number} ({folder.images[a].name}, {folder.images[b].name})'
            uv_a, uv_b = truth.uv_a[number], truth.uv_b[number]
            known = np.isfinite(np.hstack([uv_a, uv_b])).all(axis=1)
            if not known.any():
                raise DataError(f'{name} has no correspondences; leave it out')
            for uv, mask in ((uv_a, samples[a].mask), (uv_b, samples[b].mask)):
                outside = ~in_picture(uv[known], mask)
                if outside.any():
                    u, v = uv[known][outside][0]
                    raise DataError(
                        f'{name}: pixel ({u:g}, {v:g}) lies outside of the picture of '
                        f'{mask.shape[1]}x{mask.shape[0]}; are u and v swapped?'
                    )
        data = with_truth(samples, truth, [], 'pictures')
        if data.pairs:
            data = data.some(self.pairs, self.queries)
        return [Condition('true correspondences', data)]
