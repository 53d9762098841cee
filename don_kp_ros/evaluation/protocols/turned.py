"""Pictures that are turned copies of others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from don_kp_ros.data.folder import DataError, Image, ImageFolder
from don_kp_ros.data.homography import project
from don_kp_ros.evaluation.pairs import Pair, PairSet
from don_kp_ros.evaluation.protocols.protocol import Condition, Protocol
from don_kp_ros.evaluation.reading import Reader

_SAME = 6.0  # mean difference of 255 below which two pictures are the same but for compression


@dataclass(frozen=True)
class Turned(Protocol):
    """Pairs of a picture and the same turned by 180 degrees, found by comparing all pictures."""

    kind: ClassVar[str] = 'turned'

    def conditions(self, root: Path, seed: int, reader: Reader) -> list[Condition]:
        """Make one condition of all pictures that have a turned copy, with that copy."""
        samples = list(reader.samples(ImageFolder.open(root)).values())
        images = [sample.image for sample in samples]
        copies = turned_copies(images)
        if not copies:
            raise DataError(f'{root}: no picture is another one turned by 180 degrees')
        pairs = []
        for b, a in copies.items():
            mask_a, mask_b = samples[a].mask, samples[b].mask
            # Each mask is drawn by hand, so only points on both count.
            on_both = (mask_a > 127) & (mask_b[::-1, ::-1] > 127)
            if not on_both.any():
                raise DataError(
                    f'{samples[a].path}: its mask and the turned mask of {samples[b].path.name} '
                    'have no pixel in common'
                )
            rng = np.random.default_rng((seed, a, b))
            pairs.append(half_turn(a, b, on_both, mask_b, self.queries, rng))
        named = ', '.join(
            f'{samples[c].path.name} of {samples[o].path.name}' for c, o in copies.items()
        )
        data = PairSet(f'turned copies: {named}', images, pairs[: self.pairs], [])
        return [Condition('turned by 180 degrees', data)]


def half_turn(
    a: int,
    b: int,
    shown: NDArray[np.bool_],
    mask_b: Image,
    queries: int,
    rng: np.random.Generator,
) -> Pair:
    """Pair random pixels of picture a with where they lie in b, which is a turned by 180 degrees.

    shown (H, W): the pixels of a to draw from, one or more.
    """
    v, u = np.nonzero(shown)
    chosen = rng.choice(len(u), min(queries, len(u)), replace=False)
    uv = np.stack([u[chosen], v[chosen]], axis=1).astype(np.float32)
    height, width = mask_b.shape
    turn = np.array([[-1.0, 0, width - 1], [0, -1.0, height - 1], [0, 0, 1]])
    return Pair(a, b, uv, project(turn, uv), turn, mask_b)


def turned_copies(images: Sequence[Image]) -> dict[int, int]:
    """Find pictures that show an earlier one turned by 180 degrees: {copy: original}."""
    copies: dict[int, int] = {}
    for later, image in enumerate(images):
        for earlier in range(later):
            other = images[earlier]
            if earlier in copies or other.shape != image.shape:
                continue
            if cv2.absdiff(np.ascontiguousarray(image[::-1, ::-1]), other).mean() < _SAME:
                copies[later] = earlier
                break
    return copies
