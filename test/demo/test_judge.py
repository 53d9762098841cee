"""The judge of trials, with a stack that answers what a test tells it to."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rclpy.task import Future

from don_kp.action import Grasp
from don_kp_ros.demo import judge as judges
from don_kp_ros.demo.judge import Judge, UnansweredError

CODES = Grasp.Result
_HELD = ('observe', 'plan', 'approach', 'close', 'lift', 'verify')
_LOST = (*_HELD, 'retreat')


class Answered(Judge):
    """A judge without a node: it notes whom it asks."""

    def __init__(self, code: int) -> None:
        self.asked: list[str] = []
        self._result = SimpleNamespace(result=CODES(code=code))
        asked = SimpleNamespace(call_async=lambda _: None, send_goal_async=lambda *_: None)
        self._reset = self._recover = self._grasp = asked  # type: ignore[assignment]
        self._stopped, self._matches_stamp, self.joints = False, 0.0, np.zeros(7)

    def _call(self, name: str, future: Any, timeout: float) -> Any:
        self.asked.append(name)
        if name != 'grasp':
            return SimpleNamespace(success=True, time=0.0)
        done = SimpleNamespace(done=lambda: True)
        handle = SimpleNamespace(accepted=True, get_result_async=lambda: done)
        return handle if future is None else self._result

    def _wait(self, *_: Any) -> None:
        pass


@pytest.mark.parametrize(
    ('code', 'recovers'),
    [
        (CODES.MOTION_FAILED, True),
        (CODES.NEEDS_RECOVERY, True),
        (CODES.SUCCEEDED, False),
        (CODES.NOT_FOUND, False),
    ],
)
def test_no_trial_fails_for_an_arm_that_the_one_before_left_stopped(
    code: int, recovers: bool
) -> None:
    judge = Answered(code)
    judge.reset(0, 0, 1)
    assert judge.asked == ['simulation/reset']
    assert judge.grasp(Grasp.Goal(), lambda *_: None).code == code
    judge.asked.clear()
    judge.reset(0, 1, 1)
    assert judge.asked == ['simulation/reset', *['recover'] * recovers]


class Retried(Answered):
    """A judge of a grasp that loses the object during the first lift, and holds it at the second.

    The stack goes on once the judge has looked at what is held.
    """

    _wait, _call = Judge._wait, Judge._call

    def __init__(self) -> None:
        super().__init__(CODES.SUCCEEDED)
        self._alive = lambda: None
        self._grasp = SimpleNamespace(send_goal_async=self._send)  # type: ignore[assignment]
        self.looked = threading.Semaphore(0)
        self.lift = 0

    def _send(self, _: Grasp.Goal, on_feedback: Any) -> Future:
        sent, ended = Future(), Future()
        sent.set_result(SimpleNamespace(accepted=True, get_result_async=lambda: ended))

        def run() -> None:
            for phase in (*_LOST, *_HELD):
                self.lift += phase == 'lift'
                told = SimpleNamespace(phase=phase, detail='')
                on_feedback(SimpleNamespace(feedback=told))
                if phase == 'verify':
                    self.looked.acquire(timeout=10)
            ended.set_result(self._result)

        threading.Thread(target=run).start()
        return sent


def test_what_is_held_is_looked_at_after_each_lift() -> None:
    judge, lifts = Retried(), []

    def look() -> None:
        lifts.append(judge.lift)
        judge.looked.release()

    assert judge.grasp(Grasp.Goal(), lambda *_: None, look).code == CODES.SUCCEEDED
    assert lifts == [1, 2]


class Watched(Answered):
    """A judge of an object that falls, and is caught: heights of its centre as time passes."""

    _wait = Judge._wait

    def __init__(self, times: list[float], heights: list[float]) -> None:
        super().__init__(CODES.SUCCEEDED)
        self._alive = lambda: None
        self._truths = [
            SimpleNamespace(time=time, centre=SimpleNamespace(z=height))
            for time, height in zip(times, heights, strict=True)
        ]

    def truth(self) -> Any:
        return self._truths.pop(0) if len(self._truths) > 1 else self._truths[0]


def test_the_least_height_over_some_time_is_watched() -> None:
    judge = Watched([5.0, 5.4, 5.9, 6.0, 6.1], [0.3, 0.2, 0.25, 0.28, 0.1])
    assert judge.watch_height(1.0) == 0.2


def test_time_that_stands_still_ends_the_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judges, 'GOAL_SECONDS', 0.1)
    with pytest.raises(UnansweredError, match='1 s of simulated time: no answer'):
        Watched([5.0, 5.4], [0.3, 0.2]).watch_height(1.0)
