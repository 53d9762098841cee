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
from don_kp_ros.pose.estimate import Refusal, Why
from don_kp_ros.pose.mesh_descriptors import (
    COLOURLESS,
    Image,
    Subject,
    judge_rendering,
    refine_rendering,
    rendered_again,
)
from don_kp_ros.pose.render_and_compare import Refined, descend, middle, refine

Array = NDArray[np.float64]

_CLOSE = 0.6  # of the part's side, that the object's diameter takes
_SMALLEST = 64  # pixels of a side: less is not made larger
_ASTRAY = (Why.UNLIKE, Why.NOT_CONVERGED)
_OTHER_SIZE = 0.07  # of the distance: rendered objects look .954 to 1.024 of it away
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
    Where descriptors alone see the object at another distance, the pose is refused.
    """
    part, near, depth = close_up(subject, start, image, camera, depth)
    live = Live.of(model.describe(part).cpu().numpy(), near, depth, model.nothing)
    found = refine_rendering(subject, start, part, near, live, model)
    if depth is None:
        return found
    if found.refused and found.refused.why in _ASTRAY:
        aligned = aligned_by_depth(subject.vertices, subject.faces, start, live)
        again = refine_rendering(subject, aligned, part, near, live, model)
        if again.refused and again.refused.why is Why.NO_BETTER:
            again = judge_rendering(subject, aligned, part, near, live, model)
        if again.refused is None and again.cost[1] < found.cost[0]:
            found = again
    if found.refused and found.refused.why is not Why.NO_BETTER:
        return found
    refused = _other_size(subject, found.T_camera_object, part, near, live, model)
    return found.unless(refused, start)


def _other_size(
    subject: Subject, T: Array, part: Image, near: Camera, live: Live, model: DescriptorModel
) -> Refusal | None:
    """Say that an object at a pose (4, 4) looks nearer or farther away than depth puts it.

    A focal length that is wrong by a factor moves the object by it, and so does the mesh's size.
    Of that little is left where depth is a part of the cost, and it passes the gate.
    """
    surface = rendered_again(subject, T, part, near, model)
    if isinstance(surface, Refusal):
        return None
    (alone,) = refine([surface], [T], replace(live, depth=None), blur=0)
    centre = middle(subject.vertices)
    measured, looks = (rigid.apply(one, centre)[2] for one in (T, alone.T_camera_object))
    if abs(looks / measured - 1) < _OTHER_SIZE:
        return None
    colours = f', or {COLOURLESS}' if subject.mesh.plain else ''
    return Refusal(
        Why.SIZE,
        f'it looks {looks:.3f} m away, and depth puts it {measured:.3f} m away: the focal lengths '
        f'or the size of the mesh are {looks / measured:.2f} times the true ones, or the depth '
        f'is {measured / looks:.2f} times the true one{colours}; mend that first',
    )


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
