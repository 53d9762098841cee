"""What refinement by the descriptors of a trained network is compared with.

All see the part of the picture that is about the object, as the refinement does.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import refinement
from benchmarks.pictured import Colours, Picture
from don_kp_ros.geometry.camera import Camera
from don_kp_ros.meshes.picture import drawn_over
from don_kp_ros.networks.descriptor_network import flattened
from don_kp_ros.networks.model import DescriptorModel
from don_kp_ros.pose.close_up import aligned_by_depth
from don_kp_ros.pose.comparison import NETWORK_BLUR, Surface
from don_kp_ros.pose.estimate import Refusal
from don_kp_ros.pose.mesh_descriptors import Fusion, Subject, fusion, rendered_again
from don_kp_ros.pose.render_and_compare import refine

Array = NDArray[np.float64]

_PHOTOMETRIC = 3  # rounds, as many as descriptors are rendered again
_WHOLE, _FLAT = 0.99, 0.05  # share of a cell that is drawn; range of colours without a gain
_SQUARE = Camera(320, 320, 400.0, 400.0, 159.5, 159.5)  # shows objects as large as parts do
_FUSED: dict[tuple[int, str], tuple[Subject, Fusion]] = {}


def by_depth(picture: Picture, number: int, start: Array, model: DescriptorModel) -> Array:
    """Align with depth alone, point to plane."""
    subject = picture.models[number].subject
    return aligned_by_depth(
        subject.vertices, subject.faces, start, picture.about(number, start).blind()
    )


def adagrad(picture: Picture, number: int, start: Array, model: DescriptorModel) -> Array:
    """Descend as published, on descriptors that are rendered at the start."""
    subject, part = picture.models[number].subject, picture.about(number, start)
    surface = rendered_again(subject, start, part.image, part.camera, model)
    return (
        start if isinstance(surface, Refusal) else _descend(part, number, start, surface, model, 0)
    )


def adagrad_fused(picture: Picture, number: int, start: Array, model: DescriptorModel) -> Array:
    """Descend as published, on descriptors that are fused from fifty views, whatever they are."""
    surface = fused_views(picture.models[number].subject, model).surface
    part = picture.about(number, start)
    return _descend(part, number, start, surface, model, NETWORK_BLUR)


def fused_views(subject: Subject, model: DescriptorModel) -> Fusion:
    """Fuse an object's descriptors once."""
    key = id(subject), model.fingerprint
    if key not in _FUSED:
        _FUSED[key] = subject, fusion(subject, _SQUARE, model)
    return _FUSED[key][1]


def _descend(
    part: Picture, number: int, start: Array, surface: Surface, model: DescriptorModel, blur: float
) -> Array:
    """Descend by AdaGrad on differences of descriptors, or of the places that they stand for."""
    live = part.live(model)
    if model.euclidean:
        surface = replace(surface, descriptors=_places(surface.descriptors))
        live = replace(live, cells=_places(live.cells))
    return refinement.adagrad(part.seen(number, surface, live), [start], blur=blur)[0]


def _places(descriptors: NDArray[np.float32]) -> NDArray[np.float32]:
    found = flattened(torch.from_numpy(descriptors.reshape(-1, descriptors.shape[-1])))
    return np.asarray(found.numpy().reshape(*descriptors.shape[:-1], -1))


def photometric(picture: Picture, number: int, start: Array, model: DescriptorModel) -> Array:
    """Align colours by the same solver, behind the same gate.

    The rendered ones get the gain and the bias of each channel that make them most like the
    picture's at the pose, since nobody knows the light. What shows nothing is taken to have the
    mean colour about the object: were it grey, other grounds would draw the object over them.
    """
    colours = cast(DescriptorModel, Colours())
    subject, part = picture.models[number].subject, picture.about(number, start)
    live, T = part.live(colours), start
    for _ in range(_PHOTOMETRIC):
        surface = rendered_again(subject, T, part.image, part.camera, colours, Colours.read)
        if isinstance(surface, Refusal):
            break
        drawn, raster = drawn_over(part.image, subject.mesh, T, part.camera)
        cover = Colours.cells(raster.mask.astype(np.float32))
        shown, ground = cover > _WHOLE, live.cells[cover < 1 - _WHOLE]
        there = colours.describe(drawn).permute(1, 2, 0).numpy()[shown]
        lines = [_line(*pair) for pair in zip(there.T, live.cells[shown].T, strict=True)]
        gain, bias = np.array(lines, np.float32).T
        nothing = ground.mean(axis=0) if len(ground) else np.zeros(3, np.float32)
        fitted = replace(surface, descriptors=gain * surface.descriptors + bias - nothing)
        (found,) = refine([fitted], [T], replace(live, cells=live.cells - nothing), blur=0)
        if found.refused:
            break
        T = found.T_camera_object
    return T


def _line(rendered: NDArray[np.float32], live: NDArray[np.float32]) -> tuple[float, float]:
    """Fit a gain and a bias."""
    if len(rendered) < 2 or np.ptp(rendered) < _FLAT:
        return 1.0, float(np.mean(live - rendered)) if len(rendered) else 0.0
    gain, bias = np.polyfit(rendered, live, 1)
    return float(gain), float(bias)
