"""Procedural textures: (H, W, 3) uint8 RGB pictures drawn from a random generator."""

from __future__ import annotations

import colorsys

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Floats = NDArray[np.float64]


def colour(rng: np.random.Generator, vivid: bool = True) -> Floats:
    """Draw a colour, RGB 0..255; vivid ones are saturated, the others pale, grey or wooden."""
    if vivid and rng.random() < 0.8:
        hsv = (rng.random(), rng.uniform(0.45, 1.0), rng.uniform(0.25, 0.95))
    else:
        hsv = (rng.uniform(0.02, 0.15), rng.uniform(0.0, 0.4), rng.uniform(0.08, 0.95))
    return 255.0 * np.array(colorsys.hsv_to_rgb(*hsv))


def noise(rng: np.random.Generator, shape: tuple[int, int], cells: int) -> Floats:
    """Draw smooth noise in -1..1 with features of 1/cells of the width."""
    rows = max(2, round(cells * shape[0] / shape[1]))
    coarse = rng.uniform(-1, 1, (rows, cells))
    return np.asarray(cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC), np.float64)


def fabric(rng: np.random.Generator, shape: tuple[int, int], base: Floats) -> Floats:
    """Weave a cloth of one colour: fine grain and soft blotches."""
    grain = rng.normal(0, 4, shape) + 6 * noise(rng, shape, 6)
    return base + grain[..., None]


def surface(rng: np.random.Generator, size: int = 384) -> Picture:
    """Draw the top of a table: wood, cloth, stripes, checks, speckles or plain.

    The picture (2 size, 2 size, 3) is mirrored at its middle lines: it tiles without seams.
    """
    shape = (size, size)
    v, u = np.indices(shape) / size
    base, other = colour(rng, vivid=False), colour(rng, vivid=False)
    style = rng.choice(['wood', 'stripes', 'checks', 'speckles', 'blotches', 'plain'])
    if style == 'wood':
        rings = np.sin(2 * np.pi * (rng.uniform(6, 14) * v + 1.5 * noise(rng, shape, 4)))
        weight = 0.5 + 0.5 * rings
        other = base * rng.uniform(0.6, 0.9)
    elif style == 'stripes':
        angle = rng.uniform(0, np.pi)
        along = u * np.cos(angle) + v * np.sin(angle)
        weight = (np.sin(2 * np.pi * rng.uniform(8, 40) * along) > rng.uniform(-0.5, 0.8)) * 1.0
    elif style == 'checks':
        n = int(rng.integers(4, 16))
        weight = ((np.floor(u * n) + np.floor(v * n)) % 2) * 1.0
    elif style == 'speckles':
        weight = (noise(rng, shape, 120) > 0.45) * 1.0
    elif style == 'blotches':
        weight = 0.5 + 0.5 * np.clip(2 * noise(rng, shape, 9), -1, 1)
    else:
        weight = np.zeros(shape)
    contrast = rng.uniform(0.2, 1.0)
    picture = base + contrast * weight[..., None] * (other - base)
    picture += rng.normal(0, 3, shape)[..., None] + 10 * noise(rng, shape, 3)[..., None]
    row = np.concatenate([picture, picture[:, ::-1]], axis=1)
    return to_picture(np.concatenate([row, row[::-1]], axis=0))


def label(rng: np.random.Generator, shape: tuple[int, int]) -> Picture:
    """Draw what is printed on a package or mug: bands, dots and letters on a ground."""
    canvas = np.empty((*shape, 3), np.float64)
    canvas[:] = colour(rng)
    for _ in range(int(rng.integers(1, 4))):
        top = int(rng.integers(0, shape[0]))
        canvas[top : top + int(rng.integers(4, shape[0] // 2)), :] = colour(rng)
    for _ in range(int(rng.integers(0, 12))):
        centre = (int(rng.integers(0, shape[1])), int(rng.integers(0, shape[0])))
        cv2.circle(canvas, centre, int(rng.integers(4, 30)), colour(rng).tolist(), -1, cv2.LINE_AA)
    for _ in range(int(rng.integers(1, 4))):
        write(rng, canvas, (rng.uniform(0.0, 0.7), rng.uniform(0.2, 0.9)), rng.uniform(1.0, 2.5))
    return to_picture(canvas + rng.normal(0, 2, shape)[..., None])


def write(
    rng: np.random.Generator, canvas: Floats, where: tuple[float, float], scale: float
) -> None:
    """Write a short random word on a canvas, its left lower corner at (u, v) in 0..1."""
    word = ''.join(rng.choice(list('ABCDEFGHKLMNOPRSTUXYZ0123456789'), rng.integers(1, 5)))
    at = (int(where[0] * canvas.shape[1]), int(where[1] * canvas.shape[0]))
    stencil = np.zeros(canvas.shape[:2], np.uint8)
    thickness = int(rng.integers(3, 9))
    cv2.putText(stencil, word, at, cv2.FONT_HERSHEY_SIMPLEX, scale, 255, thickness, cv2.LINE_AA)
    canvas += stencil[..., None] / 255.0 * (colour(rng) - canvas)


def crown(rng: np.random.Generator, base: Floats, accent: Floats) -> Picture:
    """Draw the crown of a cap: panels with seams, eyelets, a print in front, a strap at the back.

    Columns are the azimuth from -pi to pi (the middle column is the front), rows go from the
    button down to the rim.
    """
    shape = (256, 768)
    v, u = np.indices(shape) / np.array(shape)[:, None, None]
    azimuth = (u - 0.5) * 2 * np.pi
    panel = np.floor((azimuth + np.pi) / (np.pi / 3)).astype(int) % 6
    canvas = np.broadcast_to(base, (*shape, 3)).copy()
    style = rng.choice(['plain', 'front', 'alternating', 'band'])
    if style == 'front':
        canvas[np.abs(azimuth) < np.pi / 3] = accent
    elif style == 'alternating':
        canvas[panel % 2 == 0] = accent
    elif style == 'band':
        canvas[v > rng.uniform(0.7, 0.85)] = accent
    canvas = fabric(rng, shape, canvas)
    if rng.random() < 0.85:
        to_seam = np.abs((azimuth + np.pi) / (np.pi / 3) % 1 - 0.5)
        canvas[to_seam > 0.485] *= 0.55
        stitches = np.abs(to_seam - 0.455) < 0.006
        canvas[stitches] = 0.5 * canvas[stitches] + 90
    if rng.random() < 0.7:
        for centre in range(6):
            at = (int((centre + 0.5) / 6 * shape[1]), int(0.4 * shape[0]))
            cv2.ellipse(canvas, at, (6, 3), 0, 0, 360, (0.4 * accent).tolist(), -1, cv2.LINE_AA)
    if rng.random() < 0.75:
        ink = colour(rng)
        at = (int(0.5 * shape[1]), int(rng.uniform(0.55, 0.7) * shape[0]))
        figure = rng.choice(['disc', 'diamond', 'word', 'ring'])
        if figure == 'word':
            write(rng, canvas, (0.44, 0.75), rng.uniform(1.2, 2.0))
        elif figure == 'diamond':
            corners = np.array([[-40, 0], [0, -35], [40, 0], [0, 35]]) + at
            cv2.fillPoly(canvas, [corners.astype(np.int32)], ink.tolist(), cv2.LINE_AA)
        else:
            thickness = -1 if figure == 'disc' else 9
            cv2.ellipse(canvas, at, (38, 32), 0, 0, 360, ink.tolist(), thickness, cv2.LINE_AA)
    # The opening above the strap at the back: half of it at each end of the picture.
    for x in (0, shape[1]):
        cv2.ellipse(canvas, (x, shape[0]), (62, 80), 0, 180, 360, (25, 22, 20), -1, cv2.LINE_AA)
        cv2.line(canvas, (x - 62, 236), (x + 62, 236), (0.8 * accent).tolist(), 16)
    return to_picture(canvas)


def brim(rng: np.random.Generator, base: Floats, accent: Floats) -> Picture:
    """Draw the brim of a cap; rows go from the crown to the front edge, columns across."""
    shape = (192, 192)
    v, u = np.indices(shape) / np.array(shape)[:, None, None]
    across = np.abs(2 * u - 1)
    canvas = np.broadcast_to(base, (*shape, 3)).copy()
    if rng.random() < 0.35:
        canvas[(across > 0.88) | (v > 0.93)] = accent
    canvas = fabric(rng, shape, canvas)
    if rng.random() < 0.7:
        rings = np.maximum(across, v) * rng.uniform(6, 9)
        canvas[rings % 1 < 0.1] *= 0.75
    if rng.random() < 0.2:
        write(rng, canvas, (rng.uniform(0.1, 0.4), rng.uniform(0.6, 0.85)), 1.2)
    return to_picture(canvas)


def to_picture(canvas: Floats) -> Picture:
    """Clip to 0..255."""
    return np.clip(canvas, 0, 255).astype(np.uint8)
