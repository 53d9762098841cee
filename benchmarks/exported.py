"""Built-in objects of the simulation as meshes, with their textures."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np
import trimesh
from numpy.typing import NDArray
from PIL import Image

from don_kp_ros.geometry import rigid
from don_kp_ros.simulation.objects import DRAWN


def exported(model: mujoco.MjModel, body: str) -> trimesh.Scene:
    """Return what is drawn of a body, in its frame; raises ValueError for other primitives."""
    number = model.body(body).id
    drawn = (model.geom_bodyid == number) & (model.geom_group == DRAWN)
    return trimesh.Scene([_surface(model, int(geom)) for geom in np.flatnonzero(drawn)])


def _surface(model: mujoco.MjModel, geom: int) -> trimesh.Trimesh:
    kind, size = model.geom_type[geom], model.geom_size[geom]
    if kind == mujoco.mjtGeom.mjGEOM_MESH:
        surface = _mesh(model, geom)
    elif kind == mujoco.mjtGeom.mjGEOM_ELLIPSOID:
        surface = trimesh.creation.icosphere(2, 1.0)
        surface.apply_scale(size)
    elif kind == mujoco.mjtGeom.mjGEOM_CAPSULE:
        surface = trimesh.creation.capsule(2 * size[1], size[0])
        surface.apply_translation([0, 0, -size[1]])
    else:
        raise ValueError(f'geom {geom} is of type {kind}, which is not exported')
    if not isinstance(surface.visual, trimesh.visual.TextureVisuals):
        colours = np.tile((255 * model.geom_rgba[geom]).astype(np.uint8), (len(surface.faces), 1))
        surface.visual = trimesh.visual.ColorVisuals(surface, face_colors=colours)
    w, x, y, z = model.geom_quat[geom]
    surface.apply_transform(rigid.from_quaternion([x, y, z, w], model.geom_pos[geom]))
    return surface


def _mesh(model: mujoco.MjModel, geom: int) -> trimesh.Trimesh:
    mesh, material = model.geom_dataid[geom], model.geom_matid[geom]

    def part(name: str, first: str, count: str) -> NDArray[Any]:
        start = getattr(model, first)[mesh]
        return np.asarray(getattr(model, name)[start : start + getattr(model, count)[mesh]])

    vertices = part('mesh_vert', 'mesh_vertadr', 'mesh_vertnum')
    faces = part('mesh_face', 'mesh_faceadr', 'mesh_facenum')
    if material < 0:
        return trimesh.Trimesh(vertices, faces, process=False)
    places = part('mesh_texcoord', 'mesh_texcoordadr', 'mesh_texcoordnum')
    corners = part('mesh_facetexcoord', 'mesh_faceadr', 'mesh_facenum')
    texture = model.mat_texid[material][mujoco.mjtTextureRole.mjTEXROLE_RGB]
    height, width = model.tex_height[texture], model.tex_width[texture]
    start = model.tex_adr[texture]
    picture = model.tex_data[start : start + 3 * height * width].reshape(height, width, 3)
    uv = places[corners.ravel()]
    visual = trimesh.visual.TextureVisuals(
        np.stack([uv[:, 0], 1 - uv[:, 1]], axis=1),
        trimesh.visual.material.SimpleMaterial(image=Image.fromarray(picture)),
    )
    unshared = np.arange(len(uv)).reshape(-1, 3)
    return trimesh.Trimesh(vertices[faces.ravel()], unshared, visual=visual, process=False)
