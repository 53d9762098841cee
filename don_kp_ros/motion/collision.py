"""The planner's collision world: the robot, the table and the obstacles on it."""

from typing import Any

import mujoco
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from don_kp_ros.geometry import rigid
from don_kp_ros.motion.heightmap import LOWEST, Grid, HeightMap
from don_kp_ros.motion.held import HeldBox
from don_kp_ros.robots import hand
from don_kp_ros.robots.panda import TCP_SITE, panda_spec
from don_kp_ros.robots.preset import RobotPreset

Array = NDArray[np.float64]

# Empty cells lie this far below the table, so that the map has no effect there.
_SUNK = 0.03
_HIGHEST = 1.0

# Collision bits: everything but the hand collides with all obstacles; the hand and its fingers
# collide with those that remain when a grasp's surroundings are cleared.
_ROBOT, _ALL, _CLEARED = 1, 2, 4
HELD = 'the held object'
# About the hand's origin: MuJoCo looks for contacts only where a body may be by its first geoms.
_LARGEST_HELD = (0.45, 0.45, 0.45)


class Scene:
    """Tells whether joint positions touch the table, an obstacle or the robot itself.

    Obstacles are a height map, padded by a distance in metres. A mesh collides as its hull.
    """

    def __init__(self, preset: RobotPreset, grid: Grid) -> None:
        """Build the model."""
        self._grid = grid
        spec = panda_spec(preset.T_hand_camera_link[:3, 3])
        spec.site(TCP_SITE).pos = preset.tcp_offset
        _add_obstacles(spec, self._grid)
        _add_held(spec)
        for geom in spec.geoms:
            if geom.contype or geom.conaffinity:
                _set_bits(geom)
        self._model: Any = spec.compile()
        self._data: Any = mujoco.MjData(self._model)
        self._obstacles = [self._model.geom(f'obstacles{bits}').id for bits in (_ALL, _CLEARED)]
        self._table = self._model.geom('table').id
        self._tcp = self._model.site(TCP_SITE).id
        self._held = self._model.geom(HELD).id
        self._model.geom_sameframe[self._held] = 0  # it moves: its first place is not kept
        self._T_hand_tcp = preset.T_hand_tcp
        self._open_width = preset.open_width
        self.hold(None)
        self.set_width(preset.open_width)
        self._heights: HeightMap | None = None
        self.set_padding(0.0)
        self.set_obstacles(None)

    def set_padding(self, padding: float) -> None:
        """Keep a distance in metres from the table and the obstacles."""
        self._model.geom_margin[[self._table, *self._obstacles]] = padding

    def set_width(self, width: float) -> None:
        """Set the width between the fingers in metres."""
        self._fingers = float(np.clip(width, 0.0, self._open_width)) / 2

    def hold(self, held: HeldBox | None) -> None:
        """Have a box move with the hand, and collide as the arm does; None takes it away."""
        model, i = self._model, self._held
        bits = 0 if held is None else 1
        model.geom_contype[i] = _ROBOT * bits
        model.geom_conaffinity[i] = (_ROBOT | _ALL) * bits
        if held is None:
            return
        T_hand_box = self._T_hand_tcp @ held.T_tcp_box
        x, y, z, w = rigid.to_quaternion(T_hand_box)
        model.geom_pos[i], model.geom_quat[i] = T_hand_box[:3, 3], [w, x, y, z]
        model.geom_size[i] = held.half_size
        model.geom_rbound[i] = np.linalg.norm(held.half_size)

    @property
    def holds(self) -> bool:
        """Tell whether a box moves with the hand, or the fingers may hold what nobody knows of."""
        boxed = bool(self._model.geom_contype[self._held])
        return boxed or hand.may_hold(2 * self._fingers, self._open_width)

    def set_obstacles(self, heights: HeightMap | None) -> None:
        """Replace the obstacles."""
        if heights is not None and heights.grid != self._grid:
            raise ValueError(f'the height map is on {heights.grid}; the scene on {self._grid}')
        self._heights = heights
        self.clear_near(None, 0.0)

    def clear_near(self, centre: ArrayLike | None, radius: float) -> None:
        """Allow the hand and its fingers within a radius around centre; None undoes it."""
        cleared = self._heights
        if cleared is not None and centre is not None:
            cleared = cleared.cleared(centre, radius)
        for i, heights in enumerate((self._heights, cleared)):
            data = np.zeros(np.add(self._grid.shape, 1))
            if heights is not None:
                # At the cells' corners, each as high as the highest cell around: no point of a
                # cell is above the field, which slopes down in the next cells.
                around = np.pad(np.nan_to_num(heights.heights), 1)
                top = sliding_window_view(around, (2, 2)).max(axis=(2, 3))
                data = np.where(top > LOWEST, np.clip((top + _SUNK) / _HIGHEST, 0.0, 1.0), 0.0)
            start = self._model.hfield_adr[i]
            # MuJoCo's rows run along y.
            self._model.hfield_data[start : start + data.size] = data.T.ravel()

    def contact(self, q: ArrayLike) -> str | None:
        """Name a contact at joint positions (7,), e.g. 'panda_hand touches table'."""
        if not self.collides(q):
            return None
        first, second = (self._model.geom(i).name for i in self._data.contact.geom[0])
        names = sorted(
            (first, second), key=lambda name: not (name == HELD or name.startswith('panda'))
        )
        return f'{_readable(names[0])} touches {_readable(names[1])}'

    def collides(self, q: ArrayLike) -> bool:
        """Tell whether the robot touches anything at joint positions (7,)."""
        self._data.qpos[:7] = q
        self._data.qpos[7:9] = self._fingers
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_collision(self._model, self._data)
        return bool(self._data.ncon > 0)

    def tcp(self) -> Array:
        """Return the pose of the tool centre point (4, 4) at the positions asked for last."""
        rotation = self._data.site_xmat[self._tcp].reshape(3, 3)
        return rigid.transform(rotation, self._data.site_xpos[self._tcp])


def _readable(name: str) -> str:
    return 'an obstacle' if name.startswith('obstacles') else name


def _set_bits(geom: Any) -> None:
    if geom.name.startswith('obstacles'):
        geom.contype, geom.conaffinity = int(geom.name.removeprefix('obstacles')), 0
    elif geom.name == 'table':
        # The robot stands on it.
        geom.contype, geom.conaffinity = _ALL | _CLEARED, 0
    elif geom.name == 'panda_link0':
        geom.contype, geom.conaffinity = _ROBOT, _ROBOT
    elif geom.name in ('panda_hand', 'panda_leftfinger', 'panda_rightfinger'):
        geom.contype, geom.conaffinity = _ROBOT, _ROBOT | _CLEARED
    else:
        geom.contype, geom.conaffinity = _ROBOT, _ROBOT | _ALL


def _add_held(spec: mujoco.MjSpec) -> None:
    spec.body('panda_hand').add_geom(
        name=HELD, type=mujoco.mjtGeom.mjGEOM_BOX, size=_LARGEST_HELD, mass=0.0
    )


def _add_obstacles(spec: mujoco.MjSpec, grid: Grid) -> None:
    spec.worldbody.add_geom(name='table', type=mujoco.mjtGeom.mjGEOM_PLANE, size=[1.0, 1.0, 0.01])
    nx, ny = grid.shape
    xs, ys = grid.centres()
    for bits in (_ALL, _CLEARED):
        field = spec.add_hfield(
            name=f'obstacles{bits}',
            nrow=ny + 1,
            ncol=nx + 1,
            userdata=np.zeros((nx + 1) * (ny + 1)),
            size=[nx * grid.cell / 2, ny * grid.cell / 2, _HIGHEST, 0.01],
        )
        spec.worldbody.add_geom(
            name=field.name,
            type=mujoco.mjtGeom.mjGEOM_HFIELD,
            hfieldname=field.name,
            pos=[(xs[0] + xs[-1]) / 2, (ys[0] + ys[-1]) / 2, -_SUNK],
        )
