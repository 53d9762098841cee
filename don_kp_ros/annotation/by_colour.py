"""Masks by colour: GrabCut (Rother, Kolmogorov and Blake, 2004) from a box and clicks."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from don_kp_ros.annotation.prompts import Numbers
from don_kp_ros.annotation.proposal import Proposal, check_inside
from don_kp_ros.data.picture_file import Image
from don_kp_ros.errors import RefusedError
from don_kp_ros.pose.segmentation import Mask

_SIDE = 400  # pixels of the longer side that is cut: of more, a cut takes many seconds
_INSET = 0.1  # of the picture's sides, where no box is given
_CLICK = 0.01  # of the longer side: radius of the disc that a click says is the object
_ROUNDS = 5
_SMALLER = 0.03  # of a box's sides, each way, for a second opinion
_WHOLE = 0.98  # of the picture, from which a box leaves no background
_AGREE = 0.85  # intersection over union of both
_MOST = 0.8  # share of all that is cut out, of the largest part
_FULL, _EMPTY = 0.95, 0.02  # shares of the box


def mask_by_colour(
    image: Image,
    box: Numbers | None,
    inside: Sequence[Numbers],
    outside: Sequence[Numbers],
    begun: Mask | None = None,
) -> Proposal:
    """Cut out what differs from the picture outside of a box (u, v, width, height).

    image (H, W, 3); without a box, one a tenth off the border. inside, outside: pixels (u, v) that
    are the object, and that are not. begun (H, W): about what the object is, where that is known.
    Raises RefusedError where nothing is cut out.
    """
    height, width = image.shape[:2]
    guessed = box is None
    if box is None:
        box = _inset((0, 0, width, height), _INSET)
    _check_box(image, box, 1.0 if begun is not None else _WHOLE)  # it tells background itself
    for u, v in (*inside, *outside):
        check_inside(image, u, v)
    scale = min(1.0, _SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    clicks = [[_scaled(click, scale, size) for click in own] for own in (inside, outside)]
    u, v, w, h = (scale * number for number in box)
    known = None if begun is None else _shrunk(begun, size)
    every = _cut(small, (u, v, w, h), clicks, known)
    shown = _meant(every, clicks[0], known)
    again = _meant(_cut(small, _inset((u, v, w, h), _SMALLER), clicks, known), clicks[0], known)
    either = np.count_nonzero(shown | again)
    share = np.count_nonzero(shown) / (w * h)
    doubts = []
    if not either or np.count_nonzero(shown & again) < _AGREE * either:
        doubts.append('a slightly smaller box gives another mask')
    if guessed and _touches(shown, (u, v, w, h)):
        doubts.append(
            'the object reaches out of the guessed box; draw around it, or give --box U V W H'
        )
    if guessed and not inside:
        doubts += _other_things(shown, every)
    if share > _FULL:
        doubts.append('the mask is the whole box')
    elif share < _EMPTY:
        doubts.append('the mask is a small part of the box')
    whole = cv2.resize(shown.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    return Proposal.of(image, np.asarray(whole > 0.5), doubts)


def _scaled(click: Numbers, scale: float, size: tuple[int, int]) -> Numbers:
    """Return where a pixel's middle lies in a smaller picture of so many columns and rows."""
    return tuple(
        min((number + 0.5) * scale - 0.5, end - 1) for number, end in zip(click, size, strict=True)
    )


def _inset(box: Numbers, share: float) -> Numbers:
    u, v, width, height = box
    left = 1 - 2 * share
    return u + share * width, v + share * height, left * width, left * height


def _check_box(image: Image, box: Numbers, most: float) -> None:
    height, width = image.shape[:2]
    u, v, w, h = box
    if w < 8 or h < 8 or u + w > width or v + h > height:
        raise RefusedError(
            f'the box {u:g} {v:g} {w:g} {h:g} is not in the picture, which is {width}x{height}; '
            'U V is its upper left corner, W H its size, at least 8 pixels each'
        )
    if w * h > most * width * height:
        raise RefusedError(
            f'the box {u:g} {v:g} {w:g} {h:g} is the whole picture of {width}x{height}; leave '
            'background around it'
        )


def _cut(
    image: Image,
    box: Numbers,
    clicks: Sequence[Sequence[Numbers]],
    known: Mask | None,
) -> Mask:
    (u, v, w, h), (inside, outside) = (round(number) for number in box), clicks
    labels = np.full(image.shape[:2], cv2.GC_BGD, np.uint8)
    labels[v : v + h, u : u + w] = cv2.GC_PR_FGD
    if known is not None:
        labels[(labels == cv2.GC_PR_FGD) & ~known] = cv2.GC_PR_BGD
    elif inside and outside:  # what is in the box begins as the nearest click says
        nearer = _away(labels, outside) < _away(labels, inside)
        labels[(labels == cv2.GC_PR_FGD) & nearer] = cv2.GC_PR_BGD
    radius = max(1, round(_CLICK * max(image.shape)))
    for own, label in ((inside, cv2.GC_FGD), (outside, cv2.GC_BGD)):
        for click in own:
            cv2.circle(labels, (round(click[0]), round(click[1])), radius, label, -1)
    shown = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))
    if not shown.any():
        return shown
    if shown.all():
        raise RefusedError('nothing of the picture is left as background; mark less of it')
    cv2.setRNGSeed(0)  # equal pictures get equal masks
    bgr = np.ascontiguousarray(image[..., ::-1])
    model, other, unused = np.zeros((1, 65)), np.zeros((1, 65)), (0, 0, 0, 0)
    mode = cv2.GC_INIT_WITH_MASK
    found = cv2.grabCut(bgr, labels, unused, model, other, _ROUNDS, mode)[0]
    return np.isin(found, (cv2.GC_FGD, cv2.GC_PR_FGD))


def _away(labels: Image, clicks: Sequence[Numbers]) -> NDArray[np.float64]:
    """Return how far each pixel (H, W) is from the nearest click."""
    v, u = np.indices(labels.shape)
    return np.min([np.hypot(u - click[0], v - click[1]) for click in clicks], axis=0)


def _shrunk(mask: Mask, size: tuple[int, int]) -> Mask:
    shrunk = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return np.asarray(shrunk > 0.5)


def _meant(shown: Mask, inside: Sequence[Numbers], known: Mask | None) -> Mask:
    """Keep the parts (H, W) that are clicked on, or known; without any the largest."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(shown.astype(np.uint8))
    if len(stats) < 2:
        return np.zeros_like(shown)
    kept = {int(labels[round(v), round(u)]) for u, v in inside} - {0}
    if known is not None:
        sizes = np.bincount(labels[known], minlength=len(stats))
        kept |= set(np.flatnonzero(2 * sizes > stats[:, cv2.CC_STAT_AREA]).tolist()) - {0}
    kept = kept or {1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())}
    return np.isin(labels, list(kept))


def _other_things(shown: Mask, every: Mask) -> list[str]:
    """Doubt that the largest part of all that was cut out is the one that is meant."""
    doubts = []
    if np.count_nonzero(shown) < _MOST * np.count_nonzero(every):
        doubts.append('other things are cut out as well')
    (height, width), (rows, columns) = shown.shape, np.nonzero(shown)
    if rows.size and not (
        rows.min() <= height / 2 <= rows.max() and columns.min() <= width / 2 <= columns.max()
    ):
        doubts.append("it is not in the picture's middle")
    return doubts


def _touches(shown: Mask, box: Numbers) -> bool:
    """Tell whether what is shown reaches the sides of a box, where it may be cut off."""
    u, v, w, h = (round(number) for number in box)
    own = shown[v : v + h, u : u + w]
    return bool(own[0].any() or own[-1].any() or own[:, 0].any() or own[:, -1].any())
