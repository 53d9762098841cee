"""Find an object with a mesh without knowing where it is: by views of the mesh from all sides.

Views are drawn and described once. What their cells look like is looked for in a picture by mutual
nearest neighbours, over the whole descriptor: what tells which object it is counts as well as what
tells where on it. The views with most matches are solved for a pose, with measured depth by
consensus, without by PnP and RANSAC (Zhong et al. 2022, "Sim2Real Object-Centric Keypoint
Detection and Description", with 96 views of each object).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera
from don_kp_ros.geometry.turns import even_turns
from don_kp_ros.matching.candidates import Candidates, find_candidates
from don_kp_ros.matching.maps import checked_map, checked_queries
from don_kp_ros.matching.view import View
from don_kp_ros.meshes.mesh import Mesh
from don_kp_ros.meshes.picture import drawn_over
from don_kp_ros.meshes.raster import rasterise
from don_kp_ros.networks.model import DescriptorModel
from don_kp_ros.pose.constellation import FEWEST, MOST, Constellation
from don_kp_ros.pose.estimate import Confidence, Noise, Pose, Refusal, Why
from don_kp_ros.pose.instances import SIMILAR, against_rivals, find_instances
from don_kp_ros.pose.mesh_descriptors import distance_to_fill
from don_kp_ros.pose.registration import register
from don_kp_ros.pose.render_and_compare import middle
from don_kp_ros.pose.solve import solve
from don_kp_ros.pose.symmetry import Form

Array = NDArray[np.float64]
Index = NDArray[np.int64]

NUMBER = 96  # of views
DISTANCE = 0.6  # metres, at which they are drawn: descriptors change with the size
CONFIDENCE = Confidence(inliers=12, share=0.08, metres=0.1)
"""What is needed of a pose; its share is of all cells of a view, hidden ones and far ones too."""

_LARGEST = 0.8  # of the picture's smaller side, that an object takes in a view
_SOLVED = 5  # views
_GREY = 128


def views_of(
    mesh: Mesh,
    camera: Camera,
    model: DescriptorModel,
    number: int = NUMBER,
    distance: float = DISTANCE,
) -> list[Constellation]:
    """Draw and describe a mesh in metres, turned evenly to all sides, before a grey ground.

    camera: that of the pictures in which it will be looked for; distance: metres, more where the
    mesh is too large for it.
    """
    empty = np.full((camera.height, camera.width, 3), _GREY, np.uint8)
    views = []
    for T in poses_about(mesh, camera, number, distance):
        picture, _ = drawn_over(empty, mesh, T, camera, model.device)
        cells = model.describe(picture).cpu()
        view = view_at(mesh, T, camera, cells, model.fingerprint)
        if view is not None:
            views.append(view)
    return views


def poses_about(
    mesh: Mesh, camera: Camera, number: int = NUMBER, distance: float = DISTANCE
) -> list[Array]:
    """Return poses (4, 4) of a mesh on the optical axis, turned evenly to all sides."""
    distance = max(distance, distance_to_fill(mesh.diameter, camera, _LARGEST))
    centre = middle(mesh.vertices)
    return [rigid.transform(R, [0, 0, distance] - R @ centre) for R in even_turns(number)]


def view_at(
    mesh: Mesh, T: Array, camera: Camera, cells: Tensor, fingerprint: str
) -> Constellation | None:
    """Give the cells (D, h, w) of a view at a pose (4, 4) their places on the mesh.

    None where there are too few; of too many, some are left out evenly.
    """
    drawn = rasterise(
        rigid.apply(T, mesh.vertices), mesh.faces, camera.resized(cells.shape[2], cells.shape[1])
    )
    shown = np.flatnonzero(drawn.mask)
    shown = shown[np.linspace(0, len(shown) - 1, min(len(shown), MOST)).astype(int)]
    if len(shown) < FEWEST:
        return None
    places = drawn.values(mesh.vertices, mesh.faces).reshape(-1, 3)[shown]
    descriptors = cells.flatten(1).T[torch.from_numpy(shown)].float().numpy()
    return Constellation(places, descriptors, np.ones(len(shown)), fingerprint)


def find_by_templates(
    views: Sequence[Constellation],
    cells: Tensor,
    view: View,
    similar: float = SIMILAR,
    noise: Noise | None = None,
    confidence: Confidence = CONFIDENCE,
    seed: int = 0,
) -> Pose:
    """Find the pose of an object in a picture by its views.

    cells (D, h, w): the picture's map, by the model of the views; similar: the cosine similarity
    from which cells match, best the model's threshold. The pose's ``inliers`` are the cells of one
    view that agree with it, and its score is their ``share`` of the view. It says in ``refused``
    why it must not be used, and is ``ambiguous`` where the picture fits another turn as well.
    Equal arguments give equal poses.
    """
    if view.camera is None:
        return Pose.none(0, Refusal(Why.TOO_FEW, view.lacks))
    mutual = [mutual_neighbours(one, cells, similar) for one in views]
    most = sorted(range(len(views)), key=lambda k: -len(mutual[k]))[:_SOLVED]
    number = max((len(found) for found in mutual), default=0)
    if number < confidence.inliers:
        text = f"{number} cells of a view and of the picture are each other's nearest, at most"
        return Pose.none(0, Refusal(Why.TOO_FEW, f'{text}; needed are {confidence.inliers}'))
    candidates = [_candidates(views[k], mutual[k], cells, view) for k in most]
    solved = [
        solve(views[k], own, view.camera, noise, confidence, seed)
        for k, own in zip(most, candidates, strict=True)
    ]
    order = sorted(
        range(len(solved)),
        key=lambda i: (solved[i].refused is not None, -int(solved[i].inliers.sum())),
    )
    first = order[0]
    own = views[most[first]]
    pose = find_instances(own, cells, candidates[first], view, noise, confidence, seed=seed)[0]
    if pose.refused or np.isnan(pose.fit):
        return pose
    rivals = [
        register(views[most[i]], solved[i].T_camera_object, cells, view)
        for i in order[1:]
        if not solved[i].refused
    ]
    rivals.sort(key=lambda fit: -fit.quality)
    return against_rivals(own, pose, rivals, Form.unknown(len(own.points)))


def mutual_neighbours(view: Constellation, cells: Tensor, least: float = SIMILAR) -> Index:
    """Number the cells of a view (M,) whose nearest in a map (D, h, w) have them as nearest.

    least: of their cosine similarity.
    """
    cells = checked_map(cells)
    products = checked_queries(torch.tensor(view.descriptors), cells) @ cells.flatten(1)
    similarity, there = products.max(dim=1)
    similar = torch.nonzero(similarity >= least)[:, 0]
    back = products[:, there[similar]].argmax(dim=0)
    return similar[back == similar].cpu().numpy()


def _candidates(seen: Constellation, matched: Index, cells: Tensor, view: View) -> Candidates:
    """Find the pixels (not cells alone) that are most like what has a match."""
    found = find_candidates(cells, torch.tensor(seen.descriptors[matched]), view, None)
    return replace(found, query=matched[found.query])
