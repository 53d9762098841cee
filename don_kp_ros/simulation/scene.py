"""Scenes: a table, objects on it, light; with or without the robot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import mujoco
import numpy as np
from numpy.typing import NDArray

from don_kp_ros.geometry import rigid
from don_kp_ros.simulation import boards, objects, textures
from don_kp_ros.simulation.kinds import BUILT_IN, add_object, shape_of

Array = NDArray[np.float64]

SUBJECT = 'object'  # the body's name in the scene
CLEARANCE = 0.13  # metres around its middle without distractors: the fingers need room
SUBJECT_REGION = ((0.42, 0.54), (-0.12, 0.12))  # metres, x and y of its middle
DISTRACTOR_REGION = ((0.30, 0.68), (-0.28, 0.28))
TABLE_CENTRE, TABLE_HALF = (0.45, 0.0, -0.02), (0.75, 0.75, 0.02)


@dataclass(frozen=True)
class Placement:
    """Where an object stands on the table: metres, and radians about z."""

    x: float
    y: float
    yaw: float

    @property
    def pose(self) -> Array:
        """``T_world_object`` (4, 4)."""
        return rigid.transform(rigid.rotation_about([0, 0, 1], self.yaw), [self.x, self.y, 0.0])


@dataclass(frozen=True)
class Layout:
    """All that defines a scene; equal layouts make equal scenes."""

    seed: int  # of the table, the light and the distractors' looks
    subject: Placement | None
    instance: int = 0  # which object of its kind
    distractors: tuple[Placement, ...] = field(default_factory=tuple)
    kind: str = 'cap'  # of the subject, as in kinds.BUILT_IN
    board: bool = False  # to calibrate a camera by, which is then mounted a bit off

    @property
    def T_nominal_camera(self) -> Array:
        """Where the camera is mounted, in the frame where it is meant to be (4, 4)."""
        if not self.board:
            return np.eye(4)
        return boards.mount_off(np.random.default_rng([self.seed, 0xCA1]))

    @classmethod
    def draw(
        cls,
        seed: int,
        instance: int,
        placement: int = 0,
        with_subject: bool = True,
        distractors: int | None = None,
        kind: str = 'cap',
    ) -> Layout:
        """Draw a layout: looks by ``seed``, places by ``placement`` as well.

        There are one to three distractors unless their number is given, which is kept where the
        table has room. Raises ValueError for a kind that is not built in.
        """
        if kind not in BUILT_IN:
            raise ValueError(f"kind is '{kind}'; it must be one of {', '.join(BUILT_IN)}")
        looks = np.random.default_rng([seed, 0xD15])
        count = int(looks.integers(1, 4)) if distractors is None else distractors
        rng = np.random.default_rng([seed, placement, 0x1A7])
        subject = next(_places(rng, SUBJECT_REGION))
        taken = [(subject.x, subject.y, CLEARANCE)] if with_subject else []
        placed: list[Placement] = []
        for place in _places(rng, DISTRACTOR_REGION):
            if len(placed) == count:
                break
            if all(np.hypot(place.x - x, place.y - y) > r + 0.06 for x, y, r in taken):
                placed.append(place)
                taken.append((place.x, place.y, 0.06))
        return cls(seed, subject if with_subject else None, instance, tuple(placed), kind)


def _places(
    rng: np.random.Generator, region: tuple[tuple[float, float], tuple[float, float]]
) -> Iterator[Placement]:
    for _ in range(1000):
        x, y = (rng.uniform(*limits) for limits in region)
        yield Placement(x, y, rng.uniform(-np.pi, np.pi))


def build(layout: Layout, robot: mujoco.MjSpec | None = None) -> tuple[mujoco.MjModel, Array]:
    """Compile the model of a layout, with the robot if one is given.

    Returns the model and the taught point in the subject's frame, (3,) metres: NaN without one.
    The objects are free bodies named `SUBJECT` and ``distractor_<i>``, standing where they are
    placed.
    """
    spec = mujoco.MjSpec() if robot is None else robot
    # MuJoCo would else lay everything back where it was at first, and time with it.
    spec.option.disableflags |= mujoco.mjtDisableBit.mjDSBL_AUTORESET
    rng = np.random.default_rng([layout.seed, 0x11611])
    _add_surroundings(spec, rng)
    taught = np.full(3, np.nan)
    if layout.subject is not None:
        body = add_body(spec, SUBJECT, layout.subject.pose, free=True)
        add_object(spec, body, layout.kind, layout.instance)
        taught = next(iter(shape_of(layout.kind, layout.instance).points.values()))
    if layout.board:
        boards.add_board(spec, add_body(spec, boards.BOARD, boards.T_WORLD_BOARD))
    adders = [add for add in objects.DISTRACTORS if add is not BUILT_IN[layout.kind]]
    for i, place in enumerate(layout.distractors):
        add = adders[int(rng.integers(len(adders)))]
        add(spec, add_body(spec, f'distractor_{i}', place.pose, free=True), rng)
    return spec.compile(), taught


def add_body(
    spec: mujoco.MjSpec, name: str, T_world_body: Array, free: bool = False
) -> mujoco.MjsBody:
    """Add an empty body at a pose (4, 4), fixed unless it is free."""
    x, y, z, w = rigid.to_quaternion(T_world_body)
    body = spec.worldbody.add_body(name=name, pos=T_world_body[:3, 3], quat=[w, x, y, z])
    if free:
        body.add_freejoint(name=name)
    return body


def _add_surroundings(spec: mujoco.MjSpec, rng: np.random.Generator) -> None:
    visual = spec.visual
    visual.global_.offwidth, visual.global_.offheight = 640, 480
    visual.map.znear, visual.map.zfar = 0.02, 20.0
    visual.quality.shadowsize = 0
    spec.stat.extent = 1.0
    visual.headlight.active = 1
    visual.headlight.ambient[:] = rng.uniform(0.25, 0.45)
    visual.headlight.diffuse[:] = rng.uniform(0.1, 0.4)
    visual.headlight.specular[:] = rng.uniform(0.0, 0.2)
    tint = rng.uniform(0.85, 1.0, 3)
    direction = [rng.uniform(-0.8, 0.8), rng.uniform(-0.8, 0.8), -1.0]
    spec.worldbody.add_light(
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
        pos=[0.5, 0, 2],
        dir=direction,
        diffuse=rng.uniform(0.3, 0.7) * tint,
        specular=[0.1, 0.1, 0.1],
        castshadow=0,
    )
    spec.add_texture(
        name='sky',
        type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
        rgb1=[0.85, 0.88, 0.92],
        rgb2=[0.55, 0.60, 0.66],
        width=64,
        height=384,
    )
    spec.worldbody.add_geom(
        name='table',
        type=mujoco.mjtGeom.mjGEOM_BOX,
        pos=TABLE_CENTRE,
        size=TABLE_HALF,
        material=objects.add_texture(spec, 'table', textures.surface(rng)),
        friction=[0.8, 0.005, 0.0001],
        group=objects.DRAWN,
    )
    spec.material('table').texuniform = 1
    spec.material('table').texrepeat[:] = rng.uniform(1.0, 3.0)
