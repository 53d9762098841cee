"""The simulated camera against the geometry that it draws."""

import mujoco
import numpy as np
import pytest

from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera
from don_kp_ros.simulation.camera import D435, Frame, look_at, with_faults
from don_kp_ros.simulation.renderer import Renderer
from don_kp_ros.simulation.scene import Layout, build

OFF_CENTRE = Camera(320, 240, 300.0, 300.0, 140.25, 130.5)
BALL, RADIUS = np.array([0.45, 0.08, 0.10]), 0.05


@pytest.fixture(scope='module')
def ball() -> tuple[mujoco.MjModel, mujoco.MjData]:
    model = mujoco.MjModel.from_xml_string(
        f"""<mujoco><visual><quality numslices="128" numstacks="128"/></visual>
        <worldbody><light pos="0 0 3" castshadow="false"/>
        <geom type="plane" size="3 3 .1" rgba="0 0 1 1"/>
        <body name="ball" pos="{BALL[0]} {BALL[1]} {BALL[2]}">
          <geom type="sphere" size="{RADIUS}" rgba="1 0 0 1"/></body>
        </worldbody></mujoco>"""
    )
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return model, data


@pytest.mark.parametrize('camera', [D435, OFF_CENTRE])
def test_depth_and_mask_are_where_the_pinhole_model_says(
    ball: tuple[mujoco.MjModel, mujoco.MjData], camera: Camera
) -> None:
    model, data = ball
    T_world_optical = look_at(np.array([0.3, -0.2, 0.7]), np.array([0.45, 0.0, 0.0]))
    renderer = Renderer(model, camera)
    try:
        depth = renderer.render(data, T_world_optical).depth
        mask = renderer.mask(data, T_world_optical, 'ball')
    finally:
        renderer.close()
    centre = rigid.apply(rigid.inverse(T_world_optical), BALL)
    v, u = np.indices(depth.shape)
    rays = camera.deproject(np.stack([u, v], axis=-1), np.ones(depth.shape))
    # A ray hits the ball where |z ray - centre| = radius.
    a, b = (rays**2).sum(-1), rays @ centre
    discriminant = b**2 - a * (centre @ centre - RADIUS**2)
    expected = (b - np.sqrt(np.maximum(discriminant, 0))) / a
    inside = discriminant > 1e-4
    assert mask[inside].all()
    assert not mask[discriminant < -1e-4].any()
    assert depth[inside] == pytest.approx(expected[inside], abs=2e-3)
    assert np.abs(depth[inside] - expected[inside]).mean() < 3e-4
    points = rigid.apply(T_world_optical, camera.deproject_image(depth))
    assert points[discriminant < -1e-4][:, 2] == pytest.approx(0.0, abs=1e-3)


def test_pictures_are_those_of_mujocos_own_renderer() -> None:
    """Of a cluttered scene; the one with which it shares the graphics context is drawn between."""
    scenes = [build(Layout.draw(seed, 0))[0] for seed in (1, 2)]
    everything = [mujoco.MjData(model) for model in scenes]
    for model, data in zip(scenes, everything, strict=True):
        mujoco.mj_forward(model, data)
    T_world_optical = look_at(np.array([0.3, -0.2, 0.7]), np.array([0.5, 0.0, 0.0]))
    renderers = [Renderer(model) for model in scenes]
    shown = [r.render(d, T_world_optical) for r, d in zip(renderers, everything, strict=True)]
    model, data, renderer = scenes[0], everything[0], renderers[0]
    again = renderer.render(data, T_world_optical)
    bodies = [name for name in (model.body(i).name for i in range(model.nbody)) if name]
    masks = [renderer.mask(data, T_world_optical, name) for name in bodies]
    with mujoco.Renderer(model, D435.height, D435.width) as theirs:
        theirs.update_scene(data)
        for own, camera in zip(renderer._scene.camera, theirs.scene.camera, strict=True):
            for name in ('pos', 'forward', 'up'):
                getattr(camera, name)[:] = getattr(own, name)
            for name in ('center', 'width', 'bottom', 'top'):
                setattr(camera, f'frustum_{name}', getattr(own, f'frustum_{name}'))
        colour = theirs.render().copy()
        theirs.enable_depth_rendering()
        depth = theirs.render().copy()
        theirs.enable_segmentation_rendering()
        geoms = theirs.render()[..., 0]
    for one in renderers:
        one.close()
    np.testing.assert_array_equal(shown[0].colour, colour)
    np.testing.assert_array_equal(again.colour, colour)
    assert not np.array_equal(shown[1].colour, colour)
    np.testing.assert_allclose(again.depth, depth, rtol=1e-5)
    of_geom = np.append(model.geom_bodyid, -1)
    for name, mask in zip(bodies, masks, strict=True):
        np.testing.assert_array_equal(mask, of_geom[geoms] == model.body(name).id)
    assert sum(mask.any() for mask in masks) > 2


def test_what_is_hidden_out_of_view_is_not_missed(
    ball: tuple[mujoco.MjModel, mujoco.MjData], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, data = ball
    renderer = Renderer(model, OFF_CENTRE)
    # From well inside the picture to well outside, across each border, and behind the camera.
    targets = [BALL + 0.1 * np.array([x, y, 0]) for x in range(-4, 5) for y in (-4, 0, 4)]
    poses = [look_at(np.array([0.3, -0.2, 0.7]), target) for target in targets]
    poses.append(look_at(np.array([0.45, 0.4, 0.1]), np.array([0.45, 1.0, 0.0])))
    try:
        seen = [renderer.render(data, pose) for pose in poses]
        hidden = [model.ngeom * [False] != list(renderer._out_of_view(data, p)) for p in poses]
        monkeypatch.setattr(Renderer, '_out_of_view', lambda *_: np.zeros(model.ngeom, bool))
        whole = [renderer.render(data, pose) for pose in poses]
    finally:
        renderer.close()
    for a, b in zip(seen, whole, strict=True):
        np.testing.assert_array_equal(a.colour, b.colour)
        np.testing.assert_array_equal(a.depth, b.depth)
    assert 5 < sum(hidden) < len(poses) - 5


def test_look_at_puts_the_target_on_the_axis_and_up_upwards() -> None:
    T = look_at(np.array([1.0, -1.0, 0.8]), np.array([0.2, 0.1, 0.0]))
    assert np.linalg.det(T[:3, :3]) == pytest.approx(1.0)
    target = rigid.apply(rigid.inverse(T), [0.2, 0.1, 0.0])
    assert target[:2] == pytest.approx([0, 0])
    assert target[2] > 0
    assert T[2, 1] < 0  # the optical y axis, downwards in the picture, points down


def test_faults_are_those_of_a_stereo_camera() -> None:
    depth = np.full((480, 640), 0.6, dtype=np.float32)
    depth[:, 320:] = 0.5  # an object to the right, 10 cm nearer
    clean = Frame(np.full((480, 640, 3), 100, dtype=np.uint8), depth)
    seen = with_faults(clean, np.random.default_rng(1))
    valid = np.isfinite(seen.depth)
    assert 0.9 < valid.mean() < 0.999
    assert not valid[:, 316:320].any()  # the shadow beside the nearer edge
    error = (seen.depth - depth)[valid]
    assert abs(error.mean()) < 2e-4
    assert 5e-4 < error.std() < 2.5e-3
    assert seen.depth[valid] * 1000 == pytest.approx(np.round(seen.depth[valid] * 1000), abs=1e-3)
    assert seen.colour.mean() == pytest.approx(100, abs=0.5)
    assert not np.array_equal(seen.colour, clean.colour)
