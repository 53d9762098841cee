"""The simulated Intel RealSense D435: colour, and depth aligned to colour, with its faults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import cv2
import mujoco
import numpy as np
from numpy.typing import NDArray

from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera

Array = NDArray[np.float64]
Scene = TypeVar('Scene', bound='StillScene')

D435 = Camera(width=640, height=480, fx=615.0, fy=615.0, cx=319.5, cy=239.5)
"""Colour intrinsics of a D435 at 640x480 [pixels]; the depth is aligned to them."""

MIN_DEPTH, MAX_DEPTH = 0.17, 4.0  # metres; the stereo sees nothing nearer or farther

_HIDDEN = 5  # a group of geoms that is not drawn

# MuJoCo's cameras look along -z with y up; the optical frame looks along z with y down.
_MUJOCO_FROM_OPTICAL = np.diag([1.0, -1.0, -1.0])


@dataclass(frozen=True)
class Frame:
    """One pair of images of the same moment."""

    colour: NDArray[np.uint8]  # (H, W, 3) RGB
    depth: NDArray[np.float32]  # (H, W) metres along the optical axis; NaN beyond the range


class Renderer:
    """Draws a model as the camera sees it.

    Use it only in the thread that makes it: an EGL context belongs to one thread.
    """

    def __init__(self, model: mujoco.MjModel, camera: Camera = D435) -> None:
        """Prepare to draw a model."""
        self._camera = camera
        self._model = model
        self._renderer = mujoco.Renderer(model, camera.height, camera.width)
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
        self._renderer.close()

    def render(self, data: mujoco.MjData, T_world_optical: Array) -> Frame:
        """Draw colour and depth from a camera pose (4, 4)."""
        colour = self.render_colour(data, T_world_optical)
        self._renderer.enable_depth_rendering()
        try:
            depth = self._renderer.render().astype(np.float32)
        finally:
            self._renderer.disable_depth_rendering()
        depth[(depth < MIN_DEPTH) | (depth > MAX_DEPTH)] = np.nan
        return Frame(colour, depth)

    def render_colour(self, data: mujoco.MjData, T_world_optical: Array) -> NDArray[np.uint8]:
        """Draw colour alone, (H, W, 3) RGB, from a camera pose (4, 4)."""
        self._update(data, T_world_optical)
        colour: NDArray[np.uint8] = self._renderer.render().copy()
        return colour

    def mask(self, data: mujoco.MjData, T_world_optical: Array, body: str) -> NDArray[np.bool_]:
        """Tell which pixels (H, W) show a body."""
        self._update(data, T_world_optical)
        self._renderer.enable_segmentation_rendering()
        try:
            ids = self._renderer.render()
        finally:
            self._renderer.disable_segmentation_rendering()
        geoms = np.flatnonzero(self._model.geom_bodyid == self._model.body(body).id)
        is_geom = ids[..., 1] == int(mujoco.mjtObj.mjOBJ_GEOM)
        shown: NDArray[np.bool_] = is_geom & np.isin(ids[..., 0], geoms)
        return shown

    def _update(self, data: mujoco.MjData, T_world_optical: Array) -> None:
        groups = self._model.geom_group.copy()
        # What is out of view costs as much as what is in view, and of an arm that is the most.
        self._model.geom_group[self._out_of_view(data, T_world_optical)] = _HIDDEN
        try:
            self._renderer.update_scene(data, self._view, self._option)
        finally:
            self._model.geom_group[:] = groups
        eye = T_world_optical[:3, 3]
        R = T_world_optical[:3, :3] @ _MUJOCO_FROM_OPTICAL
        near = self._model.vis.map.znear * self._model.stat.extent
        c = self._camera
        for gl in self._renderer.scene.camera:
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

    def __init__(self, model: mujoco.MjModel, subject: str | None) -> None:
        """Take a model, and the name of the body that it is about, if there is one."""
        self.model, self.data, self.subject = model, mujoco.MjData(model), subject
        mujoco.mj_forward(model, self.data)
        self._renderer = Renderer(model)

    def __enter__(self: Scene) -> Scene:
        return self

    def __exit__(self, *_: object) -> None:
        self._renderer.close()

    def render(self, T_world_optical: Array) -> Frame:
        """Draw colour and true depth from a camera pose (4, 4)."""
        return self._renderer.render(self.data, T_world_optical)

    def mask(self, T_world_optical: Array) -> NDArray[np.bool_]:
        """Tell which pixels (H, W) show the subject from a camera pose (4, 4)."""
        if self.subject is None:
            return np.zeros((D435.height, D435.width), dtype=np.bool_)
        return self._renderer.mask(self.data, T_world_optical, self.subject)


def is_whole(mask: NDArray[np.bool_]) -> bool:
    """Tell whether what a mask (H, W) shows keeps off the picture's border."""
    return not (mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())


@dataclass(frozen=True)
class Faults:
    """The faults of a D435: noise in colour; noise, steps, holes and shadows in depth.

    Depth noise grows with the square of the distance (about 1 mm at half a metre). It is smooth
    over a few pixels, like the window of a stereo matcher. Depth is missing beside nearer edges,
    which hide the surface from one of the two imagers, and in some spots without texture.
    """

    grain: NDArray[np.int16]  # (H, W, 3), added to colour
    relief: Array  # (H, W) 1/m, times the squared distance added to depth
    lost: NDArray[np.bool_]  # (H, W), where there is no depth

    @classmethod
    def draw(cls, rng: np.random.Generator, shape: tuple[int, int]) -> Faults:
        """Draw those of one picture of shape (H, W)."""
        grain = rng.normal(0, 2.5, (*shape, 1)) + rng.normal(0, 1.2, (*shape, 3))
        white = rng.normal(0, 1, shape)
        blurred = np.asarray(cv2.GaussianBlur(white, (0, 0), 2.0), dtype=np.float64)
        smooth = blurred / max(float(blurred.std()), 1e-6)
        white = rng.normal(0, 1, shape).astype(np.float32)
        coarse = rng.uniform(0, 1, (shape[0] // 12, shape[1] // 12)).astype(np.float32)
        spots = cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC) > 0.985
        lost = spots | (rng.random(shape) < 0.002)
        relief: Array = 0.0035 * smooth + 0.0015 * white
        return cls(np.rint(grain).astype(np.int16), relief, lost)

    def applied(self, frame: Frame) -> Frame:
        """Return a true frame as the camera gives it."""
        colour = np.clip(frame.colour + self.grain, 0, 255).astype(np.uint8)
        z = frame.depth
        depth = z + self.relief * z**2
        filled = np.nan_to_num(z, nan=MAX_DEPTH).astype(np.float32)
        shadow_width = 5
        nearer_right = np.full_like(filled, np.inf)
        nearer_right[:, :-shadow_width] = filled[:, shadow_width:]
        depth[self.lost | (filled - nearer_right > 0.03)] = np.nan
        depth = np.round(depth * 1000) / np.float32(1000)
        return Frame(colour, depth.astype(np.float32))


def with_faults(frame: Frame, rng: np.random.Generator) -> Frame:
    """Return a true frame as the camera gives it, with faults of its own."""
    height, width = frame.depth.shape
    return Faults.draw(rng, (height, width)).applied(frame)


def look_at(eye: Array, target: Array, up: Array | None = None) -> Array:
    """Return ``T_world_optical`` of a camera that looks at a target.

    The picture's top points along ``up`` as far as possible; along z by default.
    """
    forward = np.asarray(target, dtype=np.float64) - eye
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0.0, 0.0, 1.0] if up is None else up)
    right /= np.linalg.norm(right)
    return rigid.transform(np.stack([right, np.cross(forward, right), forward], axis=1), eye)
