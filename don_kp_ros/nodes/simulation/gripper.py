"""The actions of a gripper controller and of franka_gripper, on simulated fingers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from control_msgs.action import GripperCommand
from franka_msgs.action import Grasp, Homing, Move
from rclpy.node import Node
from std_srvs.srv import Trigger

from don_kp_ros.nodes.kit.guard import guarded_service
from don_kp_ros.nodes.simulation.goals import Goal, GoalServer
from don_kp_ros.simulation.controllers import CommandedTrajectory
from don_kp_ros.simulation.world import World

_SPEED = 0.05  # m/s of each finger, where nobody says
_STILL, _STALL_S = 0.001, 1.0  # slower than this, m/s, for so long: stalled
_REACHED = 0.01  # metres of a finger: a gripper controller's goal_tolerance
_WIDTH_REACHED = 0.002  # metres: as near as franka_gripper comes
_EPSILON = 0.005  # metres by which gripper_action may miss the width when it closes


@dataclass(frozen=True)
class Grip:
    """What the fingers are to do, and when that is done.

    ``judge`` gets width, whether the fingers have been still for a while, and whether they have
    had the time for their way; it returns how the goal ends and its result, or None.
    """

    goal: Goal
    width: float
    speed: float
    force: float | None
    judge: Callable[[float, bool, bool], tuple[str, Any] | None]
    result: Callable[[float, str], Any]
    closes: bool = False  # on whatever is between the fingers: the width only judges


class GripperServer:
    """Moves the fingers for whoever asked last: a newer goal ends the older."""

    def __init__(self, node: Node, controller: str, franka: str, open_width: float) -> None:
        """Serve `controller`/gripper_cmd, and the actions of franka_gripper below ``franka``."""
        self._open_width = open_width
        self._grip: Grip | None = None
        self._moved = self._due = 0.0
        self._stopped: Grip | None = None
        served = (
            (GripperCommand, f'{controller}/gripper_cmd', self._by_controller),
            (GripperCommand, f'{franka}/gripper_action', self._by_gripper_action),
            (Move, f'{franka}/move', self._by_move),
            (Grasp, f'{franka}/grasp', self._by_grasp),
            (Homing, f'{franka}/homing', self._by_homing),
        )
        self._servers = [
            (GoalServer(node, kind, name, _refusal), grip) for kind, name, grip in served
        ]
        node.create_service(Trigger, f'{franka}/stop', self._on_stop)
        self._node = node

    def update(self, world: World, now: float) -> None:
        """Start what has come, and judge the running goal."""
        state = world.joint_state()
        width, speed = 2 * float(state.position[7]), float(np.abs(state.velocity[7:]).max())
        for server, grip in self._servers:
            for goal in server.accepted():
                self.abort('a newer goal takes its place')
                self._start(grip(goal, width), world, now)
        if self._grip is None:
            return
        self._moved = now if speed > _STILL else self._moved
        cancelled = self._grip.goal.cancelled
        if cancelled or self._stopped is self._grip:
            world.hand.hold(state.position[7:8])
            self._end('canceled' if cancelled else 'abort', self._grip.result(width, 'stopped'))
            return
        still = now - self._moved >= _STALL_S
        if ended := self._grip.judge(width, still, now >= self._due):
            self._end(*ended)

    def abort(self, reason: str) -> None:
        """End the running goal, if there is one."""
        if self._grip is not None:
            self._end('abort', self._grip.result(float('nan'), reason))

    def _start(self, grip: Grip, world: World, now: float) -> None:
        if not 0 <= grip.width <= self._open_width or not grip.speed > 0:
            reason = (
                f'width {grip.width} m at {grip.speed} m/s: widths go from 0 to '
                f'{self._open_width} m, speeds are above 0'
            )
            grip.goal.end('abort', grip.result(float('nan'), reason))
            return
        target = np.array([0.0 if grip.closes else grip.width / 2])
        seconds = max(0.05, float(np.abs(target - world.hand.position)[0]) / grip.speed)
        trajectory = CommandedTrajectory(np.array([seconds]), target[None])
        world.move_hand(trajectory, grip.force if grip.force and grip.force > 0 else None)
        self._grip, self._moved, self._due = grip, now, now + seconds

    def _end(self, how: str, result: Any) -> None:
        assert self._grip is not None
        self._grip.goal.end(how, result)
        self._grip = None

    def _by_controller(self, goal: Goal, _: float) -> Grip:
        """Follow position_controllers/GripperActionController: a stalled goal is aborted."""
        command = goal.request.command

        def result(width: float, _: str, stalled: bool = False, reached: bool = False) -> Any:
            return GripperCommand.Result(position=width / 2, stalled=stalled, reached_goal=reached)

        def judge(width: float, still: bool, _: bool) -> tuple[str, Any] | None:
            if abs(width / 2 - command.position) < _REACHED:
                return 'succeed', result(width, '', reached=True)
            return ('abort', result(width, '', stalled=True)) if still else None

        return Grip(goal, 2 * command.position, _SPEED, command.max_effort, judge, result)

    def _by_gripper_action(self, goal: Goal, width: float) -> Grip:
        """Follow franka_gripper: closing is a grasp of about that width."""
        command = goal.request.command
        target = 2 * command.position
        within = _EPSILON if target < width else _WIDTH_REACHED

        def result(width: float, _: str, reached: bool = False) -> Any:
            return GripperCommand.Result(position=width, reached_goal=reached)

        def judge(width: float, still: bool, _: bool) -> tuple[str, Any] | None:
            if not still:
                return None
            reached = abs(width - target) < within
            return 'succeed' if reached else 'abort', result(width, '', reached)

        return Grip(goal, target, _SPEED, command.max_effort, judge, result, target < width)

    def _by_move(self, goal: Goal, _: float) -> Grip:
        asked: Move.Goal = goal.request
        return self._franka(goal, Move.Result, asked.width, asked.speed / 2, None, (0.002, 0.002))

    def _by_grasp(self, goal: Goal, _: float) -> Grip:
        asked: Grasp.Goal = goal.request
        within = asked.epsilon.inner, asked.epsilon.outer
        return self._franka(goal, Grasp.Result, asked.width, asked.speed / 2, asked.force, within)

    def _by_homing(self, goal: Goal, _: float) -> Grip:
        within = self._open_width, 0.0
        return self._franka(goal, Homing.Result, self._open_width, _SPEED, None, within)

    def _franka(
        self,
        goal: Goal,
        kind: Any,
        target: float,
        speed: float,
        force: float | None,
        within: tuple[float, float],
    ) -> Grip:
        closes = force is not None

        def result(_: float, reason: str) -> Any:
            return kind(success=not reason, error=reason)

        def judge(width: float, still: bool, due: bool) -> tuple[str, Any] | None:
            if not (still or (not closes and due and abs(width - target) < _WIDTH_REACHED / 4)):
                return None
            if target - within[0] <= width <= target + within[1]:
                return 'succeed', result(width, '')
            return 'abort', result(width, f'the fingers stopped at {width:.4f} m')

        return Grip(goal, target, speed, force, judge, result, closes)

    @guarded_service
    def _on_stop(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._stopped = self._grip
        response.success = True
        return response


def _refusal(request: Any) -> str:
    numbers = list(_numbers(request))
    if np.isfinite(numbers).all():
        return ''
    return f'its numbers are {numbers}; they must be finite'


def _numbers(message: Any) -> Iterable[float]:
    for name in message.get_fields_and_field_types():
        value = getattr(message, name)
        yield from [value] if isinstance(value, float) else _numbers(value)
