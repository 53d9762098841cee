"""Axes of surfaces whose axis is known."""

import numpy as np
import pytest
from truth import Array

from don_kp_ros.geometry import rigid
from don_kp_ros.pose.revolution import revolution_of, round_axis_of

AXIS, CENTRE = np.array([0.0, 0.6, 0.8]), np.array([0.01, -0.02, 0.03])


def turned(profile: Array, angle: Array) -> Array:
    """Put points at heights and radii (N, 2) and angles (N,) about AXIS through CENTRE."""
    across = np.cross(AXIS, [1.0, 0.0, 0.0])
    height, radius = profile.T
    along = np.stack([radius * np.cos(angle), radius * np.sin(angle), height], axis=1)
    return np.asarray(CENTRE + along @ np.stack([[1.0, 0.0, 0.0], across, AXIS]))


def bottle(seen: float, number: int, rng: np.random.Generator) -> Array:
    """Draw points of the wall, the shoulder and the lid, within ``seen`` of a full turn."""
    corners = np.array([[-0.08, 0.03], [0.02, 0.03], [0.06, 0.013], [0.08, 0.013], [0.08, 0.0]])
    lengths = np.linalg.norm(np.diff(corners, axis=0), axis=1)
    at = rng.uniform(0, lengths.sum(), number)
    ends = np.concatenate([[0], np.cumsum(lengths)])
    profile = np.stack([np.interp(at, ends, corners[:, k]) for k in range(2)], axis=1)
    return turned(profile, rng.uniform(-np.pi, np.pi, number) * seen)


@pytest.mark.parametrize('seen', [1.0, 0.6, 0.4])
def test_the_axis_of_a_bottle_is_found_from_the_side_that_is_seen(seen: float) -> None:
    rng = np.random.default_rng(0)
    points = bottle(seen, 64, rng) + rng.normal(0, 0.0007, (64, 3))
    found = revolution_of(points)
    assert found is not None
    assert abs(found.direction @ AXIS) > np.cos(np.deg2rad(4))
    assert abs(found.direction @ found.point) < 1e-9
    away = np.cross(found.point + found.direction * (found.direction @ CENTRE) - CENTRE, AXIS)
    assert np.linalg.norm(away) < 0.003
    assert (np.abs(found.off) < 0.0025).mean() > 0.9


def test_heights_radii_and_angles_give_the_points_back() -> None:
    points = bottle(1.0, 40, np.random.default_rng(1))
    found = revolution_of(points)
    assert found is not None
    np.testing.assert_allclose(points @ found.direction, found.height, atol=1e-12)
    arm = points - found.point - found.height[:, None] * found.direction
    np.testing.assert_allclose(np.linalg.norm(arm, axis=1), found.radius, atol=1e-12)
    steps = np.exp(1j * (found.angle - found.angle[0]))
    turns = [rigid.rotation_about(found.direction, angle) for angle in np.angle(steps)]
    back = np.array([turn.T @ one for turn, one in zip(turns, arm, strict=True)])
    there = np.array([turn @ one for turn, one in zip(turns, arm, strict=True)])
    first = arm[0] / found.radius[0]
    best = max(
        np.abs(back @ first / found.radius).min(), np.abs(there @ first / found.radius).min()
    )
    assert best > 1 - 1e-9


def test_the_axis_moves_with_the_points() -> None:
    points = bottle(0.6, 64, np.random.default_rng(2))
    T = rigid.transform(rigid.rotation_about([1, 2, -1], 1.1), [0.2, -0.3, 0.5])
    one, other = revolution_of(points), revolution_of(rigid.apply(T, points))
    assert one is not None and other is not None
    assert abs(T[:3, :3] @ one.direction @ other.direction) > 1 - 1e-6
    moved = rigid.apply(T, one.point[None])[0] - other.point
    assert np.linalg.norm(np.cross(moved, other.direction)) < 1e-4


def test_a_block_is_no_surface_of_revolution() -> None:
    rng = np.random.default_rng(3)
    points = rng.uniform(-1, 1, (90, 3)) * [0.06, 0.04, 0.05]
    face = np.arange(90) % 3
    points[np.arange(90), face] = np.array([0.06, 0.04, 0.05])[face]
    found = revolution_of(points)
    assert found is not None
    assert (np.abs(found.off) < 0.0025).mean() < 0.9


def test_few_or_degenerate_points_have_no_axis_or_a_finite_one() -> None:
    assert revolution_of(np.zeros((3, 3))) is None
    line = np.linspace(0, 0.1, 20)[:, None] * [1.0, 0.0, 0.0]
    for points in (line, np.zeros((20, 3)), np.repeat(line[:4], 5, axis=0)):
        found = revolution_of(points)
        assert found is not None
        assert np.isfinite(found.direction).all() and np.isfinite(found.point).all()
        assert np.isfinite(found.off).all()


def test_what_is_round_has_an_axis_and_what_has_a_handle_has_none() -> None:
    rng = np.random.default_rng(4)
    points = bottle(0.7, 60, rng) + rng.normal(0, 0.0007, (60, 3))
    found = round_axis_of(points)
    assert found is not None
    assert abs(found.direction @ AXIS) > np.cos(np.deg2rad(4))
    assert found.order == 0
    handle = turned(np.array([[-0.03, 0.052], [0.0, 0.055], [0.02, 0.05]]), np.full(3, 0.4))
    with_it = np.concatenate([points, handle])
    few = revolution_of(with_it)
    assert few is not None
    assert (np.abs(few.off) < 0.0025).mean() > 0.9  # by its wall it would be round
    assert round_axis_of(with_it) is None


def test_what_is_seen_from_one_side_need_not_be_round() -> None:
    """Half of the wall of a bottle may as well be that of a trough."""
    rng = np.random.default_rng(6)
    for seen, known in ((0.8, True), (0.5, False)):
        points = bottle(seen, 60, rng) + rng.normal(0, 0.0005, (60, 3))
        assert revolution_of(points) is not None
        assert (round_axis_of(points) is not None) == known


def test_a_flat_side_is_not_round_whatever_its_outline() -> None:
    rng = np.random.default_rng(5)
    assert (
        round_axis_of(turned(rng.uniform(0, [0.0, 0.04], (80, 2)), 2 * np.pi * rng.random(80)))
        is None
    )


def test_degenerate_points_are_round_about_no_axis() -> None:
    line = np.linspace(0, 0.1, 20)[:, None] * [1.0, 0.0, 0.0]
    for points in (line, np.zeros((20, 3)), np.repeat(line[:4], 5, axis=0)):
        assert round_axis_of(points) is None
