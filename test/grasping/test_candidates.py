"""Pinches in point clouds of simple things on a table, as a camera straight above sees them."""

import numpy as np
import pytest

from don_kp_ros.geometry import rigid
from don_kp_ros.grasping.candidates import NoGraspError, PinchParameters, aligned_candidate
from don_kp_ros.grasping.pinching import inclined_candidates, pinch_candidates
from don_kp_ros.robots import hand


def seen(height, generator, centre=(0.5, 0.0), half=0.16, step=0.001, noise=0.0015, holes=0.05):
    """Sample height(x, y) on pixels 1 mm apart, with noise along z and missing pixels."""
    axis = np.arange(-half, half, step)
    x, y = np.meshgrid(centre[0] + axis, centre[1] + axis, indexing='ij')
    points = np.stack((x, y, height(x, y)), axis=-1).reshape(-1, 3)
    points[:, 2] += generator.normal(0.0, noise, len(points))
    return points[generator.random(len(points)) > holes]


def turned(x, y, centre, yaw):
    """Return coordinates along and across a direction, from a centre."""
    dx, dy = x - centre[0], y - centre[1]
    return dx * np.cos(yaw) + dy * np.sin(yaw), -dx * np.sin(yaw) + dy * np.cos(yaw)


def box(centre, yaw, size):
    def height(x, y):
        a, b = turned(x, y, centre, yaw)
        return np.where((np.abs(a) <= size[0] / 2) & (np.abs(b) <= size[1] / 2), size[2], 0.0)

    return height


def cap(centre, yaw, radius=0.06, crown=0.06, width=0.062, length=0.05, arch=0.024, edge=0.010):
    """Make a dome and an arched tongue in front of it, along yaw."""

    def height(x, y):
        a, b = turned(x, y, centre, yaw)
        r2 = (a**2 + b**2) / radius**2
        dome = np.where(r2 < 1, crown * np.sqrt(np.clip(1 - r2, 0, 1)), 0.0)
        tongue = (a > 0) & (a < radius + length) & (np.abs(b) <= width / 2)
        arched = edge + (arch - edge) * (1 - (2 * b / width) ** 2)
        return np.maximum(dome, np.where(tongue, arched, 0.0))

    return height


def brim(centre, yaw, radius=0.06, length=0.05, arch=0.024):
    """Return the middle of the cap's tongue."""
    a = radius + length / 2
    return np.array([centre[0] + a * np.cos(yaw), centre[1] + a * np.sin(yaw), arch])


@pytest.fixture
def generator():
    return np.random.default_rng(0)


def closing_angle(candidate, yaw):
    """Return the angle in degrees between the closing axis and a direction, either way round."""
    direction = np.array([np.cos(yaw), np.sin(yaw), 0.0])
    cosine = abs(candidate.T_base_tcp[:3, 1] @ direction)
    return np.rad2deg(np.arccos(min(1.0, cosine)))


@pytest.mark.parametrize('yaw', [0.0, 0.4, 1.3, -0.9])
def test_a_box_is_held_across_its_narrow_side(generator, yaw):
    points = seen(box((0.5, 0.1), yaw, (0.12, 0.04, 0.05)), generator, centre=(0.5, 0.1))
    best = pinch_candidates(points, [0.5, 0.1, 0.05])[0]
    assert closing_angle(best, yaw + np.pi / 2) < 4
    assert best.width == pytest.approx(0.04, abs=0.005)
    T = best.T_base_tcp
    assert np.allclose(T[:3, :3].T @ T[:3, :3], np.eye(3))
    assert np.linalg.det(T[:3, :3]) == pytest.approx(1.0)
    assert np.allclose(T[:3, 2], [0, 0, -1])
    assert np.allclose(T[:2, 3], [0.5, 0.1], atol=0.004)
    # The fingers' ends reach 15 mm below the top: the tool centre point is 9 mm above them.
    assert T[2, 3] == pytest.approx(0.05 - 0.015 + 0.009, abs=0.004)


@pytest.mark.parametrize('seed', range(12))
def test_a_cap_is_held_across_its_brim(seed):
    generator = np.random.default_rng(seed)
    yaw = generator.uniform(-np.pi, np.pi)
    shape = {
        'radius': generator.uniform(0.05, 0.065),
        'crown': generator.uniform(0.05, 0.07),
        'width': generator.uniform(0.05, 0.068),
        'length': generator.uniform(0.04, 0.06),
    }
    points = seen(cap((0.5, 0.0), yaw, **shape), generator, half=0.2)
    middle = brim((0.5, 0.0), yaw, shape['radius'], shape['length'])
    best = pinch_candidates(points, middle + generator.normal(0.0, 0.003, 3))[0]
    assert closing_angle(best, yaw + np.pi / 2) < 10
    assert best.width == pytest.approx(shape['width'], abs=0.006)
    offset = best.T_base_tcp[:2, 3] - middle[:2]
    assert abs(offset @ [-np.sin(yaw), np.cos(yaw)]) < 0.003
    assert np.linalg.norm(offset) < 0.012
    # The ends between the table and the edges' top at 10 mm.
    assert 0.00499 <= best.T_base_tcp[2, 3] - 0.009 <= 0.008


def test_a_wall_leaves_only_the_directions_along_it(generator):
    post = box((0.5, 0.0), 0.0, (0.03, 0.03, 0.05))
    wall = box((0.5, 0.045), 0.0, (0.3, 0.02, 0.06))
    points = seen(lambda x, y: np.maximum(post(x, y), wall(x, y)), generator)
    for candidate in pinch_candidates(points, [0.5, 0.0, 0.05]):
        assert closing_angle(candidate, 0.0) < 35


def test_the_palm_stays_above_what_it_covers(generator):
    low = box((0.5, 0.0), 0.0, (0.03, 0.03, 0.02))
    tower = box((0.5, 0.09), 0.0, (0.3, 0.03, 0.2))
    points = seen(lambda x, y: np.maximum(low(x, y), tower(x, y)), generator)
    for candidate in pinch_candidates(points, [0.5, 0.0, 0.02]):
        # Along the tower the palm is narrow enough; across, it would touch it.
        assert closing_angle(candidate, 0.0) < 50
    close = box((0.5, 0.035), 0.0, (0.3, 0.03, 0.2))
    points = seen(lambda x, y: np.maximum(low(x, y), close(x, y)), generator)
    with pytest.raises(NoGraspError):
        pinch_candidates(points, [0.5, 0.0, 0.02])


@pytest.mark.parametrize(
    ('height', 'message'),
    [
        (box((0.5, 0.0), 0.3, (0.12, 0.091, 0.05)), r'9\.\d cm wide here; the gripper opens 8\.0'),
        (lambda x, y: np.zeros_like(x), 'nothing was seen above the table'),
        (box((0.5, 0.1), 0.0, (0.04, 0.04, 0.05)), 'nothing was seen above the table at'),
        (box((0.5, 0.0), 0.0, (0.04, 0.04, 0.007)), 'too low here'),
    ],
    ids=['wide', 'flat', 'beside', 'low'],
)
def test_why_there_is_no_grasp(generator, height, message):
    points = seen(height, generator, noise=0.0008)
    with pytest.raises(NoGraspError, match=message):
        pinch_candidates(points, [0.5, 0.0, 0.02])


def test_a_crowd_leaves_no_room_for_the_fingers(generator):
    post = box((0.5, 0.0), 0.0, (0.03, 0.03, 0.05))

    def ring(x, y):
        distance = np.hypot(x - 0.5, y)
        return np.where((distance > 0.045) & (distance < 0.08), 0.04, post(x, y))

    with pytest.raises(NoGraspError, match=r'no room for the fingers|hand would touch'):
        pinch_candidates(seen(ring, generator), [0.5, 0.0, 0.05])


def test_candidates_are_sorted_and_differ(generator):
    points = seen(box((0.5, 0.0), 0.0, (0.04, 0.04, 0.05)), generator)
    found = pinch_candidates(points, [0.5, 0.0, 0.05], count=4)
    assert 2 <= len(found) <= 4
    scores = [candidate.score for candidate in found]
    assert scores == sorted(scores)
    # A square is held across either pair of sides.
    assert min(closing_angle(candidate, 0.0) for candidate in found) < 5
    assert min(closing_angle(candidate, np.pi / 2) for candidate in found) < 5


def test_input_is_checked():
    with pytest.raises(ValueError, match='finite'):
        pinch_candidates(np.zeros((10, 3)), [0.5, np.nan, 0.0])
    with pytest.raises(NoGraspError, match='nothing was seen'):
        pinch_candidates(np.full((10, 3), np.nan), [0.5, 0.0, 0.0])
    with pytest.raises(ValueError, match='clearance'):
        PinchParameters(opening=0.005)


def test_an_aligned_grasp_comes_along_the_pose_s_minus_z():
    T_base_pose = rigid.transform(rigid.rotation_about([1, 2, 3], 0.8), [0.5, 0.1, 0.2])
    T = aligned_candidate(T_base_pose, np.empty((0, 3))).T_base_tcp
    assert np.allclose(T[:3, 2], -T_base_pose[:3, 2])
    assert np.allclose(T[:3, 1], T_base_pose[:3, 1])
    assert np.linalg.det(T[:3, :3]) == pytest.approx(1.0)
    assert np.allclose(T[:3, 3], [0.5, 0.1, 0.2])


def held_at(z, tilt=0.0, yaw=0.0):
    """Return a pose over (0.5, 0), turned about the vertical and tilted about its y."""
    turn = rigid.rotation_about([0, 0, 1], yaw) @ rigid.rotation_about([0, 1, 0], tilt)
    return rigid.transform(turn, [0.5, 0.0, z])


def test_an_aligned_grasp_spares_what_stands_around(generator):
    beam = box((0.5, 0.0), 0.0, (0.2, 0.04, 0.06))
    points = seen(beam, generator)
    # Across the beam the fingers find their places, along it and too deep they do not.
    aligned_candidate(held_at(0.04), points)
    aligned_candidate(held_at(0.04, tilt=0.4), points)
    for pose in (held_at(0.04, yaw=np.pi / 2), held_at(0.04, tilt=0.4, yaw=1.4)):
        with pytest.raises(NoGraspError, match='no room for the fingers'):
            aligned_candidate(pose, points)
    with pytest.raises(NoGraspError, match='hand would touch'):
        aligned_candidate(held_at(0.015), points)
    # A tower on one side stops a hand that is tilted towards it.
    tower = box((0.58, 0.0), 0.0, (0.03, 0.08, 0.15))
    points = seen(lambda x, y: np.maximum(beam(x, y), tower(x, y)), generator)
    aligned_candidate(held_at(0.04), points)
    aligned_candidate(held_at(0.04, tilt=-0.4), points)
    with pytest.raises(NoGraspError, match='hand would touch'):
        aligned_candidate(held_at(0.04, tilt=0.8), points)


def test_an_aligned_grasp_agrees_with_the_pinches_found(generator):
    for yaw in (0.0, 0.7, 2.0):
        points = seen(cap((0.5, 0.0), yaw), generator, half=0.2)
        for candidate in pinch_candidates(points, brim((0.5, 0.0), yaw)):
            pose = candidate.T_base_tcp @ np.diag([-1.0, 1.0, -1.0, 1.0])
            assert np.allclose(aligned_candidate(pose, points).T_base_tcp, candidate.T_base_tcp)


def touched(candidate, height, centre=(0.5, 0.0), half=0.3, step=0.002):
    """Count a scene's points in the way of the open hand, and between its fingers.

    The scene is the true one, solid down to the table; the hand is its boxes, drawn out along z.
    """
    axis = np.arange(-half, half, step)
    x, y, share = np.meshgrid(
        centre[0] + axis, centre[1] + axis, np.linspace(0.02, 1, 50), indexing='ij'
    )
    points = np.stack([x, y, share * height(x, y)], axis=-1).reshape(-1, 3)
    points = points[points[:, 2] > 0]
    x, y, z = rigid.apply(rigid.inverse(candidate.T_base_tcp), points).T
    x, y = np.abs(x), np.abs(y)
    inner, opening = hand.FINGER_BREADTH / 2, 0.04
    fingers = (x < inner) & (y > opening) & (y < opening + hand.FINGER_THICKNESS)
    inside = fingers & (z < hand.TIP_LENGTH)
    for breadth, length, underside in hand.BODY:
        inside |= (x < breadth) & (y < length) & (z < -underside)
    between = (x < inner) & (y < opening) & (z < hand.TIP_LENGTH)
    return int(inside.sum()), int(between.sum())


@pytest.mark.parametrize('seed', range(4))
def test_beside_a_tower_an_inclined_hand_holds_what_one_from_above_cannot(seed):
    generator = np.random.default_rng(seed)
    low = box((0.5, 0.0), 0.0, (0.03, 0.03, 0.03))
    tower = box((0.5, 0.035), 0.0, (0.3, 0.03, 0.2))

    def height(x, y):
        return np.maximum(low(x, y), tower(x, y))

    points = seen(height, generator)
    with pytest.raises(NoGraspError):
        pinch_candidates(points, [0.5, 0.0, 0.03])
    found = inclined_candidates(points, [0.5, 0.0, 0.03])
    for candidate in found:
        T = candidate.T_base_tcp
        assert np.allclose(T[:3, :3].T @ T[:3, :3], np.eye(3)) and np.linalg.det(T[:3, :3]) > 0
        assert np.deg2rad(24) < np.arccos(-T[2, 2]) < np.deg2rad(46)
        assert T[1, 2] > 0.1  # it comes from the side that is free
        inside, between = touched(candidate, height)
        assert inside == 0 and between > 20
        assert hand.lowest_of_fingers(T, 0.08) > 0.004


def test_an_inclined_hand_comes_along_the_normal_of_what_it_holds(generator):
    """A wedge whose top slopes by 30 degrees towards +x."""

    def wedge(x, y):
        on = (np.abs(x - 0.5) <= 0.05) & (np.abs(y) <= 0.015)
        return np.where(on, 0.05 - (x - 0.5) * np.tan(np.deg2rad(30)), 0.0)

    best = inclined_candidates(seen(wedge, generator), [0.5, 0.0, 0.05])[0]
    normal = np.array([np.sin(np.deg2rad(30)), 0.0, np.cos(np.deg2rad(30))])
    assert -best.T_base_tcp[:3, 2] @ normal > np.cos(np.deg2rad(8))
    assert closing_angle(best, np.pi / 2) < 10
    assert best.width == pytest.approx(0.03, abs=0.006)
    assert touched(best, wedge)[0] == 0


def test_where_an_inclined_hand_finds_nothing_is_told(generator):
    wide = box((0.5, 0.0), 0.3, (0.12, 0.12, 0.05))
    with pytest.raises(NoGraspError):
        inclined_candidates(seen(wide, generator), [0.5, 0.0, 0.05])
    with pytest.raises(NoGraspError, match='nothing was seen above the table'):
        inclined_candidates(np.zeros((0, 3)), [0.5, 0.0, 0.05])
    # A free place of the table, beside what could be held.
    beside = box((0.5, 0.04), 0.0, (0.05, 0.03, 0.04))
    with pytest.raises(NoGraspError, match='nothing was seen above the table at the point'):
        inclined_candidates(seen(beside, generator), [0.5, 0.0, 0.0])


@pytest.mark.parametrize('seed', range(8))
def test_an_inclined_hand_takes_nothing_that_stands_before_the_point(seed):
    """A low thing among towers: what is told is held at the point, or nothing is."""
    generator = np.random.default_rng(seed)
    low = box((0.5, 0.0), generator.uniform(0, 3), (0.035, 0.03, generator.uniform(0.015, 0.05)))
    towers = [
        box((0.5 + away * np.cos(angle), away * np.sin(angle)), 0.0, (0.04, 0.04, 0.2))
        for angle, away in zip(
            np.arange(4) * np.pi / 2 + generator.uniform(0, 1),
            generator.uniform(0.05, 0.07, 4),
            strict=True,
        )
    ]

    def height(x, y):
        return np.maximum.reduce([part(x, y) for part in (low, *towers)])

    target = np.array([0.5, 0.0, float(low(0.5, 0.0))])
    try:
        found = inclined_candidates(seen(height, generator), target)
    except NoGraspError:
        return
    for candidate in found:
        assert np.linalg.norm(candidate.T_base_tcp[:3, 3] - target) < 0.04
