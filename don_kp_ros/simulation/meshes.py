"""Meshes of files in scenes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mujoco
import numpy as np

from don_kp_ros.data.folder import DataError
from don_kp_ros.errors import RefusedError
from don_kp_ros.geometry import rigid
from don_kp_ros.meshes.mesh import LARGEST, SMALLEST, Mesh
from don_kp_ros.meshes.reading import read
from don_kp_ros.simulation import objects

UP = {'.obj': 'z', '.ply': 'z', '.glb': 'y'}
"""The axis of a file that points up: glTF says y, the others leave it open."""

_TURN = {'z': np.eye(3), 'y': np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])}


def load(path: Path, size: float | None = None, up: str | None = None) -> Mesh:
    """Read a mesh and set it on its base; raises DataError.

    size: metres of its largest extent; None: the file is in metres. up: the axis of the file that
    points up, 'y' or 'z'; None: UP. The mesh keeps its x axis, is turned so that `up` becomes z,
    and is shifted so that the middle of its bounding box's underside is the origin.
    """
    try:
        mesh = read(path)
    except RefusedError as error:
        raise DataError(str(error)) from error
    turn = _TURN[up or UP[path.suffix.lower()]]
    extent = float(mesh.size.max())
    scale = 1.0 if size is None or extent == 0 else size / extent
    if not SMALLEST <= extent * scale <= LARGEST:
        raise DataError(
            f'{path}: is {extent * scale:.4g} m large; {SMALLEST} m to {LARGEST} m can be '
            'shown: give its true size with --size (metres of its largest extent)'
        )
    mesh = mesh.moved(rigid.transform(turn), scale)
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    return mesh.moved(rigid.transform(translation=-np.array([*(low + high)[:2] / 2, low[2]])))


def radius(mesh: Mesh) -> float:
    """Return the radius of a mesh's footprint about its frame, metres."""
    return float(np.linalg.norm(mesh.vertices[:, :2], axis=1).max())


def add(spec: mujoco.MjSpec, body: mujoco.MjsBody, mesh: Mesh) -> None:
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
