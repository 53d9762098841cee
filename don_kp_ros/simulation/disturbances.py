"""What makes a simulated robot's senses worse than they are meant to be; nothing by default."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.configuration import within
from don_kp_ros.geometry import rigid
from don_kp_ros.simulation.camera import Faults

Array = NDArray[np.float64]

ALLOWED = {
    'depth_noise': (0.0, 20.0),
    'depth_holes': (0.0, 0.9),
    'hand_eye_shift': (0.0, 0.1),
    'hand_eye_turn': (0.0, 0.5),
    'light': (0.05, 20.0),
    'colour_cast': (-0.9, 0.9),
    'joint_noise': (0.0, 0.05),
}


@dataclass(frozen=True)
class Disturbances:
    """How much of each there is."""

    depth_noise: float = 1.0  # times that of a D435
    depth_holes: float = 0.0  # share of the picture without depth, beside a D435's own holes
    hand_eye_shift: float = 0.0  # metres by which the camera is mounted off
    hand_eye_turn: float = 0.0  # radians, the same
    light: float = 1.0  # times the brightness of the scene
    colour_cast: float = 0.0  # share by which red is brighter, and blue darker
    joint_noise: float = 0.0  # radians, standard deviation of each measured joint of the arm

    def __post_init__(self) -> None:
        """Raise ValueError for what is not within ALLOWED."""
        for name, (lowest, highest) in ALLOWED.items():
            within(name, getattr(self, name), lowest, highest)

    def faults(self, rng: np.random.Generator, shape: tuple[int, int]) -> Faults:
        """Draw the camera's faults of one picture of shape (H, W)."""
        return Faults.draw(rng, shape, self.depth_noise, self.depth_holes)

    def mount(self, seed: int) -> Array:
        """Return where the camera is, in the frame where it is meant to be (4, 4)."""
        axis, direction = np.random.default_rng([seed, 0x0FF]).normal(size=(2, 3))
        return mounted_off(axis, self.hand_eye_turn, direction, self.hand_eye_shift)

    def lit(self, colour: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a picture (H, W, 3) RGB in another light; what is too bright is white."""
        cast = self.colour_cast
        gain = np.float32(self.light) * np.array([1 + cast, 1, 1 - cast], np.float32)
        if (gain == 1).all():
            return colour
        return np.clip(np.rint(colour * gain), 0, 255).astype(np.uint8)

    def measured(self, arm: Array, rng: np.random.Generator) -> Array:
        """Return joint angles as they are measured, radians of any shape."""
        return arm + rng.normal(0.0, self.joint_noise, np.shape(arm))


def mounted_off(axis: Array, radians: float, direction: Array, metres: float) -> Array:
    """Return by how much a camera is mounted off (4, 4), turned about an axis (3,) and shifted."""
    turn = rigid.rotation_about(axis / np.linalg.norm(axis), radians)
    return rigid.transform(turn, direction * (metres / np.linalg.norm(direction)))
