"""Find pixels of one image file in another, and draw both."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from don_kp_ros.data.picture_file import Image, bits_used, read_image, write_image
from don_kp_ros.matching.heatmap import heatmaps, match
from don_kp_ros.matching.maps import describe_at
from don_kp_ros.matching.pictures import (
    FOUND,
    NOT_FOUND,
    draw_cross,
    draw_legend,
    heatmap_overlay,
    side_by_side,
)
from don_kp_ros.networks.model import DescriptorModel, resize
from don_kp_ros.resources import shipped_model

_DRAWN = 996  # pixels of the longer side of each picture that is drawn, at most


def look_up(
    path_a: Path,
    places: Sequence[tuple[float, float]],
    path_b: Path,
    model_path: Path | None,
    output: Path,
    device: str = 'cpu',
) -> bool:
    """Print the pixels of image B that show what pixels (u, v) of image A show; draw both.

    model_path: None for the shipped model. Tells whether all are found. Raises CheckpointError,
    DataError or OSError for files that cannot be read or written, and ValueError for a pixel that
    is outside of image A.
    """
    model = DescriptorModel.load(model_path or shipped_model(), device)
    bits = bits_used((path_a, path_b))
    map_a, size_a, left = described(path_a, model, bits)
    height, width = size_a
    for u, v in places:
        if not (0 <= u <= width - 1 and 0 <= v <= height - 1):
            raise ValueError(
                f'pixel ({u:g}, {v:g}) is outside of {path_a}, which is {width}x{height}; '
                f'u goes from 0 to {width - 1}, v from 0 to {height - 1}'
            )
    map_b, size_b, right = described(path_b, model, bits)
    queries = describe_at(map_a, torch.tensor(places), size_a)
    uv, scores = match(map_b, queries, size_b)
    found: list[bool] = (scores >= model.match_threshold).tolist()

    each = (heatmaps(map_b, query[None], right.shape[:2])[0] for query in queries)
    right = heatmap_overlay(right, functools.reduce(torch.maximum, each).cpu().numpy())
    legends: tuple[list[str], list[str]] = [], []
    for number, (place, there) in enumerate(zip(places, uv.tolist(), strict=True)):
        label = f'{number + 1}' if len(places) > 1 else ''
        score, ok = float(scores[number]), found[number]
        verdict = '' if ok else f', below the threshold {model.match_threshold:.3f}: not found'
        print(
            f'match of ({place[0]:g}, {place[1]:g}): u {there[0]:.0f}  v {there[1]:.0f}  '
            f'similarity {score:.3f}{verdict}'
        )
        legends[0].append(f'{label} ({place[0]:g}, {place[1]:g})')
        legends[1].append(f'{label} ({there[0]:.0f}, {there[1]:.0f})  similarity {score:.3f}')
        draw_cross(left, drawn_at(place, size_a, left), FOUND, label)
        draw_cross(right, drawn_at(there, size_b, right), FOUND if ok else NOT_FOUND, label)
    for picture, lines in zip((left, right), legends, strict=True):
        draw_legend(picture, lines)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_image(output, side_by_side(left, right))
    if doubt := model.card.get('match_threshold', {}).get('doubt'):
        print(f'The threshold is not sure: {doubt}.')
    print(f'picture: {output}')
    return all(found)


def described(
    path: Path, model: DescriptorModel, bits: int | None
) -> tuple[Tensor, tuple[int, int], Image]:
    """Read a picture; return its map, its size (H, W), and a copy that is small enough to draw.

    bits: as of `read_image`.
    """
    image = read_image(path, bits)
    height, width = image.shape[:2]
    drawn = resize(image, min(_DRAWN, max(height, width)), 1)
    return model.describe(image), (height, width), drawn


def drawn_at(uv: tuple[float, float], size: tuple[int, int], drawn: Image) -> tuple[float, float]:
    """Return where the copy shows a pixel of a picture of a size (H, W)."""
    across, down = drawn.shape[1] / size[1], drawn.shape[0] / size[0]
    return (uv[0] + 0.5) * across - 0.5, (uv[1] + 0.5) * down - 0.5
