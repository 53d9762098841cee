"""Several meshes in one picture."""

from pathlib import Path

import numpy as np
import pytest

from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera
from don_kp_ros.meshes.mesh import Mesh, Part
from don_kp_ros.meshes.picture import drawn_together

CAMERA = Camera(80, 60, 100.0, 100.0, 39.5, 29.5)
GREY = np.full((60, 80, 3), 90, np.uint8)


def plate(colour: tuple[float, float, float]) -> Mesh:
    corners = 0.05 * np.array([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
    part = Part(corners, np.array([[0, 1, 2], [0, 2, 3]]), (*colour, 1.0))
    return Mesh(Path('plate'), (part,), 'plain')


@pytest.mark.parametrize('order', [(0, 1), (1, 0)])
def test_what_is_nearer_hides_what_is_behind(order: tuple[int, int]) -> None:
    meshes = plate((1, 0, 0)), plate((0, 1, 0))
    T = rigid.transform(translation=[0, 0, 0.5]), rigid.transform(translation=[0.05, 0, 0.4])
    found, owner, depth = drawn_together(
        GREY, [meshes[i] for i in order], [T[i] for i in order], CAMERA
    )
    # The near one covers 25 pixels about u = 52, the far one 20 about u = 39.5.
    whose = np.array([*order, -1])[owner]
    for u, expected in ((28, -1), (32, 0), (45, 1), (62, 1), (68, -1)):
        assert whose[30, u] == expected
        shown = found[30, u]
        assert (shown == 90).all() if expected < 0 else shown.argmax() == expected
    np.testing.assert_allclose(depth[30, 32], 0.5)
    np.testing.assert_allclose(depth[30, 45], 0.4)
    assert np.isnan(depth[30, 68])
    assert (GREY == 90).all()
