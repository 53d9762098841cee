"""The built-in kinds: each can be held as its shape says, and its named points lie on it."""

import mujoco
import numpy as np
import pytest

from don_kp_ros.geometry import rigid
from don_kp_ros.motion.kinematics import Kinematics
from don_kp_ros.robots.preset import load_preset
from don_kp_ros.simulation.controllers import CommandedTrajectory
from don_kp_ros.simulation.instances import UNSEEN
from don_kp_ros.simulation.kinds import BUILT_IN, shape_of
from don_kp_ros.simulation.scene import Layout, Placement, build
from don_kp_ros.simulation.world import World

PRESET = load_preset('panda')
HOLDABLE = 0.066


def instances(kind: str, count: int) -> list[int]:
    """The first that a hand can hold."""
    return [i for i in UNSEEN[:40] if shape_of(kind, i).grip_width <= HOLDABLE][:count]


@pytest.mark.parametrize('kind', BUILT_IN)
@pytest.mark.parametrize('place', [0, 1])
def test_it_is_lifted_by_a_hand_that_grips_it_as_its_shape_says(kind: str, place: int) -> None:
    layout = Layout(3, Placement(0.47, -0.03, 0.6), instances(kind, 2)[place], kind=kind)
    world = World(layout, PRESET)
    before = world.truth()
    assert before is not None
    shape = shape_of(kind, layout.instance)
    grip = before.T_world_object @ shape.grip
    kinematics, seed = Kinematics(PRESET), PRESET.position('observe')
    for up, fingers in ((0.12, 0.04), (0.0, 0.04), (0.0, 0.0), (0.15, 0.0)):
        goal = rigid.transform(translation=[0.0, 0.0, up]) @ grip
        q = next(kinematics.solutions(goal, [seed]))
        world.arm.accept(
            CommandedTrajectory(np.array([1.5]), q[None], np.zeros((1, 7))), world.time
        )
        world.move_hand(CommandedTrajectory(np.array([0.5]), np.array([[fingers]])))
        world.step(2.0)
        if not fingers and not up:
            width = float(world.joint_state().position[7:9].sum())
            assert width == pytest.approx(shape.grip_width, abs=0.006)
        seed = q
    world.step(1.0)
    after = world.truth()
    assert after is not None
    assert after.centre[2] - before.centre[2] > 0.12


@pytest.mark.parametrize('kind', BUILT_IN)
def test_what_is_named_lies_on_the_surface_that_a_camera_above_sees(kind: str) -> None:
    for instance in UNSEEN[:4]:
        model, taught = build(Layout(1, Placement(0.45, 0.1, 0.0), instance, kind=kind))
        data = mujoco.MjData(model)
        mujoco.mj_forward(model, data)
        points = shape_of(kind, instance).points
        assert next(iter(points.values())) == pytest.approx(taught)
        drawn = np.array([0, 0, 1, 0, 0, 0], np.uint8)  # the geoms that the camera sees
        for name, point in points.items():
            x, y, z = point + [0.45, 0.1, 0.0]
            above = np.array([x + 3e-5, y + 7e-5, 0.6])  # beside the edges of meshes
            down, geom = np.array([0.0, 0.0, -1.0]), np.zeros(1, np.int32)
            away = mujoco.mj_ray(model, data, above, down, drawn, 1, -1, geom)
            assert 0.6 - away == pytest.approx(z, abs=0.004), name


def test_a_kind_that_is_not_there_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"kind is 'cup'; it must be one of cap, mug, can"):
        Layout.draw(0, 0, kind='cup')


def test_things_of_the_same_kind_do_not_stand_beside_it() -> None:
    names = set()
    for seed in range(6):
        model, _ = build(Layout.draw(seed, 1, distractors=4, kind='mug'))
        names |= {model.mesh(i).name for i in range(model.nmesh)}
    assert not any(name.startswith('distractor') and name.endswith('/mug') for name in names)
    assert any(name.endswith('/can') for name in names)
