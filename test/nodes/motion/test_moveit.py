"""The MoveIt adapter against a stand-in for moveit_py; see there what it can tell."""

from dataclasses import replace

import numpy as np
import pytest
from ideal_robot import OBSERVE, PRESET, anywhere
from moveit_stand_in import KINEMATICS, MoveItPy
from stage import (
    down,
    failure,
    speeds_and_accelerations,
    stopped_on_the_way,
)
from waiting import wait_until

from don_kp_ros.geometry import rigid
from don_kp_ros.motion.heightmap import HeightMap
from don_kp_ros.motion.held import HeldBox
from don_kp_ros.motion.port import MotionCode, MotionError
from don_kp_ros.motion.safety import Scaling, load_safety
from don_kp_ros.nodes.motion.moveit import MoveItMotion
from don_kp_ros.simulation.controllers import CommandedTrajectory, TrajectoryController

GRID = load_safety().workspace.grid
READY = PRESET.position('ready')
LOG = "MoveIt's log says why"


@pytest.fixture
def adapter(share, robot, user, spun):
    motion = MoveItMotion(user, PRESET, anywhere())

    def is_heard():
        try:
            return np.allclose(motion.joint_positions(), robot.arm, rtol=0, atol=1e-6)
        except MotionError:
            return False

    def arrive(q):
        """Move at once; return when the adapter has heard of it, as MoveIt would have."""
        robot.arm_controller = TrajectoryController(np.array(q))
        wait_until(lambda: np.array_equal(robot.arm, q) and is_heard())

    MoveItPy.made.arrive = arrive
    motion.engage()
    with spun(user):
        wait_until(is_heard)
        yield robot, motion, MoveItPy.made


def scales(moveit):
    """Return the share of velocity and of acceleration asked for by each plan (n, 2)."""
    return np.array(
        [
            (asked.max_velocity_scaling_factor, asked.max_acceleration_scaling_factor)
            for asked, _ in moveit.plans
        ]
    )


def standing(*blocks):
    """Return a height map with blocks on it, each given by its slices of cells and its height."""
    heights = np.zeros(GRID.shape)
    for xs, ys, height in blocks:
        heights[xs, ys] = height
    return HeightMap(GRID, heights)


def test_the_table_is_in_the_scene(adapter):
    table = adapter[2].objects['table']
    top = table.primitive_poses[0].position.z + table.primitives[0].dimensions[2] / 2
    assert top == pytest.approx(0.0)


@pytest.mark.parametrize('finger', [0.0400008, -0.0000008])
def test_fingers_a_little_beyond_their_range_are_at_its_end(adapter, finger):
    robot, motion, _ = adapter
    robot.object_width = -1.0  # so that they may be beyond
    robot.hand = TrajectoryController(np.array([finger]))
    wait_until(lambda: abs(motion.gripper_width() / 2 - finger) < 1e-9)
    motion.move_to_joints(READY)


def test_a_pick_is_planned_whole_before_anything_moves(adapter):
    robot, motion, moveit = adapter
    # At the grasp, x 0.50 to 0.54, y 0 to 0.1; and far from it.
    motion.set_obstacles(
        standing((slice(30, 34), slice(50, 60), 0.06), (slice(30, 34), slice(90, 92), 0.09))
    )
    assert len(moveit.objects['obstacles'].primitives) == 2 * 5 + 2
    plan = motion.plan_grasp(down(0.52, 0.05, 0.02), 0.1, 0.15, 0.08)
    assert np.allclose(robot.arm, OBSERVE)
    assert [asked.ns for asked, _ in moveit.plans] == ['free', 'line', 'line']
    # The line goes a tenth of a metre per second, of the half that Pilz allows at most.
    assert scales(moveit) == pytest.approx(np.array([(0.5, 0.5), (0.2, 0.1), (0.2, 0.1)]))
    # The lines are planned with the grasp's surroundings cleared, the free motion is not.
    assert [len(objects.primitives) for _, objects in moveit.plans] == [12, 2, 2]
    assert len(moveit.objects['obstacles'].primitives) == 12
    for segment, z in ((plan.to_pregrasp, 0.12), (plan.approach, 0.02), (plan.lift, 0.17)):
        motion.execute(segment)
        reached = KINEMATICS.forward(robot.arm)
        assert np.allclose(reached[:3, 3], [0.52, 0.05, z], atol=1e-3)
        assert np.allclose(reached[:3, :3], plan.T_base_grasp[:3, :3], atol=1e-3)
    motion.set_obstacles(None)
    assert 'obstacles' not in moveit.objects


def test_a_pick_is_planned_with_the_fingers_open_as_they_will_be(adapter):
    robot, motion, moveit = adapter
    motion.set_gripper(0.0, 30.0)
    motion.plan_grasp(down(0.52, 0.05, 0.02), 0.1, 0.15, 0.08)
    motion.move_to_joints(READY)
    *picks, other = [start.joint_positions[PRESET.finger_joint] for start in moveit.starts]
    assert picks == [0.04] * 3 and other == pytest.approx(0.0, abs=1e-3)


def test_the_arm_leaves_what_it_has_let_go(adapter):
    robot, motion, moveit = adapter
    motion.set_obstacles(
        standing((slice(30, 34), slice(52, 58), 0.06), (slice(30, 34), slice(90, 92), 0.09))
    )
    plan = motion.plan_grasp(down(0.52, 0.05, 0.02), 0.1, 0.15, 0.08)
    motion.execute(plan.to_pregrasp)
    motion.execute(plan.approach)
    assert moveit.touches(robot.arm)
    motion.move_to_joints(OBSERVE, let_go=True)
    assert np.allclose(robot.arm, OBSERVE)
    # All the rest is heeded, and what it left is again.
    assert len(moveit.plans[-1][1].primitives) == 2
    assert len(moveit.objects['obstacles'].primitives) == 2 * 3 + 2


def test_what_is_held_is_attached_until_it_is_let_go(adapter):
    robot, motion, moveit = adapter
    # A plank of 24 cm along the hand's x, 3 cm below the tool centre point.
    plank = HeldBox(rigid.transform(translation=[0.0, 0.0, 0.03]), np.array([0.12, 0.02, 0.015]))
    attached = moveit.get_planning_scene_monitor().read_write().current_state.attached
    place = down(0.5, 0.1, 0.05)
    motion.hold(plank)
    assert attached['held'].primitives[0].dimensions == pytest.approx([0.24, 0.04, 0.03])
    plan = motion.plan_place(place, 0.1)
    assert [asked.ns for asked, _ in moveit.plans] == ['free', 'line', 'line']
    for segment, z in ((plan.to_preplace, 0.15), (plan.lower, 0.05), (plan.retreat, 0.15)):
        motion.execute(segment)
        assert np.allclose(KINEMATICS.forward(robot.arm)[:3, 3], [0.5, 0.1, z], atol=1e-3)
    # Its end would be in a block that the hand alone passes.
    motion.set_obstacles(standing((slice(40, 44), slice(58, 62), 0.04)))
    assert failure(lambda: motion.plan_place(place, 0.1)).code is MotionCode.COLLISION
    # It is held anew, and let go: neither attached nor left in the world.
    motion.hold(plank)
    assert 'held' not in moveit.objects
    motion.hold(None)
    assert not attached and 'held' not in moveit.objects
    motion.plan_place(place, 0.1)
    motion.hold(None)


def test_fingers_that_may_hold_something_are_moved_gently(adapter):
    robot, motion, moveit = adapter
    robot.object_width = 0.03
    motion.set_gripper(0.0, 30.0)
    motion.move_to_joints(READY)
    motion.set_gripper(0.08, 30.0)
    motion.move_to_joints(OBSERVE)
    assert scales(moveit) == pytest.approx(np.array([(0.5, 0.2), (0.5, 0.5)]))


def test_a_straight_line_into_something_is_refused(adapter):
    _, motion, moveit = adapter
    # In the middle of the slanted way, beyond the grasp's cleared surroundings; below its ends.
    motion.set_obstacles(standing((slice(28, 30), slice(60, 62), 0.27)))
    slanted = rigid.transform(rigid.rotation_about([1, 0, 0], -0.75 * np.pi), [0.48, 0.25, 0.09])
    error = failure(lambda: motion.plan_grasp(slanted, 0.33, 0.1, 0.08))
    assert error.code is MotionCode.COLLISION
    assert 'the straight way of panda_arm touches something or breaks a limit' in str(error)
    assert [asked.ns for asked, _ in moveit.plans][:2] == ['free', 'line']


@pytest.mark.parametrize(('most', 'tries'), [(0.06, 2), (0.03, 3), (0.01, 3)])
def test_a_line_that_is_too_fast_for_a_joint_is_tried_slower(adapter, most, tries):
    _, motion, moveit = adapter
    moveit.most = most

    def plan():
        return motion.plan_grasp(down(0.5, 0.1, 0.02), 0.1, 0.1, 0.08)

    if most > 0.025:
        plan()
    else:
        assert failure(plan).code is MotionCode.UNREACHABLE
    expected = [np.array([0.2, 0.1]) / slowdown for slowdown in (1, 2, 4)[:tries]]
    assert scales(moveit)[1 : 1 + tries] == pytest.approx(np.array(expected))


def test_no_motion_is_faster_than_its_share_of_the_limits(share, robot, user, spun):
    motion = MoveItMotion(user, PRESET, anywhere(0.05))
    motion.engage()
    with spun(user):
        motion.plan_grasp(down(0.5, 0.1, 0.02), 0.1, 0.1, 0.08)
    assert scales(MoveItPy.made) == pytest.approx(np.full((3, 2), 0.05))


def test_failures_have_their_codes(adapter):
    robot, motion, moveit = adapter
    error = failure(lambda: motion.plan_grasp(down(0.9, 0.6, 0.1), 0.1, 0.1, 0.08))
    assert error.code is MotionCode.UNREACHABLE
    assert 'the way of panda_arm was not found: error code -31' in str(error)
    motion.set_obstacles(standing((slice(30, 34), slice(50, 60), 0.2)))
    error = failure(lambda: motion.plan_grasp(down(0.52, 0.05, 0.02), 0.1, 0.1, 0.08))
    assert error.code is MotionCode.COLLISION
    assert '-12' in str(error)
    moveit.status = 'ABORTED'
    error = failure(lambda: motion.move_to_joints(READY))
    assert error.code is MotionCode.NOT_FOLLOWED
    told = "MoveIt's execution of 'to joints' ended with ABORTED"
    assert str(error) == f'{told}; nothing moves any more: call /recover'
    moveit.status = 'SUCCEEDED'
    for call in (lambda: motion.move_to_joints(READY), lambda: motion.set_gripper(0.0, 30.0)):
        assert failure(call).code is MotionCode.NEEDS_RECOVERY
    assert np.allclose(robot.arm, OBSERVE)
    motion._safety.recover()
    motion.move_to_joints(READY)


def test_ways_out_of_the_workspace_are_planned_anew_before_anything_moves(adapter):
    robot, motion, moveit = adapter
    box = motion._safety.limits.workspace
    moveit.detour = np.array([1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    narrow = replace(box, y=(box.y[0], 0.2))
    motion._safety.limits = replace(motion._safety.limits, workspace=narrow)
    error = failure(lambda: motion.plan_grasp(down(0.4, 0.05, 0.1), 0.1, 0.15, 0.08))
    assert error.code is MotionCode.OUTSIDE and 'the workspace: its y is' in str(error)
    assert [asked.ns for asked, _ in moveit.plans][:3] == 3 * ['free']
    assert {asked.ns for asked, _ in moveit.plans} == {'free'}
    moveit.detours_left = 2
    motion.plan_grasp(down(0.4, 0.05, 0.1), 0.1, 0.15, 0.08)
    assert np.allclose(robot.arm, OBSERVE)


@pytest.mark.parametrize('status', ['FAILED', 'TIMED_OUT', 'PREEMPTED'])
def test_what_no_controller_aborted_is_not_to_be_recovered_from(adapter, status):
    robot, motion, moveit = adapter
    moveit.status = status
    error = failure(lambda: motion.move_to_joints(READY))
    assert error.code is MotionCode.NOT_FOLLOWED
    assert str(error) == f"MoveIt's execution of 'to joints' ended with {status}; {LOG}"
    moveit.status = 'SUCCEEDED'
    motion.move_to_joints(READY)
    assert np.allclose(robot.arm, READY)


def test_an_arm_that_is_elsewhere_than_moveit_says_has_not_arrived(adapter, monkeypatch):
    robot, motion, moveit = adapter
    monkeypatch.setattr(moveit, 'arrive', lambda _: None)
    error = failure(lambda: motion.move_to_joints(OBSERVE + [0.1, 0, 0, 0, 0, 0, 0]))
    assert error.code is MotionCode.NOT_FOLLOWED
    assert str(error).endswith('ended with SUCCEEDED; panda_joint1 is off by 0.100 rad')


def test_an_arm_that_was_moved_after_planning_is_refused_and_may_move_on(adapter):
    robot, motion, moveit = adapter
    plan = motion.plan_grasp(down(0.52, 0.05, 0.02), 0.1, 0.15, 0.08)
    nudged = OBSERVE + np.array([0.0, 0.02, 0.0, 0.0, 0.0, 0.0, 0.0])
    moveit.arrive(nudged)
    error = failure(lambda: motion.execute(plan.to_pregrasp))
    assert error.code is MotionCode.NOT_FOLLOWED
    told = "the arm is not where 'to pre-grasp' starts: panda_joint2 is off by 0.020 rad"
    assert told in str(error)
    assert np.allclose(robot.arm, nudged)
    motion.move_to_joints(READY)
    assert np.allclose(robot.arm, READY)


def test_what_is_not_safe_is_neither_planned_nor_run(adapter):
    robot, motion, moveit = adapter
    error = failure(lambda: motion.plan_grasp(down(0.5, 0.1, -0.02), 0.1, 0.1, 0.08))
    assert error.code is MotionCode.OUTSIDE and 'over the table' in str(error)
    assert failure(lambda: motion.set_gripper(0.0, 41.0)).code is MotionCode.OUTSIDE
    error = failure(lambda: motion.move_to_pose(down(0.5, 0.1, -0.02)))
    assert error.code is MotionCode.OUTSIDE
    assert moveit.plans == []
    # MoveIt's way is as fast as this arm may be, but not as that one.
    motion._safety.scaling = Scaling(0.05, 0.05)
    error = failure(lambda: motion.move_to_joints(READY))
    assert error.code is MotionCode.OUTSIDE and 'rad/s' in str(error)
    assert np.allclose(robot.arm, OBSERVE)


def test_the_fingers_rest_before_their_width_counts(adapter, monkeypatch):
    robot, motion, moveit = adapter
    move = robot.move_hand

    def move_late_and_slowly(trajectory, force):
        times = 0.2 + 3 * np.array([0.0, trajectory.times[-1]])
        positions = np.array([robot.hand.position, trajectory.positions[-1]])
        move(CommandedTrajectory(times, positions), force)

    monkeypatch.setattr(robot, 'move_hand', move_late_and_slowly)
    assert motion.set_gripper(0.0, 30.0) == pytest.approx(0.0, abs=1e-3)
    assert robot.force == 30.0
    # Near enough for their controller before they have moved at all.
    assert motion.set_gripper(0.015, 30.0) == pytest.approx(0.015, abs=1e-3)
    with pytest.raises(ValueError, match=r'0\.5'):
        motion.set_gripper(0.5, 30.0)
    assert moveit.plans == []


def test_stop_ends_the_execution(adapter):
    robot, motion, moveit = adapter
    moveit.slow = True
    stopped = stopped_on_the_way(robot, motion, OBSERVE + 0.1, moveit.running.is_set)
    assert stopped.code is MotionCode.CANCELLED
    assert failure(lambda: motion.move_to_joints(OBSERVE)).code is MotionCode.CANCELLED
    moveit.slow = False
    motion.engage()
    motion.move_to_joints(OBSERVE)


def test_a_stop_on_the_way_asks_no_more_of_the_arm_than_it_can_stand(adapter):
    robot, motion, moveit = adapter
    # 2.5 rad by at most 1.1 rad/s: long on its way, whatever else the machine does.
    moveit.slow, moveit.duration = True, 3.5
    goal = OBSERVE + np.array([2.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    stopped = stopped_on_the_way(robot, motion, goal, lambda: robot.arm[0] > OBSERVE[0] + 0.6)
    assert stopped.code is MotionCode.CANCELLED
    rest = robot.arm
    assert OBSERVE[0] + 0.6 < rest[0] < goal[0]
    assert (np.abs(rest - OBSERVE)[1:] < 1e-3).all()  # on its way
    speeds, felt = speeds_and_accelerations(*robot.arm_controller.commands_in_time())
    assert np.abs(speeds).max() > 0.8  # to hold it at once would be 80 rad/s^2
    assert (np.abs(felt) <= 1.05 * np.array(PRESET.stopping_accelerations)).all()
    seen = robot.steps
    wait_until(lambda: robot.steps > seen + 20)
    assert np.array_equal(robot.arm, rest)


def test_an_error_while_braking_still_ends_the_execution(adapter, monkeypatch):
    robot, motion, moveit = adapter
    moveit.slow = True

    def fail(*_):
        raise IndexError('points without velocities')

    monkeypatch.setattr(motion._controller, 'brake', fail)
    goal = OBSERVE + np.array([1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    stopped = stopped_on_the_way(robot, motion, goal, lambda: robot.arm[0] > OBSERVE[0] + 0.2)
    assert stopped.code is MotionCode.CANCELLED
    assert moveit.halt.is_set()


def test_a_stop_just_before_an_execution_begins_ends_it(adapter):
    _, motion, moveit = adapter
    moveit.slow, moveit.at_first = True, motion.stop
    error = failure(lambda: motion.move_to_joints(OBSERVE + 0.1))
    assert error.code is MotionCode.CANCELLED
