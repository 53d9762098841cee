"""What the page does about its goals, with a grasp node that a test plays."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator

import asynchrony
import pytest
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.task import Future
from waiting import wait_until

from don_kp.action import Grasp
from don_kp_ros.clients import view, view_goals
from don_kp_ros.clients.asking import spun
from don_kp_ros.clients.stack import Stack
from don_kp_ros.clients.view_goals import Goals
from don_kp_ros.errors import RefusedError
from don_kp_ros.page.activity import Activity


class PlayedGrasp:
    """A grasp node whose goals run until they are cancelled; the first cancels may be refused."""

    def __init__(self, peer) -> None:
        self._peer = peer
        self.refused, self.cancels, self.begun, self.ended = 0, 0, 0, Future()
        self.busy, self.free = False, threading.Event()
        self.accepts = True
        self._server = ActionServer(
            peer.node,
            Grasp,
            'grasp',
            self._execute,
            goal_callback=lambda _: GoalResponse.ACCEPT if self.accepts else GoalResponse.REJECT,
            cancel_callback=self._on_cancel,
        )

    async def _execute(self, handle) -> Grasp.Result:
        self.begun += 1
        await self.ended
        stopped = handle.is_cancel_requested
        handle.canceled() if stopped else handle.succeed()
        return Grasp.Result(success=not stopped, message='stopped' if stopped else 'done')

    def _on_cancel(self, _) -> CancelResponse:
        self.cancels += 1
        if self.busy:
            self.free.wait()
        if self.cancels <= self.refused:
            return CancelResponse.REJECT
        self._peer.node.executor.create_task(self.ended.set_result, True)  # once it is accepted
        return CancelResponse.ACCEPT

    def close(self) -> None:
        self.free.set()
        if not self.ended.done():
            self.ended.set_result(True)
        self._server.destroy()


@pytest.fixture
def played(peer) -> Iterator[PlayedGrasp]:
    with contextlib.closing(PlayedGrasp(peer)) as made:
        yield made


@pytest.fixture
def activity() -> Activity:
    return Activity()


@pytest.fixture
def goals(played: PlayedGrasp, activity: Activity) -> Iterator[Goals]:
    with Stack('/') as stack:
        made = Goals(stack, activity)
        with spun(stack):
            yield made


async def until(condition) -> None:
    await asyncio.to_thread(wait_until, condition)


async def begun(goals: Goals, played: PlayedGrasp) -> asyncio.Task:
    """Send a goal; return its task once it runs."""
    number = played.begun
    task = asyncio.create_task(goals.release())
    await until(lambda: played.begun > number or task.done())
    assert not task.done(), task.result()
    return task


def test_a_goal_is_sent_before_the_page_has_found_who_serves_it(
    goals: Goals, played: PlayedGrasp
) -> None:
    async def scene() -> None:
        task = asyncio.create_task(goals.release())
        other = asyncio.create_task(goals.release())  # also who is in a hurry sends one goal
        await until(lambda: played.begun)
        with pytest.raises(RefusedError, match='a goal of this page runs'):
            await other
        played.ended.set_result(True)
        assert await task == 'done'

    asynchrony.run(scene())
    assert played.begun == 1


def test_a_grasp_node_that_is_not_there_is_told(peer, activity: Activity) -> None:
    with Stack('/') as stack, spun(stack):
        goals = Goals(stack, activity)
        with pytest.raises(RefusedError, match='nobody has /grasp in ROS domain'):
            asynchrony.run(goals.release())
    assert not activity.told.goal


def test_a_cancel_that_is_refused_although_the_goal_runs_is_repeated(
    goals: Goals, played: PlayedGrasp, activity: Activity
) -> None:
    played.refused = 2

    async def scene() -> None:
        task = await begun(goals, played)
        await goals.cancel()
        await until(task.done)
        with pytest.raises(RefusedError, match='not done: stopped'):
            await task
        with pytest.raises(RefusedError, match='no goal of this page runs'):
            await goals.cancel()

    asynchrony.run(scene())
    assert played.cancels == 3
    assert activity.told.end == 'not done: stopped'


def test_a_goal_that_is_not_stopped_is_told(goals: Goals, played: PlayedGrasp) -> None:
    played.refused = 1000

    async def scene() -> None:
        task = await begun(goals, played)
        with pytest.raises(RefusedError, match=r'does not stop the goal; the arm may move'):
            await goals.cancel()
        with pytest.raises(RefusedError, match=r'does not stop the goal; the arm may move'):
            goals.stop()
        played.refused = 0
        await goals.cancel()  # it can be tried again
        await until(task.done)
        goals.stop()  # nothing runs

    asynchrony.run(scene())


def test_a_goal_that_may_run_is_not_forgotten_for_one_that_is_refused(
    goals: Goals, played: PlayedGrasp, activity: Activity
) -> None:
    async def scene() -> None:
        task = await begun(goals, played)
        activity.finish('the grasp node was not heard for a while', False)
        played.accepts = False
        with pytest.raises(RefusedError, match='another goal is running'):
            await goals.release()
        await goals.cancel()
        await until(task.done)

    asynchrony.run(scene())
    assert played.cancels == 1


def test_a_grasp_node_that_is_too_busy_to_stop_is_told_at_the_end(
    goals: Goals, played: PlayedGrasp, monkeypatch, capsys
) -> None:
    played.busy = True

    async def scene() -> None:
        await begun(goals, played)

    asynchrony.run(scene())  # the page's loop ends, and the goal goes on
    monkeypatch.setattr(view_goals, 'PATIENCE_S', 0.1)  # nobody comes, however long one waits
    with pytest.raises(RefusedError, match=r'did not answer within .* s; the arm may move'):
        goals.stop()
    assert 'stopping the arm' in capsys.readouterr().err


def test_after_an_error_of_any_kind_another_goal_is_sent(
    goals: Goals, played: PlayedGrasp, activity: Activity, monkeypatch
) -> None:
    def fail(*_: object) -> None:
        raise KeyError('a bug')

    async def scene() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(goals._client, 'send_goal_async', fail)
            with pytest.raises(KeyError):
                await goals.release()
        assert activity.told.ok is False and 'the arm may move' in activity.told.end
        task = await begun(goals, played)
        played.ended.set_result(True)
        assert await task == 'done'

    asynchrony.run(scene())
    assert activity.told.end == 'done' and activity.told.ok


def test_a_goal_is_stopped_also_where_the_page_fails(played: PlayedGrasp, monkeypatch) -> None:
    viewed = []

    def serve(*_: object) -> None:
        goals = viewed[0].goals
        asynchrony.run(begun(goals, played))
        raise RuntimeError('a bug')

    monkeypatch.setattr(view, 'root', lambda stack, *_: viewed.append(stack))
    monkeypatch.setattr(view, 'serve', serve)
    with pytest.raises(RuntimeError, match='a bug'):
        view.view('/', 'camera/camera', '127.0.0.1', 0)
    assert played.cancels == 1
