"""Draw triangles by torch, on whatever device it has: the same pixels as the compiled loops.

Each face is spread over the pixels of the box about it, all faces at once; in each pixel the
nearest one stays.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_AT_ONCE = 2_000_000  # pixels of boxes; each needs some 200 bytes


def draw(
    corners: NDArray[np.float64],
    faces: NDArray[np.int64],
    height: int,
    width: int,
    device: torch.device,
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float64]]:
    """Draw faces (M, 3) of corners (N, 3): u, v and 1 / depth, which is linear in the image.

    Returns the face (h, w) of each pixel, -1 where there is none, how much each of its corners
    counts there (h, w, 3), and 1 / depth (h, w), 0 where there is no face.
    """
    points = torch.as_tensor(corners, device=device)
    triangles = points[torch.as_tensor(faces, device=device)]  # (M, 3, 3)
    a, b, c = triangles.unbind(1)
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    least = triangles[..., :2].amin(1).ceil().clamp(min=0)
    most = torch.minimum(
        triangles[..., :2].amax(1).floor(), points.new_tensor([width - 1, height - 1])
    )
    # Seen from its edge, not a number, or beside the picture.
    drawn = torch.nonzero((area.abs() > 1e-12) & (least <= most).all(1))[:, 0]
    first, sides = least[drawn].long(), (most - least)[drawn].long() + 1
    sizes = sides.prod(1)

    face = torch.full((height * width,), -1, dtype=torch.int64, device=device)
    share = torch.zeros((height * width, 3), dtype=torch.float32, device=device)
    nearness = torch.zeros(height * width, dtype=torch.float64, device=device)
    for some in _parts(sizes):
        row = torch.repeat_interleave(some, sizes[some])
        place = torch.arange(len(row), device=device)
        place -= torch.repeat_interleave(sizes[some].cumsum(0) - sizes[some], sizes[some])
        u = first[row, 0] + place % sides[row, 0]
        v = first[row, 1] + place // sides[row, 0]
        number = drawn[row]
        of_corners = _shares(triangles[number], area[number], u, v)
        parts = of_corners * triangles[number, :, 2]
        near = parts[:, 0] + parts[:, 1] + parts[:, 2]
        pixel = v * width + u
        nearer = torch.nonzero((of_corners >= 0).all(1) & (near > nearness[pixel]))[:, 0]
        number, pixel, near, parts = number[nearer], pixel[nearer], near[nearer], parts[nearer]
        nearness.scatter_reduce_(0, pixel, near, 'amax')
        # Of faces that are equally near, the first.
        shown = torch.full_like(face, len(faces))
        nearest = near == nearness[pixel]
        shown.scatter_reduce_(0, pixel[nearest], number[nearest], 'amin')
        chosen = nearest & (number == shown[pixel])
        face[pixel[chosen]] = number[chosen]
        share[pixel[chosen]] = (parts[chosen] / near[chosen, None]).float()
    shape = height, width
    return (
        face.reshape(shape).int().cpu().numpy(),
        share.reshape(*shape, 3).cpu().numpy(),
        nearness.reshape(shape).cpu().numpy(),
    )


def _parts(sizes: Tensor) -> tuple[Tensor, ...]:
    """Divide faces of so many pixels (M,) into runs that are drawn at once."""
    runs = (sizes.cumsum(0) - 1) // _AT_ONCE
    _, lengths = torch.unique_consecutive(runs, return_counts=True)
    return torch.arange(len(sizes), device=sizes.device).split(lengths.tolist())


def _shares(triangles: Tensor, area: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Return the shares (n, 3) of corners (n, 3, 3) in pixels: linear in the image."""
    a, b, c = triangles.unbind(1)
    of_b = ((u - a[:, 0]) * (c[:, 1] - a[:, 1]) - (v - a[:, 1]) * (c[:, 0] - a[:, 0])) / area
    of_c = ((b[:, 0] - a[:, 0]) * (v - a[:, 1]) - (b[:, 1] - a[:, 1]) * (u - a[:, 0])) / area
    return torch.stack([1 - of_b - of_c, of_b, of_c], dim=1)
