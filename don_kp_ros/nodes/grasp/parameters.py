"""The grasp node's parameters, and the motion adapters they choose from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from rclpy.node import Node

from don_kp_ros.grasping.pick import PickParameters
from don_kp_ros.motion.port import Motion
from don_kp_ros.motion.safety import Safety
from don_kp_ros.nodes.grasp.observer import LookParameters
from don_kp_ros.nodes.kit.parameters import parameter
from don_kp_ros.nodes.motion.watchdog import Watchdog
from don_kp_ros.robots.preset import RobotPreset


class WatchedMotion(Motion, Protocol):
    """An adapter whose arm is stopped where the node dies, once the watchdog is started."""

    watchdog: Watchdog


def _embedded(node: Node, preset: RobotPreset, safety: Safety) -> WatchedMotion:
    from don_kp_ros.nodes.motion.embedded import EmbeddedMotion

    return EmbeddedMotion(node, preset, safety)


def _moveit(node: Node, preset: RobotPreset, safety: Safety) -> WatchedMotion:
    from don_kp_ros.nodes.motion.moveit import MoveItMotion

    return MoveItMotion(node, preset, safety)


MOTIONS: dict[str, Callable[[Node, RobotPreset, Safety], WatchedMotion]] = {
    'embedded': _embedded,
    'moveit': _moveit,
}
"""The adapters by name; only the chosen one is imported."""


@dataclass(frozen=True)
class GraspParameters:
    """The node's parameters."""

    robot: str = parameter('panda', 'name of a preset in config/robots, or file')
    motion: str = parameter('embedded', 'embedded: the built-in planner; moveit: moveit_py')
    enabled: bool = parameter(
        False, 'true: the arm may move at once; false: after a call of `enable`'
    )
    simulated: bool = parameter(False, "true: the arm moves by the safety limits' simulation")
    safety: str = parameter('', 'file whose keys override those of config/safety.yaml')
    max_age: float = parameter(1.0, 'seconds; older images are refused')
    look_timeout: float = parameter(3.0, 'seconds to wait for images and for their transforms')
    looks: int = parameter(3, 'images of the first view; of the second, half, and one to check')
    views: int = parameter(2, 'from which it is looked for; 1: from where the arm is, alone')
    max_spread: float = parameter(
        0.015, 'metres; a point or object that moves more, or is less certain, is not grasped'
    )
    max_turn: float = parameter(
        0.15, 'radians; an object that turns more, or is less certain, is not grasped as taught'
    )
    approach_distance: float = parameter(0.10, 'metres, straight, down to the grasp')
    lift_height: float = parameter(0.20, 'metres, straight, up from it')
    closing_force: float = parameter(30.0, 'newtons of each finger')
    empty_width: float = parameter(0.005, 'metres; fingers this close hold nothing')
    hold_seconds: float = parameter(2.0, 'after the lift before the grasp counts')
    max_attempts: int = parameter(
        2, 'grasps of a target, which is looked for anew after fingers that closed on nothing'
    )

    def __post_init__(self) -> None:
        """Check the values."""
        if self.motion not in MOTIONS:
            raise ValueError(f"motion is '{self.motion}'; it must be {' or '.join(MOTIONS)}")
        for name, value in vars(self).items():
            if not isinstance(value, (str, bool)) and not value > 0:
                raise ValueError(f'{name} is {value}; it must be positive')
        if self.views > 2:
            raise ValueError(f'views is {self.views}; it must be 1 or 2')

    @property
    def look(self) -> LookParameters:
        """The part that the observer takes."""
        return LookParameters(
            self.max_age, self.look_timeout, self.looks, self.max_spread, self.max_turn
        )

    @property
    def pick(self) -> PickParameters:
        """The part that the picker takes."""
        return PickParameters(
            self.approach_distance,
            self.lift_height,
            self.closing_force,
            self.empty_width,
            self.hold_seconds,
        )
