"""Cameras whose lens distorts, against the models' own equations."""

from __future__ import annotations

import numpy as np
import pytest

from don_kp_ros.geometry.camera import Camera

PINHOLE = Camera(640, 480, 384.0, 383.0, 322.5, 237.0)
D455 = (-0.0558, 0.0657, -0.0007, 0.0003, -0.0209)
RATIONAL = (0.42, -0.31, 0.0004, -0.0002, 0.05, 0.35, -0.12, 0.01)
FISHEYE = (0.11, -0.02, 0.004, -0.001)
LENSES = [(D455, False), (D455[:4], False), (RATIONAL, False), (FISHEYE, True)]


def lens(distortion: tuple[float, ...], fisheye: bool = False) -> Camera:
    c = PINHOLE
    return Camera(c.width, c.height, c.fx, c.fy, c.cx, c.cy, distortion, fisheye)


def pixels(D: tuple[float, ...], fisheye: bool, xy: np.ndarray) -> np.ndarray:
    """Say where points (N, 2) of the plane z = 1 are seen (Brown 1966, Kannala 2006)."""
    x, y = xy.T
    r2 = x**2 + y**2
    if fisheye:
        r = np.sqrt(r2)
        theta = np.arctan(r)
        bent = theta * (1 + sum(k * theta ** (2 * i + 2) for i, k in enumerate(D)))
        x, y = bent / r * x, bent / r * y
    else:
        k1, k2, p1, p2, k3, k4, k5, k6 = np.pad(D, (0, 8 - len(D)))
        radial = (1 + k1 * r2 + k2 * r2**2 + k3 * r2**3) / (1 + k4 * r2 + k5 * r2**2 + k6 * r2**3)
        x, y = (
            x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x**2),
            y * radial + p1 * (r2 + 2 * y**2) + 2 * p2 * x * y,
        )
    return np.stack([PINHOLE.fx * x + PINHOLE.cx, PINHOLE.fy * y + PINHOLE.cy], axis=1)


@pytest.mark.parametrize(('distortion', 'fisheye'), LENSES)
def test_points_go_through_the_lens_and_back(distortion: tuple, fisheye: bool) -> None:
    camera = lens(distortion, fisheye)
    xy = np.random.default_rng(0).uniform([-0.6, -0.45], [0.6, 0.45], (500, 2))
    depth = np.random.default_rng(1).uniform(0.2, 2.0, 500)
    points = np.column_stack([xy * depth[:, None], depth])
    seen = pixels(distortion, fisheye, xy)
    assert np.abs(seen - PINHOLE.project(points)).max() > 2  # a lens that matters
    np.testing.assert_allclose(camera.project(points), seen, atol=1e-9)
    np.testing.assert_allclose(camera.deproject(seen, depth), points, atol=1e-6)


def test_a_whole_depth_image_is_lifted_as_its_pixels_are() -> None:
    camera = lens(D455)
    depth = np.random.default_rng(0).uniform(0.2, 2.0, (480, 640))
    depth[7, 9] = np.nan
    points = camera.deproject_image(depth)
    for u, v in ((0, 0), (639, 479), (320, 240)):
        np.testing.assert_allclose(points[v, u], camera.deproject([u, v], depth[v, u]))
    assert np.isnan(points[7, 9]).all()


@pytest.mark.parametrize(('distortion', 'fisheye'), [((), False), *LENSES])
def test_behind_the_camera_and_without_points_nothing_is_seen(
    distortion: tuple, fisheye: bool
) -> None:
    camera = lens(distortion, fisheye)
    assert np.isnan(camera.project([0.1, 0.2, -1.0])).all()
    assert camera.project(np.zeros((0, 3))).shape == (0, 2)
    assert camera.deproject(np.zeros((0, 2)), np.zeros(0)).shape == (0, 3)


def test_where_the_lens_has_no_ray_there_is_no_point() -> None:
    # r (1 - r^2 / 2) is at most .544, at r = .816: pixels farther out show nothing.
    camera = lens((-0.5, 0.0, 0.0, 0.0))
    assert np.isnan(camera.deproject([PINHOLE.cx + 0.7 * PINHOLE.fx, PINHOLE.cy], 1.0)[:2]).all()
    assert np.isfinite(camera.deproject([PINHOLE.cx + 0.3 * PINHOLE.fx, PINHOLE.cy], 1.0)).all()


# EuRoC's cam0 (Burri et al. 2016) and the left colour camera of KITTI's 2011_09_26 (Geiger 2013).
EUROC = Camera(
    752, 480, 458.654, 457.296, 367.215, 248.375,
    (-0.28340811, 0.07395907, 0.00019359, 1.76187114e-05),
)  # fmt: skip
KITTI = Camera(
    1392, 512, 959.791, 956.9251, 696.0217, 224.1806,
    (-0.3691481, 0.1968681, 0.001353473, 0.0005677587, -0.06770705),
)  # fmt: skip


@pytest.mark.parametrize('camera', [EUROC, KITTI])
def test_every_pixel_of_a_lens_that_bends_much_has_a_ray(camera: Camera) -> None:
    v, u = np.indices((camera.height, camera.width), dtype=np.float64)
    points = camera.deproject_image(np.ones((camera.height, camera.width)))
    np.testing.assert_allclose(camera.project(points), np.stack([u, v], axis=-1), atol=1e-6)


@pytest.mark.parametrize(
    'camera', [EUROC, KITTI, *(lens(*one) for one in LENSES), lens((-0.3, 0.02, 0, 0), True)]
)
def test_a_point_outside_of_the_picture_is_not_seen_in_it(camera: Camera) -> None:
    """Off the axis by up to 88 degrees, where the radius of plain polynomials falls again."""
    tilts = np.deg2rad(np.linspace(0.1, 88, 2000))
    for turn in np.linspace(0, 2 * np.pi, 17):
        towards = np.array([np.cos(turn), np.sin(turn), 0])
        points = np.sin(tilts)[:, None] * towards + np.cos(tilts)[:, None] * [0, 0, 1]
        uv = camera.project(points)
        inside = camera.contains(uv)
        assert inside[0]
        assert not inside[np.flatnonzero(~inside)[0] :].any()
        out = np.linalg.norm(uv - [camera.cx, camera.cy], axis=1)
        rises = np.diff(out[np.isfinite(out)])
        assert (rises > -0.01).all()  # tangential terms bend it a little at the end


@pytest.mark.parametrize(
    ('distortion', 'fisheye'),
    [((0.1,), False), ((0.1, 0.0, 0.0, 0.0, 0.0), True), ((np.nan, 0.0, 0.0, 0.0), False)],
)
def test_distortion_that_is_none_is_refused(distortion: tuple, fisheye: bool) -> None:
    with pytest.raises(ValueError, match='camera distortion is'):
        lens(distortion, fisheye)
