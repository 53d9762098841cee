"""Draws what a simulated camera sees: colour, depth along the optical axis, and masks."""

from __future__ import annotations

import threading
from typing import Any, TypeVar

import mujoco
import numpy as np
from numpy.typing import NDArray

from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera
from don_kp_ros.simulation.camera import D435, MAX_DEPTH, MIN_DEPTH, Frame

Array = NDArray[np.float64]
Scene = TypeVar('Scene', bound='StillScene')

_HIDDEN = 5  # a group of geoms that is not drawn
_MOST_GEOMS = 10_000

# MuJoCo's cameras look along -z with y up; the optical frame looks along z with y down.
_MUJOCO_FROM_OPTICAL = np.diag([1.0, -1.0, -1.0])

_own = threading.local()


def _context() -> Any:
    """Return the thread's graphics context. Each one compiles its shaders anew, for .3 s."""
    if not hasattr(_own, 'context'):
        _own.context = mujoco.GLContext(D435.width, D435.height)
    _own.context.make_current()
    return _own.context


class Renderer:
    """Draws a model as the camera sees it.

    Use it only in the thread that makes it: a graphics context belongs to one thread.
    """

    def __init__(
        self, model: mujoco.MjModel, camera: Camera = D435, both_sides: bool = False
    ) -> None:
        """Prepare to draw a model; its offscreen buffer must hold the camera's picture.

        both_sides: of every surface are shown, as objects need that have no underside.
        """
        buffer = model.vis.global_
        if camera.width > buffer.offwidth or camera.height > buffer.offheight:
            raise ValueError(
                f'the camera has {camera.width}x{camera.height} pixels, the offscreen buffer of '
                f'the model {buffer.offwidth}x{buffer.offheight}: set visual.global_'
            )
        self._camera = camera
        self._model = model
        self._scene = mujoco.MjvScene(model, _MOST_GEOMS)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_CULL_FACE] = not both_sides
        _context()
        self._resources = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_50)
        self._resources.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR
        self._view = mujoco.MjvCamera()
        self._view.type = mujoco.mjtCamera.mjCAMERA_FREE
        self._option = mujoco.MjvOption()
        self._option.geomgroup[:] = [1, 1, 1, 0, 0, 0]
        left, right = ((u - camera.cx) / camera.fx for u in (-0.5, camera.width - 0.5))
        top, bottom = ((v - camera.cy) / camera.fy for v in (-0.5, camera.height - 0.5))
        sides = np.array([[1, 0, -left], [-1, 0, right], [0, 1, -top], [0, -1, bottom]])
        self._sides = sides / np.linalg.norm(sides, axis=1, keepdims=True)

    def close(self) -> None:
        """Free the graphics memory."""
        _context()
        self._resources.free()

    def render(self, data: mujoco.MjData, T_world_optical: Array) -> Frame:
        """Draw colour and depth from a camera pose (4, 4)."""
        colour = self.render_colour(data, T_world_optical)
        # In reverse: 1 at the near plane, 0 at the far one. In double precision: of what is far,
        # little is left in single.
        inverse = self._draw(identities=True)[1].astype(np.float64)
        near, far = (self._model.stat.extent * z for z in self._planes)
        depth = (near * far / (near + inverse * (far - near))).astype(np.float32)
        depth[(depth < MIN_DEPTH) | (depth > MAX_DEPTH)] = np.nan
        return Frame(colour, depth)

    def render_colour(
        self, data: mujoco.MjData, T_world_optical: Array, share: float = 1.0
    ) -> NDArray[np.uint8]:
        """Draw colour alone, (H, W, 3) RGB, from a camera pose (4, 4).

        share: of the camera's width and height, that a smaller picture of the same view has.
        """
        self._update(data, T_world_optical)
        return self._draw(share=share)[0]

    def mask(self, data: mujoco.MjData, T_world_optical: Array, body: str) -> NDArray[np.bool_]:
        """Tell which pixels (H, W) show a body."""
        shown: NDArray[np.bool_] = self.bodies(data, T_world_optical) == self._model.body(body).id
        return shown

    def bodies(self, data: mujoco.MjData, T_world_optical: Array) -> NDArray[np.int32]:
        """Tell which body of the model each pixel (H, W) shows; -1: none."""
        self._update(data, T_world_optical)
        return self._bodies()

    def alone(
        self, data: mujoco.MjData, T_world_optical: Array, body: str
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Draw a body without everything else: colour (H, W, 3) RGB, and where it is (H, W)."""
        wanted = self._model.body(body).id
        self._update(data, T_world_optical, self._model.geom_bodyid != wanted)
        return self._draw()[0], self._bodies() == wanted

    def _bodies(self) -> NDArray[np.int32]:
        colours = self._draw(identities=True)[0].astype(np.int32)
        number = colours @ [1, 1 << 8, 1 << 16] - 1  # in the scene; -1: nothing
        body = np.full(self._scene.ngeom + 1, -1, dtype=np.int32)
        for geom in self._scene.geoms[: self._scene.ngeom]:
            if geom.segid >= 0 and geom.objtype == mujoco.mjtObj.mjOBJ_GEOM:
                body[geom.segid] = self._model.geom_bodyid[geom.objid]
        return body[number]

    @property
    def _planes(self) -> tuple[float, float]:
        """The near and the far clipping plane, in the model's extents."""
        return self._model.vis.map.znear, self._model.vis.map.zfar

    def _draw(
        self, identities: bool = False, share: float = 1.0
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Draw the scene: colours (H, W, 3), or the geoms' numbers in them, and inverse depth."""
        size = round(self._camera.height * share), round(self._camera.width * share)
        colours, depth = np.empty((*size, 3), np.uint8), np.empty(size, np.float32)
        for flag in mujoco.mjtRndFlag.mjRND_SEGMENT, mujoco.mjtRndFlag.mjRND_IDCOLOR:
            self._scene.flags[flag] = identities
        _context()
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._resources)
        rectangle = mujoco.MjrRect(0, 0, size[1], size[0])
        mujoco.mjr_render(rectangle, self._scene, self._resources)
        mujoco.mjr_readPixels(colours, depth, rectangle, self._resources)
        return np.flipud(colours).copy(), np.flipud(depth)

    def _update(
        self,
        data: mujoco.MjData,
        T_world_optical: Array,
        without: NDArray[np.bool_] | None = None,
    ) -> None:
        """Show what is in view, but for some geoms (ngeom,)."""
        groups = self._model.geom_group.copy()
        # What is out of view costs as much as what is in view, and of an arm that is the most.
        self._model.geom_group[self._out_of_view(data, T_world_optical)] = _HIDDEN
        if without is not None:
            self._model.geom_group[without] = _HIDDEN
        try:
            mujoco.mjv_updateScene(
                self._model,
                data,
                self._option,
                None,
                self._view,
                mujoco.mjtCatBit.mjCAT_ALL,
                self._scene,
            )
        finally:
            self._model.geom_group[:] = groups
        eye = T_world_optical[:3, 3]
        R = T_world_optical[:3, :3] @ _MUJOCO_FROM_OPTICAL
        near = self._planes[0] * self._model.stat.extent
        c = self._camera
        for gl in self._scene.camera:
            gl.pos[:], gl.forward[:], gl.up[:] = eye, -R[:, 2], R[:, 1]
            # Pixel centres are at integers: the picture spans -0.5 .. width - 0.5.
            gl.frustum_bottom = -near * (c.height - 0.5 - c.cy) / c.fy
            gl.frustum_top = near * (c.cy + 0.5) / c.fy
            gl.frustum_center = near * ((c.width - 1) / 2 - c.cx) / c.fx
            gl.frustum_width = near * c.width / 2 / c.fx

    def _out_of_view(self, data: mujoco.MjData, T_world_optical: Array) -> NDArray[np.bool_]:
        """Tell which geoms' bounding spheres are wholly beside or behind the view.

        Their shadows would be missed; lights of the scenes here cast none.
        """
        radii = self._model.geom_rbound
        centres = rigid.apply(rigid.inverse(T_world_optical), data.geom_xpos)
        nearest = np.minimum((centres @ self._sides.T).min(axis=1), centres[:, 2])
        out: NDArray[np.bool_] = (nearest < -radii) & (radii > 0)  # a plane has no end: 0
        return out


class StillScene:
    """A scene that nothing moves, seen from anywhere; to be used in a `with`."""

    def __init__(
        self, model: mujoco.MjModel, subject: str | None, both_sides: bool = False
    ) -> None:
        """Take a model, and the name of the body that it is about, if there is one."""
        self.model, self.data, self.subject = model, mujoco.MjData(model), subject
        mujoco.mj_forward(model, self.data)
        self._renderer = Renderer(model, both_sides=both_sides)

    def __enter__(self: Scene) -> Scene:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the graphics memory."""
        self._renderer.close()

    def render(self, T_world_optical: Array) -> Frame:
        """Draw colour and true depth from a camera pose (4, 4)."""
        return self._renderer.render(self.data, T_world_optical)

    def mask(self, T_world_optical: Array) -> NDArray[np.bool_]:
        """Tell which pixels (H, W) show the subject from a camera pose (4, 4)."""
        if self.subject is None:
            return np.zeros((D435.height, D435.width), dtype=np.bool_)
        return self._renderer.mask(self.data, T_world_optical, self.subject)
