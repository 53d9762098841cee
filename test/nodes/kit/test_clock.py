"""Waiting in a time that is simulated: it runs, stands still, is set back, and ends."""

from types import SimpleNamespace

import pytest
from rclpy.clock import ClockType, ROSClock
from rclpy.time import Time

from don_kp_ros.nodes.kit import clock
from don_kp_ros.nodes.kit.buffers import Latest
from don_kp_ros.nodes.kit.clock import RosTime, StoppedClockError, when_set_back


class Node:
    """As much of a node as its time uses, with a clock that the test sets."""

    def __init__(self) -> None:
        self.clock, self.alive = ROSClock(), True
        self.log: list[str] = []
        self.clock._set_ros_time_is_active(True)
        self.context = SimpleNamespace(ok=lambda: self.alive)
        self.set(100.0)

    def get_clock(self) -> ROSClock:
        return self.clock

    def resolve_topic_name(self, name: str) -> str:
        return f'/robot1{name}'

    def get_logger(self) -> SimpleNamespace:
        return SimpleNamespace(warning=lambda text, **_: self.log.append(text))

    def set(self, seconds: float) -> None:
        self.clock.set_ros_time_override(
            Time(nanoseconds=round(1e9 * seconds), clock_type=ClockType.ROS_TIME)
        )


@pytest.fixture
def node() -> Node:
    return Node()


def test_it_waits_for_simulated_seconds_and_looks_once_more(node: Node) -> None:
    looks = 0
    for now, _ in zip((100.4, 100.9, 101.2, 250.0), RosTime(node).rounds(1.0), strict=False):
        looks += 1
        node.set(now)
    assert looks == 4  # after 101.2 once more; then it is over


def test_a_jump_of_the_clock_leaves_one_look(node: Node) -> None:
    rounds = RosTime(node).rounds(1.0)
    next(rounds)
    node.set(200.0)
    next(rounds)
    assert next(rounds, None) is None


def test_a_clock_that_is_set_back_counts_what_was_waited(node: Node) -> None:
    looks = 0
    for now, _ in zip((100.8, 3.0, 3.1, 3.3, 9.9, 9.9), RosTime(node).rounds(1.0), strict=False):
        looks += 1
        node.set(now)
    assert looks == 5


def test_time_that_stands_still_is_told(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, 'STANDSTILL_S', 0.05)
    with pytest.raises(StoppedClockError, match='/robot1/clock; is the simulation running'):
        for _ in RosTime(node).rounds(1.0):
            pass
    assert Latest(RosTime(node)).nearest(1.0, 0.1, timeout=1.0) is None


def test_what_waits_ends_with_the_node_though_time_stands_still(node: Node) -> None:
    buffer = Latest(RosTime(node))
    node.alive = False
    assert buffer.nearest(1.0, 0.1, timeout=1.0) is None


def test_what_is_known_of_a_time_that_is_set_back_is_forgotten(node: Node) -> None:
    forgotten = []
    handle = when_set_back(node, lambda: forgotten.append(node.clock.now()), 'positions')
    for seconds in (101.0, 101.0, 500.0):
        node.set(seconds)
    assert not forgotten
    node.set(499.5)
    node.set(2.0)
    assert [at.nanoseconds for at in forgotten] == [499_500_000_000, 2_000_000_000]
    assert node.log == [
        'ROS time was set back by 0.500 s: positions known before are forgotten',
        'ROS time was set back by 497.500 s: positions known before are forgotten',
    ]
    handle.unregister()
