"""Descriptors that are not learned, matched like learned ones: dense SIFT and colour patches.

Every query of picture A is compared with a grid over the whole of picture B, object or not. The
nearest descriptor is its match. Nothing is learned, and nothing restricts the search.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from don_kp_ros.data.folder import Image
from don_kp_ros.evaluation.pairs import in_picture

Pixels = NDArray[np.float32]
Vectors = NDArray[np.float32]

_PLACES_AT_ONCE = 16384  # of the grid; a chunk of patches of 15 pixels takes 44 MB
_DISTANCES_AT_ONCE = 512 * _PLACES_AT_ONCE
_FINEST_SIGMA = 1.6  # pixels, of SIFT's first blurred picture
_LAYERS = 3  # of SIFT per octave; three more are blurred at full resolution
_COARSEST_LAYER = 5


class Baseline(ABC):
    """Finds pixels by the nearest descriptor, in Euclidean distance.

    step: pixels between neighbours of the grid in picture B.
    """

    def __init__(self, step: int = 2) -> None:
        if step < 1:
            raise ValueError(f'step is {step}; it must be a positive number of pixels')
        self.step = step

    @abstractmethod
    def describe(self, image: Image, uv: ArrayLike) -> Vectors:
        """Compute descriptors (N, D) at pixels uv (N, 2) of a picture (H, W, 3) uint8 RGB."""

    def match(self, image_a: Image, image_b: Image, uv_a: ArrayLike) -> Pixels:
        """Find the pixels uv_a (N, 2) of picture A in picture B: (N, 2), on B's grid.

        Pictures are (H, W, 3) uint8 RGB. If several places are equally near, the first one in row
        order is taken. Raises ValueError for pixels outside of A, or without any pixels.
        """
        _check_image(image_b)
        queries = self.describe(image_a, _checked_pixels(image_a, uv_a))
        places = grid(image_b, self.step)
        distance = np.full(len(queries), np.inf, np.float32)
        nearest = np.zeros(len(queries), np.int64)
        # Chunks bound memory, and change only rounding.
        size = max(1, min(_PLACES_AT_ONCE, _DISTANCES_AT_ONCE // len(queries)))
        for start in range(0, len(places), size):
            vectors = self.describe(image_b, places[start : start + size])
            # |a - b|^2 without |a|^2, which is the same for all places.
            distances = np.square(vectors).sum(axis=1) - 2 * queries @ vectors.T
            best = distances.argmin(axis=1)
            found = distances[np.arange(len(best)), best]
            nearer = found < distance
            nearest = np.where(nearer, start + best, nearest)
            distance = np.where(nearer, found, distance)
        return places[nearest]


class DenseSift(Baseline):
    """SIFT (Lowe 2004; OpenCV's) upright, of one size.

    size: diameter of the keypoints, pixels; a descriptor covers a square six times as wide.
    Pictures are blurred at full resolution, as SIFT does for keypoints of that size.
    """

    def __init__(self, size: float = 8.0, step: int = 2) -> None:
        super().__init__(step)
        if not (math.isfinite(size) and size > 0):
            raise ValueError(f'size is {size}; it must be a positive number of pixels')
        self.size = size
        self._sift = cv2.SIFT.create(nOctaveLayers=_LAYERS, sigma=_FINEST_SIGMA)

    def keypoints(self, uv: ArrayLike) -> list[cv2.KeyPoint]:
        """Make the keypoints at pixels uv (N, 2) that are described."""
        layer = round(_LAYERS * math.log2(self.size / (2 * _FINEST_SIGMA)))
        octave = min(max(layer, 0), _COARSEST_LAYER) << 8  # OpenCV's packing: octave 0, this layer
        return [
            cv2.KeyPoint(float(u), float(v), self.size, 0.0, 0.0, octave)
            for u, v in np.asarray(uv, np.float32).reshape(-1, 2)
        ]

    def describe(self, image: Image, uv: ArrayLike) -> Vectors:
        """Compute SIFT descriptors (N, 128), whole numbers up to 255."""
        _check_image(image)
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        keypoints = self.keypoints(uv)
        kept, vectors = self._sift.compute(grey, keypoints)
        if len(kept) != len(keypoints):
            raise RuntimeError(f'OpenCV described {len(kept)} of {len(keypoints)} keypoints')
        return np.asarray(vectors, np.float32)


class ColourPatches(Baseline):
    """The colours about a pixel, with their mean subtracted, scaled to unit length.

    The nearest patch is that of the highest normalised cross-correlation. side: of the patch,
    pixels, odd. The picture's border is repeated beyond the picture.
    """

    def __init__(self, side: int = 15, step: int = 2) -> None:
        super().__init__(step)
        if side < 1 or side % 2 == 0:
            raise ValueError(f'side is {side}; it must be an odd number of pixels')
        self.side = side

    def describe(self, image: Image, uv: ArrayLike) -> Vectors:
        """Compute patches (N, 3 side^2) about the nearest pixels; a flat patch is all 0."""
        _check_image(image)
        half = self.side // 2
        padded = cv2.copyMakeBorder(image, half, half, half, half, cv2.BORDER_REPLICATE)
        windows = np.lib.stride_tricks.sliding_window_view(padded, (self.side, self.side), (0, 1))
        corner = [image.shape[1] - 1, image.shape[0] - 1]
        u, v = np.clip(np.rint(np.asarray(uv, np.float64)), 0, corner).astype(int).T
        vectors = windows[v, u].reshape(len(u), -1).astype(np.float32)
        vectors -= vectors.mean(axis=1, keepdims=True)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / np.maximum(lengths, 0.5)  # lengths are 0 or at least (2 / 3)^0.5


def grid(image: Image, step: int) -> Pixels:
    """List every step-th pixel uv (N, 2) of a picture (H, W, ...), row by row, in its middle."""
    rows, columns = (np.arange((side - 1) % step // 2, side, step) for side in image.shape[:2])
    v, u = np.meshgrid(rows, columns, indexing='ij')
    return np.stack([u.reshape(-1), v.reshape(-1)], axis=1).astype(np.float32)


def _check_image(image: Image) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ValueError(
            f'picture is {image.dtype} of shape {image.shape}; it must be (H, W, 3) uint8 RGB'
        )


def _checked_pixels(image: Image, uv: ArrayLike) -> Pixels:
    pixels = np.asarray(uv, np.float32)
    if pixels.ndim != 2 or pixels.shape[1] != 2 or len(pixels) == 0:
        raise ValueError(f'queries are of shape {pixels.shape}; they must be (N, 2), one or more')
    _check_image(image)
    outside = ~in_picture(pixels, image)
    if outside.any():
        (u, v), (height, width) = pixels[outside][0], image.shape[:2]
        raise ValueError(f'query ({u:g}, {v:g}) lies outside of the picture of {width}x{height}')
    return pixels
