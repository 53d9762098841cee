"""Descriptor maps: which pixels their cells describe, and what they say between the cells."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional


def cell_centres(
    shape: tuple[int, int], size: tuple[int, int]
) -> tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]]]:
    """Return the pixels u (w,) and v (h,) that the cells of a map describe.

    ``shape`` (h, w) of the map; ``size`` (H, W) of the image. See docs/conventions.md.
    """
    (rows, columns), (height, width) = shape, size
    u = (np.arange(columns) + 0.5) * (width / columns) - 0.5
    v = (np.arange(rows) + 0.5) * (height / rows) - 0.5
    return u, v


def describe_at(descriptor_map: Tensor, uv: Tensor, size: tuple[int, int]) -> Tensor:
    """Read the unit-length descriptors at pixels of the image.

    descriptor_map (D, h, w); uv (Q, 2) pixels, fractions allowed; size (H, W) of the image.
    Returns (Q, D). Pixels outside of the picture read its border.
    """
    descriptor_map = checked_map(descriptor_map)
    uv = torch.as_tensor(uv, dtype=descriptor_map.dtype, device=descriptor_map.device)
    return sample_descriptors(descriptor_map[None], uv.reshape(1, -1, 2), size)[0]


def sample_descriptors(maps: Tensor, uv: Tensor, size: tuple[int, int]) -> Tensor:
    """Read unit-length descriptors (B, Q, D) of maps (B, D, h, w) at pixels uv (B, Q, 2)."""
    return functional.normalize(interpolated(maps, uv, size), dim=2)


def interpolated(maps: Tensor, uv: Tensor, size: tuple[int, int]) -> Tensor:
    """Read maps (B, D, h, w) of any length at pixels uv (B, Q, 2) between the cells: (B, Q, D)."""
    grid = (2 * uv + 1) / uv.new_tensor([size[1], size[0]]) - 1
    sampled = functional.grid_sample(
        maps, grid[:, None], mode='bilinear', padding_mode='border', align_corners=False
    )
    return sampled[:, :, 0].transpose(1, 2)


def checked_map(descriptor_map: Tensor) -> Tensor:
    """Return a map (D, h, w) in single or double precision; raises ValueError for other shapes."""
    if descriptor_map.ndim != 3 or 0 in descriptor_map.shape:
        shape = tuple(descriptor_map.shape)
        raise ValueError(f'descriptor_map has shape {shape}; it must be (D, h, w), not empty')
    if descriptor_map.dtype in (torch.float32, torch.float64):
        return descriptor_map
    return descriptor_map.float()


def checked_queries(queries: Tensor, descriptor_map: Tensor) -> Tensor:
    """Return queries (N, D) as a map (D, h, w) takes them; raises ValueError for other shapes."""
    dimension = descriptor_map.shape[0]
    if queries.ndim != 2 or queries.shape[1] != dimension:
        shape = tuple(queries.shape)
        raise ValueError(f'queries have shape {shape}; this map takes (N, {dimension})')
    return queries.to(descriptor_map)
