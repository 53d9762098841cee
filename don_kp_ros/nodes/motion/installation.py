"""What only a ROS installation has, imported when it is chosen."""

import importlib
from typing import Any

from don_kp_ros.nodes.kit.runner import StartupError


def installed(name: str) -> Any:
    """Import a module of MoveIt or of franka_ros2; StartupError names what to install."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise StartupError(
            f'motion: moveit needs {name}, which is missing ({error}). Install it: sudo apt '
            'install ros-$ROS_DISTRO-moveit-py ros-$ROS_DISTRO-moveit-configs-utils '
            'ros-$ROS_DISTRO-pilz-industrial-motion-planner (and franka_ros2 for franka_msgs), '
            'or choose motion: embedded'
        ) from error
