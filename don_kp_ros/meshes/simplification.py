"""Meshes with fewer faces, by fast-simplification (quadric error: Garland and Heckbert 1997)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.meshes.colours import coloured
from don_kp_ros.meshes.mesh import Array, Indices, Mesh

MOST_DRAWN = 20_000  # faces: each is about a pixel wide, half a metre away
_LONG = 2.0  # an edge over that of a triangle of the mean area: longer ones are divided
_MANY = 3  # times the faces that are wanted: a mesh of thin strips would have up to fifty
_SHORT = 1 / 8, 1 / 4  # of that: shorter ones are merged where strips are thin
_EQUAL = 1e-6  # of that: vertices nearer than this are one


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

    There are about as many faces as ``most`` says. Where strips are so thin that there would be
    more than three times as many, they are made wider first.
    """
    vertices, joined, _ = _without_seams(vertices, faces)
    vertices, faces = simplified(vertices, joined.astype(np.int64), most)
    corner = vertices[faces]
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    each = np.linalg.norm(normal, axis=1).sum() / 2 / most
    longest = _LONG * float(np.sqrt(4 / np.sqrt(3) * each))
    divided = _divided(vertices, faces, longest)
    for shortest in _SHORT:
        if len(divided[1]) <= _MANY * most:
            break
        wider = _clustered(vertices, faces, shortest * longest)
        if len(wider[1]):  # a needle may be thinner than that everywhere
            divided = _divided(*wider, longest)
    return divided


def _clustered(vertices: Array, faces: Indices, cell: float) -> tuple[Array, Indices]:
    """Make one of the vertices in each cell, metres; faces that lose a corner go."""
    _, first, owner = np.unique(
        np.round(vertices / cell), axis=0, return_index=True, return_inverse=True
    )
    faces = owner.reshape(-1)[faces]
    return vertices[first], faces[(faces != np.roll(faces, 1, axis=1)).all(axis=1)]


def _divided(vertices: Array, faces: Indices, longest: float) -> tuple[Array, Indices]:
    """Divide faces until their edges are hardly longer: large ones in four, thin ones across."""
    import trimesh

    while (large := (_edges(vertices, faces) > longest).all(axis=1)).any():
        vertices, faces = trimesh.remesh.subdivide(vertices, faces, np.flatnonzero(large))
    edges = _edges(vertices, faces)
    turned = (edges.argmin(axis=1)[:, None] + [2, 0, 1]) % 3  # first where the longer edges meet
    corner = vertices[np.take_along_axis(faces, turned, axis=1)]
    one, _, other = np.take_along_axis(edges, turned, axis=1).T
    # By powers of two, as large faces are divided: what lies along an edge is one on both sides.
    halved = (np.ceil(np.log2(np.maximum(each / longest, 1))) for each in (one, other))
    parts = np.stack([*(2**times for times in halved), one > other], axis=1)
    found = []
    for kind in np.unique(parts, axis=0):
        some = corner[(parts == kind).all(axis=1)]
        found.append(np.einsum('tcw,fwx->ftcx', _across(*kind.astype(int)), some).reshape(-1, 3))
    corners = np.concatenate(found)
    return _clustered(corners, np.arange(len(corners)).reshape(-1, 3), _EQUAL * longest)


def _across(n: int, m: int, longer: int) -> Array:
    """Divide a triangle across its first and last edge, which get n and m equal parts.

    longer: 1 where the first edge is longer, else 0. Return the weights (T, 3, 3) of its corners
    in the corners of the small ones.
    """
    along = np.linspace([1.0, 0, 0], [0, 1.0, 0], n + 1)
    beside = np.linspace([1.0, 0, 0], [0, 0, 1.0], m + 1)
    i = j = 1
    found = [[along[0], along[1], beside[1]]]
    while i < n or j < m:
        if (i + 1) * m + longer <= (j + 1) * n:
            found.append([along[i], along[i + 1], beside[j]])
            i += 1
        else:
            found.append([along[i], beside[j + 1], beside[j]])
            j += 1
    return np.array(found)


def _edges(vertices: Array, faces: Indices) -> Array:
    """Return the lengths (M, 3) of the edges of faces, each from a corner to the next."""
    corner = vertices[faces]
    return np.asarray(np.linalg.norm(corner - np.roll(corner, -1, axis=1), axis=2))
