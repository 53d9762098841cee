"""`don_kp match`: find a pixel of one image in another."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
import torch

from don_kp_ros.matching.heatmap import heatmaps, match
from don_kp_ros.matching.maps import describe_at
from don_kp_ros.matching.pictures import (
    FOUND,
    Image,
    draw_caption,
    draw_cross,
    heatmap_overlay,
    side_by_side,
)
from don_kp_ros.networks.checkpoint import CheckpointError
from don_kp_ros.networks.model import DescriptorModel
from don_kp_ros.resources import models_path


def main(argv: list[str]) -> int:
    """Print the pixel of IMAGE_B that shows what pixel (U, V) of IMAGE_A shows; draw both."""
    arguments = _parser().parse_args(argv)
    try:
        return _match(arguments)
    except (CheckpointError, OSError, ValueError) as error:
        print(f'don_kp match: {error}', file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='don_kp match', description=main.__doc__)
    parser.add_argument('image_a', metavar='IMAGE_A', type=Path)
    parser.add_argument('u', metavar='U', type=float, help='pixels to the right, from 0')
    parser.add_argument('v', metavar='V', type=float, help='pixels down, from 0')
    parser.add_argument('image_b', metavar='IMAGE_B', type=Path)
    parser.add_argument(
        '--model', type=Path, help='checkpoint; models/caps.safetensors if left out'
    )
    parser.add_argument(
        '--output', type=Path, default=Path('output/match.png'), help='picture, %(default)s'
    )
    return parser


def _match(arguments: argparse.Namespace) -> int:
    image_a, image_b = read_image(arguments.image_a), read_image(arguments.image_b)
    (height, width), uv = image_a.shape[:2], torch.tensor([[arguments.u, arguments.v]])
    if not (0 <= arguments.u <= width - 1 and 0 <= arguments.v <= height - 1):
        raise ValueError(
            f'pixel ({arguments.u:g}, {arguments.v:g}) is outside of {arguments.image_a}, which '
            f'is {width}x{height}; u goes from 0 to {width - 1}, v from 0 to {height - 1}'
        )
    model = DescriptorModel.load(arguments.model or models_path('caps.safetensors'))
    query = describe_at(model.describe(image_a), uv, (height, width))
    map_b, size_b = model.describe(image_b), image_b.shape[:2]
    uv_match, score = match(map_b, query, size_b)
    u, v = uv_match[0].tolist()
    similarity = float(score[0])
    found = similarity >= model.match_threshold

    caption = f'({u:.0f}, {v:.0f})  similarity {similarity:.3f}'
    left = image_a.copy()
    draw_cross(left, uv[0], FOUND)
    draw_caption(left, f'({arguments.u:g}, {arguments.v:g})')
    heatmap = heatmaps(map_b, query, size_b)[0].cpu().numpy()
    right = heatmap_overlay(image_b, heatmap, (u, v), caption, found)
    write_image(arguments.output, side_by_side(left, right))
    verdict = '' if found else f', below the threshold {model.match_threshold:.3f}: not found'
    print(f'match: u {u:.0f}  v {v:.0f}  similarity {similarity:.3f}{verdict}')
    print(f'picture: {arguments.output}')
    return 0


def read_image(path: Path) -> Image:
    """Read an image file as (H, W, 3) RGB. Raises ValueError naming the file and what is wrong."""
    if not path.is_file():
        raise ValueError(f'no image {path}; check the path')
    pixels = cv2.imdecode(np.fromfile(path, dtype=np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        raise ValueError(f'{path} is not an image that can be read; PNG and JPEG are')
    return np.ascontiguousarray(pixels[..., ::-1], dtype=np.uint8)


def write_image(path: Path, image: Image) -> None:
    """Write an RGB image; make its folder. Raises ValueError where the ending is not known."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ending = path.suffix or '.png'
    try:
        written, encoded = cv2.imencode(ending, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    except cv2.error:
        written = False
    if not written:
        raise ValueError(f"cannot write {path}: no picture format ends with '{ending}'; use .png")
    path.write_bytes(encoded.tobytes())
