"""The classes of messages, by the names of their kinds."""

from __future__ import annotations

import importlib
from typing import Any

from don_kp_ros.errors import RefusedError


def message_class(kind: str) -> Any:
    """Return the class of a message such as sensor_msgs/msg/Image; raises RefusedError."""
    try:
        package, group, name = kind.split('/')
        module = importlib.import_module(f'{package}.{group}')
        if group == 'action':
            action, _, part = name.partition('_')
            return getattr(getattr(module, action).Impl, part)
        return getattr(module, name)
    except (ImportError, AttributeError, ValueError) as error:
        raise RefusedError(f'{kind} is not installed here ({error})') from error
