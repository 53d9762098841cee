"""Pictures of descriptors, heatmaps and matches. Images are (H, W, 3) uint8 RGB."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

Image = NDArray[np.uint8]

FOUND = (64, 255, 96)
NOT_FOUND = (255, 96, 64)
_BASELINE = 36  # pixels from line to line, at scale 1
_CONTRAST_FROM = 0.3  # similarities below are common everywhere and are not drawn


def heatmap_overlay(
    image: Image,
    heatmap: NDArray[np.float32],
    uv: ArrayLike | None = None,
    caption: str = '',
    found: bool = True,
) -> Image:
    """Lay a heatmap (H, W) of cosine similarities over its image, with a cross at the peak uv.

    Colours go from purple (0.3) to yellow (1), and are more opaque the higher the similarity.
    """
    # In 8 bits from the start: a pass over floats costs as much as all of it.
    scale = 255 / (1.0 - _CONTRAST_FROM)
    levels = cv2.addWeighted(heatmap, scale, heatmap, 0, -_CONTRAST_FROM * scale, dtype=cv2.CV_8U)
    laid, left = _layers()
    below = cv2.multiply(image, cv2.applyColorMap(levels, left), scale=1 / 255)
    picture: Image = np.asarray(cv2.add(below, cv2.applyColorMap(levels, laid)), dtype=np.uint8)
    if uv is not None:
        draw_cross(picture, uv, FOUND if found else NOT_FOUND)
    if caption:
        draw_caption(picture, caption)
    return picture


@functools.cache
def _layers() -> tuple[Image, Image]:
    """Return what each level of a heatmap adds to a picture, and what it leaves: (256, 1, 3)."""
    levels = np.arange(256, dtype=np.uint8)[:, None]
    colours = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    opacity = 0.15 + 0.7 * levels[..., None] / 255
    laid, left = np.rint(opacity * colours), np.rint((1 - opacity) * 255)
    return laid.astype(np.uint8), np.repeat(left, 3, axis=2).astype(np.uint8)


def draw_cross(
    picture: Image, uv: ArrayLike, colour: tuple[int, int, int], label: str = ''
) -> None:
    """Draw a cross with a dark edge at pixel uv, in place; its size follows the picture's."""
    u, v = (round(float(x)) for x in np.asarray(uv))
    arm = max(5, min(picture.shape[:2]) // 40)
    for line_colour, thickness in ((0, 0, 0), 5), (colour, 2):
        cv2.line(picture, (u - arm, v), (u + arm, v), line_colour, thickness, cv2.LINE_AA)
        cv2.line(picture, (u, v - arm), (u, v + arm), line_colour, thickness, cv2.LINE_AA)
    _write(picture, label, (u + arm // 2, v - arm // 2))


def draw_outline(picture: Image, first: tuple[int, int], mask: NDArray[np.bool_]) -> None:
    """Draw the outer edge of a mask (b, a) that begins at pixel ``first`` (u, v), in place."""
    outlines, _ = cv2.findContours(
        mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE, offset=first
    )
    cv2.drawContours(picture, outlines, -1, FOUND, 1)


def draw_caption(picture: Image, text: str) -> None:
    """Write a line at the lower left, in place."""
    _write(picture, text, (8, picture.shape[0] - 10))


def draw_legend(picture: Image, lines: Sequence[str]) -> None:
    """Write lines below each other at the upper left, in place."""
    height = round(_BASELINE * _text_scale(picture))
    for number, line in enumerate(lines, start=1):
        _write(picture, line, (8, 4 + number * height))


def patch_about(picture: Image, uv: ArrayLike, side: int) -> Image:
    """Cut out a square about a pixel; at the picture's border it is moved inwards, or smaller."""
    place = []
    for centre, length in zip(np.asarray(uv), picture.shape[1::-1], strict=True):
        first = min(max(round(float(centre)) - side // 2, 0), max(length - side, 0))
        place.append(slice(first, first + side))
    return picture[place[1], place[0]]


def _text_scale(picture: Image) -> float:
    return max(0.45, min(picture.shape[:2]) / 800)


def _write(picture: Image, text: str, place: tuple[int, int]) -> None:
    scale = _text_scale(picture)
    edges = [((0, 0, 0), du, dv) for du in (-1, 0, 1) for dv in (-1, 0, 1)]
    # The edge is shifted text, not thicker text: OpenCV 5 sets bolder letters wider apart.
    for colour, du, dv in [*edges, ((255, 255, 255), 0, 0)]:
        origin = (place[0] + du, place[1] + dv)
        cv2.putText(picture, text, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, 1, cv2.LINE_AA)


def side_by_side(left: Image, right: Image, gap: int = 8) -> Image:
    """Put two pictures of any size beside each other on black."""
    height = max(left.shape[0], right.shape[0])
    picture = np.zeros((height, left.shape[1] + gap + right.shape[1], 3), dtype=np.uint8)
    picture[: left.shape[0], : left.shape[1]] = left
    picture[: right.shape[0], left.shape[1] + gap :] = right
    return picture


class DescriptorColours:
    """Descriptors as colours: their three principal components, steady from frame to frame.

    Mean, covariance and range are averaged over the frames, and each new basis is turned to agree
    with the last (orthogonal Procrustes), so that a point keeps its colour in a video. Descriptors
    of another model begin anew.
    """

    def __init__(self, memory: float = 0.9) -> None:
        """Weigh the past with ``memory``, 0..1, at every frame."""
        if not 0 <= memory < 1:
            raise ValueError(f'memory is {memory}; it must be in 0..1, below 1')
        self._memory = memory
        self._forget()

    def _forget(self, model: str = '') -> None:
        self._model = model
        self._mean: Tensor | None = None
        self._covariance: Tensor | None = None
        self._basis: Tensor | None = None
        self._scale: Tensor | None = None

    def __call__(
        self,
        descriptor_map: Tensor | NDArray[np.floating[Any]],
        size: tuple[int, int],
        model: str = '',
    ) -> Image:
        """Colour a map (D, h, w) and enlarge it to size (H, W); model: the fingerprint of its."""
        if model != self._model:
            self._forget(model)
        # By torch: NumPy's BLAS wakes a thread for each core, which then spins for milliseconds.
        cells = torch.as_tensor(descriptor_map, dtype=torch.float32, device='cpu')
        rows, columns = cells.shape[1:]
        cells = cells.permute(1, 2, 0).flatten(0, 1)
        self._mean = self._averaged(self._mean, cells.mean(dim=0))
        centred = cells - self._mean
        self._covariance = self._averaged(self._covariance, centred.T @ centred / len(centred))
        basis = torch.linalg.eigh(self._covariance)[1].flip(1)[:, :3]
        if self._basis is not None:
            left, _, right = torch.linalg.svd(basis.T @ self._basis)
            basis = basis @ left @ right
        self._basis = basis
        components = centred @ basis
        deviation = components.std(dim=0, correction=0)
        self._scale = self._averaged(self._scale, 2.0 * deviation + 1e-6)
        colours = torch.full((rows * columns, 3), 0.5)
        colours[:, : components.shape[1]] += components / self._scale / 2
        levels = (colours.clamp_(0, 1) * 255).round_().to(torch.uint8).numpy()
        enlarged = cv2.resize(
            levels.reshape(rows, columns, 3), size[::-1], interpolation=cv2.INTER_LINEAR
        )
        return np.asarray(enlarged, dtype=np.uint8)

    def _averaged(self, past: Tensor | None, new: Tensor) -> Tensor:
        if past is None:
            return new
        return self._memory * past + (1 - self._memory) * new
