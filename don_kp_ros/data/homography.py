"""Homographies (3, 3): random ones, what they do to pixels, and pictures seen through them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from don_kp_ros.configuration import Range, within
from don_kp_ros.data.draws import log_uniform
from don_kp_ros.data.folder import Image
from don_kp_ros.data.source import Source

Matrix = NDArray[np.float64]

_ALIASED = 0.6  # a picture that is made smaller than this is smoothed before it is sampled


@dataclass(frozen=True)
class WarpConfiguration:
    """Where the object appears in a view."""

    rotation: float = 45.0  # degrees, drawn from +- this
    scale: Range = (0.8, 1.25)  # relative to the object's size at inference, log-uniform
    shift: float = 0.3  # of the object off the view's centre, fraction of the view's half side
    perspective: float = 0.2  # displacement of the view's corners, fraction of its half side:
    # shear, stretch and perspective together
    probability: float = 1.0  # of such a displacement; rotation, scale and shift always are

    def __post_init__(self) -> None:
        within('rotation', self.rotation, 0, 180)
        within('scale', self.scale, 0.1, 10)
        within('shift', self.shift, 0, 1)
        within('perspective', self.perspective, 0, 0.5)
        within('probability', self.probability, 0, 1)


def random_homography(
    centre: NDArray[np.float64],
    zoom: float,
    size: tuple[int, int],
    warp: WarpConfiguration,
    rng: np.random.Generator,
) -> Matrix:
    """Draw a homography (3, 3) that brings `centre` near the middle of a canvas (W, H).

    zoom: canvas pixels per picture pixel before the random scale.
    """
    width, height = size
    half = min(size) / 2
    middle = np.array([width - 1, height - 1]) / 2
    place = middle + rng.uniform(-1, 1, 2) * warp.shift * half
    angle = np.deg2rad(rng.uniform(-warp.rotation, warp.rotation))
    scale = zoom * log_uniform(rng, warp.scale)
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    similarity = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    similarity[:2, 2] = place - similarity[:2, :2] @ centre
    if warp.probability < 1 and rng.random() >= warp.probability:
        return similarity
    corners = middle + half * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    moved = corners + rng.uniform(-1, 1, (4, 2)) * warp.perspective * half
    perspective = cv2.getPerspectiveTransform(corners.astype(np.float32), moved.astype(np.float32))
    return np.asarray(perspective @ similarity, dtype=np.float64)


def project(homography: Matrix, points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Map pixels (N, 2) by a homography (3, 3)."""
    mapped = points @ homography[:, :2].T + homography[:, 2]
    return np.asarray(mapped[:, :2] / mapped[:, 2:], dtype=np.float32)


def local_scale(homography: Matrix, points: NDArray[np.float32]) -> Matrix:
    """Compute the scale (N,) of a homography (3, 3) at pixels (N, 2)."""
    w = points @ homography[2, :2] + homography[2, 2]
    scale: Matrix = np.sqrt(abs(np.linalg.det(homography)) / np.abs(w) ** 3)
    return scale


def warped(source: Source, homography: Matrix, size: tuple[int, int]) -> tuple[Image, Image]:
    """Show a picture and its mask through a homography on a canvas (W, H).

    The edges of the picture are repeated beyond it: a mirrored border would show the object twice.
    """
    centre = source.centre[None].astype(np.float32)
    image, shrink = source.image, float(local_scale(homography, centre)[0])
    if shrink < _ALIASED:  # bilinear sampling would alias
        image = cv2.GaussianBlur(image, (0, 0), 0.4 / shrink).astype(np.uint8, copy=False)
    shown = cv2.warpPerspective(image, homography, size, borderMode=cv2.BORDER_REPLICATE)
    mask = cv2.warpPerspective(source.mask, homography, size)
    return shown.astype(np.uint8, copy=False), mask.astype(np.uint8, copy=False)
