"""Goals that come, are cancelled and end in any order, on an arm that only waits."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from std_srvs.srv import SetBool, Trigger
from waiting_arm import Arm, Stage, answer

from don_kp.action import Grasp
from don_kp_ros.motion.port import GraspPlan, MotionCode, MotionError, Segment
from don_kp_ros.nodes.grasp import server


def test_300_goals_cancellations_and_ends_touch_none_but_the_one_that_is_meant(
    stage: Stage,
) -> None:
    rng = np.random.default_rng(0)
    accepted: list[Any] = []
    meant: set[bytes] = set()
    cancellations = []
    for _ in range(300):
        if rng.random() < 0.5 or not accepted:
            handle = stage.send()
            if handle.accepted:
                accepted.append(handle)
        else:
            # Often one that has ended, or is about to.
            handle = accepted[max(0, len(accepted) - 1 - int(rng.integers(3)))]
            meant.add(bytes(handle.goal_id.uuid))
            cancellations.append((bytes(handle.goal_id.uuid), handle.cancel_goal_async()))
        time.sleep(float(rng.choice([0.0, 0.005, 0.03])))
    results = {bytes(h.goal_id.uuid): answer(h.get_result_async()) for h in accepted}
    codes = [r.result.code for r in results.values()]
    assert codes.count(Grasp.Result.SUCCEEDED) > 10 and codes.count(Grasp.Result.CANCELLED) > 10
    for identity, result in results.items():
        if identity not in meant:
            assert result.result.code == Grasp.Result.SUCCEEDED, result.result.message
        assert (result.status == GoalStatus.STATUS_SUCCEEDED) == result.result.success
    # What was told to be cancelled was, unless it had succeeded by then.
    for identity, asked in cancellations:
        told = [bytes(goal.goal_id.uuid) for goal in answer(asked).goals_canceling]
        if identity in told:
            ended = results[identity]
            assert ended.status in (GoalStatus.STATUS_CANCELED, GoalStatus.STATUS_SUCCEEDED)
    assert stage.arm.most_moving == 1

    # It ends while goals come and go: none is served after that, and the arm stays stopped.
    stop = threading.Event()
    senders = [threading.Thread(target=lambda: [stage.send() for _ in iter(stop.is_set, True)])]
    senders[0].start()
    time.sleep(0.05)
    stage.node.end()
    motions = stage.arm.motions
    time.sleep(0.1)
    stop.set()
    senders[0].join()
    assert not stage.send().accepted
    assert stage.arm.stopped and stage.arm.motions == motions


def test_an_internal_error_ends_the_goal_as_a_fault_and_not_the_node(stage: Stage) -> None:
    def broken() -> np.ndarray:
        raise ValueError('a bug')

    stage.arm.joint_positions, works = broken, stage.arm.joint_positions  # type: ignore[method-assign]
    failed = answer(stage.send().get_result_async())
    assert failed.status == GoalStatus.STATUS_ABORTED
    assert failed.result.code == Grasp.Result.FAULT
    assert 'a bug' in failed.result.message
    stage.arm.joint_positions = works  # type: ignore[method-assign]
    assert answer(stage.send().get_result_async()).result.success


def test_a_goal_is_cancelled_also_in_its_first_moment(stage: Stage) -> None:
    stage.arm.arrives = False  # nothing but the cancellation ends a motion
    for _ in range(50):
        sent = stage.client.send_goal_async(Grasp.Goal(mode='release'))
        # In the thread that hears of the acceptance, before the node has begun.
        asked: list[Any] = []
        sent.add_done_callback(lambda s, asked=asked: asked.append(s.result().cancel_goal_async()))
        ended = answer(answer(sent).get_result_async())
        while not asked:
            time.sleep(0.0005)
        if answer(asked[0]).goals_canceling:
            assert ended.result.code in (Grasp.Result.CANCELLED, Grasp.Result.SUCCEEDED)
        assert ended.status == GoalStatus.STATUS_CANCELED, ended.result.message


def test_a_goal_that_is_cancelled_before_it_begins_moves_nothing(stage: Stage) -> None:
    server, may_begin = stage.node._server, threading.Event()

    def begin_late(handle: Any) -> None:
        may_begin.wait(60.0)
        server._on_accepted(handle)

    server._server.register_handle_accepted_callback(begin_late)
    try:
        handle = stage.send()
        cancelled = answer(handle.cancel_goal_async()).goals_canceling
    finally:
        may_begin.set()
    ended = answer(handle.get_result_async())
    assert [one.goal_id for one in cancelled] == [handle.goal_id]
    assert ended.status == GoalStatus.STATUS_CANCELED
    assert ended.result.code == Grasp.Result.CANCELLED
    assert stage.arm.steps == 0


def test_a_goal_that_never_begins_leaves_the_arm_alone_and_the_next_is_served(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As where its acceptance cannot be sent: rclpy then begins nothing.
    monkeypatch.setattr(server, '_BEGIN_S', 0.2)
    actions, lost = stage.node._server, []
    actions._server.register_handle_accepted_callback(lost.append)
    handle = stage.send()
    assert handle.accepted
    deadline = time.monotonic() + 60.0
    while not actions._idle():
        assert time.monotonic() < deadline
        time.sleep(0.001)
    assert stage.arm.stopped and stage.arm.motions == 0
    actions._server.register_handle_accepted_callback(actions._on_accepted)
    monkeypatch.undo()
    assert answer(stage.send().get_result_async()).result.success
    # It begins after all.
    actions._on_accepted(lost[0])
    late = answer(handle.get_result_async()).result
    assert late.code == Grasp.Result.FAULT and 'too late' in late.message


@pytest.mark.parametrize('stage', [False], indirect=True)
def test_an_arm_moves_only_once_it_is_enabled(stage: Stage) -> None:
    def result() -> Any:
        return answer(stage.send().get_result_async()).result

    refused = result()
    assert refused.code == Grasp.Result.NOT_ENABLED
    assert '/enable with data: true' in refused.message
    assert stage.arm.motions == 0
    assert answer(stage.enable.call_async(SetBool.Request(data=True))).success
    assert result().success
    assert answer(stage.enable.call_async(SetBool.Request(data=False))).success
    assert result().code == Grasp.Result.NOT_ENABLED


def test_after_an_abort_no_goal_moves_the_arm_until_it_is_recovered(stage: Stage) -> None:
    stage.node._safety.abort('the motion was aborted by /panda_arm_controller')
    refused = answer(stage.send().get_result_async()).result
    assert refused.code == Grasp.Result.NEEDS_RECOVERY
    assert 'aborted by /panda_arm_controller' in refused.message
    assert 'call /recover' in refused.message
    assert stage.arm.motions == 0
    told = answer(stage.recover.call_async(Trigger.Request()))
    assert told.success and 'may move again' in told.message
    assert answer(stage.send().get_result_async()).result.success
    assert answer(stage.recover.call_async(Trigger.Request())).message == 'nothing was wrong'


class Fingers(Arm):
    """An arm whose fingers hold what a test tells them, one grasp after the other."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.grasps: list[np.ndarray] = []
        self.widths: list[float] = []
        self.homeward = True
        self._width = 0.08

    def set_gripper(self, width: float, force: float) -> float:
        self._width = width if width else self.widths.pop(0)
        return self._width

    def gripper_width(self) -> float:
        return self._width

    def set_obstacles(self, _: Any) -> None:
        pass

    def plan_grasp(self, T: np.ndarray, *_: float) -> GraspPlan:
        self.grasps.append(T)
        way = Segment('a way', 0.0, None)
        return GraspPlan(T, 0.08, way, way, way)

    def execute(self, _: Segment) -> None:
        pass

    def wait(self, _: float) -> None:
        pass

    def move_to_joints(self, _: np.ndarray, let_go: bool = False) -> None:
        if not self.homeward:
            raise MotionError(MotionCode.NOT_FOLLOWED, 'the arm stays')


@pytest.fixture
def missing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Fingers:
    """Give fingers that miss, on a node that sees a square post wherever it looks."""
    arm = Fingers()
    x, y = (axis.ravel() for axis in np.meshgrid(*[np.arange(-0.1, 0.1, 0.002)] * 2))
    post = np.where((np.abs(x) <= 0.02) & (np.abs(y) <= 0.02), 0.05, 0.0)
    points = np.column_stack([x + 0.5, y, post])
    monkeypatch.setattr(stage.node, '_motion', arm)
    monkeypatch.setattr(stage.node._picker, '_motion', arm)
    monkeypatch.setattr(
        stage.node._planning._points, 'look_for', lambda *_: (np.array([0.5, 0.0, 0.05]), points)
    )
    return arm


def pinch(stage: Stage) -> Any:
    goal = stage.client.send_goal_async(Grasp.Goal(target='post/top'))
    return answer(answer(goal).get_result_async()).result


def test_after_a_miss_the_next_grasp_is_tried(stage: Stage, missing: Fingers) -> None:
    missing.widths = [0.0, 0.04]
    result = pinch(stage)
    assert result.success, result.message
    first, second = missing.grasps
    # A square post is held across either pair of its sides.
    assert abs(first[:3, 1] @ second[:3, 1]) < np.cos(np.deg2rad(14))


def test_of_a_target_that_is_always_missed_no_more_than_allowed_are_tried(
    stage: Stage, missing: Fingers
) -> None:
    missing.widths = [0.0, 0.0, 0.0]
    result = pinch(stage)
    assert result.code == Grasp.Result.EMPTY_GRIPPER
    assert len(missing.grasps) == 2 == stage.node._settings.max_attempts


def test_an_arm_that_did_not_retreat_tries_no_more(stage: Stage, missing: Fingers) -> None:
    missing.widths, missing.homeward = [0.0, 0.04], False
    result = pinch(stage)
    assert result.code == Grasp.Result.EMPTY_GRIPPER
    assert 'the retreat failed: the arm stays' in result.message
    assert len(missing.grasps) == 1


def test_every_code_of_a_failure_is_explained() -> None:
    root = Path(__file__).parents[3]
    codes = set(re.findall(r'^uint8 (\w+)=', (root / 'action/Grasp.action').read_text(), re.M))
    explained = re.findall(r'^\| `(\w+)` \|', (root / 'docs/grasping.md').read_text(), re.M)
    assert codes - set(explained) == {'SUCCEEDED', 'CANCELLED', 'FAULT'}
