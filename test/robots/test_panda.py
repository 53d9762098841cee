import importlib.metadata
from pathlib import Path

import mujoco
import numpy as np
import pytest

from don_kp_ros.robots.panda import ARM_JOINTS, HAND_ACTUATOR, TCP_SITE, panda_spec

# Craig's parameters of Franka's documentation: a, d, alpha of the joint before; then the flange.
DH = [
    (0.0, 0.333, 0.0),
    (0.0, 0.0, -np.pi / 2),
    (0.0, 0.316, np.pi / 2),
    (0.0825, 0.0, np.pi / 2),
    (-0.0825, 0.384, -np.pi / 2),
    (0.0, 0.0, np.pi / 2),
    (0.088, 0.0, np.pi / 2),
    (0.0, 0.107, 0.0),
]


def craig(a, d, alpha, theta):
    ca, sa, ct, st = np.cos(alpha), np.sin(alpha), np.cos(theta), np.sin(theta)
    return np.array(
        [
            [ct, -st, 0.0, a],
            [st * ca, ct * ca, -sa, -d * sa],
            [st * sa, ct * sa, ca, d * ca],
            [0.0, 0.0, 0.0, 1.0],
        ]
    )


def flange(q):
    T = np.eye(4)
    for (a, d, alpha), theta in zip(DH, [*q, 0.0], strict=True):
        T = T @ craig(a, d, alpha, theta)
    return T


@pytest.fixture(scope='module')
def model():
    return panda_spec().compile()


def pose(data, name):
    T = np.eye(4)
    T[:3, :3] = data.body(name).xmat.reshape(3, 3)
    T[:3, 3] = data.body(name).xpos
    return T


def test_forward_kinematics_agree_with_the_dh_table(model):
    data = mujoco.MjData(model)
    generator = np.random.default_rng(0)
    for _ in range(20):
        q = generator.uniform(model.jnt_range[:7, 0], model.jnt_range[:7, 1])
        data.qpos[:7] = q
        mujoco.mj_kinematics(model, data)
        expected = flange(q)
        assert np.allclose(pose(data, 'panda_link8'), expected, atol=1e-6)
        # The hand is turned by -45 degrees about the flange's axis.
        c = np.sqrt(0.5)
        turn = np.array([[c, c, 0, 0], [-c, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
        assert np.allclose(pose(data, 'panda_hand'), expected @ turn, atol=1e-6)
        tcp = expected @ turn @ [0, 0, 0.1034, 1]
        assert np.allclose(data.site(TCP_SITE).xpos, tcp[:3], atol=1e-6)


def test_without_its_meshes_it_says_how_to_install_them(monkeypatch):
    def hidden(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, 'distribution', hidden)
    with pytest.raises(ModuleNotFoundError) as caught:
        panda_spec()
    options, _, pinned = str(caught.value).partition('pip install ')[2].rpartition(' ')
    wanted = Path('requirements/without_dependencies.txt').read_text()
    assert pinned == wanted.splitlines()[-1]
    assert f'Installed with {options},' in wanted.replace('\n', ' ')


def test_names_are_franka_s_and_no_damping_is_negative(model):
    names = {model.body(i).name for i in range(model.nbody)}
    links = {f'panda_link{i}' for i in range(9)}
    assert links | {'panda_hand', 'panda_leftfinger', 'panda_rightfinger'} <= names
    geoms = [model.geom(i).name for i in range(model.ngeom)]
    assert all(name.startswith('panda_') for name in geoms)
    assert len(set(geoms)) == len(geoms)
    assert (model.dof_damping >= 0).all()


def test_fingers_open_along_the_hand_s_y_left_first(model):
    data = mujoco.MjData(model)
    data.qpos[7:9] = [0.03, 0.02]
    mujoco.mj_kinematics(model, data)
    hand = np.linalg.inv(pose(data, 'panda_hand'))
    for name, y in (('panda_leftfinger', 0.03), ('panda_rightfinger', -0.02)):
        position = (hand @ pose(data, name))[:3, 3]
        assert np.allclose(position, [0.0, y, 0.0584], atol=1e-6)


def test_servos_hold_the_arm_and_move_the_fingers(model):
    data = mujoco.MjData(model)
    ready = np.array([0.0, -0.785, 0.0, -2.356, 0.0, 1.571, 0.785])
    data.qpos[:7], data.qpos[7:9] = ready, 0.0
    for name, q in zip(ARM_JOINTS, ready, strict=True):
        data.actuator(name).ctrl = q
    data.actuator(HAND_ACTUATOR).ctrl = 0.03
    mujoco.mj_step(model, data, 500)
    assert np.allclose(data.qpos[:7], ready, atol=1e-3)
    assert np.allclose(data.qpos[7:9], 0.03, atol=1e-3)


def test_the_fingers_press_with_a_limited_force():
    spec = panda_spec()
    ready = [0.0, -0.785, 0.0, -2.356, 0.0, 1.571, 0.785]
    # A block between the fingers, held by the world: 6 cm wide.
    block = (flange(ready) @ [0, 0, 0.1034, 1])[:3]
    spec.worldbody.add_geom(
        name='block', type=mujoco.mjtGeom.mjGEOM_BOX, size=[0.01, 0.03, 0.01], pos=block
    )
    model = spec.compile()
    data = mujoco.MjData(model)
    data.qpos[:7], data.qpos[7:9] = ready, 0.04
    data.ctrl[:7], data.actuator(HAND_ACTUATOR).ctrl = ready, 0.0
    mujoco.mj_step(model, data, 1000)
    assert np.allclose(data.qpos[7:9], 0.03, atol=1e-3)
    assert data.actuator(HAND_ACTUATOR).force == pytest.approx(-80.0)
    pressed = {'panda_leftfinger': 0.0, 'panda_rightfinger': 0.0}
    force = np.zeros(6)
    for i, contact in enumerate(data.contact):
        names = [model.geom(geom).name for geom in contact.geom]
        for finger in pressed:
            if finger in names:
                mujoco.mj_contactForce(model, data, i, force)
                pressed[finger] += force[0]
    assert all(value == pytest.approx(40.0, rel=0.05) for value in pressed.values())
