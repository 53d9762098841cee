"""Physics: what is held by enough friction is lifted, and nothing else is."""

import contextlib
import copy
from pathlib import Path

import mujoco
import numpy as np
import pytest

from don_kp_ros.geometry import rigid
from don_kp_ros.motion.kinematics import Kinematics
from don_kp_ros.robots.panda import HAND_ACTUATOR
from don_kp_ros.robots.preset import load_preset
from don_kp_ros.simulation.controllers import CommandedTrajectory
from don_kp_ros.simulation.instances import TRAINING, UNSEEN, VALIDATION
from don_kp_ros.simulation.renderer import Renderer
from don_kp_ros.simulation.scene import Layout, Placement
from don_kp_ros.simulation.shapes import CapShape
from don_kp_ros.simulation.world import LINKS, World

PRESET = load_preset('panda')


def lift(friction: float | None = None, beside: float = 0.0) -> float:
    """Pinch a cap's brim by a script and lift it by 0.2 m; return the height gained."""
    layout = Layout(seed=3, subject=Placement(0.45, -0.03, 0.6), instance=UNSEEN[7])
    world = World(layout, PRESET)
    if friction is not None:
        for side in ('left', 'right'):
            world.model.geom(f'panda_{side}finger').friction[0] = friction
    truth = world.truth()
    assert truth is not None
    x = truth.T_world_object[:3, 0]
    down = np.array([0.0, 0.0, -1.0])
    R = np.stack([x, np.cross(down, x), down], axis=1)
    kinematics = Kinematics(PRESET)
    seed = PRESET.position('observe')
    for height, fingers in ((0.12, 0.04), (0.015, 0.04), (0.015, 0.0), (0.215, 0.0)):
        goal = np.array([*(truth.taught + beside * x)[:2], height])
        q = next(kinematics.solutions(rigid.transform(R, goal), [seed]))
        there = CommandedTrajectory(np.array([1.5]), q[None], np.zeros((1, 7)))
        world.arm.accept(there, world.time)
        world.move_hand(CommandedTrajectory(np.array([0.5]), np.array([[fingers]])))
        world.step(2.0)
        seed = q
    world.step(2.0)
    after = world.truth()
    assert after is not None
    return after.centre[2] - truth.centre[2]


def test_a_pinched_brim_is_lifted() -> None:
    assert lift() > 0.15


def test_slippery_fingers_lift_nothing() -> None:
    assert lift(friction=0.002) < 0.02


def test_fingers_beside_the_cap_lift_nothing() -> None:
    assert abs(lift(beside=0.10)) < 0.01


@pytest.mark.parametrize('joint', range(7))
@pytest.mark.parametrize('off', [0.02, -0.065, 0.3])
def test_a_joint_that_was_pushed_away_comes_back(joint: int, off: float) -> None:
    world = World(Layout(seed=3, subject=None), PRESET)
    world.data.qpos[joint] += off
    world.step(0.6)
    state = world.joint_state()
    assert np.abs(state.position[:7] - PRESET.position('observe')).max() < 0.001
    assert np.abs(state.velocity).max() < 0.001


def test_the_camera_s_housing_touches_things_but_is_not_in_its_picture() -> None:
    world = World(Layout(seed=3, subject=Placement(0.45, -0.03, 0.6), instance=UNSEEN[7]), PRESET)
    model, data = world.model, world.data
    without = copy.deepcopy(model)
    without.geom_size[without.geom('panda_camera').id] = 1e-6
    pictures = []
    for one in (model, without):
        with contextlib.closing(Renderer(one)) as renderer:
            pictures.append(renderer.render(data, world.camera_pose()))
    picture, bare = pictures
    assert np.array_equal(picture.colour, bare.colour)
    assert np.array_equal(picture.depth, bare.depth, equal_nan=True)
    truth = world.truth()
    assert truth is not None
    for _ in range(2):
        world.push((data.geom('panda_camera').xpos - truth.centre) / 2)
    mujoco.mj_forward(model, data)
    touched = {model.geom(i).name for pair in data.contact.geom for i in pair}
    assert 'panda_camera' in touched


def test_objects_rest_where_they_are_placed() -> None:
    for instance in (UNSEEN[0], UNSEEN[1]):
        layout = Layout.draw(instance, instance)
        world = World(layout, PRESET)
        world.step(1.0)
        truth = world.truth()
        assert truth is not None
        assert layout.subject is not None
        assert truth.T_world_object == pytest.approx(layout.subject.pose, abs=3e-3)
        seen = rigid.apply(rigid.inverse(world.camera_pose()), truth.taught)
        assert truth.taught_in_camera == pytest.approx(seen)
        assert (truth.taught_uv > 0).all()
        assert (truth.taught_uv < [640, 480]).all()


def test_equal_layouts_make_equal_worlds_and_sets_of_caps_do_not_meet() -> None:
    layout = Layout.draw(5, UNSEEN[3])
    assert layout == Layout.draw(5, UNSEEN[3])
    assert layout != Layout.draw(6, UNSEEN[3])
    first, second = World(layout, PRESET), World(layout, PRESET)
    assert np.array_equal(first.data.qpos, second.data.qpos)
    assert np.array_equal(first.model.tex_data, second.model.tex_data)
    ranges = [set(caps) for caps in (TRAINING, VALIDATION, UNSEEN)]
    assert not (ranges[0] & ranges[1] or ranges[1] & ranges[2] or ranges[0] & ranges[2])


def test_distractors_leave_the_fingers_room() -> None:
    for seed in range(50):
        layout = Layout.draw(seed, 0, distractors=3)
        assert layout.subject is not None
        for place in layout.distractors:
            assert np.hypot(place.x - layout.subject.x, place.y - layout.subject.y) > 0.13


def test_a_brim_is_an_arch_of_its_measures() -> None:
    shape = CapShape.draw(np.random.default_rng(0))
    middle, edge = shape.brim(np.array([0.0, 0.0]), np.array([0.0, 1.0]))
    assert middle == pytest.approx([shape.length, 0.0, shape.arch_height])
    assert edge == pytest.approx([shape.length, shape.brim_width, shape.edge_height])
    front = shape.brim(np.array(1.0), np.array(0.0))
    assert front[0] == pytest.approx(shape.length + shape.brim_length)
    top = shape.crown(np.array(0.3), np.array(np.pi / 2))
    assert top == pytest.approx([0, 0, shape.height], abs=1e-6)


def test_the_links_lead_to_where_kinematics_has_the_hand() -> None:
    world = World(Layout(seed=3, subject=None), PRESET)
    q = PRESET.position('observe') + np.linspace(-0.3, 0.3, 7)
    there = CommandedTrajectory(np.array([0.5]), q[None], np.zeros((1, 7)))
    world.arm.accept(there, world.time)
    world.step(2.0)
    places, turns = world.links()
    T = {'panda_link0': np.eye(4)}
    for (parent, link), place, turn in zip(LINKS, places, turns, strict=True):
        T[link] = T[parent] @ rigid.from_quaternion(turn, place)
    q = world.joint_state().position[:7]
    np.testing.assert_allclose(
        T['panda_hand'] @ PRESET.T_hand_tcp, Kinematics(PRESET).forward(q), atol=1e-9
    )


def test_physics_that_diverges_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where MuJoCo leaves its log
    world = World(Layout.draw(0, 0), PRESET)
    world.data.qvel[0] = 1e11
    with pytest.raises(FloatingPointError, match='diverged; reset the scene'):
        world.step(0.01)


@pytest.mark.parametrize('width', [0.0, 0.003, 0.01, 0.06])
@pytest.mark.parametrize('asked', [0.0, None])  # None: the width of what is held
def test_what_is_held_is_held_with_the_force_that_is_asked(
    width: float, asked: float | None
) -> None:
    world = World(Layout.draw(0, 0), PRESET)
    for side in '12':  # stands for something rigid between the fingers
        world.model.joint(f'panda_finger_joint{side}').range[0] = width / 2
    ends = width / 2 if asked is None else asked
    closing = CommandedTrajectory(np.array([0.5]), np.array([[ends]]))
    world.move_hand(closing, 30.0)
    world.step(1.5)
    assert world.joint_state().position[7] == pytest.approx(width / 2, abs=1e-5)
    servo = world.model.actuator(HAND_ACTUATOR).id
    assert world.data.actuator_force[servo] == pytest.approx(-60.0, abs=0.5)
    if asked is not None and width:
        world.move_hand(closing, 20.0)  # another grasp of the same
        world.step(1.5)
        assert world.data.actuator_force[servo] == pytest.approx(-40.0, abs=0.5)
    world.hand.hold(world.joint_state().position[7:8])
    world.step(0.5)
    assert abs(world.data.actuator_force[servo]) < 5.0
    opening = CommandedTrajectory(np.array([0.5]), np.array([[0.035]]))
    world.move_hand(opening)
    world.step(1.5)
    assert world.joint_state().position[7] == pytest.approx(0.035, abs=5e-4)


def test_open_fingers_that_are_to_open_stay_open() -> None:
    world = World(Layout.draw(0, 0), PRESET)
    opened = np.array([[PRESET.open_width / 2]])
    for force in (None, 30.0, 30.0):
        world.data.qpos[world._qpos[7:]] += 1e-5  # as far beyond as they swing
        world.move_hand(CommandedTrajectory(np.array([0.05]), opened), force)
        world.step(1.0)
        assert world.joint_state().position[7] == pytest.approx(opened[0, 0], abs=5e-4)
