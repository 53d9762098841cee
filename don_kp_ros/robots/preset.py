"""What the software must know of a robot: names, limits, positions and the camera's mount."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from don_kp_ros.geometry import rigid
from don_kp_ros.resources import config_path

Array = NDArray[np.float64]


@dataclass(frozen=True)
class CameraMount:
    """Where the camera's root frame sits on the hand: metres, quaternion xyzw."""

    frame: str
    translation: tuple[float, ...]
    quaternion: tuple[float, ...]


@dataclass(frozen=True)
class MoveItNames:
    """The names of a robot's MoveIt configuration; see the comments in config/robots."""

    robot_name: str
    package: str
    description: str
    semantic: str
    trajectory_execution: str
    mappings: Mapping[str, str]
    arm_group: str
    hand_group: str
    tip_link: str
    tip_tcp_translation: tuple[float, ...]
    tip_tcp_quaternion: tuple[float, ...]
    gripper: str
    gripper_action: str

    def __post_init__(self) -> None:
        """Check the gripper's kind."""
        if self.gripper not in ('group', 'franka'):
            raise ValueError(f"moveit.gripper is '{self.gripper}'; allowed: group, franka")
        if self.gripper == 'franka' and not self.gripper_action:
            raise ValueError('moveit.gripper_action is empty; gripper franka needs its prefix')

    @property
    def T_tip_tcp(self) -> Array:
        """Return the tool centre point in the arm group's tip link (4, 4)."""
        return rigid.from_quaternion(self.tip_tcp_quaternion, self.tip_tcp_translation)


@dataclass(frozen=True)
class RobotPreset:
    """A seven-jointed Franka arm with a hand: names, limits (rad, rad/s, rad/s^2) and positions.

    Lengths are in metres; `open_width` is between the fingers.
    """

    name: str
    base_frame: str
    hand_frame: str
    tcp_offset: tuple[float, ...]
    arm_joints: tuple[str, ...]
    finger_joint: str
    open_width: float
    position_lower: tuple[float, ...]
    position_upper: tuple[float, ...]
    velocity_limits: tuple[float, ...]
    acceleration_limits: tuple[float, ...]
    positions: Mapping[str, tuple[float, ...]]
    arm_topic: str
    hand_topic: str
    camera: CameraMount
    moveit: MoveItNames

    def __post_init__(self) -> None:
        """Check lengths and limits."""
        count = len(self.arm_joints)
        for key in (
            'position_lower', 'position_upper', 'velocity_limits', 'acceleration_limits',
        ):
            self._check_length(key, getattr(self, key), count)
        for key in ('velocity_limits', 'acceleration_limits'):
            if min(getattr(self, key)) <= 0:
                raise ValueError(f'{key} is {getattr(self, key)}; every value must be > 0')
        self._check_length('tcp_offset', self.tcp_offset, 3)
        for name, position in self.positions.items():
            self._check_length(f'positions.{name}', position, count)
            for joint, q, lower, upper in zip(
                self.arm_joints, position, self.position_lower, self.position_upper, strict=True
            ):
                if not lower <= q <= upper:
                    raise ValueError(
                        f'positions.{name}: {joint} is {q}; its range is {lower} to {upper} rad'
                    )
        if not self.open_width > 0:
            raise ValueError(f'open_width is {self.open_width}; it must be > 0 m')

    def _check_length(self, key: str, values: tuple[float, ...], count: int) -> None:
        if len(values) != count:
            raise ValueError(f'{self.name}: {key} has {len(values)} values; it needs {count}')

    def position(self, name: str) -> Array:
        """Return the joint positions (7,) of that name; KeyError names the known ones."""
        if name not in self.positions:
            known = ', '.join(self.positions)
            raise KeyError(f"the robot {self.name} has no position '{name}'; it has {known}")
        return np.array(self.positions[name])

    @property
    def T_hand_tcp(self) -> Array:
        """Return the tool centre point in the hand's frame (4, 4)."""
        return rigid.transform(translation=self.tcp_offset)

    @property
    def T_hand_camera_link(self) -> Array:
        """Return the camera's root frame in the hand's frame (4, 4)."""
        return rigid.from_quaternion(self.camera.quaternion, self.camera.translation)


def load_preset(name: str) -> RobotPreset:
    """Read config/robots/<name>.yaml.

    Raises FileNotFoundError that names the places looked in, ValueError or TypeError that name
    the key and the remedy.
    """
    path = config_path(f'robots/{name}.yaml')
    return read_preset(yaml.safe_load(path.read_text()), path)


def read_preset(mapping: Any, where: Path | str) -> RobotPreset:
    """Make a preset of a parsed file; unknown and missing keys are errors."""
    values = _checked(RobotPreset, mapping, str(where))
    values['camera'] = CameraMount(**_checked(CameraMount, values['camera'], f'{where}: camera'))
    values['moveit'] = MoveItNames(**_checked(MoveItNames, values['moveit'], f'{where}: moveit'))
    values['positions'] = {
        name: _tuple(f'{where}: positions.{name}', position)
        for name, position in values['positions'].items()
    }
    return RobotPreset(**values)


def _checked(cls: type, mapping: Any, where: str) -> dict[str, Any]:
    """Return the mapping with lists as tuples, its keys being exactly the fields of cls."""
    if not isinstance(mapping, Mapping):
        raise TypeError(f'{where}: expected keys and values, got {type(mapping).__name__}')
    allowed = [field.name for field in fields(cls)]
    unknown = sorted(set(mapping) - set(allowed))
    missing = sorted(set(allowed) - set(mapping))
    if unknown or missing:
        raise ValueError(
            f'{where}: unknown keys {unknown}, missing keys {missing}; '
            f'the keys are {", ".join(allowed)}'
        )
    return {
        key: _tuple(f'{where}: {key}', value) if isinstance(value, list) else value
        for key, value in mapping.items()
    }


def _tuple(where: str, values: list[Any]) -> tuple[Any, ...]:
    if values and isinstance(values[0], str):
        return tuple(str(value) for value in values)
    try:
        return tuple(float(value) for value in values)
    except (TypeError, ValueError):
        raise TypeError(f'{where} is {values}; it needs a list of numbers') from None
