"""Objects that look the same when they are turned, and those that do not."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from truth import CAMERA, Array, blob, candidates_at, pose

from don_kp_ros.geometry import rigid
from don_kp_ros.pose.constellation import Constellation
from don_kp_ros.pose.estimate import Noise
from don_kp_ros.pose.solve import solve
from don_kp_ros.pose.symmetry import Symmetry, form_of

AXIS, CENTRE = np.array([0.0, 0.6, 0.8]), np.array([0.01, -0.02, 0.03])


def described(points: Array, looks: Array) -> Constellation:
    """Give points descriptors that change smoothly with what they look like (N, K)."""
    rng = np.random.default_rng(0)
    waves = rng.normal(size=(looks.shape[1], 24)), rng.uniform(0, 6, 24)
    descriptors = np.sin(looks @ waves[0] * 1.5 + waves[1])
    descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
    return Constellation(points, descriptors, np.ones(len(points)), 'a model')


def can(seen: float, printed: bool, number: int = 100) -> Constellation:
    """The side and the lid of a can about AXIS through CENTRE; ``seen`` of a full turn of it."""
    rng = np.random.default_rng(1)
    angle = rng.uniform(-np.pi, np.pi, number) * seen
    height, radius = rng.uniform(-0.05, 0.05, number), np.full(number, 0.035)
    lid = np.arange(number) < number // 4
    angle[lid] = rng.uniform(-np.pi, np.pi, lid.sum())
    height[lid], radius[lid] = 0.05, 0.035 * np.sqrt(rng.uniform(0, 1, lid.sum()))
    along = np.stack([radius * np.cos(angle), radius * np.sin(angle), height], axis=1)
    across = np.cross(AXIS, [1.0, 0.0, 0.0])
    points = CENTRE + along @ np.stack([[1.0, 0.0, 0.0], across, AXIS])
    looks = np.stack([height, radius], axis=1) / 0.03
    if printed:
        looks = np.concatenate([looks, along[:, :2] / 0.02], axis=1)
    return described(points, looks)


def angle_between(direction: Array, axis: Array) -> float:
    return float(np.arccos(np.clip(abs(direction @ axis), 0, 1)))


@pytest.mark.parametrize('seen', [1.0, 0.6])
def test_a_can_without_a_print_is_symmetric_about_its_axis(seen: float) -> None:
    found = form_of(can(seen, printed=False)).symmetry
    assert found is not None
    assert angle_between(found.direction, AXIS) < np.deg2rad(12)
    off = np.cross(found.point - CENTRE, AXIS)
    assert np.linalg.norm(off) < 0.008
    assert found.order == 0


@pytest.mark.parametrize('noise', [0.0015, 0.002, 0.003])
def test_a_round_object_that_is_measured_badly_has_no_order(noise: float) -> None:
    """What looks the same after every turn that is tried does so after any."""
    plain = can(1.0, printed=False)
    for seed in range(3):
        off = np.random.default_rng(seed).normal(0, noise, plain.points.shape)
        one = Constellation(
            plain.points + off, plain.descriptors, plain.weights, plain.fingerprint
        )
        found = form_of(one).symmetry
        assert found is None or found.order == 0


@pytest.mark.parametrize(('length', 'width'), [(0.2, 0.04), (0.2, 0.08), (0.1, 0.1)])
def test_a_plain_plate_does_not_look_the_same_after_any_turn(length: float, width: float) -> None:
    rng = np.random.default_rng(3)
    points = rng.uniform(-0.5, 0.5, (100, 3)) * [length, width, 0.0]
    for looks in (points[:, 2:], np.abs(points[:, :2]) / 0.03):
        found = form_of(described(points, looks)).symmetry
        assert found is None or found.order in (2, 4)


def test_a_print_that_hardly_shows_leaves_the_turn_unknown() -> None:
    """Neighbours around the axis differ a little, as a network sees a bottle from one side."""
    plain = can(0.5, printed=False)
    along = plain.points - plain.points.mean(axis=0)
    rng = np.random.default_rng(5)
    faint = 8 * np.sin(along @ rng.normal(size=(3, 24)) / 0.1)
    for share, symmetric in ((0.02, True), (0.3, False)):
        mixed = plain.descriptors + share * faint
        mixed /= np.linalg.norm(mixed, axis=1, keepdims=True)
        one = Constellation(plain.points, mixed, plain.weights, plain.fingerprint)
        found = form_of(one).symmetry
        assert (found is not None) == symmetric
        if found is not None:
            assert angle_between(found.direction, AXIS) < np.deg2rad(3)


def test_a_printed_can_and_an_object_without_symmetry_are_not() -> None:
    assert form_of(can(1.0, printed=True)).symmetry is None
    assert form_of(blob()).symmetry is None
    points = blob(100).points
    assert form_of(described(points, points / 0.03)).symmetry is None


def test_a_box_that_is_the_same_from_two_sides_has_an_axis_of_half_a_turn() -> None:
    rng = np.random.default_rng(2)
    half = rng.uniform(-1, 1, (60, 3)) * [0.05, 0.04, 0.0] + [0, 0, 0.03]
    points = np.concatenate([half, half * [-1, -1, 1]])
    looks = np.concatenate([half, half]) / 0.02
    found = form_of(described(points + [0.02, 0, 0], looks)).symmetry
    assert found is not None
    assert angle_between(found.direction, np.array([0.0, 0.0, 1.0])) < np.deg2rad(5)
    np.testing.assert_allclose(found.point[:2], [0.02, 0], atol=0.003)
    assert found.order == 2


def test_a_flat_side_is_not_the_same_when_it_is_turned_over() -> None:
    """Its print is the same in a mirror, but a mirror is no turn that leaves the side in view."""
    rng = np.random.default_rng(4)
    half = rng.uniform(-1, 1, (40, 3)) * [0.05, 0.04, 0.0]
    half[:, 0] = np.abs(half[:, 0]) + 0.004
    points = np.concatenate([half, half * [-1, 1, 1]])
    assert form_of(described(points, np.concatenate([half, half]) / 0.02)).symmetry is None


def test_a_plate_that_is_the_same_from_four_sides_has_an_axis_of_a_quarter_turn() -> None:
    rng = np.random.default_rng(3)
    side = rng.uniform(-1, 1, (30, 3)) * [0.012, 0.03, 0.02] + [0.04, 0, 0]
    quarters = [side @ rigid.rotation_about([0, 0, 1], n * np.pi / 2).T for n in range(4)]
    found = form_of(described(np.concatenate(quarters), np.tile(side, (4, 1)) / 0.02)).symmetry
    assert found is not None
    assert angle_between(found.direction, np.array([0.0, 0.0, 1.0])) < np.deg2rad(5)
    assert found.order == 4


def test_the_covariance_says_which_turn_is_unknown() -> None:
    constellation, T = blob(), pose(4)
    rng = np.random.default_rng(0)
    position = rigid.apply(T, constellation.points) + rng.normal(0, 0.002, (64, 3))
    sure = solve(constellation, candidates_at(position), CAMERA, Noise(2.0))
    unsure = sure.free_about(Symmetry(AXIS, CENTRE))
    assert unsure.symmetry is not None and unsure.symmetry.direction is AXIS
    assert not unsure.ambiguous
    tiny = 1e-5
    about = about_point(rigid.rotation_about(AXIS, tiny), CENTRE)
    along = difference(sure.T_camera_object @ about, sure.T_camera_object) / tiny
    before, after = (along @ np.linalg.solve(one.covariance, along) for one in (sure, unsure))
    assert before > 1000
    assert after == pytest.approx(3 / np.pi**2, rel=0.01)
    other = about_point(rigid.rotation_about([1, 0, 0], tiny), np.zeros(3))
    across = difference(sure.T_camera_object @ other, sure.T_camera_object) / tiny
    assert across @ np.linalg.solve(unsure.covariance, across) > 1000


def about_point(turn: Array, point: Array) -> Array:
    return rigid.transform(turn, point - turn @ point)


def difference(T: Array, other: Array) -> Array:
    turn = Rotation.from_matrix(T[:3, :3] @ other[:3, :3].T).as_rotvec()
    return np.concatenate([T[:3, 3] - other[:3, 3], turn])


def test_a_motion_is_a_turn_or_not() -> None:
    turn = about_point(rigid.rotation_about(AXIS, 2.0), CENTRE)
    found = Symmetry.of_turn(turn, 0.05)
    assert found is not None
    assert angle_between(found.direction, AXIS) < 1e-6
    np.testing.assert_allclose(np.cross(found.point - CENTRE, AXIS), 0, atol=1e-9)
    assert Symmetry.of_turn(rigid.transform(translation=[0.05, 0, 0]), 0.05) is None
    assert Symmetry.of_turn(rigid.transform(translation=0.04 * AXIS) @ turn, 0.05) is None
    assert Symmetry.of_turn(np.eye(4), 0.05) is None


def test_the_shape_of_a_printed_can_is_round_and_its_lid_faces_up() -> None:
    one = can(1.0, printed=True)
    shape = form_of(one)
    assert shape.axis is not None
    assert angle_between(shape.axis.direction, AXIS) < np.deg2rad(3)
    known = shape.facing.any(axis=1)
    lid = np.arange(100) < 25
    inner = lid & (np.linalg.norm(np.cross(one.points - CENTRE, AXIS), axis=1) < 0.025)
    assert known[inner].all()  # level enough, for the axis is 37 degrees off the vertical
    np.testing.assert_allclose(shape.facing[inner] @ AXIS, 1.0, atol=0.05)
    assert (shape.facing[known][:, 2] > 0).all()
    np.testing.assert_allclose(np.linalg.norm(shape.facing[known], axis=1), 1.0)


def test_what_lies_under_something_else_may_have_been_seen_from_below() -> None:
    """A plate that was turned over to teach its other side, too."""
    x, y = np.meshgrid(np.linspace(-0.04, 0.04, 8), np.linspace(-0.04, 0.04, 8))
    top = np.stack([x.ravel(), y.ravel(), np.full(64, 0.03)], axis=1)
    points = np.concatenate([top, top + [0.003, 0.002, -0.03]])
    facing = form_of(described(points, points / 0.02)).facing
    np.testing.assert_allclose(facing[:64], np.tile([0.0, 0.0, 1.0], (64, 1)), atol=1e-6)
    assert not facing[64:].any()
