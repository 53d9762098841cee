"""The simulation's parameters."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from don_kp_ros.nodes.kit.parameters import parameter
from don_kp_ros.simulation.disturbances import Disturbances

STEP_SECONDS = 0.01


@dataclass(frozen=True)
class SimulationParameters:
    """The node's parameters; times and rates are of simulated time.

    What disturbs may be changed at any time; the camera's mount is that of the next scene.
    """

    robot: str = parameter('panda', 'name of a preset in config/robots, or file; a Panda')
    seed: int = parameter(0, "of the first scene and of the camera's noise")
    board: bool = parameter(
        False, 'a board to calibrate the camera by, which is mounted a bit off, and no objects'
    )
    camera_hz: float = parameter(5.0, 'pictures a second', changeable=True)
    state_hz: float = parameter(50.0, 'messages of clock and joint states a second')
    frames_hz: float = parameter(25.0, 'messages of transforms a second')
    real_time_factor: float = parameter(
        1.0,
        'seconds simulated in a second, at most; 0: as many as perception can follow',
        changeable=True,
    )
    depth_noise: float = parameter(1.0, "times a D435's", changeable=True)
    depth_holes: float = parameter(
        0.0, "share of the picture without depth, beside a D435's own holes", changeable=True
    )
    hand_eye_shift: float = parameter(
        0.0, 'metres by which the camera is mounted off, some way by the scene', changeable=True
    )
    hand_eye_turn: float = parameter(
        0.0, 'radians by which it is turned, about some axis by the scene', changeable=True
    )
    light: float = parameter(1.0, "times the scene's brightness", changeable=True)
    colour_cast: float = parameter(
        0.0, 'share by which red is brighter, and blue darker', changeable=True
    )
    joint_noise: float = parameter(
        0.0, "radians, standard deviation of the arm's measured joints", changeable=True
    )

    def __post_init__(self) -> None:
        """Check the values."""
        if self.seed < 0:
            raise ValueError(f'seed is {self.seed}; it must be at least 0')
        for name in ('camera_hz', 'state_hz', 'frames_hz'):
            if not 0 < getattr(self, name) <= 1 / STEP_SECONDS:
                raise ValueError(
                    f'{name} is {getattr(self, name)}; it must be in (0, {1 / STEP_SECONDS:g}]'
                )
        if not 0 <= self.real_time_factor < math.inf:
            raise ValueError(f'real_time_factor is {self.real_time_factor}; it must be at least 0')
        self.disturbances  # noqa: B018 - checks the rest

    @cached_property
    def disturbances(self) -> Disturbances:
        """The part that makes the senses worse."""
        return Disturbances(
            depth_noise=self.depth_noise,
            depth_holes=self.depth_holes,
            hand_eye_shift=self.hand_eye_shift,
            hand_eye_turn=self.hand_eye_turn,
            light=self.light,
            colour_cast=self.colour_cast,
            joint_noise=self.joint_noise,
        )
