"""A mesh as the bytes of one file: binary glTF, in metres, with its colours or textures."""

from __future__ import annotations

import cv2
import numpy as np
import trimesh
from numpy.typing import NDArray
from PIL import Image

from don_kp_ros.meshes.mesh import Mesh, Part
from don_kp_ros.meshes.simplification import reduced

FORMAT = 'glb'

_LARGEST_TEXTURE = 1024  # pixels of a side; cameras see objects no larger


def packed(mesh: Mesh) -> bytes:
    """Write a mesh in metres, reduced to what is worth drawing; `reading.decoded` reads it."""
    surfaces = [_surface(part) for part in reduced(mesh).parts]
    return bytes(trimesh.Scene(surfaces).export(file_type=FORMAT))


def _surface(part: Part) -> trimesh.Trimesh:
    vertices, faces = part.vertices, part.faces
    material, uv = trimesh.visual.material.PBRMaterial, None
    if part.texcoord is not None and part.corners is not None and part.picture is not None:
        texcoord = part.texcoord
        if not np.array_equal(part.corners, faces):  # glTF has a texture's place at each vertex
            vertices, texcoord = vertices[faces.reshape(-1)], texcoord[part.corners.reshape(-1)]
            faces = np.arange(len(vertices)).reshape(-1, 3)
        uv = np.stack([texcoord[:, 0], 1.0 - texcoord[:, 1]], axis=1)
        looks = material(baseColorTexture=Image.fromarray(_small(part.picture)))
    else:
        looks = material(baseColorFactor=[round(255 * value) for value in part.rgba])
    visual = trimesh.visual.TextureVisuals(uv=uv, material=looks)
    return trimesh.Trimesh(vertices, faces, visual=visual, process=False)


def _small(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    scale = _LARGEST_TEXTURE / max(height, width)
    if scale >= 1:
        return picture
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
