"""What every adapter of the motion port does alike.

With MoveIt where it is installed, `pytest -m moveit` runs the same with the real one, on the same
played controllers; elsewhere a stand-in plays it.
"""

import importlib.util
from dataclasses import replace

import numpy as np
import pytest
from ideal_robot import OBSERVE, PRESET, anywhere
from moveit_stand_in import MoveItPy
from stage import (
    check_that_ways_are_told,
    down,
    failure,
    speeds_and_accelerations,
    stopped_on_the_way,
)
from waiting import PATIENCE_S, wait_until

from don_kp_ros.motion.held import HeldBox
from don_kp_ros.motion.kinematics import Kinematics
from don_kp_ros.motion.port import MotionCode, MotionError
from don_kp_ros.motion.safety import Scaling, Workspace
from don_kp_ros.nodes.motion import arrival
from don_kp_ros.nodes.motion.embedded import EmbeddedMotion
from don_kp_ros.nodes.motion.moveit import MoveItMotion
from don_kp_ros.simulation.controllers import TrajectoryController

REAL = pytest.param('moveit', marks=pytest.mark.moveit)
ADAPTERS = ['embedded', 'stand-in', *([REAL] if importlib.util.find_spec('moveit') else [])]
READY = PRESET.position('ready')
KINEMATICS = Kinematics(PRESET)
FAR = OBSERVE + np.array([2.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
PICK = (down(0.52, 0.05, 0.02), 0.1, 0.15, 0.08)


@pytest.fixture(params=ADAPTERS)
def adapter(request, robot, user, spun, monkeypatch):
    """A robot, and what moves it: not fast, so that it is long on its way on a busy machine."""
    # A busy machine is silent, too.
    monkeypatch.setattr(arrival, 'STALE_MOVING', PATIENCE_S)
    if request.param == 'embedded':
        motion = EmbeddedMotion(user, PRESET, anywhere(0.25))
    elif request.param == 'stand-in':
        request.getfixturevalue('share')
        motion = MoveItMotion(user, PRESET, anywhere(0.25))
        MoveItPy.made.slow, MoveItPy.made.duration = True, 0.5
    else:
        motion = MoveItMotion(user, PRESET, anywhere(0.25))
    robot.received.clear()
    motion.engage()
    with spun(user):
        wait_until(lambda: heard(motion, OBSERVE))
        yield robot, motion


def heard(motion, q):
    try:
        return np.allclose(motion.joint_positions(), q, rtol=0, atol=1e-6)
    except MotionError:
        return False


def nudge(robot, motion, q):
    """Somebody else moves the arm."""
    robot.arm_controller = TrajectoryController(np.array(q))
    wait_until(lambda: heard(motion, q))


def standing(motion, low, high, height):
    """Return what is seen of a block between two corners (2,), metres."""
    x, y = (axis.ravel() for axis in np.meshgrid(*map(_cells, low, high)))
    block = np.column_stack([x, y, np.full(len(x), height)])
    return motion._safety.limits.workspace.mapped(block)


def _cells(low, high):
    return np.arange(low + 0.005, high, 0.01)


def test_the_arm_goes_to_joint_positions_and_to_a_pose(adapter):
    robot, motion = adapter
    motion.move_to_joints(READY)
    assert np.allclose(robot.arm, READY, atol=0.01)
    goal = down(0.5, -0.1, 0.4)
    motion.move_to_pose(goal)
    assert np.allclose(KINEMATICS.forward(robot.arm), goal, atol=0.01)


def test_joint_states_are_heard_only_while_it_is_engaged(adapter):
    robot, motion = adapter
    plan = motion.plan_grasp(*PICK)
    before = robot.publisher.get_subscription_count()
    motion.disengage()
    wait_until(lambda: robot.publisher.get_subscription_count() == before - 1)
    for call in (
        lambda: motion.move_to_joints(READY),
        lambda: motion.move_to_pose(down(0.5, -0.1, 0.4)),
        lambda: motion.set_gripper(0.0, 30.0),
        lambda: motion.wait(60.0),
        lambda: motion.plan_grasp(*PICK),
        lambda: motion.plan_place(PICK[0], 0.1),
        lambda: motion.execute(plan.to_pregrasp),
    ):
        assert failure(call).code is MotionCode.CANCELLED
    assert np.allclose(robot.arm, OBSERVE) and not robot.received
    # Moved by someone else meanwhile: what was heard before is forgotten.
    moved = OBSERVE + np.array([0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    robot.arm_controller.hold(moved)
    wait_until(lambda: robot.arm[0] == moved[0])
    motion.engage()
    assert motion.joint_positions()[0] == pytest.approx(OBSERVE[0] + 0.5)
    motion.move_to_joints(OBSERVE)
    assert np.allclose(robot.arm, OBSERVE, atol=0.01)


def test_a_pick_is_planned_whole_and_runs_segment_by_segment(adapter):
    robot, motion = adapter
    begun = robot.steps
    plan = motion.plan_grasp(*PICK)
    wait_until(lambda: robot.steps > begun + 2)
    assert np.array_equal(robot.arm, OBSERVE) and not robot.received
    for segment, z in ((plan.to_pregrasp, 0.12), (plan.approach, 0.02), (plan.lift, 0.17)):
        motion.execute(segment)
        reached = KINEMATICS.forward(robot.arm)
        assert np.allclose(reached[:3, 3], [0.52, 0.05, z], atol=2e-3)
        assert np.allclose(reached[:3, :3], plan.T_base_grasp[:3, :3], atol=5e-3)
    # The arm no longer stands where this begins; that is no abort.
    assert failure(lambda: motion.execute(plan.approach)).code is MotionCode.NOT_FOLLOWED
    motion.move_to_joints(OBSERVE)


def test_ways_are_told_before_they_are_gone(adapter):
    robot, motion = adapter
    check_that_ways_are_told(motion, robot)


def test_what_cannot_be_or_must_not_be_moves_nothing(adapter):
    robot, motion = adapter
    beyond = OBSERVE + np.array([4.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    for call, code in (
        (lambda: motion.plan_grasp(down(0.9, 0.6, 0.2), 0.1, 0.1, 0.08), MotionCode.UNREACHABLE),
        (lambda: motion.plan_grasp(down(0.5, 0.0, -0.02), 0.1, 0.1, 0.08), MotionCode.OUTSIDE),
        (lambda: motion.plan_place(down(0.5, 0.0, -0.02), 0.1), MotionCode.OUTSIDE),
        (lambda: motion.move_to_pose(down(0.5, 0.0, -0.02)), MotionCode.OUTSIDE),
        (lambda: motion.move_to_pose(down(0.5, 0.0, np.nan)), MotionCode.OUTSIDE),
        (lambda: motion.plan_grasp(down(np.nan, 0.0, 0.1), 0.1, 0.1, 0.08), MotionCode.OUTSIDE),
        (lambda: motion.move_to_joints(beyond), MotionCode.UNREACHABLE),
        (lambda: motion.move_to_joints(np.full(7, np.nan)), MotionCode.UNREACHABLE),
        (lambda: motion.set_gripper(0.0, 41.0), MotionCode.OUTSIDE),
        (lambda: motion.set_gripper(0.0, np.nan), MotionCode.OUTSIDE),
    ):
        assert failure(call).code is code
    with pytest.raises(ValueError, match=r'0\.5'):
        motion.set_gripper(0.5, 30.0)
    assert np.array_equal(robot.arm, OBSERVE) and not robot.received
    motion.move_to_joints(READY)  # nothing of it is to be recovered from


def test_what_stands_where_the_hand_is_to_go_is_not_pushed(adapter):
    robot, motion = adapter
    motion.set_obstacles(standing(motion, [0.5, 0.0], [0.54, 0.1], 0.2))
    assert failure(lambda: motion.plan_grasp(*PICK)).code is MotionCode.COLLISION
    motion.set_obstacles(None)
    motion.plan_grasp(*PICK)


def test_what_is_held_goes_with_the_hand_until_it_is_let_go(adapter):
    _, motion = adapter
    # A plank of 24 cm along the hand's x, 3 cm below the tool centre point; a block at its end.
    plank = HeldBox(np.eye(4), np.array([0.12, 0.02, 0.015]))
    plank.T_tcp_box[2, 3] = 0.03
    place = down(0.5, 0.1, 0.05)
    motion.set_obstacles(standing(motion, [0.6, 0.08], [0.64, 0.12], 0.04))
    motion.plan_place(place, 0.1)
    motion.hold(plank)
    assert failure(lambda: motion.plan_place(place, 0.1)).code is MotionCode.COLLISION
    motion.hold(None)
    motion.plan_place(place, 0.1)


def test_no_way_leads_through_the_walls_of_the_workspace(adapter):
    robot, motion = adapter
    wide = motion._safety.limits
    start, goal = ([sign * 0.9, *OBSERVE[1:]] for sign in (-1.0, 1.0))
    nudge(robot, motion, start)
    # The short way about the base swings out in x, and a wall stands there.
    ends = [KINEMATICS.forward(q)[:3, 3] for q in (start, goal)]
    wall = max(end[0] for end in ends) + 0.02
    motion._safety.limits = replace(
        wide, workspace=Workspace((-1.0, float(wall)), (-1.0, 1.0), (-0.5, 1.5))
    )
    begun, refused = len(robot.commands), None
    try:
        motion.move_to_joints(np.array(goal))
    except MotionError as error:
        refused = error.code
    motion._safety.limits = wide
    assert refused in (None, MotionCode.OUTSIDE, MotionCode.UNREACHABLE, MotionCode.TIMEOUT)
    gone = [KINEMATICS.forward(q)[0, 3] for q in [*robot.commands[begun:], robot.arm]]
    assert max(gone) <= wall + 0.01
    assert np.allclose(robot.arm, start if refused else goal, atol=0.01)


def test_what_is_faster_than_allowed_is_not_run(adapter):
    robot, motion = adapter
    plan = motion.plan_grasp(*PICK)
    motion._safety.scaling = Scaling(0.01, 0.01)
    error = failure(lambda: motion.execute(plan.to_pregrasp))
    assert error.code is MotionCode.OUTSIDE and 'rad/s' in str(error)
    assert np.array_equal(robot.arm, OBSERVE)


def test_a_stop_brings_the_arm_to_rest_on_its_way(adapter):
    robot, motion = adapter
    stopped = stopped_on_the_way(robot, motion, FAR, lambda: robot.arm[0] > OBSERVE[0] + 0.3)
    assert stopped.code is MotionCode.CANCELLED
    rest = robot.arm
    assert OBSERVE[0] + 0.3 < rest[0] < FAR[0]
    _, felt = speeds_and_accelerations(*robot.arm_controller.commands_in_time())
    assert (np.abs(felt) <= 1.05 * np.array(PRESET.stopping_accelerations)).all()
    seen = robot.steps
    wait_until(lambda: robot.steps > seen + 20)
    assert np.array_equal(robot.arm, rest)
    assert failure(lambda: motion.move_to_joints(OBSERVE)).code is MotionCode.CANCELLED
    motion.engage()
    motion.move_to_joints(OBSERVE)


def test_after_an_abort_nothing_moves_until_it_is_recovered(adapter):
    robot, motion = adapter
    robot.stuck = True
    error = failure(lambda: motion.move_to_joints(READY))
    assert error.code is MotionCode.NOT_FOLLOWED
    assert 'nothing moves any more: call /recover' in str(error)
    robot.stuck = False
    nudge(robot, motion, OBSERVE)
    for call in (
        lambda: motion.move_to_joints(READY),
        lambda: motion.move_to_pose(down(0.5, -0.1, 0.4)),
        lambda: motion.plan_grasp(*PICK),
        lambda: motion.set_gripper(0.0, 10.0),
    ):
        refused = failure(call)
        assert refused.code is MotionCode.NEEDS_RECOVERY and 'call /recover' in str(refused)
    motion._safety.recover()
    motion.move_to_joints(READY)
    assert np.allclose(robot.arm, READY, atol=0.01)


def test_an_arm_that_is_not_heard_is_not_moved(adapter):
    robot, motion = adapter
    plan = motion.plan_grasp(*PICK)
    robot.silent = True
    wait_until(lambda: not heard(motion, OBSERVE))
    for call in (
        lambda: motion.move_to_joints(READY),
        lambda: motion.plan_grasp(*PICK),
        lambda: motion.execute(plan.to_pregrasp),
        motion.joint_positions,
        motion.gripper_width,
    ):
        assert failure(call).code is MotionCode.STALE_STATE
    assert np.array_equal(robot.arm, OBSERVE)


def test_an_arm_that_falls_silent_on_its_way_is_brought_to_rest(adapter, monkeypatch):
    robot, motion = adapter
    monkeypatch.setattr(arrival, 'STALE_MOVING', 1.0)
    robot.when(lambda: robot.arm[0] > OBSERVE[0] + 0.1, lambda: setattr(robot, 'silent', True))
    assert failure(lambda: motion.move_to_joints(FAR)).code is MotionCode.STALE_STATE
    rest = robot.arm
    assert OBSERVE[0] + 0.1 < rest[0] < FAR[0] - 0.1
    seen = robot.steps
    wait_until(lambda: robot.steps > seen + 20)
    assert np.array_equal(robot.arm, rest)


def test_an_arm_that_was_pushed_after_planning_is_refused_and_may_move_on(adapter):
    robot, motion = adapter
    plan = motion.plan_grasp(*PICK)
    pushed = OBSERVE + np.array([0.0, 0.2, 0.0, 0.0, 0.0, 0.0, 0.0])
    nudge(robot, motion, pushed)
    error = failure(lambda: motion.execute(plan.to_pregrasp))
    assert error.code is MotionCode.NOT_FOLLOWED and 'panda_joint2 is off by 0.200' in str(error)
    assert np.allclose(robot.arm, pushed)
    motion.move_to_joints(READY)
    assert np.allclose(robot.arm, READY, atol=0.01)


def test_the_fingers_settle_on_what_they_hold(adapter):
    robot, motion = adapter
    robot.object_width = 0.055
    assert motion.set_gripper(0.0, 30.0) == pytest.approx(0.055, abs=0.001)
    assert robot.force == 30.0
    assert motion.set_gripper(0.08, 30.0) == pytest.approx(0.08, abs=0.001)
    robot.object_width = 0.0
    assert motion.set_gripper(0.0, 30.0) == pytest.approx(0.0, abs=0.001)
