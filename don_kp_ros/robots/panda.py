"""The Franka Panda with its hand, as a MuJoCo model."""

import importlib.metadata
from pathlib import Path

import mujoco
import numpy as np
from numpy.typing import ArrayLike, NDArray

from don_kp_ros.robots.hand import CAMERA_HALF_SIZE, MAX_FINGER_FORCE

Array = NDArray[np.float64]

ARM_JOINTS = tuple(f'panda_joint{i}' for i in range(1, 8))
FINGER_JOINTS = ('panda_finger_joint1', 'panda_finger_joint2')
# Actuator of the hand; its control is the position of each finger [m].
HAND_ACTUATOR = 'panda_hand'
# Site of the tool centre point on panda_hand.
TCP_SITE = 'panda_tcp'

_DISTRIBUTION = 'dm-robotics-panda'
_VERSION = '0.4.8'
_ASSETS = 'dm_robotics/panda/assets/panda'

# Joint servos: stiffness [Nm/rad]; damping over stiffness [s], by which they lag; torque limits
# [Nm] of the data sheet. Stiff, as Franka's own controller is that of a position: the arm rests
# within 0.05 s of its command. `arm_command` keeps within the torques.
_ARM_STIFFNESS = (13500.0, 13500.0, 10500.0, 10500.0, 6000.0, 6000.0, 6000.0)
_ARM_LAG = 0.04
_ARM_TORQUE = (87.0, 87.0, 87.0, 87.0, 12.0, 12.0, 12.0)
_ARM_LEAD = 0.999 * np.array(_ARM_TORQUE) / _ARM_STIFFNESS  # rad
# Finger servo: stiffness [N/m], damping [N s/m] and force limit [N], per finger.
FINGER_STIFFNESS = 4000.0
_FINGER_DAMPING = 100.0
_FINGER_FORCE = 40.0


def panda_spec(camera: ArrayLike | None = None) -> mujoco.MjSpec:
    """Return the arm and the hand, with servos, standing on the world's origin.

    camera: where (3,) in the hand's frame, metres, the housing of a camera is fixed, as the geom
    `panda_camera`, which touches things but is not drawn.

    Bodies panda_link0 ... panda_link8, panda_hand, panda_leftfinger and panda_rightfinger, whose
    frames are those of Franka's description; joints panda_joint1 ... panda_joint7 [rad] and
    panda_finger_joint1/2 [m]; a position actuator of each arm joint's name and `panda_hand` [m per
    finger]; the site `panda_tcp`. Geoms have their body's name, so that contacts are easy to read.
    Raises ModuleNotFoundError without the package that holds the meshes.
    """
    folder = _assets()
    spec = _part(folder / 'panda.xml')
    spec.modelname = 'panda'
    hand = _part(folder / 'panda_hand.xml')
    _mend_hand(hand)
    link8 = spec.body('panda_link8')
    # Franka mounts the hand turned by -45 degrees about the flange's axis.
    frame = link8.add_frame(quat=[0.9238795325112867, 0.0, 0.0, -0.3826834323650898])
    spec.attach(hand, frame=frame, prefix='panda_')

    for sensor in list(spec.sensors):
        spec.delete(sensor)
    # The identified damping of this joint in the file is negative, which adds energy.
    spec.joint('panda_joint6').damping = abs(spec.joint('panda_joint6').damping)

    _name_geoms(spec)
    if camera is not None:
        spec.body('panda_hand').add_geom(
            name='panda_camera',
            type=mujoco.mjtGeom.mjGEOM_BOX,
            size=CAMERA_HALF_SIZE,
            pos=camera,
            mass=0.0,
            group=3,
        )
    _add_servos(spec)
    _exclude_neighbours(spec)

    spec.option.timestep = 0.002
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = 10
    return spec


def arm_command(
    position: Array, velocity: Array, measured: Array, measured_velocity: Array
) -> Array:
    """Return the controls (7,) by which the servos follow a position and a velocity of the joints.

    All are (7,), rad and rad/s, the measured ones of the step that begins. The controls ask for no
    more torque than there is: where MuJoCo has to limit a servo, it integrates its damping
    explicitly, and a wrist then flutters where it is, up to 0.09 rad off its command.
    """
    at = measured + _ARM_LAG * measured_velocity
    ahead = position + _ARM_LAG * velocity - at
    return at + np.minimum(np.maximum(ahead, -_ARM_LEAD), _ARM_LEAD)


def _assets() -> Path:
    try:
        distribution = importlib.metadata.distribution(_DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        raise ModuleNotFoundError(
            "the Panda's meshes are missing: pip install --no-deps --ignore-requires-python "
            f'{_DISTRIBUTION}=={_VERSION}'
        ) from None
    return Path(str(distribution.locate_file(_ASSETS)))


def _part(path: Path) -> mujoco.MjSpec:
    """Read a model file such that its assets are still found after it is attached to another."""
    spec = mujoco.MjSpec.from_file(str(path))
    for mesh in spec.meshes:
        mesh.file = str(path.parent / mesh.file)
    for texture in spec.textures:
        texture.file = str(path.parent / texture.file)
    return spec


def _mend_hand(hand: mujoco.MjSpec) -> None:
    """Name the hand's parts for attaching them with the prefix panda_, as in Franka's frames."""
    hand.delete(hand.actuator('panda_hand_actuator'))
    hand.delete(hand.tendon('split'))
    hand.delete(hand.equality('couple_fingers'))
    hand.delete(hand.site('wrist_site'))
    hand.site('TCP').name = 'tcp'
    hand.texture('panda').name = 'hand'
    hand.material('panda').textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = 'hand'
    hand.material('panda').name = 'hand'
    for geom in hand.geoms:
        if geom.material == 'panda':
            geom.material = 'hand'
    for part in (*hand.bodies[1:], *hand.joints):
        part.name = part.name.removeprefix('panda_')
    # The file mirrors the fingers; on the robot the left one opens along the hand's +y.
    hand.body('leftfinger').quat = [1.0, 0.0, 0.0, 0.0]
    hand.body('rightfinger').quat = [0.0, 0.0, 0.0, 1.0]
    for side in ('left', 'right'):
        pad = hand.geom(f'panda_{side}finger_collision')
        pad.name = f'{side}finger'
        pad.rgba = [1.0, 1.0, 1.0, 0.0]
        pad.condim = 4
        pad.friction = [1.0, 0.01, 0.0005]
        pad.solref = [0.004, 1.0]
        pad.solimp[:3] = [0.95, 0.99, 0.001]
        pad.priority = 1


def _name_geoms(spec: mujoco.MjSpec) -> None:
    for body in spec.bodies:
        for geom in body.geoms:
            if geom.name.startswith('panda_'):
                continue
            visual = geom.contype == 0 and geom.conaffinity == 0
            geom.name = f'{body.name}_visual' if visual else body.name


def _add_servos(spec: mujoco.MjSpec) -> None:
    for name, stiffness, torque in zip(ARM_JOINTS, _ARM_STIFFNESS, _ARM_TORQUE, strict=True):
        servo = spec.add_actuator(
            name=name,
            target=name,
            trntype=mujoco.mjtTrn.mjTRN_JOINT,
            ctrlrange=spec.joint(name).range,
            ctrllimited=True,
            forcerange=[-torque, torque],
            forcelimited=True,
        )
        servo.set_to_position(kp=stiffness, kv=stiffness * _ARM_LAG)
    coupling = spec.add_equality(
        name='panda_fingers',
        type=mujoco.mjtEq.mjEQ_JOINT,
        objtype=mujoco.mjtObj.mjOBJ_JOINT,
        name1=FINGER_JOINTS[0],
        name2=FINGER_JOINTS[1],
    )
    coupling.solref = [0.005, 1.0]
    coupling.solimp[:3] = [0.95, 0.99, 0.001]
    # One servo drives the mean of both fingers, so that each gets half of its force.
    tendon = spec.add_tendon(name='panda_fingers')
    for name in FINGER_JOINTS:
        tendon.wrap_joint(name, 0.5)
        joint = spec.joint(name)  # whose end is as hard as metal, however hard they are squeezed
        joint.solref_limit = [0.004, 1.0]
        joint.solimp_limit[:3] = [0.9999, 0.9999, 0.0005]
    servo = spec.add_actuator(
        name=HAND_ACTUATOR,
        target=tendon.name,
        trntype=mujoco.mjtTrn.mjTRN_TENDON,
        # Below 0 it squeezes what is between the fingers.
        ctrlrange=[-MAX_FINGER_FORCE / FINGER_STIFFNESS, 0.04],
        ctrllimited=True,
        forcerange=[-2 * _FINGER_FORCE, 2 * _FINGER_FORCE],
        forcelimited=True,
    )
    servo.set_to_position(kp=2 * FINGER_STIFFNESS, kv=2 * _FINGER_DAMPING)


def _exclude_neighbours(spec: mujoco.MjSpec) -> None:
    """Exclude bodies that touch by construction; MuJoCo itself excludes only direct parents."""
    for first, second in (
        ('panda_link0', 'panda_link1'),
        ('panda_link5', 'panda_link7'),
        ('panda_link7', 'panda_hand'),
        ('panda_leftfinger', 'panda_rightfinger'),
    ):
        spec.add_exclude(bodyname1=first, bodyname2=second)
