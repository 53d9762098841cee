"""Launch arguments that are namespaces or topics."""

import posixpath
import re
from collections.abc import Mapping

from don_kp_ros.nodes.kit import camera_topics

_NAME = r'[a-z_]\w*'
_NAMES = rf'/?{_NAME}(/{_NAME})*'
_WORDS = 'of letters, digits and _, the first no digit, such as'


def with_ros_names(values: Mapping[str, str], defaults: Mapping[str, str]) -> dict[str, str]:
    """Return all launch arguments without slashes at the end, the camera's two joined in one.

    values, defaults: of all arguments. Raises ValueError for what is no ROS name.
    """
    names = dict(values)
    for name in ('namespace', 'camera_name', 'camera_namespace', 'joint_states'):
        pattern, what = _NAMES, f'names joined by /, each {_WORDS} robot1 or fleet/robot1'
        if name == 'camera_name':
            pattern, what = _NAME, f'one name {_WORDS} D455_1; camera_namespace is above it'
        names[name] = values[name].rstrip('/')
        # Above its name, a camera's driver may have no namespace.
        bare = name == 'camera_namespace' and names['camera_name'] and not names[name]
        allowed = bare or names[name] == defaults[name]
        if not allowed and not re.fullmatch(pattern, names[name], re.ASCII | re.IGNORECASE):
            raise ValueError(f'{name} is {values[name]!r}; it must be {what}.')
    if name := names['camera_name']:
        above, default = values['camera_namespace'], camera_topics.NAMESPACE
        above = posixpath.dirname(default) if names['camera_namespace'] == default else above
        names['camera_namespace'], names['camera_name'] = posixpath.join(above, name), ''
    return names
