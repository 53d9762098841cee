"""The user's own file of a robot: what a calibration changes in it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import ArrayLike

from don_kp_ros import configuration
from don_kp_ros.configuration import ConfigurationError
from don_kp_ros.geometry import rigid
from don_kp_ros.outputs import replacing
from don_kp_ros.robots.preset import OPTICAL, RobotPreset, load_preset, merged, own_file

_CAMERA = re.compile(r'^camera[ \t]*:.*\n?(?:\n*[ \t]+\S.*\n?)*', re.MULTILINE)


@dataclass(frozen=True)
class Change:
    """A file as it is, empty where there is none, and as it will be."""

    path: Path
    before: str
    after: str
    preset: RobotPreset  # as it will be

    def write(self) -> None:
        """Write the file, all or nothing."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self.path) as partial:
            partial.write_text(self.after, encoding='utf-8')


def with_camera(robot: str, T_hand_frame: ArrayLike, frame: str = f'camera{OPTICAL}') -> Change:
    """Put the pose (4, 4) of a frame of the camera on the hand into the user's own file.

    Everything else in the file stays as it is written. Raises as `load_preset` does, and
    ConfigurationError where the file is written in a way that this would spoil.
    """
    present, path = load_preset(robot), own_file(robot)
    before = path.read_text(encoding='utf-8') if path.is_file() else ''
    camera = {
        'frame': frame,
        'translation': [round(float(value), 6) for value in np.asarray(T_hand_frame)[:3, 3]],
        'quaternion': [round(float(value), 8) for value in rigid.to_quaternion(T_hand_frame)],
    }
    section = yaml.safe_dump({'camera': camera}, sort_keys=False, default_flow_style=None)
    if _CAMERA.search(before):
        after = _CAMERA.sub(lambda _: section, before, count=1)
    else:
        after = (before.rstrip('\n') + '\n' if before.strip() else '') + section
    content: dict[str, Any] = configuration.load(path) if before else {}
    try:
        same = yaml.safe_load(after) == {**content, 'camera': camera}
    except yaml.YAMLError:
        same = False
    if not same:
        raise ConfigurationError(
            f'{path}: its section camera is not written as a block of lines, and cannot be '
            f'replaced; write this in its place:\n{section}'
        )
    values = merged(configuration.plain(present), {'camera': camera})
    return Change(path, before, after, configuration.read(RobotPreset, values, str(path)))
