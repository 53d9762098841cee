"""Pictures of a training for TensorBoard: its pairs, and what the network makes of them."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from don_kp_ros.data.loader import Batch
from don_kp_ros.matching.heatmap import heatmaps
from don_kp_ros.matching.maps import describe_at
from don_kp_ros.matching.pictures import heatmap_overlay
from don_kp_ros.networks.model import normalise
from don_kp_ros.training.module import DescriptorTraining

Image = NDArray[np.uint8]

_POINTS = 16  # correspondences that are drawn
_HEATMAPS = 3


def debug_pictures(
    logger: Any, module: DescriptorTraining, batch: Batch, step: int
) -> dict[str, Image]:
    """Draw the first pair of a batch and log it: correspondences, keypoints and heatmaps.

    Each picture (H, W, 3) RGB shows view a on the left and view b on the right. The same colour
    marks the same point or keypoint. A point's heatmap shows where b resembles a point of a. A
    keypoint's heatmap shows its probability in both views, relative to its most likely place.
    """
    pair = batch['images'].shape[0] // 2
    views = batch['images'][[0, pair]]
    uv_a, uv_b = batch['uv'][0][:_POINTS], batch['uv'][pair][:_POINTS]
    images = [np.ascontiguousarray(view.permute(1, 2, 0).cpu().numpy()) for view in views]
    network: Any = module.average.module
    was_training = network.training
    network.eval()
    with torch.no_grad():
        inputs = normalise(views, module.configuration.preprocessing)
        identity = network.identity(network.features(inputs)).float()
        maps = network.descriptors(identity)
        found = logits = None
        if network.keypoints is not None:
            found = network.locate(identity, (views.shape[2], views.shape[3])).uv
            logits = network.keypoint_logits(identity)[0][:, :_HEATMAPS]
    network.train(was_training)
    pictures = {'correspondences': _points(images, [uv_a, uv_b])}
    if found is not None:
        pictures['keypoints'] = _points(images, [found[0], found[1]])
    size = (images[1].shape[0], images[1].shape[1])
    chosen = uv_a[:_HEATMAPS]
    maps_of = heatmaps(maps[1], describe_at(maps[0], chosen, size), size).cpu().numpy()
    rows = [
        np.hstack(
            [_marked(images[0], [point], [(255, 0, 0)]), heatmap_overlay(images[1], heatmap)]
        )
        for point, heatmap in zip(chosen.cpu().numpy(), maps_of, strict=True)
    ]
    pictures['heatmaps'] = np.vstack(rows)
    if logits is not None:
        likely = (logits - logits.amax(dim=(2, 3), keepdim=True)).exp()
        likely = functional.interpolate(likely, size=size, mode='bilinear', align_corners=False)
        pictures['keypoint heatmaps'] = np.hstack(
            [
                np.vstack([heatmap_overlay(image, heatmap) for heatmap in of_view])
                for image, of_view in zip(images, likely.cpu().numpy(), strict=True)
            ]
        )
    if logger is not None:
        for name, picture in pictures.items():
            logger.experiment.add_image(name, picture, step, dataformats='HWC')
    return pictures


def _points(images: list[Image], uv: list[Tensor]) -> Image:
    colours = _colours(len(uv[0]))
    marked = [
        _marked(image, list(points.cpu().numpy()), colours)
        for image, points in zip(images, uv, strict=True)
    ]
    return np.hstack(marked)


def _marked(image: Image, uv: list[Any], colours: list[tuple[int, int, int]]) -> Image:
    marked = image.copy()
    for (u, v), colour in zip(uv, colours, strict=True):
        centre = (round(float(u)), round(float(v)))
        cv2.circle(marked, centre, 4, (255, 255, 255), -1, cv2.LINE_AA)
        cv2.circle(marked, centre, 3, colour, -1, cv2.LINE_AA)
    return marked


def _colours(number: int) -> list[tuple[int, int, int]]:
    hues = (np.arange(number) * 180 / number).astype(np.uint8)
    hsv = np.stack([hues, np.full_like(hues, 255), np.full_like(hues, 230)], axis=1)[None]
    return [(int(r), int(g), int(b)) for r, g, b in cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0]]
