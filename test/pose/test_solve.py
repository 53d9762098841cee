"""The pose of a constellation against analytic truth."""

import cv2
import numpy as np
import pytest
from scipy import stats
from scipy.spatial.transform import Rotation
from truth import CAMERA, Array, blob, candidates_at, constellation_of, pose

from don_kp_ros.geometry import rigid
from don_kp_ros.matching.candidates import Candidates
from don_kp_ros.pose.constellation import Constellation
from don_kp_ros.pose.estimate import Confidence, Noise, Pose, Why
from don_kp_ros.pose.solve import solve

NOISE = Noise(pixels=2.0, depth=0.004, alike=1.0)


def noisy(position: Array, noise: Noise, rng: np.random.Generator) -> Array:
    """Move points off: by pixels in every direction, and by depth along their rays."""
    z = position[:, 2:]
    off = rng.normal(size=position.shape) * noise.pixels * z / np.sqrt(CAMERA.fx * CAMERA.fy)
    depth = z + noise.depth * z**2 * rng.normal(size=z.shape)
    return position * depth / z + off


def elsewhere(number: int, rng: np.random.Generator) -> Array:
    return rng.uniform([-0.2, -0.15, 0.4], [0.2, 0.15, 0.7], (number, 3))


def error(found: Pose, T: Array) -> tuple[float, float]:
    """Metres and radians off."""
    turn = Rotation.from_matrix(found.T_camera_object[:3, :3] @ T[:3, :3].T).magnitude()
    return float(np.linalg.norm(found.T_camera_object[:3, 3] - T[:3, 3])), float(turn)


@pytest.mark.parametrize('seed', range(5))
@pytest.mark.parametrize('number', [3, 4, 64])
def test_perfect_matches_give_the_exact_pose(number: int, seed: int) -> None:
    points = np.array([[0.04, 0, 0], [0, 0.04, 0.01], [-0.03, 0, 0.02], [0, 0, -0.04]])
    constellation = constellation_of(points[:number]) if number < 64 else blob(seed=seed)
    T = pose(seed)
    found = solve(constellation, candidates_at(rigid.apply(T, constellation.points)), CAMERA)
    np.testing.assert_allclose(found.T_camera_object, T, atol=1e-8)
    assert found.inliers.all()
    assert found.share == 1
    assert found.residual < 1e-8
    assert found.unit == 'm'
    assert number < 64 or found.refused is None


@pytest.mark.parametrize('seed', range(5))
@pytest.mark.parametrize('number', [6, 64])
def test_perfect_pixels_give_the_exact_pose_without_depth(number: int, seed: int) -> None:
    constellation, T = blob(number, seed), pose(seed)
    candidates = candidates_at(rigid.apply(T, constellation.points))
    candidates.position[:] = np.nan
    found = solve(constellation, candidates, CAMERA, confidence=Confidence(metres=0.1))
    np.testing.assert_allclose(found.T_camera_object, T, atol=1e-5)
    assert found.inliers.all()
    assert found.residual < 1e-3
    assert found.unit == 'px'
    assert found.refused is None or found.refused.why is Why.UNCERTAIN


@pytest.mark.parametrize(('wrong', 'others'), [(0.5, 0), (0.75, 0), (0.5, 3), (0.75, 3)])
def test_most_matches_may_be_wrong(wrong: float, others: int) -> None:
    """Up to 15 of 16 candidates: three quarters of the best ones, and three others of each."""
    constellation = blob()
    for seed in range(20):
        rng, T = np.random.default_rng(seed), pose(seed)
        best = noisy(rigid.apply(T, constellation.points), NOISE, rng)
        bad = rng.permutation(64) < wrong * 64
        best[bad] = elsewhere(int(bad.sum()), rng)
        every = np.concatenate(
            [best[:, None], elsewhere(64 * others, rng).reshape(64, others, 3)], 1
        )
        query = np.repeat(np.arange(64), 1 + others)
        found = solve(constellation, candidates_at(every.reshape(-1, 3), query), CAMERA, NOISE)
        metres, radians = error(found, T)
        assert found.refused is None
        assert metres < 0.004
        assert radians < np.deg2rad(5)
        assert found.inliers[~bad].mean() > 0.9
        assert found.inliers[bad].sum() <= 3


def test_chance_is_refused() -> None:
    """Where nothing is right, no pose is told; in 50 trials with 4 candidates of each point."""
    constellation = blob()
    for seed in range(50):
        rng = np.random.default_rng(seed)
        query = np.repeat(np.arange(64), 4)
        found = solve(constellation, candidates_at(elsewhere(256, rng), query), CAMERA, NOISE)
        assert found.refused is not None
        assert found.refused.why in (Why.NO_CONSENSUS, Why.UNCERTAIN)


@pytest.mark.parametrize('depth', [True, False])
def test_the_covariance_is_that_of_the_errors(depth: bool) -> None:
    """Of 1000 trials, the squared Mahalanobis distances follow chi-square of 6 degrees."""
    constellation, T, confidence = blob(40), pose(3), Confidence(metres=1, radians=1)
    rng = np.random.default_rng(0)
    distances = []
    for _ in range(1000):
        position = rigid.apply(T, constellation.points)
        if depth:
            candidates = candidates_at(noisy(position, NOISE, rng))
        else:
            candidates = candidates_at(position)
            candidates.uv[:] += rng.normal(0, NOISE.pixels, candidates.uv.shape)
            candidates.position[:] = np.nan
        found = solve(constellation, candidates, CAMERA, NOISE, confidence)
        assert found.refused is None
        off = found.T_camera_object
        turn = Rotation.from_matrix(T[:3, :3] @ off[:3, :3].T).as_rotvec()
        delta = np.concatenate([T[:3, 3] - off[:3, 3], turn])
        distances.append(delta @ np.linalg.solve(found.covariance, delta))
    expected = stats.chi2(6)
    assert np.mean(distances) == pytest.approx(6, rel=0.1)
    for quantile in (0.5, 0.9, 0.99):
        below = np.mean(distances < expected.ppf(quantile))
        assert below == pytest.approx(quantile, abs=0.04 if quantile < 0.9 else 0.02)


def test_the_covariance_grows_with_what_the_matches_are_off() -> None:
    constellation, T, rng = blob(), pose(), np.random.default_rng(0)
    position = noisy(rigid.apply(T, constellation.points), Noise(4.0, 0.004), rng)
    told = solve(constellation, candidates_at(position), CAMERA, Noise(4.0, 0.004))
    less = solve(constellation, candidates_at(position), CAMERA, Noise(3.0, 0.004))
    assert np.trace(less.covariance) == pytest.approx(np.trace(told.covariance), rel=0.25)


def test_weights_count() -> None:
    """Heavy points that agree on a pose win over more light ones that agree on another."""
    points = blob().points
    weights = np.where(np.arange(64) < 24, 1.0, 0.1)
    constellation = Constellation(points, blob().descriptors, weights, 'a model')
    heavy, light = pose(1), pose(2)
    position = np.where(
        (np.arange(64) < 24)[:, None], rigid.apply(heavy, points), rigid.apply(light, points)
    )
    found = solve(constellation, candidates_at(position), CAMERA, NOISE)
    np.testing.assert_allclose(found.T_camera_object, heavy, atol=1e-8)
    assert found.share == pytest.approx(24 / 28)


def few(points: Array) -> tuple[Constellation, Candidates]:
    T = pose()
    return constellation_of(points), candidates_at(rigid.apply(T, points))


LINE = np.linspace(-0.05, 0.05, 20)[:, None] * [0.6, 0.0, 0.8]
TRIANGLE = np.array([[0.0, 0, 0], [0.03, 0, 0], [0, 0.04, 0]])


@pytest.mark.parametrize(
    ('points', 'why', 'said'),
    [
        (LINE, Why.DEGENERATE, 'lie in a line'),
        (np.zeros((10, 3)), Why.DEGENERATE, 'lie in a line'),
        (np.repeat(TRIANGLE[:2], 10, axis=0), Why.DEGENERATE, 'lie in a line'),
    ],
)
def test_degenerate_points_are_refused(points: Array, why: Why, said: str) -> None:
    found = solve(*few(points), CAMERA)
    assert found.refused is not None
    assert found.refused.why is why
    assert said in found.refused.text
    assert np.isnan(found.T_camera_object).all()


def test_duplicates_of_a_triangle_have_its_pose() -> None:
    points = np.repeat(TRIANGLE, 5, axis=0)
    found = solve(*few(points), CAMERA)
    np.testing.assert_allclose(found.T_camera_object, pose(), atol=1e-8)
    assert found.inliers.all()


def test_points_almost_in_a_line_are_uncertain_about_it() -> None:
    """0.3 mm beside a line of 10 cm, seen to 2 pixels: the turn about the line is a guess."""
    rng = np.random.default_rng(0)
    points = LINE + rng.normal(0, 0.0003, LINE.shape)
    found = solve(*few(points), CAMERA, NOISE)
    assert found.refused is not None
    assert found.refused.why is Why.UNCERTAIN
    values, directions = np.linalg.eigh(found.covariance[3:, 3:])
    line = found.T_camera_object[:3, :3] @ [0.6, 0.0, 0.8]
    assert abs(directions[:, -1] @ line) > 0.98
    assert values[-1] > 20 * values[1]


def test_too_few_points_are_refused() -> None:
    constellation, candidates = few(blob().points)
    two = candidates.of(0, 2)
    found = solve(constellation, two, CAMERA)
    assert found.refused is not None
    assert found.refused.why is Why.TOO_FEW
    assert '2 of 64 points' in str(found.refused)
    two.position[:] = np.nan
    found = solve(constellation, two, CAMERA)
    assert found.refused is not None
    assert (found.refused.why, found.unit) == (Why.TOO_FEW, 'px')
    none = solve(constellation, candidates.of(0, 0), CAMERA)
    assert none.refused is not None
    assert none.refused.why is Why.TOO_FEW
    agreeing = solve(constellation, candidates.of(0, 7), CAMERA)
    assert agreeing.refused is not None
    assert agreeing.refused.why is Why.TOO_FEW
    assert agreeing.refused.text.startswith(
        '7 of 64 points have a match with depth; a pose needs 8'
    )


def test_points_of_another_shape_have_no_consensus() -> None:
    constellation, candidates = few(blob().points)
    larger = candidates_at(candidates.position * [3.0, 3.0, 1.0])
    found = solve(constellation, larger, CAMERA, NOISE)
    assert found.refused is not None
    assert found.refused.why is Why.NO_CONSENSUS


@pytest.mark.parametrize('fails', [False, True])
def test_places_that_opencv_knows_no_pose_for_are_refused(
    fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQPNP finds none, or raises, for some places that RANSAC agreed on; which is its secret."""

    def nothing(*_: object, **__: object) -> tuple[int, tuple[()], tuple[()], None]:
        if fails:
            raise cv2.error('point_coordinate_variance >= POINT_VARIANCE_THRESHOLD')
        return 0, (), (), None

    constellation = blob()
    candidates = candidates_at(rigid.apply(pose(), constellation.points))
    candidates.position[:] = np.nan
    monkeypatch.setattr(cv2, 'solvePnPGeneric', nothing)
    refused = solve(constellation, candidates, CAMERA).refused
    assert refused is not None
    assert refused.why is Why.NO_CONSENSUS


def test_a_flat_object_that_may_be_seen_in_two_ways_is_refused_without_depth() -> None:
    """A small card, far away and only a little tilted: its mirror image fits as well."""
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 1, (40, 3)) * [0.03, 0.03, 0.0]
    T = rigid.transform(rigid.rotation_about([1, 0, 0], np.pi - 0.5), [0, 0, 1.5])
    candidates = candidates_at(rigid.apply(T, points))
    candidates.uv[:] += rng.normal(0, 0.5, candidates.uv.shape)
    candidates.position[:] = np.nan
    loose = Confidence(metres=1, radians=1)
    found = solve(constellation_of(points), candidates, CAMERA, Noise(0.5), loose)
    assert found.refused is not None
    assert found.refused.why is Why.AMBIGUOUS


def test_a_nearly_flat_object_is_found_without_depth() -> None:
    """The front of a box with some relief, of which IPPE finds nothing as it is."""
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 1, (60, 3)) * [0.08, 0.1, 0.002]
    T = rigid.transform(rigid.rotation_about([1, 0.4, 0], np.pi - 0.6), [0.02, 0, 0.5])
    candidates = candidates_at(rigid.apply(T, points))
    candidates.position[:] = np.nan
    found = solve(constellation_of(points), candidates, CAMERA, Noise(0.5))
    assert found.refused is None
    np.testing.assert_allclose(found.T_camera_object, T, atol=1e-4)


def test_equal_arguments_give_equal_poses() -> None:
    constellation, rng = blob(), np.random.default_rng(0)
    position = noisy(rigid.apply(pose(), constellation.points), NOISE, rng)
    position[::2] = elsewhere(32, rng)
    first, second = (solve(constellation, candidates_at(position), CAMERA) for _ in range(2))
    np.testing.assert_array_equal(first.T_camera_object, second.T_camera_object)
