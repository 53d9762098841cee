"""Refinement against descriptors as a good network gives them, from known poses."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.oracle import CELLS, Seen, Thing, built_in, look, off
from benchmarks.refinement import adagrad
from don_kp_ros.geometry import rigid
from don_kp_ros.meshes.raster import rasterise
from don_kp_ros.pose.comparison import Comparer, Live, image_motion
from don_kp_ros.pose.estimate import Why
from don_kp_ros.pose.refinement import stepped
from don_kp_ros.pose.render_and_compare import OUTLINES, Refined, descend, refine

Array = NDArray[np.float64]
SCENES = 20


@lru_cache(maxsize=1)
def things() -> list[Thing]:
    return built_in()


@lru_cache(maxsize=2)
def scenes(noise: float = 0.1, blur: float = 0.8, with_depth: bool = False) -> list[Seen]:
    return [
        look([things()[i % 6]], np.random.default_rng(i), noise, blur, with_depth)
        for i in range(SCENES)
    ]


def errors(found: list[tuple[Seen, Array]]) -> tuple[float, float]:
    """Return the share of poses within a tenth of the diameter, and the median ADD, metres."""
    add = [seen.things[0].add(T, seen.T[0]) for seen, T in found]
    within = [seen.things[0].found(T, seen.T[0]) for seen, T in found]
    return float(np.mean(within)), float(np.median(add))


def refined(seen: Seen, degrees: float, metres: float) -> Refined:
    rng = np.random.default_rng(int(1e6 * seen.T[0][2, 3]))  # another of every scene
    starts = [off(T, degrees, metres, rng) for T in seen.T]
    return refine(seen.surfaces, starts, seen.live)[0]


def test_the_motion_in_the_image_is_the_derivative_of_the_projection() -> None:
    rng = np.random.default_rng(0)
    T = rigid.transform(rigid.rotation_about([1, 2, 3], 0.8), [0.05, -0.03, 0.6])
    points = rng.uniform(-0.1, 0.1, (50, 3))
    found = image_motion(rigid.apply(T, points), T, CELLS)
    tiny = 1e-6
    for number, axis in enumerate(np.eye(6)):
        after, before = (
            CELLS.project(rigid.apply(stepped(T, sign * tiny * axis), points)) for sign in (1, -1)
        )
        numeric = (after - before) / (2 * tiny)
        np.testing.assert_allclose(found[:, :, number], numeric, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize('with_depth', [False, True])
def test_the_gradient_is_that_of_the_cost_inside_the_object(with_depth: bool) -> None:
    """Where borders are no part of it: a wall that fills the view."""
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(np.linspace(-1, 1, 50), np.linspace(-1, 1, 50)), axis=-1)
    relief = 0.02 * np.sin(8 * grid).sum(axis=-1, keepdims=True)
    vertices = np.concatenate([grid, relief], axis=-1).reshape(-1, 3)
    corner = (np.arange(49)[:, None] * 50 + np.arange(49)).reshape(-1, 1)
    faces = np.concatenate([corner + [0, 1, 50], corner + [1, 51, 50]])
    T = rigid.transform(translation=[0, 0, 1.0])
    wall = Thing.of('wall', vertices, faces)
    slow = np.sin(vertices @ rng.normal(size=(3, 16)) * 6 + rng.uniform(0, 6, 16))
    surface = type(wall.surface)(vertices, faces, (slow / 4).astype(np.float32))
    shown = Comparer([surface], Live(np.zeros((120, 160, 16), np.float32), CELLS))
    assert shown.compare([T])[0].cells == 120 * 160
    drawn = rasterise(rigid.apply(T, vertices), faces, CELLS)
    depth = drawn.depth if with_depth else None
    live = Live(drawn.values(surface.descriptors, faces), CELLS, depth)
    comparer = Comparer([surface], live, blur=0.0)
    away = stepped(T, np.array([0.004, -0.003, 0.005, 0.004, 0.005, -0.006]))
    gradient = comparer.compare([away])[0].gradient
    tiny = 5e-4
    for number, axis in enumerate(np.eye(6)):
        after, before = (
            comparer.compare([stepped(away, sign * tiny * axis)])[0] for sign in (1, -1)
        )
        numeric = (after.cost - before.cost) / (4 * tiny)  # of half the cost
        assert gradient[number] == pytest.approx(numeric, rel=0.1, abs=0.02 * abs(gradient).max())


@pytest.mark.parametrize(
    ('degrees', 'metres', 'share'),
    [(30, 0.01, 0.95), (45, 0.01, 0.9), (5, 0.03, 0.9)],
)
def test_poses_are_refined_from_far(degrees: float, metres: float, share: float) -> None:
    found = [(seen, refined(seen, degrees, metres).T_camera_object) for seen in scenes()]
    within, median = errors(found)
    assert within >= share
    assert median <= 0.0025


def test_with_neither_ring_nor_blur_objects_shrink_into_their_silhouettes() -> None:
    """A control: what the refinement rests on is left out."""
    medians = []
    for options in ({}, {'ring': False, 'blur': 0.0}):
        found = []
        for seen in scenes()[:8]:
            comparer = Comparer(seen.surfaces, seen.live, **options)  # type: ignore[arg-type]
            start = off(seen.T[0], 10, 0.01, np.random.default_rng(7))
            found.append((seen, descend(comparer, [start], OUTLINES)[0][0]))
        medians.append(errors(found)[1])
    assert medians[0] < 0.004
    assert medians[1] > 0.01


def test_what_shows_nothing_may_have_a_descriptor_of_its_own() -> None:
    """Where all descriptors are shifted by it, the comparison is the same; else it is not."""
    seen = scenes()[0]
    (surface,), T = seen.surfaces, [off(seen.T[0], 10, 0.01, np.random.default_rng(7))]
    shift = np.linspace(-1, 1, 16, dtype=np.float32)
    shifted = replace(surface, descriptors=surface.descriptors + shift)
    (plain,) = Comparer([surface], seen.live).compare(T)
    live = replace(seen.live, cells=seen.live.cells + shift)
    (same,) = Comparer([shifted], replace(live, nothing=shift)).compare(T)
    np.testing.assert_allclose(same.hessian, plain.hessian, rtol=1e-3, atol=1e-3)
    assert same.cost == pytest.approx(plain.cost, rel=1e-4) and same.like == plain.like
    (other,) = Comparer([shifted], live).compare(T)
    assert abs(other.cost - plain.cost) > 0.1 * abs(plain.cost)


def test_the_published_optimiser_hardly_turns_objects() -> None:
    found = [
        (seen, adagrad(seen, [off(seen.T[0], 30, 0.01, np.random.default_rng(7))])[0])
        for seen in scenes()[:8]
    ]
    assert errors(found)[0] < 0.2


def test_depth_makes_them_exact() -> None:
    seen = scenes(with_depth=True)[:8]
    within, median = errors([(one, refined(one, 30, 0.01).T_camera_object) for one in seen])
    assert within >= 0.95
    assert median < 0.001


def test_what_hides_an_object_is_told_from_it_where_all_are_refined_together() -> None:
    joint, alone = [], []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        seen = look(list(rng.permutation(np.array(things(), dtype=object)))[:5], rng, wide=0.16)
        starts = [off(T, 10, 0.01, rng) for T in seen.T]
        together = refine(seen.surfaces, starts, seen.live)
        for number, thing in enumerate(seen.things):
            if not 0.3 <= seen.visible(number) <= 0.9:
                continue
            (single,) = refine([thing.surface], [starts[number]], seen.live)
            joint.append(thing.found(together[number].T_camera_object, seen.T[number]))
            alone.append(thing.found(single.T_camera_object, seen.T[number]))
    assert len(joint) >= 12
    assert np.mean(joint) >= 0.8
    assert np.mean(joint) - np.mean(alone) >= 0.1


class TestItDoesNoHarm:
    def test_good_starts_are_not_made_worse(self) -> None:
        worse = []
        for number, seen in enumerate(scenes()[:12]):
            start = off(seen.T[0], 2, 0.003, np.random.default_rng(number))
            T = refine(seen.surfaces, [start], seen.live)[0].T_camera_object
            thing = seen.things[0]
            worse.append(thing.add(T, seen.T[0]) - thing.add(start, seen.T[0]))
        assert np.mean(np.array(worse) > 0.002) <= 0.1

    def test_an_object_that_is_not_there_is_refused_and_its_start_stays(self) -> None:
        for i, seen in enumerate(scenes()[:8]):
            other = things()[(i + 1) % 6]
            start = off(seen.T[0], 10, 0.01, np.random.default_rng(i))
            (found,) = refine([other.surface], [start], seen.live)
            assert found.refused is not None, other.name
            np.testing.assert_array_equal(found.T_camera_object, start)
            assert np.isinf(found.covariance).all()

    @pytest.mark.parametrize('place', [[0.0, 0.0, -0.5], [3.0, 0.0, 0.6], [0.0, 0.0, 0.0]])
    def test_a_pose_out_of_view_is_refused(self, place: list[float]) -> None:
        seen = scenes()[0]
        start = rigid.transform(translation=place)
        (found,) = refine(seen.surfaces, [start], seen.live)
        assert found.refused is not None and found.refused.why in (Why.TOO_FEW, Why.UNLIKE)
        np.testing.assert_array_equal(found.T_camera_object, start)

    def test_a_pose_that_is_no_transform_is_an_error(self) -> None:
        with pytest.raises(ValueError, match='must be a finite transform'):
            refine(scenes()[0].surfaces, [np.full((4, 4), np.nan)], scenes()[0].live)

    def test_the_covariance_holds(self) -> None:
        squared = []
        for seen in scenes()[:12]:
            found = refined(seen, 10, 0.01)
            if found.refused is None:
                turn = seen.T[0][:3, :3] @ found.T_camera_object[:3, :3].T
                about = np.array([turn[2, 1], turn[0, 2], turn[1, 0]])
                about = (about - [turn[1, 2], turn[2, 0], turn[0, 1]]) / 2
                away = np.concatenate([(seen.T[0] - found.T_camera_object)[:3, 3], about])
                squared.append(away @ np.linalg.solve(found.covariance, away))
        assert len(squared) >= 10
        assert 2.0 < np.median(squared) < 12.0  # 5.3 is that of six normal numbers


def test_the_frame_of_an_object_may_lie_anywhere() -> None:
    seen = scenes()[3]
    shift = rigid.transform(rigid.rotation_about([1, 0, 0], 1.0), [0.3, -0.2, 0.1])
    surface = seen.surfaces[0]
    there = type(surface)(
        rigid.apply(rigid.inverse(shift), surface.vertices), surface.faces, surface.descriptors
    )
    start = off(seen.T[0], 10, 0.01, np.random.default_rng(0))
    (one,), (other,) = (
        refine([s], [T], seen.live) for s, T in ((surface, start), (there, start @ shift))
    )
    np.testing.assert_allclose(one.T_camera_object @ shift, other.T_camera_object, atol=2e-3)
    moved = one.T_camera_object @ shift
    arm = (moved - one.T_camera_object)[:3, 3]
    carried = np.eye(6)
    carried[:3, 3:] = -np.cross(np.eye(3), arm)
    expected = carried @ one.covariance @ carried.T
    np.testing.assert_allclose(other.covariance, expected, rtol=0.3, atol=0.1 * expected.max())
