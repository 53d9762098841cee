"""What the software must know about a robot: names, limits, positions and camera mount."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from don_kp_ros import configuration
from don_kp_ros.configuration import ConfigurationError
from don_kp_ros.geometry import rigid
from don_kp_ros.resources import config_path, user_path
from don_kp_ros.robots.hand import T_LINK_OPTICAL

Array = NDArray[np.float64]
Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]


OPTICAL = '_color_optical_frame'  # how the name of a driver's optical frame ends
_LENGTH_TOLERANCE = 0.01  # of a quaternion: two decimals are enough
_JOINTS = 7  # of the arm
_WIDEST_M = 0.2  # that fingers open
_FARTHEST_M, _AHEAD = 0.5, 0.5  # of a camera from the hand; cosine of its axis to the hand's


@dataclass(frozen=True)
class CameraMount:
    """Where the camera sits on the hand: metres, quaternion xyzw.

    The pose is that of the frame: the driver's root frame, x forward, or its colour's optical
    frame, z forward.
    """

    frame: str
    translation: Vector
    quaternion: Quaternion

    def __post_init__(self) -> None:
        """Check the frame and the quaternion."""
        if self.frame.endswith('optical_frame') and not self.is_optical:
            raise ValueError(
                f'frame is {self.frame!r}; give the pose of the root frame, camera_link, or of '
                f'the one that ends with {OPTICAL}'
            )
        _check_quaternion('quaternion', self.quaternion)

    @property
    def is_optical(self) -> bool:
        """Tell whether the pose is that of the optical frame."""
        return self.frame.endswith(OPTICAL)

    @property
    def T_hand_frame(self) -> Array:
        """Return the pose of the frame in the hand's frame (4, 4)."""
        return rigid.from_quaternion(self.quaternion, self.translation)

    @property
    def T_hand_link(self) -> Array:
        """Return the camera's root frame in the hand's frame (4, 4).

        Of the optical frame's pose by a D435's nominal measures; the driver knows its own.
        """
        T = self.T_hand_frame
        return T @ rigid.inverse(T_LINK_OPTICAL) if self.is_optical else T

    @property
    def T_hand_optical(self) -> Array:
        """Return the colour's optical frame in the hand's frame (4, 4); see `T_hand_link`."""
        T = self.T_hand_frame
        return T if self.is_optical else T @ T_LINK_OPTICAL

    def frame_of(self, name: str) -> str:
        """Return the frame of a camera of another name, with which its frames then begin."""
        default = 'camera_'
        if not self.frame.startswith(default):
            return self.frame
        return f'{name}_{self.frame.removeprefix(default)}'

    def root_of(self, name: str) -> str:
        """Return the root frame of a camera of that name."""
        frame = self.frame_of(name)
        return f'{frame.removesuffix(OPTICAL)}_link' if self.is_optical else frame


@dataclass(frozen=True)
class Gripper:
    """The actions that move the hand: of a gripper controller, or those of franka_gripper."""

    kind: Literal['command', 'franka']
    action: str  # control_msgs/GripperCommand; or the prefix of franka_msgs Grasp and Move

    def __post_init__(self) -> None:
        """Check that the action is named."""
        if not self.action:
            raise ValueError(f'gripper.action is empty; kind: {self.kind} needs the name')


@dataclass(frozen=True)
class MoveItNames:
    """The names of a robot's MoveIt configuration; see the comments in config/robots."""

    robot_name: str
    package: str
    description: str
    semantic: str
    trajectory_execution: str
    joint_limits: str
    pilz_cartesian_limits: str
    ompl_planning: str
    mappings: Any  # of names to texts, for the xacro of both descriptions
    arm_group: str
    tip_link: str
    tip_tcp_translation: Vector
    tip_tcp_quaternion: Quaternion

    def __post_init__(self) -> None:
        """Check the quaternion."""
        _check_quaternion('tip_tcp_quaternion', self.tip_tcp_quaternion)

    @property
    def T_tip_tcp(self) -> Array:
        """Return the tool centre point in the arm group's tip link (4, 4)."""
        return rigid.from_quaternion(self.tip_tcp_quaternion, self.tip_tcp_translation)


@dataclass(frozen=True)
class Positions:
    """Joint positions by name, radians."""

    ready: tuple[float, ...]
    observe: tuple[float, ...]


@dataclass(frozen=True)
class RobotPreset:
    """A seven-jointed Franka arm with a hand: names, limits (rad, rad/s, rad/s^2) and positions.

    Lengths are in metres; `open_width` is between the fingers.
    """

    name: str
    base_frame: str
    hand_frame: str
    tcp_offset: Vector
    arm_joints: tuple[str, ...]
    finger_joint: str
    open_width: float
    position_lower: tuple[float, ...]
    position_upper: tuple[float, ...]
    velocity_limits: tuple[float, ...]
    acceleration_limits: tuple[float, ...]
    positions: Positions
    stopping_accelerations: tuple[float, ...]
    arm_controller: str
    gripper: Gripper
    camera: CameraMount
    moveit: MoveItNames
    error_recovery: str = ''  # action franka_msgs/ErrorRecovery, if the robot has it

    def __post_init__(self) -> None:
        """Check names, lengths and limits."""
        count = len(self.arm_joints)
        if count != _JOINTS or len(set(self.arm_joints)) != count:
            raise ValueError(
                f"arm_joints is {list(self.arm_joints)}; it must name the arm's {_JOINTS} joints, "
                "each once: the arm is a Franka's"
            )
        if self.finger_joint in self.arm_joints:
            raise ValueError(
                f'finger_joint is {self.finger_joint!r}, which is among arm_joints; give a joint '
                'of the hand'
            )
        for key in (
            'position_lower',
            'position_upper',
            'velocity_limits',
            'acceleration_limits',
            'stopping_accelerations',
        ):
            self._check_length(key, getattr(self, key), count)
        for key in ('velocity_limits', 'acceleration_limits', 'stopping_accelerations'):
            if min(getattr(self, key)) <= 0:
                raise ValueError(f'{key} is {getattr(self, key)}; every value must be > 0')
        for name, position in asdict(self.positions).items():
            self._check_length(f'positions.{name}', position, count)
            for joint, q, lower, upper in zip(
                self.arm_joints, position, self.position_lower, self.position_upper, strict=True
            ):
                if not lower <= q <= upper:
                    raise ValueError(
                        f'positions.{name}: {joint} is {q}; its range is {lower} to {upper} rad'
                    )
        if not 0 < self.open_width <= _WIDEST_M:
            raise ValueError(
                f'open_width is {self.open_width}; it must be in metres, above 0 and at most '
                f'{_WIDEST_M}'
            )

    def _check_length(self, key: str, values: tuple[float, ...], count: int) -> None:
        if len(values) != count:
            raise ValueError(f'{key} has {len(values)} values; it needs {count}')

    def position(self, name: str) -> Array:
        """Return the joint positions (7,) of that name; KeyError names the known ones."""
        positions = asdict(self.positions)
        if name not in positions:
            known = ', '.join(positions)
            raise KeyError(f"the robot {self.name} has no position '{name}'; it has {known}")
        return np.array(positions[name])

    @property
    def T_hand_tcp(self) -> Array:
        """Return the tool centre point in the hand's frame (4, 4)."""
        return rigid.transform(translation=self.tcp_offset)

    @property
    def T_hand_camera_link(self) -> Array:
        """Return the camera's root frame in the hand's frame (4, 4)."""
        return self.camera.T_hand_link

    def doubts_of_camera(self) -> str:
        """Say why the camera's pose on the hand can hardly be meant, and what may be; or nothing.

        A camera on a hand sees what is before the fingers: it looks about along the hand's z.
        """
        distance = float(np.linalg.norm(self.camera.translation))
        if distance > _FARTHEST_M:
            return (
                f'the camera sits {distance:.3g} m from {self.hand_frame}: camera.translation is '
                'in metres'
            )
        ahead = float(self.T_hand_camera_link[2, 0])
        if ahead >= _AHEAD:
            return ''
        w, x, y, z = self.camera.quaternion
        frame = 'camera_link' if self.camera.is_optical else f'camera{OPTICAL}'
        meant = {
            f'its quaternion were wxyz: write {[x, y, z, w]}': replace(
                self.camera, quaternion=(x, y, z, w)
            ),
            f'its pose were that of {frame}: write frame: {frame}': replace(
                self.camera, frame=frame
            ),
        }
        better = [told for told, mount in meant.items() if mount.T_hand_link[2, 0] >= _AHEAD]
        degrees = np.degrees(np.arccos(np.clip(ahead, -1.0, 1.0)))
        return (
            f'the camera looks {degrees:.0f} degrees away from where {self.hand_frame} points, by '
            f'the pose of {self.camera.frame}, xyzw; '
            + (f'it would look ahead if {", or if ".join(better)}' if better else 'check it')
        )


def _check_quaternion(key: str, xyzw: Quaternion) -> None:
    length = float(np.linalg.norm(xyzw))
    if not abs(length - 1.0) <= _LENGTH_TOLERANCE:
        raise ValueError(
            f'{key} is {list(xyzw)}, of length {length:.4g}; a rotation has length 1 (xyzw)'
        )


def load_preset(robot: str) -> RobotPreset:
    """Read a robot's preset from its files; see `preset_files`.

    Raises FileNotFoundError that names the places looked in, or ConfigurationError that names the
    files, the key and what is allowed.
    """
    files = preset_files(robot)
    values: dict[str, Any] = {}
    for path in files:
        values = merged(values, configuration.load(path))
    values.pop('base', None)
    return configuration.read(RobotPreset, values, ', overridden by '.join(map(str, files)))


def preset_files(robot: str) -> tuple[Path, ...]:
    """Return the files that a robot's preset is read from; the second overrides the first's keys.

    `robot` is a name or the path of a file. A name is that of a shipped preset, of a file in
    don_kp/robots of the user's configuration folder (XDG base directories), or of both: then the
    user's overrides the shipped one. Any other file is whole, or names the shipped preset that it
    overrides as `base`. Raises as `load_preset` does.
    """
    shipped = {path.stem: path for path in sorted(config_path('robots').glob('*.yaml'))}
    own = own_file(robot)
    if not own.is_file():
        if robot in shipped:
            return (shipped[robot],)
        raise FileNotFoundError(
            f'robot is {robot!r}: {own} not found; looked for that file '
            f'and among the shipped presets, which are {", ".join(shipped)}'
        )
    base = configuration.load(own).get('base', robot if robot in shipped else None)
    if base is None:
        return (own,)
    if str(base) not in shipped:
        raise ConfigurationError(
            f'{own}: base is {base!r}; it must be a shipped preset: {", ".join(shipped)}'
        )
    return (shipped[base], own)


def own_file(robot: str) -> Path:
    """Return the user's own file of a robot, by its name or path; it may be missing."""
    path = Path(os.path.expanduser(robot))  # Path's raises where nobody has that home
    is_name = path.name == robot and not path.suffix
    return user_path('config', f'robots/{robot}.yaml') if is_name else path


def merged(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """Return both mappings as one, sections merged key by key; the upper's values count."""
    return {
        **lower,
        **{
            key: merged(lower[key], value)
            if isinstance(value, Mapping) and isinstance(lower.get(key), Mapping)
            else value
            for key, value in upper.items()
        },
    }
