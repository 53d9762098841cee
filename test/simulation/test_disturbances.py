"""Each disturbance against what it says of itself."""

import numpy as np
import pytest

from don_kp_ros.geometry import rigid
from don_kp_ros.motion.kinematics import Kinematics
from don_kp_ros.robots.preset import load_preset
from don_kp_ros.simulation.camera import Faults, Frame
from don_kp_ros.simulation.disturbances import ALLOWED, Disturbances
from don_kp_ros.simulation.scene import Layout
from don_kp_ros.simulation.world import LINKS, MOST_PUSH, World

PRESET = load_preset('panda')
SHAPE = (480, 640)
USUAL = Disturbances()


def faults(seed: int, **more: float) -> Faults:
    return Disturbances(**more).faults(np.random.default_rng(seed), SHAPE)


def test_nothing_is_disturbed_unless_it_is_asked_for() -> None:
    drawn, own = Faults.draw(np.random.default_rng(4), SHAPE), faults(4)
    for name in ('grain', 'relief', 'lost'):
        np.testing.assert_array_equal(getattr(own, name), getattr(drawn, name))
    np.testing.assert_array_equal(USUAL.mount(3), np.eye(4))
    picture = np.arange(256, dtype=np.uint8).reshape(1, 256, 1).repeat(3, axis=2)
    np.testing.assert_array_equal(USUAL.lit(picture), picture)
    q = np.linspace(-1.0, 1.0, 7)
    np.testing.assert_array_equal(USUAL.measured(q, np.random.default_rng(0)), q)


@pytest.mark.parametrize('share', [0.05, 0.1, 0.3])
def test_holes_take_their_share_of_the_picture_in_patches_besides_its_own(share: float) -> None:
    own, more = faults(5).lost, faults(5, depth_holes=share).lost
    assert more[own].all()
    # Of what the camera's own holes leave, the same share: neither knows of the other.
    assert more[~own].mean() == pytest.approx(share, abs=0.01)
    flat = Frame(np.zeros((*SHAPE, 3), np.uint8), np.full(SHAPE, 0.5, np.float32))
    seen = faults(5, depth_holes=share).applied(flat)
    np.testing.assert_array_equal(np.isnan(seen.depth), more)
    # A hole's neighbour is one, too: single pixels would be one of them by chance alone.
    assert more[:, 1:][more[:, :-1]].mean() > 0.7


@pytest.mark.parametrize('times', [0.0, 1.0, 4.0])
def test_noise_of_depth_grows_with_its_factor_and_the_squared_distance(times: float) -> None:
    usual = faults(6)
    errors = {}
    for z in (0.5, 1.0):
        flat = Frame(np.zeros((*SHAPE, 3), np.uint8), np.full(SHAPE, z, np.float32))
        seen = faults(6, depth_noise=times).applied(flat).depth
        error = (seen - z)[~np.isnan(seen)]
        expected = times * usual.relief[~usual.lost] * z**2
        assert np.abs(error - expected).max() < 0.6e-3  # whole millimetres
        errors[z] = float(error.std())
    # 3.5 and 1.5 mm at a metre, independent, and rounding to millimetres.
    assert errors[1.0] == pytest.approx(np.hypot(times * 3.8e-3, 0.29e-3 * (times > 0)), rel=0.03)


def test_the_camera_is_mounted_off_by_exactly_so_much_some_other_way_in_each_scene() -> None:
    off = Disturbances(hand_eye_shift=0.007, hand_eye_turn=np.deg2rad(2.0))
    nominal = PRESET.camera.T_hand_optical
    shifts = []
    for seed in (1, 2):
        layout = Layout.draw(seed, 0)
        world, again = World(layout, PRESET, off), World(layout, PRESET, off)
        np.testing.assert_array_equal(world.T_hand_optical, again.T_hand_optical)
        T = rigid.inverse(nominal) @ world.T_hand_optical
        assert np.linalg.norm(T[:3, 3]) == pytest.approx(0.007)
        angle = np.arccos((np.trace(T[:3, :3]) - 1) / 2)
        assert np.rad2deg(angle) == pytest.approx(2.0)
        # The picture is taken from there.
        T_world_hand = world.camera_pose() @ rigid.inverse(world.T_hand_optical)
        np.testing.assert_allclose(T_world_hand @ nominal @ T, world.camera_pose(), atol=1e-12)
        shifts.append(T[:3, 3])
    assert np.linalg.norm(shifts[0] - shifts[1]) > 1e-3


def test_light_and_its_colour_are_gains_and_too_much_is_white() -> None:
    picture = np.array([[[100, 100, 100], [10, 20, 30], [250, 1, 200]]], np.uint8)
    dim = Disturbances(light=0.5).lit(picture)
    np.testing.assert_array_equal(dim[0], [[50, 50, 50], [5, 10, 15], [125, 0, 100]])
    warm = Disturbances(light=2.0, colour_cast=0.2).lit(picture)
    np.testing.assert_array_equal(warm[0], [[240, 200, 160], [24, 40, 48], [255, 2, 255]])


def test_joints_are_measured_about_where_they_are() -> None:
    q = np.linspace(-1.0, 1.0, 7)
    several = Disturbances(joint_noise=0.002)
    drawn = several.measured(np.tile(q, (4000, 1)), np.random.default_rng(0)) - q
    assert drawn.std(axis=0) == pytest.approx(np.full(7, 0.002), rel=0.05)
    assert np.abs(drawn.mean(axis=0)).max() < 5 * 0.002 / np.sqrt(4000)
    assert np.abs(np.corrcoef(drawn.T) - np.eye(7)).max() < 0.1


def test_links_are_told_by_the_measured_joints_and_the_arm_stays_where_it_is() -> None:
    world = World(Layout(seed=3, subject=None), PRESET)
    before = world.joint_state().position
    measured = before + np.array([0.01, -0.02, 0.03, 0.01, 0.02, -0.01, 0.03, 0.0, 0.0])
    places, turns = world.links(measured)
    T = {'panda_link0': np.eye(4)}
    for (parent, link), place, turn in zip(LINKS, places, turns, strict=True):
        T[link] = T[parent] @ rigid.from_quaternion(turn, place)
    tcp = T['panda_hand'] @ PRESET.T_hand_tcp
    np.testing.assert_allclose(tcp, Kinematics(PRESET).forward(measured[:7]), atol=1e-6)
    np.testing.assert_array_equal(world.joint_state().position, before)
    for true, told in zip(world.links(before), world.links(), strict=True):
        np.testing.assert_allclose(true, told, atol=1e-6)


def test_what_is_pushed_is_elsewhere_at_once_and_stays_there() -> None:
    world = World(Layout.draw(2, 0), PRESET)
    before = world.truth()
    assert before is not None
    world.push(np.array([0.03, -0.04, 0.0]))
    for _ in range(2):
        world.step(0.5)
        after = world.truth()
        assert after is not None
        np.testing.assert_allclose(after.centre - before.centre, [0.03, -0.04, 0.0], atol=1e-3)
        np.testing.assert_allclose(after.others, before.others, atol=1e-3)
    for wrong in ([np.nan, 0, 0], [MOST_PUSH + 0.1, 0, 0]):
        with pytest.raises(ValueError, match=r'must be finite and at most 0\.5 m'):
            world.push(np.array(wrong))
    with pytest.raises(ValueError, match='no object to push'):
        World(Layout(seed=1, subject=None), PRESET).push(np.zeros(3))


@pytest.mark.parametrize('name', ALLOWED)
def test_what_is_out_of_range_is_named_with_what_is_allowed(name: str) -> None:
    lowest, highest = ALLOWED[name]
    for value in (lowest - 0.1, highest + 0.1, float('nan'), float('inf')):
        with pytest.raises(ValueError, match=f'{name} is .*; allowed is {lowest:g} to'):
            Disturbances(**{name: value})
