"""What the grasp node holds its arm to, and how the arm is recovered after an abort."""

from __future__ import annotations

import functools
import threading

from action_msgs.msg import GoalStatus
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from std_srvs.srv import Trigger

from don_kp_ros.motion.port import MotionCode, MotionError
from don_kp_ros.motion.safety import Safety, load_safety
from don_kp_ros.nodes.grasp.parameters import GraspParameters
from don_kp_ros.nodes.kit.guard import guarded_service
from don_kp_ros.nodes.kit.runner import StartupError
from don_kp_ros.nodes.motion.action import ControllerAction, how
from don_kp_ros.robots.preset import RobotPreset

_SERVICE = 'recover'
_SECONDS = 10.0


def safety_of(node: Node, preset: RobotPreset, settings: GraspParameters) -> Safety:
    """Return what a node's parameters hold the arm to.

    Raises ConfigurationError for a file that is wrong, and StartupError where the two, or the file
    and the robot, disagree.
    """
    limits = load_safety(settings.safety)
    if settings.closing_force > limits.force_limit:
        raise StartupError(
            f'closing_force is {settings.closing_force:g} N; safety allows up to '
            f'{limits.force_limit:g} N (force_limit): lower the one or raise the other'
        )
    scaling = limits.simulation if settings.simulated else limits.hardware
    remedy = f'see to the arm, then call {node.resolve_service_name(_SERVICE)}'
    safety = Safety(limits, preset, scaling, remedy)
    try:
        safety.check_joints(preset.position('observe'))
    except MotionError as error:
        raise StartupError(
            f'safety does not allow the position observe, from which the arm looks: {error}; '
            f"widen the limit, or change positions.observe in the robot's preset, {preset.name}"
        ) from None
    return safety


class RecoverService:
    """Serves `recover`: after a controller's abort or a reflex, the arm may move again.

    Where the robot has an action for it, that is done first.
    """

    def __init__(self, node: Node, preset: RobotPreset, safety: Safety) -> None:
        """Serve on a node that others spin with several threads: one waits for the action."""
        self._node, self._safety = node, safety
        self._action = _error_recovery(node, preset.error_recovery)
        node.create_service(
            Trigger, _SERVICE, self._on_recover, callback_group=MutuallyExclusiveCallbackGroup()
        )

    @functools.partial(guarded_service, refusals=(MotionError,))
    def _on_recover(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self._action is not None:
            handle = self._action.start(self._action.kind.Goal(), _nothing)
            answer = self._action.result(handle, _nothing, _SECONDS)
            if answer.status != GoalStatus.STATUS_SUCCEEDED:
                reason = f'{self._action.name} {how(answer.status)}; the arm stays as it is'
                raise MotionError(MotionCode.NEEDS_RECOVERY, reason)
        reason = self._safety.recover()
        response.success = True
        response.message = (
            f'the arm may move again, after {reason}' if reason else 'nothing was wrong'
        )
        self._node.get_logger().info(response.message)
        return response


def _error_recovery(node: Node, name: str) -> ControllerAction | None:
    """Return the robot's action, if it has one; only then its messages are imported."""
    if not name:
        return None
    from franka_msgs.action import ErrorRecovery

    remedy = "is the arm's driver running?"
    return ControllerAction(node, ErrorRecovery, name, threading.Condition(), remedy)


def _nothing() -> None:
    """Wait on: a recovery is not stopped."""
