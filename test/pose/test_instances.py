"""Objects found in pictures whose truth is known: each instance once, with its pose."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from truth import CAMERA, Array, Scene, halves_that_look_alike

from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.depth import DepthImage
from don_kp_ros.matching.candidates import Candidates, find_candidates
from don_kp_ros.matching.view import View
from don_kp_ros.pose.constellation import Constellation
from don_kp_ros.pose.estimate import Confidence, Pose, Why
from don_kp_ros.pose.instances import (
    SIMILAR,
    _is_turn,
    _unexplained,
    against_rivals,
    find_instances,
)
from don_kp_ros.pose.refinement import stepped
from don_kp_ros.pose.registration import Fit, register
from don_kp_ros.pose.symmetry import Form, Symmetry, form_of
from don_kp_ros.pose.teaching import Taught, teach

NOWHERE = np.zeros((64, 3))  # of the taught points is not known which way they face

TAUGHT = Scene.of((0.0, 0.0, 0.5))


@pytest.fixture(scope='module')
def taught() -> Taught:
    cells, view, mask = TAUGHT.cells(), TAUGHT.view(), TAUGHT.mask()
    return teach(cells, view, mask, 'a model', TAUGHT.T_camera_base[:3, :3])


def candidates_in(scene: Scene, constellation: Constellation, view: View) -> Candidates:
    queries = torch.from_numpy(constellation.descriptors.copy())
    return find_candidates(scene.cells(), queries, view, SIMILAR)


def found_in(scene: Scene, taught: Taught, depth: bool = True, **given: object) -> list[Pose]:
    view = scene.view() if depth else View((480, 640), None, CAMERA, 'no depth')
    candidates = candidates_in(scene, taught.constellation, view)
    return find_instances(taught.constellation, scene.cells(), candidates, view, **given)


def truths(scene: Scene, taught: Taught) -> list[Array]:
    T_egg_object = rigid.inverse(TAUGHT.eggs[0].T_camera_object) @ taught.T_camera_object
    return [egg.T_camera_object @ T_egg_object for egg in scene.eggs]


def error(T: Array, true: Array) -> tuple[float, float]:
    turn = Rotation.from_matrix(T[:3, :3] @ true[:3, :3].T).magnitude()
    return float(np.linalg.norm(T[:3, 3] - true[:3, 3])), float(np.rad2deg(turn))


@pytest.mark.parametrize('yaw', [-2.5, -1.2, 0.0, 0.9, 2.2])
def test_an_object_is_found_wherever_it_lies(taught: Taught, yaw: float) -> None:
    scene = Scene.of((0.05, -0.03, yaw), tilt=0.15)
    (pose,) = found_in(scene, taught)
    metres, degrees = error(pose.T_camera_object, truths(scene, taught)[0])
    assert pose.refused is None
    assert metres < 0.002
    assert degrees < 2
    assert pose.fit > 0.7


@pytest.mark.parametrize('apart', [0.11, 0.2])
def test_two_instances_are_found_once_each(taught: Taught, apart: float) -> None:
    scene = Scene.of((-apart / 2, 0.0, 1.0), (apart / 2, 0.02, -1.8), tilt=0.2)
    poses = found_in(scene, taught)
    assert len(poses) == 2
    assert poses[0].fit >= poses[1].fit
    for true in truths(scene, taught):
        best = min(error(pose.T_camera_object, true) for pose in poses)
        assert best[0] < 0.003
        assert best[1] < 3


def test_an_object_is_found_by_pixels_alone(taught: Taught) -> None:
    scene = Scene.of((0.03, 0.0, 0.9))
    loose = Confidence(metres=0.05, radians=0.3)
    (pose,) = found_in(scene, taught, depth=False, confidence=loose)
    metres, degrees = error(pose.T_camera_object, truths(scene, taught)[0])
    assert (pose.unit, pose.refused) == ('px', None)
    assert np.isnan(pose.fit)
    assert metres < 0.02
    assert degrees < 8


def test_candidates_on_an_instance_are_explained_though_the_camera_does_not_see_all_of_it(
    taught: Taught,
) -> None:
    view = View((480, 640), None, CAMERA, 'no depth')
    found = candidates_in(TAUGHT, taught.constellation, view)
    (pose,) = found_in(TAUGHT, taught, depth=False)
    seen = taught.constellation.points[1:]
    behind = rigid.apply(rigid.inverse(pose.T_camera_object), np.array([[0.0, 0.0, -0.1]]))
    without, with_it = (
        replace(taught.constellation, points=np.concatenate([first, seen]))
        for first in (seen[:1], behind)
    )
    others = _unexplained(without, found, view, pose)
    assert len(others.uv) < len(found.uv)
    np.testing.assert_array_equal(_unexplained(with_it, found, view, pose).uv, others.uv)


def test_depth_that_is_zero_everywhere_is_no_depth(taught: Taught) -> None:
    scene = Scene.of((0.03, 0.0, 0.9))
    view = View((480, 640), DepthImage(np.zeros((480, 640), np.uint16)), CAMERA)
    candidates = candidates_in(scene, taught.constellation, view)
    loose = Confidence(metres=0.05, radians=0.3)
    poses = find_instances(taught.constellation, scene.cells(), candidates, view, None, loose)
    assert [pose.unit for pose in poses] == ['px']
    assert poses[0].refused is None


def test_a_pose_that_is_too_uncertain_without_depth_tells_why_there_is_none(
    taught: Taught,
) -> None:
    scene = Scene.of((0.03, 0.0, 0.9))
    view = View((480, 640), None, CAMERA, 'the nearest is 17 ms later')
    candidates = candidates_in(scene, taught.constellation, view)
    (pose,) = find_instances(taught.constellation, scene.cells(), candidates, view)
    assert str(pose.refused).endswith('; the nearest is 17 ms later')


def test_what_is_not_there_is_not_found(taught: Taught) -> None:
    (nothing,) = found_in(Scene.of(), taught)
    assert nothing.refused is not None
    (other,) = found_in(Scene.of((0.0, 0.0, 0.3), seed=7), taught)
    assert other.refused is not None


def test_a_picture_without_a_camera_says_so(taught: Taught) -> None:
    scene = Scene.of((0.0, 0.0, 0.0))
    view = View((480, 640), lacks='no camera info yet')
    candidates = candidates_in(scene, taught.constellation, view)
    (pose,) = find_instances(taught.constellation, scene.cells(), candidates, view)
    assert str(pose.refused) == 'no camera info yet'


def test_registration_pulls_a_pose_to_the_truth(taught: Taught) -> None:
    scene = Scene.of((0.02, 0.01, 0.8), tilt=0.2)
    (true,) = truths(scene, taught)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        step = rng.normal(size=6) * np.repeat([0.003, np.deg2rad(4)], 3)
        fit = register(taught.constellation, stepped(true, step), scene.cells(), scene.view())
        metres, degrees = error(fit.T_camera_object, true)
        assert metres < 0.0015
        assert degrees < 1.5
        assert fit.seen.mean() > 0.8
        assert fit.looked_through < 0.02


def test_a_pose_in_mid_air_is_contradicted(taught: Taught) -> None:
    scene = Scene.of((0.0, 0.0, 0.5))
    T = truths(scene, taught)[0].copy()
    T[2, 3] -= 0.1
    fit = register(taught.constellation, T, scene.cells(), scene.view())
    assert fit.looked_through > 0.9
    assert fit.quality < 0
    hidden = truths(scene, taught)[0].copy()
    hidden[2, 3] += 0.1
    fit = register(taught.constellation, hidden, scene.cells(), scene.view())
    assert not fit.seen.any()
    assert not fit.contradicted.any()


def test_outside_of_the_picture_nothing_is_seen(taught: Taught) -> None:
    scene = Scene.of((0.0, 0.0, 0.5))
    T = rigid.transform(np.eye(3), [1.0, 0.0, 0.5])
    fit = register(taught.constellation, T, scene.cells(), scene.view())
    assert not fit.seen.any()
    assert not fit.contradicted.any()
    np.testing.assert_allclose(fit.T_camera_object, T)


def test_a_symmetric_object_says_which_turn_is_unknown(taught: Taught) -> None:
    scene = Scene.of((0.0, 0.0, 1.0))
    known = Symmetry(np.array([0.0, 0.0, 1.0]), np.zeros(3))
    (pose,) = found_in(scene, taught, form=Form(known, None, NOWHERE))
    (sure,) = found_in(scene, taught)
    assert pose.symmetry == known
    assert sure.symmetry is None
    added = pose.covariance - sure.covariance
    turn = pose.T_camera_object[:3, 2]
    np.testing.assert_allclose(added[3:, 3:], np.pi**2 / 3 * np.outer(turn, turn), atol=1e-9)


def found_where_halves_look_alike(
    symmetry: Symmetry | None = None, axis: Symmetry | None = None
) -> list[Pose]:
    both, view, mask = halves_that_look_alike()
    axes = rigid.rotation_about([1, 0, 0], np.pi)
    own = teach(both, view, mask, 'a model', axes).constellation
    queries = torch.from_numpy(own.descriptors.copy())
    candidates = find_candidates(both, queries, view, SIMILAR)
    form = Form(symmetry, axis, NOWHERE)
    return find_instances(own, both, candidates, view, form=form)


def test_a_minimum_that_is_no_turn_about_the_known_axis_is_refused() -> None:
    upright = Symmetry(np.array([0.0, 0.0, 1.0]), np.zeros(3))
    (known,) = found_where_halves_look_alike(upright)
    assert known.refused is None
    assert known.symmetry == upright and not known.ambiguous
    lying = Symmetry(np.array([1.0, 0.0, 0.0]), np.zeros(3))
    (other,) = found_where_halves_look_alike(lying)
    assert other.refused is not None
    assert other.refused.why is Why.AMBIGUOUS


def test_what_is_hidden_says_nothing_and_what_is_unlike_speaks_against_a_pose(
    taught: Taught,
) -> None:
    scene = Scene.of((0.0, 0.0, 0.5))
    (true,) = truths(scene, taught)
    cells, view = scene.cells(), scene.view()
    whole = register(taught.constellation, true, cells, view)
    assert whole.quality > 0.6
    assert view.depth is not None
    metres = view.depth.metres().copy()
    metres[:240] = 0.3  # something near hides the upper half of the picture
    hiding = View(view.size, DepthImage(metres), CAMERA)
    half = register(taught.constellation, true, cells, hiding)
    assert 0.3 * whole.quality < half.quality < 0.8 * whole.quality
    unlike = register(taught.constellation, true, -cells, view)
    assert unlike.quality < -0.9


def test_another_minimum_at_the_same_place_is_an_unknown_turn(taught: Taught) -> None:
    """The far half of the object looks as the near half does, turned by half a turn."""
    poses = found_where_halves_look_alike()
    assert len(poses) == 1
    assert poses[0].refused is None
    assert poses[0].symmetry is not None
    assert abs(poses[0].symmetry.direction[2]) > 0.98
    assert poses[0].ambiguous


@pytest.mark.parametrize(
    ('order', 'degrees', 'another'),
    [
        (0, 90, False),
        (2, 180, False),
        (2, 90, True),
        (4, 90, False),
        (4, 45, True),
        (None, 90, True),
    ],
)
def test_a_turn_to_where_an_object_looks_the_same_is_no_other_one(
    order: int | None, degrees: float, another: bool
) -> None:
    axis = np.array([0.0, 0.0, 1.0])
    symmetry = None if order is None else Symmetry(axis, np.zeros(3), order)
    motion = rigid.transform(rigid.rotation_about(axis, np.deg2rad(degrees)))
    assert _is_turn(motion, symmetry) is another
    tipped = rigid.transform(rigid.rotation_about([1, 0, 0], np.deg2rad(60)))
    assert _is_turn(tipped, symmetry)


def test_what_shows_its_back_is_contradicted(taught: Taught) -> None:
    """Upside down, the far side lies on the measured surface, but the camera saw the near one."""
    scene = Scene.of((0.02, 0.01, 0.8), tilt=0.0)
    (true,) = truths(scene, taught)
    own, cells, view = taught.constellation, scene.cells(), scene.view()
    facing = form_of(own).facing
    assert facing.any(axis=1).mean() > 0.5
    right = register(own, true, cells, view, facing=facing)
    assert right.quality == pytest.approx(register(own, true, cells, view).quality, abs=0.01)
    lowest = own.points[:, 2].max() - 0.004
    over = rigid.transform(rigid.rotation_about([1, 0, 0], np.pi), [0, 0, 2 * lowest])
    unaware = register(own, true @ over, cells, view)
    aware = register(own, true @ over, cells, view, facing=facing)
    assert unaware.seen.sum() > aware.seen.sum()
    assert aware.looked_through > unaware.looked_through + 0.1
    assert aware.quality < unaware.quality - 0.1


UPRIGHT = Symmetry(np.array([0.0, 0.0, 1.0]), np.zeros(3))


def against(taught: Taught, *turns: tuple[list[float], float]) -> Pose:
    """Judge a pose against others, turned by degrees about axes, that fit as well."""
    number = len(taught.constellation.points)
    T, none, yes = taught.T_camera_object, np.zeros(number), np.ones(number, np.bool_)
    pose = Pose(T, yes, 1.0, 0.001, 1e-6 * np.eye(6), fit=0.8)
    rivals = [
        Fit(
            T @ rigid.transform(rigid.rotation_about(axis, np.deg2rad(angle))),
            yes, none, ~yes, 0.75, 0.0,
        )
        for axis, angle in turns
    ]  # fmt: skip
    return against_rivals(taught.constellation, pose, rivals, Form(None, UPRIGHT, NOWHERE))


def test_a_turn_about_the_axis_of_a_round_shape_is_unknown_and_no_more(taught: Taught) -> None:
    pose = against(taught, ([0.05, 0.0, 1.0], 100.0), ([0.0, 0.0, 1.0], 50.0))
    assert pose.refused is None and pose.ambiguous
    assert pose.symmetry is UPRIGHT
    axis = pose.T_camera_object[:3, 2]
    about, across = axis, np.cross(axis, [1.0, 0.0, 0.0])
    turning = pose.covariance[3:, 3:]
    assert about @ turning @ about == pytest.approx(np.pi**2 / 3, rel=0.01)
    assert across @ turning @ across < 1e-5


def test_a_turn_about_another_axis_is_not_excused_by_a_round_shape(taught: Taught) -> None:
    both = against(taught, ([0.0, 0.0, 1.0], 100.0), ([1.0, 0.0, 0.0], 180.0))
    assert both.refused is not None
    assert both.refused.why is Why.AMBIGUOUS
    other = against(taught, ([1.0, 0.0, 0.0], 180.0))
    assert other.ambiguous and other.symmetry is not None
    assert abs(other.symmetry.direction[0]) == pytest.approx(1.0)
    sure = against(taught, ([0.0, 0.0, 1.0], 5.0))
    assert not sure.ambiguous and sure.symmetry is None


def test_a_round_object_tells_the_axis_of_its_shape_where_its_print_does_not() -> None:
    (pose,) = found_where_halves_look_alike(axis=UPRIGHT)
    assert pose.refused is None and pose.ambiguous
    assert pose.symmetry is UPRIGHT
