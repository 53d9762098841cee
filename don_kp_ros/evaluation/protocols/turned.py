"""Pictures that are turned copies of others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from don_kp_ros.data.folder import DataError, Image, ImageFolder, Sample
from don_kp_ros.data.homography import project
from don_kp_ros.evaluation.pairs import Pair, PairSet, Pixels
from don_kp_ros.evaluation.protocols.protocol import Condition, Protocol
from don_kp_ros.evaluation.reading import Reader

_SAME = 6.0  # mean difference of 255 below which two objects are the same but for compression


@dataclass(frozen=True)
class Turned(Protocol):
    """Pairs of a picture and the same turned by 180 degrees, found by comparing all pictures."""

    kind: ClassVar[str] = 'turned'

    def conditions(self, root: Path, seed: int, reader: Reader) -> list[Condition]:
        """Make one condition of all pictures that have a turned copy, with that copy."""
        samples = list(reader.samples(ImageFolder.open(root)).values())
        copies = turned_copies(samples)
        if not copies:
            raise DataError(f'{root}: no picture is another one turned by 180 degrees')
        pairs = []
        for b, a in copies.items():
            rng = np.random.default_rng((seed, a, b))
            uv_a, uv_b, turn = half_turn(samples[a], samples[b], self.queries, rng)
            pairs.append(Pair(a, b, uv_a, uv_b, turn, samples[b].mask))
        named = ', '.join(
            f'{samples[c].path.name} of {samples[o].path.name}' for c, o in copies.items()
        )
        images = [sample.image for sample in samples]
        data = PairSet(f'turned copies: {named}', images, pairs[: self.pairs], [])
        return [Condition('turned by 180 degrees', data)]


def half_turn(
    picture: Sample, copy: Sample, queries: int, rng: np.random.Generator
) -> tuple[Pixels, Pixels, NDArray[np.float64]]:
    """Draw pixels (Q, 2) of a picture's object, and where they lie in its copy.

    The last is the homography (3, 3) from one to the other, a turn by 180 degrees. Each mask is
    drawn by hand, so only points on both count; raises DataError if there are none.
    """
    v, u = np.nonzero((picture.mask > 127) & (_turned(copy.mask) > 127))
    if len(u) == 0:
        raise DataError(
            f'{picture.path}: its mask and the turned mask of {copy.path.name} have no pixel in '
            'common'
        )
    chosen = rng.choice(len(u), min(queries, len(u)), replace=False)
    uv = np.stack([u[chosen], v[chosen]], axis=1).astype(np.float32)
    height, width = copy.mask.shape
    turn = np.array([[-1.0, 0, width - 1], [0, -1.0, height - 1], [0, 0, 1]])
    return uv, project(turn, uv), turn


def turned_copies(samples: Sequence[Sample]) -> dict[int, int]:
    """Find pictures that show an earlier one turned by 180 degrees: {copy: original}.

    They are compared where either mask has the object: plain tables are alike in any pictures.
    """
    copies: dict[int, int] = {}
    for later, sample in enumerate(samples):
        image, mask = _turned(sample.image), _turned(sample.mask)
        for earlier in range(later):
            other = samples[earlier]
            if earlier in copies or other.image.shape != image.shape:
                continue
            shown = (mask > 127) | (other.mask > 127)
            if cv2.absdiff(image, other.image)[shown].mean() < _SAME:
                copies[later] = earlier
                break
    return copies


def _turned(image: Image) -> Image:
    return np.ascontiguousarray(image[::-1, ::-1])
