"""Refine the pose of an object with a mesh in what the picture shows about it, made large.

In a map of the whole picture a small object has few cells, and each is off by a share of a cell:
that moves the object's depth by centimetres.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera
from don_kp_ros.networks.model import DescriptorModel
from don_kp_ros.pose.comparison import Comparer, Live, Surface
from don_kp_ros.pose.estimate import Why
from don_kp_ros.pose.mesh_descriptors import Image, Subject, judge_rendering, refine_rendering
from don_kp_ros.pose.render_and_compare import Refined, descend, middle

Array = NDArray[np.float64]

_CLOSE = 0.6  # of the part's side, that the object's diameter takes
_SMALLEST = 64  # pixels of a side: less is not made larger
_ASTRAY = (Why.UNLIKE, Why.NOT_CONVERGED)
_BY_DEPTH = ((4, False, 6), (1, False, 12))  # level, inner, steps (`descend`)


def refine_close_up(
    subject: Subject,
    start: Array,
    image: Image,
    camera: Camera,
    depth: NDArray[np.float32] | None,
    model: DescriptorModel,
) -> Refined:
    """Refine a pose (4, 4) of an object in a picture (H, W, 3) by a description of a part of it.

    depth: (H, W) metres, NaN where there is none, or None where nothing is known. With it, an
    object whose pose is refused is refined once more from where depth alone draws it: depth leads
    from farther away than descriptors do. Where nothing fits better than that, it is the pose.
    """
    part, near, depth = close_up(subject, start, image, camera, depth)
    live = Live.of(model.describe(part).cpu().numpy(), near, depth, model.nothing)
    found = refine_rendering(subject, start, part, near, live, model)
    if depth is None or found.refused is None or found.refused.why not in _ASTRAY:
        return found
    aligned = aligned_by_depth(subject.vertices, subject.faces, start, live)
    again = refine_rendering(subject, aligned, part, near, live, model)
    if again.refused and again.refused.why is Why.NO_BETTER:
        again = judge_rendering(subject, aligned, part, near, live, model)
    return again if again.refused is None and again.cost[1] < found.cost[0] else found


def close_up(
    subject: Subject,
    T: Array,
    image: Image,
    camera: Camera,
    depth: NDArray[np.float32] | None,
) -> tuple[Image, Camera, NDArray[np.float32] | None]:
    """Cut what is `about` an object out of a picture, its camera and its depth."""
    rows, columns = about(subject, T, camera)
    part = np.ascontiguousarray(image[rows, columns])
    near = replace(
        camera,
        width=part.shape[1],
        height=part.shape[0],
        cx=camera.cx - columns.start,
        cy=camera.cy - rows.start,
    )
    return part, near, None if depth is None else depth[rows, columns]


def aligned_by_depth(vertices: Array, faces: NDArray[np.int64], start: Array, live: Live) -> Array:
    """Align a pose (4, 4) of a mesh (N, 3), (M, 3) with the measured depth alone, point to plane.

    The descriptors of ``live`` only say how many cells there are.
    """
    shift = rigid.transform(translation=middle(vertices))
    none = np.zeros((len(vertices), 2), np.float32)  # OpenCV drops an only channel
    surface = Surface(vertices - shift[:3, 3], faces, none)
    cells = np.zeros((*live.cells.shape[:2], 2), np.float32)
    blind = replace(live, cells=cells, nothing=None)
    (T,), _ = descend(Comparer([surface], blind), [start @ shift], _BY_DEPTH)
    return np.asarray(T @ rigid.inverse(shift))


def about(subject: Subject, T: Array, camera: Camera) -> tuple[slice, slice]:
    """Return the rows and columns of a square about an object; all where it is not in view."""
    centre = rigid.apply(T, middle(subject.vertices))
    uv = camera.project(centre)
    if not np.nan_to_num(camera.contains(uv)):
        return slice(0, camera.height), slice(0, camera.width)
    across = subject.mesh.diameter * camera.fx / centre[2] / _CLOSE
    side = int(np.clip(across, _SMALLEST, min(camera.width, camera.height)))
    u, v = (
        int(np.clip(at - side / 2, 0, whole - side))
        for at, whole in zip(uv, (camera.width, camera.height), strict=True)
    )
    return slice(v, v + side), slice(u, u + side)
