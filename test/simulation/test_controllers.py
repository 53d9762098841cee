"""Trajectories against the polynomial that they are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from don_kp_ros.simulation.controllers import (
    CommandedTrajectory,
    TrajectoryController,
    TrajectoryError,
)

CUBIC = np.polynomial.Polynomial([0.1, 0.5, -0.3, 0.2])


@given(st.floats(0, 3))
def test_points_with_velocities_are_joined_by_cubics(t: float) -> None:
    times = np.array([0.0, 1.0, 3.0])
    trajectory = CommandedTrajectory(times, CUBIC(times)[:, None], CUBIC.deriv()(times)[:, None])
    position, velocity = trajectory.sample(t)
    assert position[0] == pytest.approx(CUBIC(t), abs=1e-9)
    assert velocity[0] == pytest.approx(CUBIC.deriv()(t) if t < 3 else 0.0, abs=1e-9)


def test_points_without_velocities_are_joined_by_lines_and_the_last_one_holds() -> None:
    trajectory = CommandedTrajectory(np.array([0.0, 2.0]), np.array([[0.0, 1.0], [1.0, 3.0]]))
    assert np.array(trajectory.sample(0.5)) == pytest.approx(np.array([[0.25, 1.5], [0.5, 1.0]]))
    assert np.array(trajectory.sample(9.0)) == pytest.approx(np.array([[1.0, 3.0], [0.0, 0.0]]))


def command(controller: TrajectoryController, now: float) -> list[float]:
    controller.update(now)
    return [*controller.position, *controller.velocity]


def test_the_way_leads_from_the_present_command() -> None:
    controller = TrajectoryController(np.array([1.0]))
    controller.accept(CommandedTrajectory(np.array([2.0]), np.array([[3.0]])), now=10.0)
    assert command(controller, 11.0) == pytest.approx([2.0, 1.0])
    controller.accept(CommandedTrajectory(np.array([1.0]), np.array([[0.0]])), now=11.0)
    assert command(controller, 11.0) == pytest.approx([2.0, -2.0])
    assert command(controller, 11.5) == pytest.approx([1.0, -2.0])
    assert controller.seconds_left(11.5) == pytest.approx(0.5)
    # With velocities it starts with the present one: no step, neither of place nor of speed.
    onwards = CommandedTrajectory(np.array([1.0]), np.array([[0.0]]), np.array([[0.0]]))
    controller.accept(onwards, now=11.5)
    assert command(controller, 11.5) == pytest.approx([1.0, -2.0])
    controller.hold(np.array([0.7]))
    assert command(controller, 99.0) == pytest.approx([0.7, 0.0])


def test_a_trajectory_with_a_time_of_its_own_begins_then() -> None:
    line = np.array([0.5, 1.0]), np.array([[1.0], [2.0]])
    controller = TrajectoryController(np.array([0.0]))
    controller.accept(CommandedTrajectory(*line, start=20.0), now=19.5)
    assert command(controller, 20.0) == pytest.approx([0.5, 1.0])
    assert command(controller, 20.75) == pytest.approx([1.5, 2.0])
    late = TrajectoryController(np.array([1.5]))
    late.accept(CommandedTrajectory(*line, start=20.0), now=20.75)
    assert command(late, 20.8) == pytest.approx([1.6, 2.0])
    assert late.seconds_left(20.8) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ('times', 'positions', 'reason'),
    [
        ([], np.zeros((0, 1)), '0 times'),
        ([1.0, 1.0], np.zeros((2, 1)), 'do not rise'),
        ([-1.0], np.zeros((1, 1)), 'do not rise'),
        ([1.0], np.full((1, 1), np.nan), 'not finite'),
        ([1.0], np.zeros((2, 1)), '1 times for positions'),
    ],
)
def test_nonsense_is_refused(times: list[float], positions: np.ndarray, reason: str) -> None:
    with pytest.raises(TrajectoryError, match=reason):
        CommandedTrajectory(np.array(times), positions)


def test_a_trajectory_of_other_joints_is_refused_and_the_position_held() -> None:
    controller = TrajectoryController(np.array([1.0, 2.0]))
    with pytest.raises(TrajectoryError, match='1 joints; the controller has 2'):
        controller.accept(CommandedTrajectory(np.array([1.0]), np.zeros((1, 1))), now=0.0)
    assert command(controller, 1.0) == pytest.approx([1.0, 2.0, 0.0, 0.0])
