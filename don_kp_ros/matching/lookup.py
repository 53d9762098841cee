"""Find a pixel of one image file in another, and draw both."""

from __future__ import annotations

from pathlib import Path

import torch

from don_kp_ros.data.picture_file import read_image, write_image
from don_kp_ros.matching.heatmap import heatmaps, match
from don_kp_ros.matching.maps import describe_at
from don_kp_ros.matching.pictures import (
    FOUND,
    draw_caption,
    draw_cross,
    heatmap_overlay,
    side_by_side,
)
from don_kp_ros.networks.model import DescriptorModel
from don_kp_ros.resources import models_path


def look_up(
    path_a: Path, place: tuple[float, float], path_b: Path, model_path: Path | None, output: Path
) -> None:
    """Print the pixel of image B that shows what a pixel (u, v) of image A shows; draw both.

    model_path: None for the shipped model. Raises CheckpointError, DataError or OSError for files
    that cannot be read or written, and ValueError for a pixel that is outside of image A.
    """
    image_a, image_b = read_image(path_a), read_image(path_b)
    (height, width), uv = image_a.shape[:2], torch.tensor([place])
    if not (0 <= place[0] <= width - 1 and 0 <= place[1] <= height - 1):
        raise ValueError(
            f'pixel ({place[0]:g}, {place[1]:g}) is outside of {path_a}, which '
            f'is {width}x{height}; u goes from 0 to {width - 1}, v from 0 to {height - 1}'
        )
    model = DescriptorModel.load(model_path or models_path('caps.safetensors'))
    query = describe_at(model.describe(image_a), uv, (height, width))
    map_b, size_b = model.describe(image_b), image_b.shape[:2]
    uv_match, score = match(map_b, query, size_b)
    u, v = uv_match[0].tolist()
    similarity = float(score[0])
    found = similarity >= model.match_threshold

    caption = f'({u:.0f}, {v:.0f})  similarity {similarity:.3f}'
    left = image_a.copy()
    draw_cross(left, uv[0], FOUND)
    draw_caption(left, f'({place[0]:g}, {place[1]:g})')
    heatmap = heatmaps(map_b, query, size_b)[0].cpu().numpy()
    right = heatmap_overlay(image_b, heatmap, (u, v), caption, found)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_image(output, side_by_side(left, right))
    verdict = '' if found else f', below the threshold {model.match_threshold:.3f}: not found'
    print(f'match: u {u:.0f}  v {v:.0f}  similarity {similarity:.3f}{verdict}')
    print(f'picture: {output}')
