"""Objects as cameras with depth see them, and where a point of one view lies in another."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from don_kp_ros.data.folder import Image
from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera

Matrix = NDArray[np.float64]

TOLERANCE = 0.003  # metres by which a seen point may miss the depth of the other view


@dataclass(frozen=True)
class DepthView:
    """The view of an object that correspondences are computed from.

    mask (H, W) uint8, not 0 where the object is; depth (H, W) float32 metres along the optical
    axis, NaN where there is none; T_object_camera (4, 4) maps points from the camera's frame to
    the object's.
    """

    mask: Image
    depth: NDArray[np.float32]
    camera: Camera
    T_object_camera: Matrix

    def cropped(self) -> DepthView:
        """Crop to the object with a margin of one pixel; the camera is cropped, too."""
        v, u = np.nonzero(self.mask)
        height, width = self.mask.shape
        top, bottom = max(int(v.min()) - 1, 0), min(int(v.max()) + 2, height)
        left, right = max(int(u.min()) - 1, 0), min(int(u.max()) + 2, width)
        rows, columns = slice(top, bottom), slice(left, right)
        c = self.camera
        camera = replace(c, width=right - left, height=bottom - top, cx=c.cx - left, cy=c.cy - top)
        mask, depth = self.mask[rows, columns].copy(), self.depth[rows, columns].copy()
        return DepthView(mask, depth, camera, self.T_object_camera)

    def depth_at(self, uv: ArrayLike) -> Matrix:
        """Interpolate the object's depth, metres, at pixels uv (N, 2): (N,).

        The inverse depth is interpolated bilinearly between the pixels, which is exact on any
        plane. The result is NaN outside of the picture, and if a pixel that counts is not on the
        object or has no depth.
        """
        uv = np.asarray(uv, dtype=np.float64)
        height, width = self.depth.shape
        inside = self.camera.contains(uv)
        uv = np.clip(np.where(inside[:, None], uv, 0), 0, [width - 1, height - 1])
        low = np.floor(uv).astype(int)
        part = uv - low
        inverse = np.zeros(len(uv))
        for du in (0, 1):
            for dv in (0, 1):
                weight = np.abs(1 - du - part[:, 0]) * np.abs(1 - dv - part[:, 1])
                u = np.minimum(low[:, 0] + du, width - 1)
                v = np.minimum(low[:, 1] + dv, height - 1)
                z = np.where(self.mask[v, u] > 0, self.depth[v, u], np.nan)
                inverse += np.where(weight > 0, weight / z, 0)
        return np.where(inside, 1 / inverse, np.nan)


def correspondences(
    view_a: DepthView, view_b: DepthView, uv_a: ArrayLike, tolerance: float = TOLERANCE
) -> tuple[Matrix, NDArray[np.bool_]]:
    """Find where points of an object, at pixels uv_a (N, 2) of one view, lie in another.

    Returns uv_b (N, 2), NaN where uv_a has no depth or lies beside the object, and which of them
    are seen (N,): inside picture and mask of b, and within `tolerance` metres of its depth there,
    so that nothing is in front of them. Both views must be of the same object.
    """
    uv_a = np.asarray(uv_a, dtype=np.float64)
    points = view_a.camera.deproject(uv_a, view_a.depth_at(uv_a))
    T_b_a = rigid.inverse(view_b.T_object_camera) @ view_a.T_object_camera
    in_b = rigid.apply(T_b_a, points)
    uv_b = view_b.camera.project(in_b)
    gap = np.abs(view_b.depth_at(uv_b) - in_b[:, 2])
    return uv_b, gap <= tolerance  # False for NaN
