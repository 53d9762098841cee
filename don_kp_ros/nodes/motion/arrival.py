"""What either adapter looks at while the arm follows a way, and where the arm then is."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.motion.port import MotionCode, MotionError
from don_kp_ros.nodes.motion.arm_controller import GOAL_TOLERANCE
from don_kp_ros.nodes.motion.joint_monitor import STALE, STALE_MOVING, JointMonitor

Array = NDArray[np.float64]


def silence(monitor: JointMonitor) -> Callable[[], MotionError | None]:
    """Return what gives an error once nothing is heard of the moving arm any more."""
    silent = False

    def check() -> MotionError | None:
        nonlocal silent
        # Once may be the clock's newest message, handed over before the joints'.
        before, silent = silent, monitor.arm.age > STALE_MOVING
        return monitor.arm.stale() if before and silent else None

    return check


def check_arrived(monitor: JointMonitor, joints: Sequence[str], goal: Array, ended: str) -> None:
    """Refuse, with how a motion ended, an arm that is not at its goal (7,) in radians.

    Raises MotionError NOT_FOLLOWED. What was measured on the way may come after the end.
    """

    def off() -> Array:
        return np.asarray(np.abs(monitor.joint_positions() - goal))

    monitor.wait(STALE, lambda: bool(off().max() <= 2 * GOAL_TOLERANCE))
    if (error := off()).max() > 2 * GOAL_TOLERANCE:
        raise MotionError(MotionCode.NOT_FOLLOWED, f'{ended}; {worst(joints, error)}')


def worst(joints: Sequence[str], error: Array) -> str:
    """Say which joint is farthest off, of errors (7,) in radians."""
    i = int(np.argmax(error))
    return f'{joints[i]} is off by {error[i]:.3f} rad'
