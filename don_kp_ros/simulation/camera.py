"""The simulated Intel RealSense D435: colour, and depth aligned to colour, with its faults."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera

Array = NDArray[np.float64]

D435 = Camera(width=640, height=480, fx=615.0, fy=615.0, cx=319.5, cy=239.5)
"""Colour intrinsics of a D435 at 640x480 [pixels]; the depth is aligned to them."""

MIN_DEPTH, MAX_DEPTH = 0.17, 4.0  # metres; the stereo sees nothing nearer or farther


@dataclass(frozen=True)
class Frame:
    """One pair of images of the same moment."""

    colour: NDArray[np.uint8]  # (H, W, 3) RGB
    depth: NDArray[np.float32]  # (H, W) metres along the optical axis; NaN beyond the range


def is_whole(mask: NDArray[np.bool_]) -> bool:
    """Tell whether what a mask (H, W) shows keeps off the picture's border."""
    return not (mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())


@dataclass(frozen=True)
class Faults:
    """The faults of a D435: noise in colour; noise, steps, holes and shadows in depth.

    Depth noise grows with the square of the distance (about 1 mm at half a metre). It is smooth
    over a few pixels, like the window of a stereo matcher. Depth is missing beside nearer edges,
    which hide the surface from one of the two imagers, and in some spots without texture.
    """

    grain: NDArray[np.int16]  # (H, W, 3), added to colour
    relief: NDArray[np.float32]  # (H, W) 1/m, times the squared distance added to depth
    lost: NDArray[np.bool_]  # (H, W), where there is no depth

    @classmethod
    def draw(
        cls,
        rng: np.random.Generator,
        shape: tuple[int, int],
        noise: float = 1.0,
        holes: float = 0.0,
    ) -> Faults:
        """Draw those of one picture of shape (H, W).

        noise: times a D435's, of depth; holes: the share of the picture that has no depth, in
        patches of about twelve pixels, beside a D435's own holes.
        """
        grain = rng.normal(0, 2.5, (*shape, 1)) + rng.normal(0, 1.2, (*shape, 3))
        white = rng.normal(0, 1, shape)
        blurred = np.asarray(cv2.GaussianBlur(white, (0, 0), 2.0), dtype=np.float64)
        smooth = blurred / max(float(blurred.std()), 1e-6)
        white = rng.normal(0, 1, shape).astype(np.float32)
        lost = (_patchy(rng, shape) > 0.985) | (rng.random(shape) < 0.002)
        relief = noise * (0.0035 * smooth + 0.0015 * white)
        if holes > 0:
            patchy = _patchy(rng, shape)
            lost |= patchy > np.quantile(patchy, 1 - holes)
        return cls(np.rint(grain).astype(np.int16), relief.astype(np.float32), lost)

    def applied(self, frame: Frame) -> Frame:
        """Return a true frame as the camera gives it."""
        colour = np.clip(frame.colour + self.grain, 0, 255).astype(np.uint8)
        z = frame.depth
        depth = z + self.relief * z**2
        filled = np.nan_to_num(z, nan=MAX_DEPTH).astype(np.float32)
        shadow_width = 5
        nearer_right = np.full_like(filled, np.inf)
        nearer_right[:, :-shadow_width] = filled[:, shadow_width:]
        depth[self.lost | (filled - nearer_right > 0.03)] = np.nan
        return Frame(colour, np.round(depth * 1000) / np.float32(1000))


def _patchy(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Draw a picture (H, W) of about 0 to 1 that changes within twelve pixels."""
    coarse = rng.uniform(0, 1, (shape[0] // 12, shape[1] // 12)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC), np.float32)


def with_faults(frame: Frame, rng: np.random.Generator) -> Frame:
    """Return a true frame as the camera gives it, with faults of its own."""
    height, width = frame.depth.shape
    return Faults.draw(rng, (height, width)).applied(frame)


def look_at(eye: Array, target: Array, up: Array | None = None) -> Array:
    """Return ``T_world_optical`` of a camera that looks at a target.

    The picture's top points along ``up`` as far as possible; along z by default.
    """
    forward = np.asarray(target, dtype=np.float64) - eye
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0.0, 0.0, 1.0] if up is None else up)
    right /= np.linalg.norm(right)
    return rigid.transform(np.stack([right, np.cross(forward, right), forward], axis=1), eye)
