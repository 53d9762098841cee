"""A refined pose is held while its object rests, from wherever the camera looks."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from don_kp_ros.geometry import rigid
from don_kp_ros.pose.estimate import Pose
from don_kp_ros.pose.held import Held
from don_kp_ros.pose.symmetry import Symmetry

Array = NDArray[np.float64]

TRUE = rigid.transform(rigid.rotation_about([1, 2, 3], 1.0), [0.5, 0.1, 0.02])  # in the world
OFF = rigid.transform(rigid.rotation_about([0, 1, 0], 0.1), [0.01, 0.0, 0.004])
FIRST = rigid.transform(rigid.rotation_about([1, 0, 0], 2.9), [0.5, 0.1, 0.6])
SECOND = rigid.transform(rigid.rotation_about([1, 0.4, 0], 2.5), [0.4, -0.2, 0.5])
AXIS = Symmetry(np.array([0.0, 0.0, 1.0]), np.zeros(3))
COVARIANCE = np.diag([1e-6, 4e-6, 9e-6, 1e-4, 2e-4, 3e-4])


def found(T_world_camera: Array, T_world_object: Array) -> Pose:
    """Make what is found of an object without refinement."""
    T = rigid.inverse(T_world_camera) @ T_world_object
    return Pose(T, np.ones(9, np.bool_), 0.9, 0.002, COVARIANCE)


def held(pose: Pose | None = None) -> Held:
    refined = rigid.inverse(FIRST) @ TRUE
    return Held(FIRST, pose or found(FIRST, TRUE @ OFF), refined, COVARIANCE / 4, 7.0)


def unsure(T_world_camera: Array) -> Pose:
    """Make what is found of a can, in an image that does not tell its turn."""
    return replace(found(T_world_camera, TRUE @ OFF).free_about(AXIS), ambiguous=True)


def about_the_axis(pose: Pose, T_world_camera: Array) -> float:
    """Return the variance of the turn about the axis, square radians."""
    about = (rigid.inverse(T_world_camera) @ TRUE)[:3, 2]
    return float(about @ pose.covariance[3:, 3:] @ about)


@pytest.mark.parametrize('camera', [FIRST, SECOND])
def test_it_replaces_what_is_found_off_in_the_same_way(camera: Array) -> None:
    pose = found(camera, TRUE @ OFF)
    assert held().rests(pose, camera)
    better = held().replacing(pose, camera)
    np.testing.assert_allclose(camera @ better.T_camera_object, TRUE, atol=1e-12)
    assert (better.refined, better.share, better.residual) == (True, 0.9, 0.002)
    # The spread is that of the first view, about axes of the second.
    turn = (rigid.inverse(camera) @ FIRST)[:3, :3]
    expected = turn @ np.diag([1e-6, 4e-6, 9e-6]) @ turn.T / 4
    np.testing.assert_allclose(better.covariance[:3, :3], expected, atol=1e-18)


@pytest.mark.parametrize(
    'motion',
    [
        rigid.transform(translation=[0.025, 0, 0]),
        rigid.transform(rigid.rotation_about([0, 0, 1], np.deg2rad(15))),
        rigid.transform(rigid.rotation_about([1, 0, 0], np.pi)),
    ],
)
def test_an_object_that_was_moved_is_let_go(motion: Array) -> None:
    assert not held().rests(found(SECOND, TRUE @ OFF @ motion), SECOND)


def test_what_is_found_anew_with_its_usual_noise_rests() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        shift = rng.normal(0, [0.001, 0.002, 0.003])
        turn = rng.normal(0, 0.01, 3)
        pose = found(SECOND, TRUE @ OFF)
        T = pose.T_camera_object.copy()
        T[:3, 3] += shift
        T[:3, :3] = rigid.rotation_about(turn, float(np.linalg.norm(turn))) @ T[:3, :3]
        assert held().rests(found(np.eye(4), T), SECOND)


def test_the_turn_of_a_symmetric_object_stays_unknown() -> None:
    pose = found(FIRST, TRUE @ OFF).free_about(AXIS)
    better = held(pose).replacing(found(SECOND, TRUE @ OFF).free_about(AXIS), SECOND)
    assert about_the_axis(better, SECOND) == pytest.approx(np.pi**2 / 3, rel=1e-3)
    assert better.symmetry is AXIS and not better.ambiguous


def test_a_turn_that_was_unknown_stays_so_until_an_image_tells_it() -> None:
    one, sure = held(unsure(FIRST)), found(SECOND, TRUE @ OFF)
    for pose in (unsure(SECOND), sure):
        better = one.replacing(pose, SECOND)
        assert better.symmetry is AXIS and better.ambiguous
        assert about_the_axis(better, SECOND) == pytest.approx(np.pi**2 / 3, rel=1e-3)
    assert one.rests(unsure(SECOND), SECOND)
    assert not one.rests(sure, SECOND)


def test_a_turn_that_was_known_stays_so_where_an_image_does_not_tell_it() -> None:
    assert held().rests(unsure(SECOND), SECOND)
    better = held().replacing(unsure(SECOND), SECOND)
    assert better.symmetry is None and not better.ambiguous
    assert about_the_axis(better, SECOND) < 1e-3
