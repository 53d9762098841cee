"""Folders of views: pictures of the board, and where the hand was.

FOLDER/calibration.yaml   (JSON will do) the camera, the board and, of every view, its picture and
                          T_base_hand; docs/calibration.md has an example
FOLDER/NAME.png           the pictures, as the camera gives them
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml
from numpy.typing import NDArray

from don_kp_ros import configuration
from don_kp_ros.calibration.board import Board
from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera
from don_kp_ros.outputs import replacing
from don_kp_ros.robots.preset import OPTICAL

Array = NDArray[np.float64]
Row = tuple[float, float, float, float]
Matrix = tuple[Row, Row, Row, Row]
Mount = Literal['hand', 'stand']

INDEX = 'calibration.yaml'

_RIGID = 1e-4  # of what rounding may make of a rotation


@dataclass(frozen=True)
class View:
    """A picture and where the hand was: T_base_hand maps points from the hand to the base."""

    picture: str
    T_base_hand: Matrix

    def __post_init__(self) -> None:
        """Check the name and the pose."""
        if not self.picture or Path(self.picture).name != self.picture:
            raise ValueError(
                f'picture is {self.picture!r}; a file name without a folder is expected'
            )
        _check_rigid(f'T_base_hand of {self.picture}', self.T_base_hand)


@dataclass(frozen=True)
class Recording:
    """What a folder's index says.

    mount: whether the camera is on the hand, and the board fixed, or the camera on a stand, and
    the board on the hand. T_link_camera: the driver's own transform from the optical frame to the
    camera's root frame, `link`, if it is known. namespace: the stack's. hand_frame: the hand's, if
    it is known. frame: the pictures'.
    """

    camera: Camera
    board: Board
    views: tuple[View, ...]
    mount: Mount = 'hand'
    T_link_camera: Matrix | None = None
    link: str = 'camera_link'
    namespace: str = '/'
    hand_frame: str = ''
    frame: str = f'camera{OPTICAL}'

    def __post_init__(self) -> None:
        """Check the views and the transform."""
        name, times = Counter(view.picture for view in self.views).most_common(1)[0]
        if times > 1:
            raise ValueError(f'views has the picture {name} {times} times')
        if self.T_link_camera is not None:
            _check_rigid('T_link_camera', self.T_link_camera)

    def with_square(self, metres: float | None) -> Recording:
        """Return it with another side of the board's squares, if one is given."""
        if metres is None:
            return self
        return replace(self, board=replace(self.board, square=metres))

    def T_a_b(self, view: View) -> Array:
        """Return the frame of the board's side in that of the camera's (4, 4); see `Views`."""
        T_base_hand = np.array(view.T_base_hand)
        return rigid.inverse(T_base_hand) if self.mount == 'hand' else T_base_hand


def read_index(folder: Path) -> Recording:
    """Read and check a folder's index; raises ConfigurationError."""
    path = folder / INDEX
    content = configuration.load(path)
    if not content.get('views'):
        raise configuration.ConfigurationError(
            f'{path}: views is empty; name pictures and poses, or record some: don_kp calibrate '
            'record'
        )
    return configuration.read(Recording, content, str(path))


def write_index(folder: Path, recording: Recording) -> None:
    """Write a folder's index, all or nothing."""
    content: dict[str, Any] = configuration.plain(recording)
    if recording.T_link_camera is None:
        del content['T_link_camera']
    text = yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=200)
    with replacing(folder / INDEX) as partial:
        partial.write_text(text, encoding='utf-8')


def matrix(T: Array) -> Matrix:
    """Return a transform (4, 4) as an index holds it."""
    first, second, third, last = (tuple(map(float, row)) for row in np.asarray(T))
    return first, second, third, last  # type: ignore[return-value]


def _check_rigid(name: str, values: Matrix) -> None:
    T = np.array(values)
    R = T[:3, :3]
    off = max(np.abs(R @ R.T - np.eye(3)).max(), np.abs(T[3] - [0, 0, 0, 1]).max())
    if not off <= _RIGID or np.linalg.det(R) < 0:
        raise ValueError(
            f'{name} is not rigid, off by {off:.2g}: a rotation without scale or mirroring, and '
            'the last row 0 0 0 1 are needed'
        )
