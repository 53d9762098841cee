"""Meshes with fewer faces, by fast-simplification (quadric error: Garland and Heckbert 1997)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.meshes.colours import coloured
from don_kp_ros.meshes.mesh import Array, Indices, Mesh

MOST_DRAWN = 20_000  # faces: each is about a pixel wide, half a metre away
_LONG = 2.0  # an edge over that of a triangle of the mean area: longer ones are divided


def simplified(vertices: Array, faces: Indices, most: int) -> tuple[Array, Indices]:
    """Return vertices (N, 3) and at most that many faces (M, 3)."""
    if len(faces) <= most:
        return vertices, faces
    import fast_simplification

    vertices, joined, _ = _without_seams(vertices, faces)
    fewer, among = fast_simplification.simplify(vertices, joined, target_count=most)
    return np.asarray(fewer, dtype=np.float64), np.asarray(among, dtype=np.int64)


def reduced(mesh: Mesh, most: int = MOST_DRAWN) -> Mesh:
    """Return a mesh of at most that many faces, coloured as before; one that has them stays.

    A face gets one colour, so what is finer than a face in a texture is lost.
    """
    if len(mesh.faces) <= most:
        return mesh
    import fast_simplification

    vertices, faces, owner = _without_seams(mesh.vertices, mesh.faces)
    *_, collapses = fast_simplification.simplify(
        vertices, faces, target_count=most, return_collapses=True
    )
    fewer, among, onto = fast_simplification.replay_simplification(vertices, faces, collapses)
    colours = _of_vertices(_corner_colours(mesh), owner[mesh.faces], len(vertices))
    colours = colours[_nearest_of_each(vertices, onto, fewer)]
    part, look = coloured(
        np.asarray(fewer, np.float64), np.asarray(among, np.int64), colours[among].mean(axis=1)
    )
    return replace(mesh, parts=(part,), look=look)


def _without_seams(vertices: Array, faces: Indices) -> tuple[Array, NDArray[np.int32], Indices]:
    """Join vertices (N, 3) at one place; return also which of the joined each became, (N,).

    Textures split vertices at their seams, which would open.
    """
    joined, owner = np.unique(vertices, axis=0, return_inverse=True)
    owner = owner.reshape(-1)
    return joined, owner[faces].astype(np.int32), owner


def _corner_colours(mesh: Mesh) -> Array:
    """Return the colours (M, 3, 3) of the corners of all faces, RGB 0..255."""
    found = []
    for part in mesh.parts:
        if part.texcoord is None or part.corners is None or part.picture is None:
            found.append(np.broadcast_to(255 * np.array(part.rgba[:3]), (len(part.faces), 3, 3)))
            continue
        height, width = part.picture.shape[:2]
        within = (part.texcoord >= 0) & (part.texcoord <= 1)  # the far edge is not the near one
        places = np.where(within, part.texcoord, part.texcoord % 1.0)
        u, v = (places * [width, height]).astype(np.int64).T
        texels = part.picture[v.clip(0, height - 1), u.clip(0, width - 1)]
        found.append(texels[part.corners].astype(np.float64))
    return np.concatenate(found)


def _of_vertices(colours: Array, corners: Indices, number: int) -> Array:
    """Return the mean colours (number, 3) of the vertices that corners (M, 3) are at."""
    at = corners.reshape(-1)
    count = np.maximum(np.bincount(at, minlength=number), 1)
    each = [np.bincount(at, channel, number) for channel in colours.reshape(-1, 3).T]
    return np.asarray(np.stack(each, axis=1) / count[:, None])


def _nearest_of_each(vertices: Array, onto: Indices, fewer: Array) -> Indices:
    """Number for each of fewer vertices (K, 3) the nearest of those (N, 3) that went onto it."""
    farthest_first = np.argsort(-np.linalg.norm(vertices - fewer[onto], axis=1))
    nearest = np.zeros(len(fewer), np.int64)
    nearest[onto[farthest_first]] = farthest_first
    return nearest


def evened(vertices: Array, faces: Indices, most: int) -> tuple[Array, Indices]:
    """Simplify a mesh, then divide its large faces, so that vertices lie on flat sides, too.

    There are about as many faces as ``most`` says.
    """
    import trimesh

    vertices, joined, _ = _without_seams(vertices, faces)
    vertices, faces = simplified(vertices, joined.astype(np.int64), most)
    corner = vertices[faces]
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    each = np.linalg.norm(normal, axis=1).sum() / 2 / most
    longest = _LONG * np.sqrt(4 / np.sqrt(3) * each)
    return trimesh.remesh.subdivide_to_size(vertices, faces, longest, max_iter=20)  # type: ignore[return-value]
