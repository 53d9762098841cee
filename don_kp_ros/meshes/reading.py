"""Meshes of files: Wavefront .obj, binary glTF .glb and Stanford .ply, with texture or colours."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import trimesh
from numpy.typing import NDArray

from don_kp_ros.errors import RefusedError
from don_kp_ros.meshes.colours import coloured, opaque
from don_kp_ros.meshes.mesh import Mesh, Part

SUFFIXES = ('.ply', '.obj', '.glb')

_LARGEST_TEXTURE = 2048  # pixels of a side
_FACES_FOR_COLOURS = 5_000  # a coarser mesh with colours at its vertices is divided


def read(path: Path) -> Mesh:
    """Read a mesh in the units and the frame of its file; raises RefusedError.

    Faces without area are left out. The file's triangles may be wound either way, and have holes.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise RefusedError(
            f'{path}: meshes are read from {", ".join(SUFFIXES[:-1])} and {SUFFIXES[-1]} files'
        )
    if not path.is_file():
        raise RefusedError(f'{path}: no such file')
    return _read(path, path, None)


def decoded(data: bytes, kind: str, name: str) -> Mesh:
    """Read a mesh from the bytes of a file of a kind, such as glb; raises RefusedError.

    name: what errors call it. What the bytes refer to outside of themselves is left out.
    """
    if f'.{kind}' not in SUFFIXES:
        raise RefusedError(
            f"{name}: the format is '{kind}'; meshes are read from "
            f'{", ".join(suffix[1:] for suffix in SUFFIXES)}'
        )
    return _read(BytesIO(data), Path(name), kind)


def _read(source: Path | BytesIO, path: Path, kind: str | None) -> Mesh:
    try:
        scene = trimesh.load_scene(source, file_type=kind, process=False)
        found = [mesh for mesh in scene.dump() if isinstance(mesh, trimesh.Trimesh)]
    except Exception as error:  # the readers raise all kinds of errors
        raise RefusedError(f'{path}: cannot be read as a mesh ({error})') from error
    for surface in found:
        surface.update_faces(_have_area(surface))
        surface.remove_unreferenced_vertices()
    found = [surface for surface in found if len(surface.faces)]
    if not found:
        raise RefusedError(f'{path}: has no faces; a surface of triangles is needed')
    parts, looks = zip(*map(_part, found), strict=True)
    mesh = Mesh(path, parts, ' and '.join(sorted(set(looks))))
    if not np.isfinite(mesh.vertices).all():
        raise RefusedError(f'{path}: has vertices that are not finite')
    return mesh


def _have_area(mesh: trimesh.Trimesh) -> NDArray[np.bool_]:
    """Tell which faces have an area."""
    corner = np.asarray(mesh.vertices[mesh.faces], dtype=np.float64).reshape(-1, 3, 3)
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    longest = np.ptp(corner, axis=1).max(axis=1, initial=0.0)
    kept: NDArray[np.bool_] = ~(np.linalg.norm(normal, axis=1) <= 1e-9 * longest**2)
    return kept


def _part(mesh: trimesh.Trimesh) -> tuple[Part, str]:
    """Read a surface and a description of its look."""
    vertices = np.asarray(mesh.vertices, dtype=np.float64)
    faces = np.asarray(mesh.faces, dtype=np.int64)
    visual: Any = mesh.visual
    if isinstance(visual, trimesh.visual.TextureVisuals):
        picture, uv = _texture(visual.material), visual.uv
        if picture is not None and uv is not None and len(uv) == len(vertices):
            texcoord = np.stack([uv[:, 0], 1.0 - uv[:, 1]], axis=1).astype(np.float64)
            texcoord = np.nan_to_num(texcoord)
            return Part(vertices, faces, (1, 1, 1, 1), texcoord, faces, picture), 'textured'
        return Part(vertices, faces, opaque(visual.material.main_color)), 'of plain colour'
    if visual.kind not in ('vertex', 'face'):
        return Part(vertices, faces, (0.6, 0.6, 0.6, 1)), 'of plain colour'
    if visual.kind == 'vertex':
        colours = np.asarray(visual.vertex_colors, dtype=np.float64)[:, :3]
        while len(faces) < _FACES_FOR_COLOURS and len(np.unique(colours, axis=0)) > 1:
            vertices, faces, divided = trimesh.remesh.subdivide(
                vertices, faces, vertex_attributes={'colour': colours}
            )
            colours = divided['colour']
        colours = colours[faces].mean(axis=1)
    else:
        colours = np.asarray(visual.face_colors, dtype=np.float64)[:, :3]
    return coloured(vertices, faces, colours)


def _texture(material: Any) -> NDArray[np.uint8] | None:
    """Return a material's picture (H, W, 3) RGB; in glTF it is multiplied by its colour."""
    factor = np.ones(3)
    if isinstance(material, trimesh.visual.material.PBRMaterial):
        image = material.baseColorTexture
        if material.baseColorFactor is not None:
            factor = np.asarray(opaque(material.baseColorFactor))[:3]
    else:
        image = getattr(material, 'image', None)
    if image is None:
        return None
    picture = np.asarray(image.convert('RGB'))
    scale = _LARGEST_TEXTURE / max(picture.shape)
    if scale < 1:
        size = [max(1, int(side * scale)) for side in picture.shape[1::-1]]
        picture = cv2.resize(picture, (size[0], size[1]), interpolation=cv2.INTER_AREA)
    return np.clip(picture * factor, 0, 255).astype(np.uint8)
