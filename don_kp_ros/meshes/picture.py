"""Draw a mesh with its colours into a picture."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera
from don_kp_ros.meshes.mesh import Mesh
from don_kp_ros.meshes.raster import CPU, Raster, rasterise

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

_AMBIENT = 0.6  # of the light; the rest comes from the camera


def drawn_over(
    image: Image, mesh: Mesh, T: Array, camera: Camera, device: torch.device = CPU
) -> tuple[Image, Raster]:
    """Draw a mesh at a pose (4, 4) over a picture (H, W, 3) of a camera; return also its raster.

    The light is plain and comes from the camera. Nothing in the picture hides the mesh.
    """
    vertices = rigid.apply(T, mesh.vertices)
    raster = rasterise(vertices, mesh.faces, camera, device)
    mask = raster.mask
    colours = np.zeros((*mask.shape, 3), np.float32)
    first = 0
    for part in mesh.parts:
        last = first + len(part.faces)
        own = (raster.face >= first) & (raster.face < last)
        if part.texcoord is not None and part.corners is not None and part.picture is not None:
            there = Raster(np.where(own, raster.face - first, -1), raster.share, raster.depth)
            size = np.array(part.picture.shape[1::-1], np.float32)
            uv = there.values(part.texcoord, part.corners) % 1.0 * size - np.float32(0.5)
            found = cv2.remap(
                part.picture, uv[..., 0], uv[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP
            )
            colours[own] = found[own]
        else:
            colours[own] = 255 * np.array(part.rgba[:3])
        first = last
    corners = vertices[mesh.faces[raster.face[mask]]]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    sight = corners.mean(axis=1)
    lengths = np.linalg.norm(normal, axis=1) * np.linalg.norm(sight, axis=1)
    towards = np.abs((normal * sight).sum(axis=1)) / np.maximum(lengths, 1e-12)
    picture = image.copy()
    lit = colours[mask] * (_AMBIENT + (1 - _AMBIENT) * towards[:, None])
    picture[mask] = np.clip(lit, 0, 255).astype(np.uint8)
    return picture, raster


def drawn_together(
    image: Image, meshes: Sequence[Mesh], T: Sequence[Array], camera: Camera
) -> tuple[Image, NDArray[np.int64], NDArray[np.float32]]:
    """Draw meshes at poses (4, 4) over a picture (H, W, 3); the nearer ones hide the others.

    Returns the picture, which mesh each pixel (H, W) shows, -1 for none, and its depth (H, W) in
    metres, NaN where there is none.
    """
    picture = image.copy()
    owner = np.full(image.shape[:2], -1, np.int64)
    depth = np.full(image.shape[:2], np.nan, np.float32)
    for number, (mesh, pose) in enumerate(zip(meshes, T, strict=True)):
        drawn, raster = drawn_over(image, mesh, pose, camera)
        nearer = raster.mask & ~(raster.depth >= depth)
        picture[nearer], owner[nearer] = drawn[nearer], number
        depth[nearer] = raster.depth[nearer]
    return picture, owner, depth
