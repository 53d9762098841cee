"""The embedded adapter against controllers whose joints follow exactly."""

import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ideal_robot import OBSERVE, PRESET, anywhere
from rclpy.node import Node
from stage import (
    down,
    failure,
    speeds_and_accelerations,
    stopped_on_the_way,
)
from waiting import PATIENCE_S, wait_until

from don_kp_ros.motion.kinematics import Kinematics
from don_kp_ros.motion.port import MotionCode, MotionError
from don_kp_ros.motion.safety import Workspace
from don_kp_ros.nodes.motion import arrival
from don_kp_ros.nodes.motion.embedded import EmbeddedMotion


@pytest.fixture(scope='module')
def motion(context, controllers, spun):
    user = Node('user', context=context)
    made = EmbeddedMotion(user, PRESET, anywhere())
    with spun(user):
        yield made


@pytest.fixture
def arm(controllers, motion):
    controllers.reset()
    controllers.received.clear()
    motion.engage()
    motion._safety.recover()
    motion.set_obstacles(None)
    wait_until(lambda: np.allclose(_known(motion), OBSERVE, atol=1e-6))
    return controllers, motion


# Far enough that an arm which goes slowly is long on its way, whatever else the machine does.
FAR = OBSERVE + np.array([2.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])


@pytest.fixture
def slow(arm, monkeypatch):
    controllers, motion = arm
    monkeypatch.setattr(motion._planner, '_velocity', 0.4 * motion._planner._velocity)
    return controllers, motion


def _known(motion):
    try:
        return motion.joint_positions()
    except MotionError:
        return np.zeros(7)


def test_what_is_commanded_is_within_the_limits(arm):
    controllers, motion = arm
    plan = motion.plan_grasp(down(0.5, 0.1, 0.02), 0.1, 0.15, 0.08)
    for segment in (plan.to_pregrasp, plan.approach, plan.lift):
        motion.execute(segment)
    motion.move_to_joints(OBSERVE)
    assert len(controllers.received) == 4
    for goal in controllers.received:
        points = goal.trajectory.points
        times = np.array(
            [p.time_from_start.sec + 1e-9 * p.time_from_start.nanosec for p in points]
        )
        q, v = (
            np.array([getattr(p, name) for p in points]) for name in ('positions', 'velocities')
        )
        assert (q >= PRESET.position_lower).all() and (q <= PRESET.position_upper).all()
        assert (np.abs(v) <= PRESET.velocity_limits).all()
        acceleration = np.abs(np.diff(v, axis=0)) / np.diff(times)[:, None]
        assert (acceleration <= 1.02 * np.array(PRESET.acceleration_limits)).all()


def test_an_arm_that_was_nudged_is_brought_gently_to_where_a_motion_begins(arm):
    controllers, motion = arm
    plan = motion.plan_grasp(down(0.5, 0.1, 0.02), 0.1, 0.15, 0.08)
    nudged = OBSERVE + [0.02, -0.02, 0.02, 0.0, 0.0, 0.0, 0.02]
    controllers.arm_controller.hold(nudged)
    wait_until(lambda: np.allclose(motion.joint_positions(), nudged))
    motion.execute(plan.to_pregrasp)
    points = controllers.received[-1].trajectory.points
    first = points[0].time_from_start.sec + 1e-9 * points[0].time_from_start.nanosec
    speed = np.abs(np.subtract(points[0].positions, nudged)) / first
    assert (speed <= PRESET.velocity_limits).all()
    assert np.allclose(Kinematics(PRESET).forward(controllers.arm)[2, 3], 0.12, atol=0.002)


def test_a_motion_does_not_begin_where_the_one_before_was_heard_last(arm, monkeypatch):
    controllers, motion = arm
    plan = motion.plan_grasp(down(0.5, 0.1, 0.02), 0.1, 0.15, 0.08)
    begins = plan.to_pregrasp.trajectory.positions[0]
    heard, late = motion._monitor.joint_positions, [begins - 0.01, begins - 0.002]

    def lagging():
        return late.pop(0) if late else heard()

    monkeypatch.setattr(motion._monitor, 'joint_positions', lagging)
    monkeypatch.setattr(motion._monitor.arm, 'moved', lambda _: 0.01 * bool(late))
    motion.execute(plan.to_pregrasp)
    (goal,) = controllers.received
    sent = np.array([point.positions for point in goal.trajectory.points])
    np.testing.assert_array_equal(sent, plan.to_pregrasp.trajectory.positions[1:])


def test_fingers_that_may_hold_something_are_moved_gently(arm):
    controllers, motion = arm
    controllers.object_width = 0.03
    asked = []
    for width, q in ((0.0, PRESET.position('ready')), (0.08, OBSERVE)):
        motion.set_gripper(width, 30.0)
        motion.move_to_joints(q)
        points = controllers.received[-1].trajectory.points
        times = [p.time_from_start.sec + 1e-9 * p.time_from_start.nanosec for p in points]
        speeds = np.array([p.velocities for p in points])
        felt = np.abs(np.diff(speeds, axis=0)) / np.diff(times)[:, None]
        asked.append((felt / PRESET.acceleration_limits).max())
    gentle, free = asked
    assert gentle <= 1.02 * 0.2 < free


def test_stop_holds_the_arm_and_ends_the_call(slow, monkeypatch):
    controllers, motion = slow
    monkeypatch.setattr(arrival, 'STALE_MOVING', PATIENCE_S)  # a busy machine is silent, too
    stopped = stopped_on_the_way(
        controllers, motion, FAR, lambda: controllers.arm[0] > OBSERVE[0] + 0.3
    )
    assert stopped.code is MotionCode.CANCELLED
    # The call ends with the arm at rest, on its way, without more than the arm can stand.
    rest = controllers.arm
    assert OBSERVE[0] + 0.3 < rest[0] < FAR[0]
    assert len(controllers.received) == 2
    speeds, felt = speeds_and_accelerations(*controllers.arm_controller.commands_in_time())
    assert (np.abs(felt) <= 1.05 * np.array(PRESET.stopping_accelerations)).all()
    assert np.abs(speeds).max() > 0.3
    seen = controllers.steps
    wait_until(lambda: controllers.steps > seen + 20)
    assert np.array_equal(controllers.arm, rest)
    # It stays so until engage().
    for call in (
        lambda: motion.move_to_joints(OBSERVE),
        lambda: motion.set_gripper(0.0, 10.0),
        lambda: motion.plan_grasp(down(0.5, 0.1, 0.02), 0.1, 0.15, 0.08),
    ):
        assert failure(call).code is MotionCode.CANCELLED
    assert len(controllers.received) == 2
    motion.engage()
    motion.move_to_joints(OBSERVE)


def test_a_watchdog_that_sends_the_way_to_rest_again_changes_nothing(slow, monkeypatch):
    controllers, motion = slow
    monkeypatch.setattr(arrival, 'STALE_MOVING', PATIENCE_S)
    told = []

    def brake(stopping, at):
        told.append('brake')
        assert len(controllers.received) == 1  # it is told before the controller is
        # As where this process dies before it has sent it, and as where it dies after that.
        motion._arm.come_to_rest(stopping, at)

    monkeypatch.setattr(motion.watchdog, 'brake', brake)
    monkeypatch.setattr(motion.watchdog, 'follow', lambda *_: told.append('follow'))
    monkeypatch.setattr(motion.watchdog, 'over', lambda: told.append('over'))
    stopped_on_the_way(controllers, motion, FAR, lambda: controllers.arm[0] > OBSERVE[0] + 0.3)
    assert told == ['follow', 'brake', 'over', 'over']
    first, again = (goal.trajectory for goal in controllers.received[1:])
    assert first == again
    assert controllers.arm == pytest.approx(np.array(first.points[-1].positions), abs=1e-6)
    _, felt = speeds_and_accelerations(*controllers.arm_controller.commands_in_time())
    assert (np.abs(felt) <= 1.05 * np.array(PRESET.stopping_accelerations)).all()


def test_an_unforeseen_error_on_the_way_stops_the_arm(slow, monkeypatch):
    controllers, motion = slow
    awaited = motion._arm.result

    def fail(handle, check, seconds):
        monkeypatch.setattr(motion._arm, 'result', awaited)
        wait_until(lambda: controllers.arm[0] > OBSERVE[0] + 0.3)
        raise IndexError('unforeseen')

    monkeypatch.setattr(motion._arm, 'result', fail)
    with pytest.raises(IndexError):
        motion.move_to_joints(FAR)
    rest = controllers.arm
    assert OBSERVE[0] + 0.3 < rest[0] < FAR[0]
    seen = controllers.steps
    wait_until(lambda: controllers.steps > seen + 20)
    assert np.array_equal(controllers.arm, rest)


def test_joint_states_of_the_way_may_come_after_the_answer(arm, monkeypatch):
    controllers, motion = arm
    answered, heard = motion._arm.result, motion._monitor.joint_positions
    late = []

    def answer(*arguments):
        result = answered(*arguments)
        late.extend(4 * [OBSERVE])
        return result

    monkeypatch.setattr(motion._arm, 'result', answer)
    monkeypatch.setattr(
        motion._monitor, 'joint_positions', lambda: late.pop() if late else heard()
    )
    motion.move_to_joints(PRESET.position('ready'))
    assert not late and np.allclose(controllers.arm, PRESET.position('ready'), atol=0.01)


MOVING = """
import sys, threading, time
from dataclasses import replace
from rclpy.node import Node
from don_kp_ros.motion.port import MotionCode, MotionError
from don_kp_ros.motion.safety import Safety, Scaling, Workspace, load_safety
from don_kp_ros.nodes.motion import arrival
from don_kp_ros.nodes.motion.embedded import EmbeddedMotion
from don_kp_ros.nodes.kit.runner import run_node
from don_kp_ros.robots.preset import load_preset

arrival.STALE_MOVING = 60.0  # the robot's machine may be busy

class Moving(Node):
    def __init__(self):
        super().__init__('moving')
        preset, limits = load_preset('panda'), load_safety()
        wide = Workspace((-1.0, 1.0), (-1.0, 1.0), (0.0, 1.5))
        limits = replace(limits, workspace=wide, simulation=Scaling(0.2, 0.5))
        self.motion = EmbeddedMotion(self, preset, Safety(limits, preset, limits.simulation))
        self.motion.watchdog.start()
        self.motion.engage()
        self.mover = threading.Thread(target=self.move)
        self.mover.start()

    def move(self):
        while 'moving_watchdog' not in self.get_node_names():
            time.sleep(0.01)
        while True:
            try:
                q = self.motion.joint_positions()
                self.motion.move_to_joints(q + [2.5, 0, 0, 0, 0, 0, 0])
            except MotionError as error:
                if error.code is not MotionCode.STALE_STATE or self.motion._monitor.arm.known:
                    print(error)
                    return

    def end(self):
        self.motion.stop()
        self.mover.join(1.0)

sys.exit(run_node(Moving))
"""


@pytest.mark.parametrize(
    ('number', 'status', 'said'),
    [
        (signal.SIGINT, 0, 'the motion was stopped\n'),
        (signal.SIGTERM, 0, 'the motion was stopped\n'),
        (signal.SIGKILL, -signal.SIGKILL, 'who moved the arm has died: the arm is stopped'),
    ],
)
def test_a_signal_to_the_process_stops_the_arm(arm, number, status, said):
    controllers, _ = arm
    with subprocess.Popen(
        [sys.executable, '-c', MOVING],
        cwd=Path(__file__).parents[3],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            signalled = threading.Event()

            def interrupt():
                process.send_signal(number)
                signalled.set()

            controllers.when(lambda: controllers.arm[0] > OBSERVE[0] + 0.3, interrupt)
            wait_until(lambda: signalled.is_set() or process.poll() is not None, 120.0)
            output, _ = process.communicate(timeout=120.0)
        finally:
            process.kill()
    assert process.returncode == status
    assert output == said if status == 0 else said in output
    # A busy machine's stop may have come too late, and another followed.
    motion, *_, stop = (goal.trajectory for goal in controllers.received)
    rest = stop.points[-1].positions[0]
    assert OBSERVE[0] < rest < motion.points[-1].positions[0]
    wait_until(lambda: abs(controllers.arm[0] - rest) < 1e-3)
    time.sleep(0.2)
    assert abs(controllers.arm[0] - rest) < 1e-3


def test_a_stuck_arm_is_reported_with_the_joint(arm):
    controllers, motion = arm
    controllers.stuck = True
    goal = OBSERVE + np.array([0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    error = failure(lambda: motion.move_to_joints(goal))
    assert error.code is MotionCode.NOT_FOLLOWED
    assert 'panda_joint1 is off by 0.500 rad' in str(error)
    assert 'off the way' in str(error)  # the controller's own words
    assert 'nothing moves any more: call /recover' in str(error)
    controllers.stuck = False
    for call in (
        lambda: motion.move_to_joints(goal),
        lambda: motion.plan_grasp(down(0.5, 0.1, 0.02), 0.1, 0.15, 0.08),
        lambda: motion.set_gripper(0.0, 10.0),
    ):
        refused = failure(call)
        assert refused.code is MotionCode.NEEDS_RECOVERY
        assert 'aborted' in str(refused) and 'call /recover' in str(refused)
    motion._safety.recover()
    motion.move_to_joints(goal)


def test_an_arm_that_is_not_heard_any_more_is_recovered_after_an_abort(arm, monkeypatch):
    controllers, motion = arm
    monkeypatch.setattr(arrival, 'STALE_MOVING', PATIENCE_S)
    controllers.when(
        lambda: controllers.arm[0] > OBSERVE[0] + 0.1,
        lambda: vars(controllers).update(stuck=True, silent=True),
    )
    error = failure(lambda: motion.move_to_joints(FAR))
    assert 'nothing moves any more: call /recover' in str(error)
    controllers.stuck = controllers.silent = False
    assert failure(lambda: motion.move_to_joints(OBSERVE)).code is MotionCode.NEEDS_RECOVERY


def test_an_arm_whose_way_to_rest_is_aborted_is_recovered(slow, monkeypatch):
    controllers, motion = slow
    monkeypatch.setattr(arrival, 'STALE_MOVING', PATIENCE_S)

    def stop() -> None:
        controllers.stuck = True
        motion.stop()

    controllers.when(lambda: controllers.arm[0] > OBSERVE[0] + 0.3, stop)
    assert failure(lambda: motion.move_to_joints(FAR)).code is MotionCode.CANCELLED
    controllers.stuck = False
    motion.engage()
    refused = failure(lambda: motion.move_to_joints(OBSERVE))
    assert refused.code is MotionCode.NEEDS_RECOVERY and 'call /recover' in str(refused)


def test_what_is_not_safe_is_neither_planned_nor_run(arm):
    controllers, motion = arm
    controllers.received.clear()
    reach = motion.plan_grasp(down(0.5, 0.1, 0.02), 0.1, 0.15, 0.08)
    limits = replace(
        motion._safety.limits, workspace=Workspace((0.2, 0.45), (-0.5, 0.5), (0, 1)), force_limit=5
    )
    motion._safety.limits, before = limits, motion._safety.limits
    try:
        for call in (
            lambda: motion.plan_grasp(down(0.5, 0.1, 0.02), 0.1, 0.15, 0.08),
            lambda: motion.move_to_pose(down(0.5, 0.1, 0.3)),
            lambda: motion.move_to_pose(down(0.4, 0.1, float('nan'))),
            lambda: motion.execute(reach.to_pregrasp),  # planned before the limits were so narrow
            lambda: motion.set_gripper(0.0, 6.0),
            lambda: motion.set_gripper(0.0, float('nan')),
        ):
            assert failure(call).code is MotionCode.OUTSIDE
    finally:
        motion._safety.limits = before
    way = reach.to_pregrasp.trajectory
    fast = replace(way, velocities=3 * way.velocities)
    error = failure(lambda: motion.execute(replace(reach.to_pregrasp, trajectory=fast)))
    assert error.code is MotionCode.OUTSIDE and 'rad/s' in str(error)
    assert controllers.received == []


def test_silence_is_stale_before_and_during_a_motion(slow):
    controllers, motion = slow

    def fall_silent():
        controllers.silent = True

    controllers.when(lambda: controllers.arm[0] > OBSERVE[0] + 0.3, fall_silent)
    assert failure(lambda: motion.move_to_joints(FAR)).code is MotionCode.STALE_STATE
    _, stop = (goal.trajectory for goal in controllers.received)
    assert OBSERVE[0] + 0.3 < stop.points[-1].positions[0] < FAR[0]
    for call in (motion.joint_positions, motion.gripper_width):
        assert failure(call).code is MotionCode.STALE_STATE


def test_a_clock_that_lags_by_a_message_was_not_set_back(arm):
    controllers, motion = arm
    plan = motion.plan_grasp(down(0.5, 0.1, 0.02), 0.1, 0.15, 0.08)
    stopping = motion._arm.brake(plan.to_pregrasp.trajectory, motion._monitor.time.now() + 0.08)
    motion._arm.wait_for_rest(stopping)
    (stop,) = (goal.trajectory for goal in controllers.received)
    rest = np.array(stop.points[-1].positions)
    assert np.abs(rest - OBSERVE).max() < 0.1  # it had hardly begun


def test_where_time_was_set_back_the_arm_is_not_sent_back_to_brake(arm):
    controllers, motion = arm
    plan = motion.plan_grasp(down(0.5, 0.1, 0.02), 0.1, 0.15, 0.08)
    begun = motion._monitor.time.now() + 100.0
    error = failure(lambda: motion._arm.brake(plan.to_pregrasp.trajectory, begun))
    assert error.code is MotionCode.STALE_STATE
    assert 'time was set back by 100.0 s' in str(error)
    assert not controllers.received
