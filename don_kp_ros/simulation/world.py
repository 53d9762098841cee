"""The robot, a table and objects on it in physics."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from don_kp_ros.geometry import rigid
from don_kp_ros.robots import hand
from don_kp_ros.robots.panda import (
    ARM_JOINTS,
    FINGER_JOINTS,
    FINGER_STIFFNESS,
    HAND_ACTUATOR,
    arm_command,
    panda_spec,
)
from don_kp_ros.robots.preset import RobotPreset
from don_kp_ros.simulation.camera import D435
from don_kp_ros.simulation.controllers import CommandedTrajectory, TrajectoryController
from don_kp_ros.simulation.disturbances import Disturbances
from don_kp_ros.simulation.scene import SUBJECT, Layout, build

Array = NDArray[np.float64]

JOINTS = (*ARM_JOINTS, *FINGER_JOINTS)
_CHAIN = [*(f'panda_link{i}' for i in range(9)), 'panda_hand']
LINKS = (  # each with its parent
    *zip(_CHAIN[:-1], _CHAIN[1:], strict=True),
    ('panda_hand', 'panda_leftfinger'),
    ('panda_hand', 'panda_rightfinger'),
)

OBSERVE = 'observe'
SETTLE_SECONDS = 0.5
MOST_PUSH = 0.5  # metres
_CLOSING = 5e-4  # metres, by which a way of a finger leads inwards at least that is to close it


@dataclass(frozen=True)
class JointState:
    """Positions, velocities and efforts of JOINTS: rad, rad/s, Nm; fingers m, m/s, N."""

    position: Array
    velocity: Array
    effort: Array


@dataclass(frozen=True)
class Truth:
    """Where the objects really are. A judge may know this, the stack may not; world, metres."""

    T_world_object: Array  # (4, 4)
    centre: Array  # (3,) of mass
    others: Array  # (n, 3), the other objects' centres of mass
    taught: Array  # (3,), the point that the demo teaches
    taught_in_camera: Array  # (3,), in the colour camera's optical frame
    taught_uv: Array  # (2,) pixels


class World:
    """Physics of one scene. Not thread-safe: its owner locks."""

    def __init__(
        self, layout: Layout, preset: RobotPreset, disturbances: Disturbances | None = None
    ) -> None:
        """Build the scene, arm in the observation position, and let the objects settle.

        Of the disturbances, the camera's mount is that of the world.
        """
        self.layout = layout
        self.model, self._taught = build(layout, panda_spec(preset.T_hand_camera_link[:3, 3]))
        # Without graphics hardware, smooth edges cost more than all the rest of a picture.
        self.model.vis.quality.offsamples = 0
        self.data, self._measured = mujoco.MjData(self.model), mujoco.MjData(self.model)
        self.T_hand_optical = preset.camera.T_hand_optical @ layout.T_nominal_camera
        if disturbances is not None:
            self.T_hand_optical = self.T_hand_optical @ disturbances.mount(layout.seed)
        self._qpos = np.array([self.model.joint(name).qposadr[0] for name in JOINTS])
        self._dofs = np.array([self.model.joint(name).dofadr[0] for name in JOINTS])
        self._arm_servos = np.array([self.model.actuator(name).id for name in ARM_JOINTS])
        self._hand_servo = self.model.actuator(HAND_ACTUATOR).id
        self._links = np.array([[self.model.body(name).id for name in pair] for pair in LINKS]).T
        home, opened = preset.position(OBSERVE), preset.open_width / 2
        self.data.qpos[self._qpos] = [*home, opened, opened]
        self.arm = TrajectoryController(home)
        self.hand = TrajectoryController(np.array([opened]))
        self._squeezing: tuple[CommandedTrajectory | None, float] | None = None
        self.step(SETTLE_SECONDS)

    @property
    def time(self) -> float:
        """Seconds of simulated time."""
        return float(self.data.time)

    def step(self, seconds: float) -> None:
        """Advance the controllers and the physics."""
        data = self.data
        for _ in range(max(1, round(seconds / self.model.opt.timestep))):
            self.arm.update(data.time)
            self.hand.update(data.time)
            data.ctrl[self._arm_servos] = arm_command(
                self.arm.position,
                self.arm.velocity,
                data.qpos[self._qpos[:7]],
                data.qvel[self._dofs[:7]],
            )
            data.ctrl[self._hand_servo] = self.hand.position[0] - self._squeeze()
            mujoco.mj_step(self.model, data)
        if not np.isfinite(data.qpos).all():
            raise FloatingPointError('the physics diverged; reset the scene')

    def _squeeze(self) -> float:
        """How far beyond its way a finger is commanded, metres, so that it gives its force."""
        if self._squeezing is None or self._squeezing[0] is not self.hand.trajectory:
            return 0.0
        return self._squeezing[1]

    def move_hand(self, trajectory: CommandedTrajectory, force: float | None = None) -> None:
        """Start a trajectory of the fingers, (n, 1) metres per finger.

        ``force``: with which each finger closes on what is between them, newtons, up to the hand's
        maximum, wherever the way ends. Without it they keep to their way, with all they have.
        """
        self.hand.accept(trajectory, self.time)
        each = hand.MAX_FINGER_FORCE
        if force is not None:
            each = float(np.clip(force, 1.0, each))
        finger = self.data.qpos[self._qpos[7]]
        closes = force is not None and trajectory.positions[-1, 0] < finger - _CLOSING
        self._squeezing = (self.hand.trajectory, each / FINGER_STIFFNESS) if closes else None
        limit = 2.0 * each  # one servo drives both fingers
        self.model.actuator_forcerange[self._hand_servo] = [-limit, limit]

    def joint_state(self) -> JointState:
        """Read the joints; the arrays are copies."""
        data = self.data
        return JointState(
            data.qpos[self._qpos], data.qvel[self._dofs], data.qfrc_actuator[self._dofs]
        )

    def links(self, position: Array | None = None) -> tuple[Array, Array]:
        """Return the LINKS in their parents: places (n, 3), metres, quaternions xyzw (n, 4).

        position: other positions of JOINTS than they have, as they were measured.
        """
        parents, links = self._links
        data = self.data
        if position is not None:
            data = self._measured
            data.qpos[self._qpos] = position
            mujoco.mj_kinematics(self.model, data)
        R = data.xmat[parents].reshape(-1, 3, 3)
        away = np.einsum('nji,nj->ni', R, data.xpos[links] - data.xpos[parents])
        w, x, y, z = (data.xquat[parents] * [1, -1, -1, -1]).T
        turn = np.array([[w, -x, -y, -z], [x, w, -z, y], [y, z, w, -x], [z, -y, x, w]])
        wxyz = np.einsum('ijn,nj->ni', turn, data.xquat[links])
        return away, wxyz[:, [1, 2, 3, 0]]

    def push(self, shift: Array) -> None:
        """Shift the object by metres (3,), at once; raises ValueError where that cannot be."""
        if self.layout.subject is None:
            raise ValueError('there is no object to push')
        if not np.isfinite(shift).all() or np.linalg.norm(shift) > MOST_PUSH:
            raise ValueError(f'the push is {shift} m; it must be finite and at most {MOST_PUSH} m')
        joint = self.model.joint(SUBJECT)
        self.data.qpos[joint.qposadr[0] : joint.qposadr[0] + 3] += shift
        self.data.qvel[joint.dofadr[0] : joint.dofadr[0] + 6] = 0.0

    def camera_pose(self) -> Array:
        """Return ``T_world_optical`` (4, 4) of the colour camera."""
        return self._pose('panda_hand') @ self.T_hand_optical

    def truth(self) -> Truth | None:
        """Return where the objects are; None if the one in question is not there."""
        if self.layout.subject is None:
            return None
        T_world_object = self._pose(SUBJECT)
        taught = rigid.apply(T_world_object, self._taught)
        in_camera = rigid.apply(rigid.inverse(self.camera_pose()), taught)
        others = [self._centre(f'distractor_{i}') for i in range(len(self.layout.distractors))]
        return Truth(
            T_world_object,
            self._centre(SUBJECT),
            np.array(others).reshape(-1, 3),
            taught,
            in_camera,
            D435.project(in_camera),
        )

    def _centre(self, body: str) -> Array:
        return np.array(self.data.xipos[self.model.body(body).id])

    def _pose(self, body: str) -> Array:
        i = self.model.body(body).id
        return rigid.transform(self.data.xmat[i].reshape(3, 3), self.data.xpos[i])
