"""What goals ask for, and how the action tells why a motion failed."""

from __future__ import annotations

from geometry_msgs.msg import PoseStamped

from don_kp.action import Grasp
from don_kp_ros.motion.port import MotionCode
from don_kp_ros.nodes.grasp.observer import GoalRefusedError

CODES = {
    MotionCode.UNREACHABLE: Grasp.Result.UNREACHABLE,
    MotionCode.COLLISION: Grasp.Result.UNREACHABLE,
    MotionCode.STALE_STATE: Grasp.Result.STALE_DATA,
    MotionCode.CANCELLED: Grasp.Result.CANCELLED,
    MotionCode.OUTSIDE: Grasp.Result.OUTSIDE,
    MotionCode.NEEDS_RECOVERY: Grasp.Result.NEEDS_RECOVERY,
}
"""The action's code for each reason of a failed motion; any other is MOTION_FAILED."""

_LETTING_GO = (Grasp.Goal.RELEASE, Grasp.Goal.PLACE)
_MODES = (Grasp.Goal.PINCH, Grasp.Goal.ALIGNED, *_LETTING_GO, Grasp.Goal.MOVE)
_NEXTS = ('', Grasp.Goal.HOLD, *_LETTING_GO)


def mode_of(goal: Grasp.Goal) -> str:
    """Return a goal's mode; raises GoalRefusedError for what is no goal."""
    mode, placed = goal.mode or Grasp.Goal.PINCH, goal.place != PoseStamped()
    if mode not in _MODES:
        reason = f"mode is '{mode}'; it must be one of {', '.join(_MODES)}"
    elif goal.next not in _NEXTS:
        reason = f"next is '{goal.next}'; it must be one of {', '.join(_NEXTS[1:])}"
    elif mode == Grasp.Goal.MOVE and (goal.target or goal.next):
        reason = f"mode is 'move', with {goal.target or goal.next}; it goes to a pose, and ends"
    elif mode in _LETTING_GO and (goal.target or goal.next):
        reason = f"mode is '{mode}', with {goal.target or goal.next}; it lets go, and ends"
    elif goal.blind and mode != Grasp.Goal.MOVE:
        reason = f"blind is true, and mode '{mode}'; without a look, the hand only moves: move"
    elif goal.place_at and placed:
        reason = f"there is a place, and place_at is '{goal.place_at}'; give one of them"
    elif (goal.place_at or placed) and Grasp.Goal.PLACE not in (mode, goal.next):
        given = f"place_at is '{goal.place_at}'" if goal.place_at else 'a place is given'
        reason = f'{given}, and nothing is put down; mode or next is: place'
    elif mode not in _LETTING_GO and not goal.target and not goal.pose.header.frame_id:
        reason = 'there is neither a target nor a pose; give one, a pose with its frame_id'
    else:
        return mode
    raise GoalRefusedError(Grasp.Result.INVALID_GOAL, reason)
