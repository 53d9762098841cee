"""Descriptors for the vertices of a mesh, by the network that describes the live picture.

Two ways. *Rendered again*: the mesh is drawn into the live picture at the pose that is refined,
and the network describes that; its descriptors may change with the view. *Fused*: those of many
views are averaged once, and must be the same from everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from don_kp_ros.errors import RefusedError
from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera
from don_kp_ros.matching.maps import describe_at
from don_kp_ros.meshes.mesh import Mesh
from don_kp_ros.meshes.picture import drawn_over
from don_kp_ros.meshes.simplification import evened, reduced
from don_kp_ros.networks.model import DescriptorModel
from don_kp_ros.pose.comparison import Live, Surface
from don_kp_ros.pose.estimate import Refusal, Why
from don_kp_ros.pose.render_and_compare import Refined, judge, middle, refine

Array = NDArray[np.float64]
Image = NDArray[np.uint8]
Reader = Callable[[torch.Tensor, torch.Tensor, tuple[int, int]], torch.Tensor]

FACES = 3000  # enough for a pixel's size half a metre away
CONSISTENT = 0.9  # least mean length of the mean of a vertex's descriptors
COLOURLESS = "the mesh lacks the object's colours (it has one)"
_ROUNDS = 3
# By so many times the distance may change. Right ones went to .84 to 1.18 times the start's, from
# one as far off as PoseCNN's, and to .97 to 1.02 times from 1 cm. Meshes of one colour run away.
_FARTHER, _FARTHER_PLAIN = 1.25, 1.1
# By so much a network's errors, alike over many cells and all channels, are larger than cells that
# are off by themselves would make them (variances, measured with the shipped model).
_GROWTH, _GROWTH_WITH_DEPTH = 55.0, 25.0
_NEAR, _KNOWN = 0.1, 0.5  # of the diameter; share of vertices found, at least
_FILL = 0.5  # of the picture's smaller side, that an object takes in a fused view
_SKIN = 0.03  # of the distance, by which a vertex may lie behind what is drawn
_GREY = 128


@dataclass(frozen=True)
class Subject:
    """A mesh in metres, and the one of few faces that is compared."""

    mesh: Mesh
    vertices: Array
    faces: NDArray[np.int64]

    @classmethod
    def of(cls, mesh: Mesh) -> Subject:
        """Simplify a mesh, or divide one whose vertices lie too far apart to hold descriptors.

        One of very many faces is also drawn with fewer.
        """
        mesh = reduced(mesh)
        return cls(mesh, *evened(mesh.vertices, mesh.faces, FACES))


def refine_rendering(
    subject: Subject,
    start: Array,
    image: Image,
    camera: Camera,
    live: Live,
    model: DescriptorModel,
) -> Refined:
    """Refine a pose (4, 4) of an object in a picture (H, W, 3) with `rendered again` descriptors.

    live: what the model sees in the picture, and its depth. Where a later round refuses what one
    before found, for any reason but that it is as good, the start stays. So it does where all
    rounds together bring it much nearer or farther away: ground may look more like the object than
    like nothing, and then each round draws it larger.
    """
    result: Refined | None = None
    for _ in range(_ROUNDS):
        T = start if result is None else result.T_camera_object
        surface = rendered_again(subject, T, image, camera, model)
        if isinstance(surface, Refusal):
            return Refined.none(start, surface)
        (found,) = refine([surface], [T], live, blur=0)  # the map has blurred them
        if result is not None:
            if found.refused and found.refused.why is Why.NO_BETTER:
                break
            found = replace(found, cost=(result.cost[0], found.cost[1]))
        if found.refused:
            return replace(found, T_camera_object=start)
        result = found
    assert result is not None
    refused = _run_away(subject, start, result.T_camera_object)
    return _grown(result, live).unless(refused, start)


def _run_away(subject: Subject, start: Array, T: Array) -> Refusal | None:
    centre = middle(subject.vertices)
    before, after = (float(rigid.apply(one, centre)[2]) for one in (start, T))
    most = _FARTHER_PLAIN if subject.mesh.plain else _FARTHER
    if 1 / most <= after / before <= most:
        return None
    colours = f', or {COLOURLESS}: give those' if subject.mesh.plain else ''
    return Refusal(
        Why.NOT_CONVERGED,
        f'it went from {before:.3f} m away to {after:.3f} m, {after / before:.2f} times as far; '
        f'{1 / most:.2f} to {most:.2f} times are believed: give depth or a nearer start{colours}',
    )


def judge_rendering(
    subject: Subject, T: Array, image: Image, camera: Camera, live: Live, model: DescriptorModel
) -> Refined:
    """Tell how well an object fits at a pose (4, 4) as it is; see `refine_rendering`, `judge`."""
    surface = rendered_again(subject, T, image, camera, model)
    if isinstance(surface, Refusal):
        return Refined.none(T, surface)
    return _grown(judge(surface, T, live, blur=0), live)


def _grown(found: Refined, live: Live) -> Refined:
    growth = _GROWTH if live.depth is None else _GROWTH_WITH_DEPTH
    return replace(found, covariance=growth * found.covariance)


def rendered_again(
    subject: Subject,
    T: Array,
    image: Image,
    camera: Camera,
    model: DescriptorModel,
    read: Reader = describe_at,
) -> Surface | Refusal:
    """Describe the vertices that are seen at a pose; the others take those of the nearest seen.

    read: takes descriptors from the map, for experiments.
    """
    found = _described(subject, T, image, camera, model, read)
    seen = np.asarray(np.isfinite(found).all(axis=1))
    if seen.sum() < 3:
        return Refusal(Why.TOO_FEW, 'the start shows nothing of the mesh; give one in view')
    return Surface(subject.vertices, subject.faces, found[_nearest(subject.vertices, seen)])


@dataclass(frozen=True)
class Fusion:
    """A surface whose descriptors are the means of many views, and how much they are worth.

    consistency: the mean length of a vertex's mean; 1 where descriptors are the same from
    everywhere. known: the share of the vertices in one more view that are found by their
    descriptors within a tenth of the diameter.
    """

    surface: Surface
    consistency: float
    known: float


def fused(
    subject: Subject, camera: Camera, model: DescriptorModel, views: int = 50, seed: int = 0
) -> Surface:
    """Average the descriptors of many views from everywhere; raises RefusedError.

    They are refused where they are not the same from everywhere (the consistency is below 0.9), or
    so much alike that less than half of the vertices are known.
    """
    found = fusion(subject, camera, model, views, seed)
    if found.consistency < CONSISTENT:
        raise RefusedError(
            f"{subject.mesh.path}: the model's descriptors of one place agree to "
            f'{found.consistency:.2f} over all views; fusing them needs {CONSISTENT}: let them be '
            'rendered again, or train over all rotations'
        )
    if found.known < _KNOWN:
        raise RefusedError(
            f'{subject.mesh.path}: of its vertices in one more view, {found.known:.0%} are found '
            f'by their descriptors, and fusing needs {_KNOWN:.0%}: train on the object'
        )
    return found.surface


def fusion(
    subject: Subject, camera: Camera, model: DescriptorModel, views: int = 50, seed: int = 0
) -> Fusion:
    """Average the descriptors of many views from everywhere (paper 4, section III-C).

    At the vertices, not in voxels.
    """
    rng = np.random.default_rng(seed)
    empty = np.full((camera.height, camera.width, 3), _GREY, np.uint8)
    distance = distance_to_fill(subject.mesh.diameter, camera, _FILL)
    centre = middle(subject.vertices)
    total = np.zeros((len(subject.vertices), model.dimension))
    count = np.zeros(len(subject.vertices))
    for number in range(views + 1):
        R = rigid.from_quaternion(rng.normal(size=4))[:3, :3]
        T = rigid.transform(R, [0, 0, distance * rng.uniform(0.8, 1.3)] - R @ centre)
        found = _described(subject, T, empty, camera, model)
        seen = np.isfinite(found).all(axis=1)
        if number < views:
            total[seen] += found[seen]
            count += seen
    length = np.linalg.norm(total, axis=1)
    often = np.asarray(count >= 2)
    consistency = float((length[often] / count[often]).mean()) if often.any() else 0.0
    mean = (total / np.maximum(length, 1e-9)[:, None]).astype(np.float32)
    best = (found[seen] @ mean.T).argmax(axis=1)
    apart = np.linalg.norm(subject.vertices[best] - subject.vertices[seen], axis=1)
    known = float((apart < _NEAR * subject.mesh.diameter).mean()) if seen.any() else 0.0
    if not often.any():
        return Fusion(Surface(subject.vertices, subject.faces, mean), consistency, known)
    descriptors = mean[_nearest(subject.vertices, often)]
    return Fusion(Surface(subject.vertices, subject.faces, descriptors), consistency, known)


def distance_to_fill(diameter: float, camera: Camera, share: float) -> float:
    """Return how far off an object takes a share of the picture's smaller side, metres."""
    return diameter / share * max(camera.fy / camera.height, camera.fx / camera.width)


def _described(
    subject: Subject,
    T: Array,
    image: Image,
    camera: Camera,
    model: DescriptorModel,
    read: Reader = describe_at,
) -> NDArray[np.float32]:
    """Describe the vertices (N, D) in a picture with the mesh drawn over; NaN where not seen."""
    picture, raster = drawn_over(image, subject.mesh, T, camera, model.device)
    descriptors = model.describe(picture).cpu()
    points = rigid.apply(T, subject.vertices)
    uv = camera.project(points)
    inside = np.flatnonzero(np.nan_to_num(camera.contains(uv)))
    u, v = np.rint(uv[inside]).astype(int).T
    seen = inside[raster.depth[v, u] > (1 - _SKIN) * points[inside, 2]]
    found = np.full((len(points), descriptors.shape[0]), np.nan, np.float32)
    if len(seen):
        places = torch.from_numpy(uv[seen])
        found[seen] = read(descriptors, places, image.shape[:2]).float().numpy()
    return found


def _nearest(vertices: Array, known: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Number for each vertex (N, 3) the nearest known one: itself, if it is known."""
    numbers, others = np.flatnonzero(known), np.flatnonzero(~known)
    found = np.arange(len(vertices))
    # The squared distance, less what is the same for all.
    apart = (vertices[numbers] ** 2).sum(axis=1) - 2 * vertices[others] @ vertices[numbers].T
    found[others] = numbers[apart.argmin(axis=1)]
    return found
