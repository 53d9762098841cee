"""What is told of a calibration."""

from __future__ import annotations

import difflib
import posixpath
import shlex
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.calibration.folder import Recording
from don_kp_ros.calibration.solving import Calibration
from don_kp_ros.calibration.views import angles
from don_kp_ros.geometry import rigid
from don_kp_ros.robots.hand import T_LINK_OPTICAL
from don_kp_ros.robots.own_file import Change
from don_kp_ros.robots.preset import RobotPreset

Array = NDArray[np.float64]

_ROOT = '/tf_static'  # where tf2_ros publishes, whatever its namespace


def told(
    calibration: Calibration, recording: Recording, unread: Mapping[str, str], preset: RobotPreset
) -> Iterator[str]:
    """Tell which views count, how far they fit, and where camera and board are.

    unread: the pictures that could not be used, and why.
    """
    for name, px in zip(calibration.views.names, calibration.view_px, strict=True):
        yield f'{name}: {px:.2f} px'
    for name, px in calibration.left_out.items():
        yield f'{name}: left out: {px:.1f} px off the others; did the hand or the board move?'
    for name, why in unread.items():
        yield f'{name}: left out: {why}'
    first, second = np.rad2deg(calibration.turns[:2])
    yield (
        f'{len(calibration.views.names)} views; the hand turns by {first:.1f} and {second:.1f} '
        'degrees about two axes'
    )
    yield (
        f'they fit within {calibration.off_px:.2f} px, {1e3 * calibration.off_m:.2f} mm, '
        f'{np.rad2deg(calibration.off_rad):.3f} degrees (root mean squares)'
    )
    frame = preset.hand_frame if recording.mount == 'hand' else preset.base_frame
    yield f'the optical frame in {frame}: {_pose(calibration.poses.T_a_camera)}'
    yield (
        f'within {1e3 * calibration.error_m:.2f} mm and {np.rad2deg(calibration.error_rad):.3f} '
        'degrees, one standard deviation, where the robot tells its poses without bias'
    )
    yield from (f'doubtful: {doubt}' for doubt in calibration.doubts())


def corners_told(calibration: Calibration, preset: RobotPreset) -> Iterator[str]:
    """Tell where the board's outer corners are in the base frame, for a camera on the hand."""
    for number, place in corners_in_base(calibration).items():
        x, y, z = place
        yield f'corner {number} in {preset.base_frame}: ({x:.4f}, {y:.4f}, {z:.4f}) m'


def corners_in_base(calibration: Calibration) -> dict[int, Array]:
    """Return the board's outermost inner corners (3,) in the base frame, by their numbers."""
    board = calibration.views.board
    places = rigid.apply(calibration.poses.T_b_board, board.corners())
    return {number: places[number] for number in board.outer()}


def stand_told(calibration: Calibration, recording: Recording, preset: RobotPreset) -> str:
    """Return the command that tells where a camera on a stand is."""
    known = recording.T_link_camera
    T_link_camera = T_LINK_OPTICAL if known is None else np.array(known)
    T = calibration.poses.T_a_camera @ rigid.inverse(T_link_camera)
    (x, y, z), (qx, qy, qz, qw) = T[:3, 3], rigid.to_quaternion(T)
    topic = posixpath.join('/', recording.namespace, 'tf_static')
    renamed = '' if topic == _ROOT else f' --ros-args -r {shlex.quote(f"{_ROOT}:={topic}")}'
    nominal = " (by a D435's nominal measures: T_link_camera is not known)" if not known else ''
    return (
        f'start with camera_mount:=none, and tell where the camera is{nominal}:\n'
        f'  ros2 run tf2_ros static_transform_publisher --x {x:.5f} --y {y:.5f} --z {z:.5f} '
        f'--qx {qx:.6f} --qy {qy:.6f} --qz {qz:.6f} --qw {qw:.6f} '
        f'--frame-id {preset.base_frame} --child-frame-id {shlex.quote(recording.link)}{renamed}'
    )


def change_told(change: Change, present: RobotPreset) -> Iterator[str]:
    """Tell what will be different in the user's file, and for the robot."""
    now, then = present.camera, change.preset.camera
    if then.is_optical or then.frame == now.frame:  # else between them is what a driver knows
        same = then.frame == now.frame
        T_now = now.T_hand_frame if same else now.T_hand_optical
        off = rigid.inverse(T_now) @ then.T_hand_frame
        yield (
            f'that is {1e3 * np.linalg.norm(off[:3, 3]):.1f} mm and '
            f'{np.rad2deg(float(angles(off))):.2f} degrees from where {present.name} has it now'
        )
    if doubts := change.preset.doubts_of_camera():
        yield f'doubtful: {doubts}'
    lines = difflib.unified_diff(
        change.before.splitlines(),
        change.after.splitlines(),
        str(change.path) if change.before else 'nothing',
        str(change.path),
        lineterm='',
    )
    yield from lines


def _pose(T: Array) -> str:
    x, y, z = T[:3, 3]
    quaternion = ', '.join(f'{value:.5f}' for value in rigid.to_quaternion(T))
    return f'({x:.5f}, {y:.5f}, {z:.5f}) m, xyzw ({quaternion})'
