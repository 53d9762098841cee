"""Meshes of files: Wavefront .obj and binary glTF .glb, with texture or colours."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import trimesh
from numpy.typing import NDArray

from don_kp_ros.data.folder import DataError
from don_kp_ros.geometry import rigid
from don_kp_ros.simulation import camera, objects, textures

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

SUFFIXES = ('.obj', '.glb')
UP = {'.obj': 'z', '.glb': 'y'}
"""The axis of a file that points up: glTF says y, Wavefront leaves it open."""

_EXTENT = (0.005, 2.0)  # metres that can be seen from the camera's distances
_LARGEST_TEXTURE = 2048  # pixels of a side
_FACES_FOR_COLOURS = 5_000  # a coarser mesh with colours at its vertices is divided
_TURN = {'z': np.eye(3), 'y': np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])}


@dataclass(frozen=True)
class Part:
    """A surface with one texture or colour.

    vertices (N, 3) metres; faces (M, 3) into them, counter-clockwise from outside; texcoord (C, 2)
    with u to the right and v down, and corners (M, 3) into it; picture: the texture. Without a
    texture the last three are None and the surface has the colour rgba, 0..1.
    """

    vertices: Array
    faces: Indices
    rgba: tuple[float, float, float, float]
    texcoord: Array | None = None
    corners: Indices | None = None
    picture: textures.Picture | None = None


@dataclass(frozen=True)
class Mesh:
    """An object of a file, in metres, z up, its frame at the middle of its base."""

    path: Path
    parts: tuple[Part, ...]
    look: str  # in words

    @property
    def size(self) -> Array:
        """Its extent along x, y and z, (3,) metres."""
        vertices = self._vertices()
        return np.asarray(vertices.max(axis=0) - vertices.min(axis=0))

    @property
    def radius(self) -> float:
        """The radius of its footprint about its frame, metres."""
        return float(np.linalg.norm(self._vertices()[:, :2], axis=1).max())

    def _vertices(self) -> Array:
        return np.concatenate([part.vertices for part in self.parts])


def load(path: Path, size: float | None = None, up: str | None = None) -> Mesh:
    """Read a mesh and set it on its base; raises DataError.

    size: metres of its largest extent; None: the file is in metres. up: the axis of the file that
    points up, 'y' or 'z'; None: UP. The mesh keeps its x axis, is turned so that `up` becomes z,
    and is shifted so that the middle of its bounding box's underside is the origin.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f'{path}: meshes are read from {" and ".join(SUFFIXES)} files')
    if not path.is_file():
        raise DataError(f'{path}: no such file')
    try:
        scene = trimesh.load_scene(path, process=False)
        found = [mesh for mesh in scene.dump() if isinstance(mesh, trimesh.Trimesh)]
    except Exception as error:  # the readers raise all kinds of errors
        raise DataError(f'{path}: cannot be read as a mesh ({error})') from error
    for mesh in found:
        mesh.update_faces(_have_area(mesh))
        mesh.remove_unreferenced_vertices()
    found = [mesh for mesh in found if len(mesh.faces)]
    if not found:
        raise DataError(f'{path}: has no faces; a surface of triangles is needed')
    turn = _TURN[up or UP[path.suffix.lower()]]
    vertices = np.concatenate([mesh.vertices for mesh in found]) @ turn.T
    if not np.isfinite(vertices).all():
        raise DataError(f'{path}: has vertices that are not finite')
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    extent = float((high - low).max())
    scale = 1.0 if size is None or extent == 0 else size / extent
    if not _EXTENT[0] <= extent * scale <= _EXTENT[1]:
        raise DataError(
            f'{path}: is {extent * scale:.4g} m large; {_EXTENT[0]} m to {_EXTENT[1]} m can be '
            'shown: give its true size with --size (metres of its largest extent)'
        )
    base = np.array([*(low + high)[:2] / 2, low[2]])
    for mesh in found:
        mesh.apply_transform(rigid.transform(scale * turn, -scale * base))
    parts, looks = zip(*map(_part, found), strict=True)
    return Mesh(path, parts, ' and '.join(sorted(set(looks))))


def add(spec: camera.mujoco.MjSpec, body: camera.mujoco.MjsBody, mesh: Mesh) -> None:
    """Add a mesh to a body; it is drawn from both sides and does not collide."""
    for number, part in enumerate(mesh.parts):
        name = f'{body.name}/part_{number}'
        count = len(part.vertices)
        # Open surfaces and files with reversed faces would show holes.
        arguments: dict[str, Any] = {
            'uservert': np.concatenate([part.vertices, part.vertices]).ravel(),
            'userface': np.concatenate([part.faces, part.faces[:, ::-1] + count]).ravel(),
        }
        looks: dict[str, Any] = {'rgba': part.rgba}
        if part.texcoord is not None and part.corners is not None and part.picture is not None:
            arguments['usertexcoord'] = part.texcoord.ravel()
            arguments['userfacetexcoord'] = np.concatenate(
                [part.corners, part.corners[:, ::-1]]
            ).ravel()
            looks = {'material': objects.add_texture(spec, name, part.picture)}
        objects.add_mesh(spec, body, name, looks, **arguments)


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
        return Part(vertices, faces, _rgba(visual.material.main_color)), 'of plain colour'
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
    if np.ptp(colours, axis=0).max() > 0:
        return _palette(vertices, faces, colours), 'coloured'
    return Part(vertices, faces, _rgba(colours[0])), 'of plain colour'


def _palette(vertices: Array, faces: Indices, colours: Array) -> Part:
    """Give each face a colour, (M, 3) RGB 0..255, by a texture with one texel per colour."""
    levels = np.rint(colours).astype(np.int64)
    palette, index = np.unique(levels, axis=0, return_inverse=True)
    side = int(np.ceil(np.sqrt(len(palette))))
    picture = np.zeros((side * side, 3), np.uint8)
    picture[: len(palette)] = palette.clip(0, 255)
    texel = np.arange(len(palette))
    texcoord = np.stack([texel % side + 0.5, texel // side + 0.5], axis=1) / side
    corners = np.repeat(index.reshape(-1, 1), 3, axis=1)
    return Part(vertices, faces, (1, 1, 1, 1), texcoord, corners, picture.reshape(side, side, 3))


def _texture(material: Any) -> textures.Picture | None:
    """Return a material's picture (H, W, 3) RGB; in glTF it is multiplied by its colour."""
    factor = np.ones(3)
    if isinstance(material, trimesh.visual.material.PBRMaterial):
        image = material.baseColorTexture
        if material.baseColorFactor is not None:
            factor = np.asarray(_rgba(material.baseColorFactor))[:3]
    else:
        image = getattr(material, 'image', None)
    if image is None:
        return None
    picture = np.asarray(image.convert('RGB'))
    scale = _LARGEST_TEXTURE / max(picture.shape)
    if scale < 1:
        size = [max(1, int(side * scale)) for side in picture.shape[1::-1]]
        picture = cv2.resize(picture, (size[0], size[1]), interpolation=cv2.INTER_AREA)
    return textures.to_picture(picture * factor)


def _rgba(colour: Any) -> tuple[float, float, float, float]:
    """Read a colour of 0..255 as opaque, 0..1."""
    r, g, b = (float(value) / 255 for value in np.asarray(colour, dtype=np.float64)[:3])
    return r, g, b, 1.0
