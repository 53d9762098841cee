"""What a picture says of a mesh that is placed in it."""

import numpy as np
import trimesh

from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera
from don_kp_ros.geometry.depth import DepthImage
from don_kp_ros.matching.view import View
from don_kp_ros.pose.comparison import Surface
from don_kp_ros.pose.placement import Sight
from don_kp_ros.pose.render_and_compare import Why, judge

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
