"""What a picture says of a mesh that is placed in it."""

from dataclasses import replace
from threading import Event
from types import SimpleNamespace

import numpy as np
import pytest
import trimesh

from benchmarks.oracle import CELLS, built_in, look, off, unit
from don_kp_ros.errors import RefusedError
from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera
from don_kp_ros.geometry.depth import DepthImage
from don_kp_ros.matching.view import View
from don_kp_ros.pose import mesh_descriptors, placement
from don_kp_ros.pose.comparison import Surface
from don_kp_ros.pose.constellation import Constellation
from don_kp_ros.pose.placement import Sight, place
from don_kp_ros.pose.render_and_compare import Refined, Why, judge

CAMERA = Camera(640, 480, 600.0, 600.0, 319.5, 239.5)


def test_a_learned_background_is_not_like_a_mesh() -> None:
    ball = trimesh.creation.icosphere(3, 0.07)
    vertices = np.asarray(ball.vertices)
    places = vertices / 0.14  # half a unit from the place 0, which is the background's
    squares = (places**2).sum(axis=1, keepdims=True)
    descriptors = np.concatenate([2 * places, 1 - squares], axis=1) / (1 + squares)
    surface = Surface(vertices, np.asarray(ball.faces), descriptors.astype(np.float32))
    nothing = np.array([0, 0, 0, 1], np.float32)
    cells = np.broadcast_to(nothing[:, None, None], (4, 120, 160)).copy()
    T = rigid.transform(translation=[0, 0, 0.5])
    view = View((480, 640), DepthImage(np.full((480, 640), 500, np.uint16)), CAMERA)
    sight = Sight.of(T, np.zeros((480, 640, 3), np.uint8), view, cells, nothing)
    judged = judge(surface, T, sight.live, blur=0)
    assert judged.refused is not None and judged.refused.why is Why.UNLIKE and judged.like == 0


def test_a_can_that_is_refined_only_the_wrong_way_round_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (can,) = (one for one in built_in() if one.name == 'soup')
    seen = look([can], np.random.default_rng(75), with_depth=True)
    turned = rigid.transform(rigid.rotation_about([0, 0, 1], np.pi))
    rng = np.random.default_rng(0)
    points = can.surface.vertices[rng.permutation(len(can.surface.vertices))[:64]]
    known = Constellation(points, unit(rng.normal(size=(64, 8))), np.ones(64), 'model')
    mesh = SimpleNamespace(diameter=can.diameter, path='can.obj')
    subject = SimpleNamespace(vertices=can.surface.vertices, faces=can.surface.faces, mesh=mesh)
    assert seen.live.depth is not None
    image = np.zeros((120, 160, 3), np.uint8)
    sight = Sight(seen.T[0], image, CELLS, seen.live, seen.live.depth)
    monkeypatch.setattr(placement, 'even_turns', lambda _: [np.eye(3)])
    monkeypatch.setattr(placement, '_most_alike', lambda *_: [turned])
    monkeypatch.setattr(mesh_descriptors, 'rendered_again', lambda *_: can.surface)
    with pytest.raises(RefusedError, match='looks like the picture; needed are 60%'):
        place(subject, known, sight, None, Event())  # type: ignore[arg-type]


def test_a_pose_that_a_later_round_finds_unlike_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = built_in()[0]
    seen = look([one], np.random.default_rng(0), with_depth=True)
    start = off(seen.T[0], 15, 0.02, np.random.default_rng(0))
    noise = np.random.default_rng(5).normal(size=one.surface.descriptors.shape)
    other = replace(one.surface, descriptors=unit(noise))
    mesh = SimpleNamespace(plain=False)
    subject = SimpleNamespace(vertices=one.surface.vertices, mesh=mesh)

    def refined(*rounds: Surface) -> Refined:
        described = iter(rounds)
        monkeypatch.setattr(mesh_descriptors, 'rendered_again', lambda *_: next(described))
        return mesh_descriptors.refine_rendering(
            subject,  # type: ignore[arg-type]
            start,
            np.zeros((120, 160, 3), np.uint8),
            CELLS,
            seen.live,
            None,  # type: ignore[arg-type]
        )

    unlike = refined(one.surface, other)
    assert unlike.refused is not None and unlike.refused.why is Why.UNLIKE
    assert unlike.T_camera_object is start and np.isinf(unlike.covariance).all()
    alike = refined(one.surface, one.surface, one.surface)
    assert alike.refused is None and one.found(alike.T_camera_object, seen.T[0])
