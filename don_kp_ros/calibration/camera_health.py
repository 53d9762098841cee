"""What a depth camera's messages say of its health: times, holes, distances, alignment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_SLOWEST_HZ = 4.0
_FEWEST = 5  # messages
_SILENT_S = 0.5  # at the end
_GAP = 2.5  # periods without a message that are more than jitter
_LATE_S = 0.3  # from the stamp to the arrival; an arm moves on meanwhile
_SAME_MOMENT_S = 0.002  # by which stamps of colour and depth differ where the driver pairs them
_LOST = 1.5  # periods from one depth image to the next; by more, there was one between
_HOLES = 0.3  # share of a depth image
# Half of the depths are between these; metres. A D435 sees nothing nearer, and little farther.
_NEAREST_M, _FARTHEST_M = 0.17, 4.0
_JUMP = 0.04  # of the depth, from pixel to pixel, that is an object's edge
_EDGES = 400  # pixels; of fewer nothing is concluded
_SMALLEST_PX = 96  # of a side of the images
_FARTHEST_PX, _OFF_PX = 24, 2  # by which depth is looked for beside colour, and may be off
# Standard deviations by which the best shift must stand out among all.
_CLEAR = 4.0


@dataclass(frozen=True)
class Finding:
    """What was looked at, what was seen, and what is wrong with it and helps; empty: nothing.

    judged: whether enough was seen to say so.
    """

    what: str
    seen: str
    fault: str = ''
    judged: bool = True


@dataclass(frozen=True)
class Shot:
    """A colour image and the depth image nearest to it in time, of one size."""

    colour: NDArray[np.uint8]  # (H, W, 3) RGB
    depth: NDArray[np.float32]  # (H, W) metres, NaN where there is none


def timing(topic: str, stamps: Array, arrivals: Array, end: float, profile: str) -> Finding:
    """Judge how regularly and how late messages come; stamps and arrivals (n,), seconds.

    end: of the listening, in seconds of the arrivals' clock; profile: the driver's parameter that
    sets the rate.
    """
    if len(stamps) < _FEWEST:
        return Finding(topic, f'{len(stamps)} came', 'too few to judge; measure for longer')
    steps = np.diff(stamps)
    period, late = float(np.median(steps)), arrivals - stamps
    silent = end - float(arrivals[-1])
    longest = max(float(steps.max()), silent)
    seen = (
        f'{1 / period if period > 0 else 0:.1f} Hz, longest gap {1e3 * longest:.0f} ms, '
        f'{1e3 * float(np.median(late)):.0f} ms old on arrival (at most {1e3 * late.max():.0f})'
    )
    if steps.min() <= 0:
        fault = 'stamps do not increase: two drivers, or a recording that begins anew'
    elif 1 / period < _SLOWEST_HZ:
        fault = f'slower than {_SLOWEST_HZ:g} Hz, for an arm: give {profile}:=640x480x30'
    elif silent > _SILENT_S + _GAP * period:
        fault = f'nothing has come for the last {silent:.1f} s: does the driver still run?'
    elif float(steps.max()) > _GAP * period:
        lost = int(np.sum(np.maximum(np.rint(steps / period) - 1, 0)))
        fault = (
            f'{lost} of {lost + len(stamps)} are lost: use a USB 3 port and cable of its own, or '
            f"a lower {profile}; or the driver's machine, or this one, is too busy"
        )
    elif float(np.median(late)) > _LATE_S:
        fault = (
            f'older than {1e3 * _LATE_S:g} ms on arrival: the machine or the network between is '
            f'too busy; run the driver on this machine, or give a lower {profile}'
        )
    else:
        fault = ''
    return Finding(topic, seen, fault)


def pairing(colours: Array, depths: Array) -> Finding:
    """Judge by their stamps, (n,) and (m,) seconds, whether each colour image has its depth.

    Of colour beside a depth image that was lost nothing is concluded.
    """
    what = 'colour and depth at one moment'
    depths = np.sort(depths)
    after = np.searchsorted(depths, colours)
    between = (after > 0) & (after < len(depths))
    colours, earlier, later = colours[between], depths[after[between] - 1], depths[after[between]]
    period = np.median(np.diff(depths)) if len(depths) > 1 else 0.0
    whole = later - earlier <= _LOST * period
    off = np.minimum(colours - earlier, later - colours)[whole]
    if not len(off):
        return Finding(what, 'no image with a depth image before and after', judged=False)
    seen = f'stamps differ by {1e3 * np.median(off):.1f} ms, at most {1e3 * off.max():.1f}'
    paired = float(np.quantile(off, 0.9)) <= _SAME_MOMENT_S
    fault = (
        ''
        if paired
        else f'more than {1e3 * _SAME_MOMENT_S:g} ms for more than a tenth, so that what moves is '
        'measured elsewhere: give enable_sync:=true, and both profiles the same rate'
    )
    return Finding(what, seen, fault)


def holes(depths: Sequence[NDArray[np.float32]]) -> Finding:
    """Judge the share of depth images (H, W), metres, without any depth."""
    share = float(np.mean([np.isnan(depth).mean() for depth in depths]))
    fault = (
        f'more than {_HOLES:.0%}: give depth_module.emitter_enabled:=1, keep a D435 more than '
        f'{_NEAREST_M:g} m away, and shining things out of view'
        if share > _HOLES
        else ''
    )
    return Finding('holes', f'{share:.1%} of the depth', fault)


def distances(depths: Sequence[NDArray[np.float32]]) -> Finding:
    """Judge how far depth images (H, W), metres, say that things are."""
    values = np.concatenate([depth[np.isfinite(depth)][::16] for depth in depths])
    if not len(values):
        return Finding('distances', 'none', 'no pixel has a depth: is the lens covered?')
    nearest, middle, farthest = np.quantile(values, [0.05, 0.5, 0.95])
    seen = f'{nearest:.3f} to {farthest:.3f} m, middle {middle:.3f}'
    fault = (
        ''
        if _NEAREST_M <= middle <= _FARTHEST_M
        else f'the middle is outside {_NEAREST_M:g} to {_FARTHEST_M:g} m: is the unit of depth '
        'right (--depth-unit)?'
    )
    return Finding('distances', seen, fault)


def alignment(shots: Sequence[Shot]) -> Finding:
    """Judge whether depth lies on colour: objects' edges in depth are edges in colour, too."""
    what = 'depth on colour'
    if min(shots[0].depth.shape) < _SMALLEST_PX:
        return Finding(what, 'the images are too small for it', judged=False)
    size = 2 * _FARTHEST_PX + 1
    score, count = np.zeros((size, size)), 0
    for shot in shots:
        edges = _depth_edges(shot.depth)
        count += int(edges.sum())
        score += _correlation(edges, _gradients(shot.colour))
    if count < _EDGES:
        told = f'{count} pixels of edges in depth: too few, show it some objects'
        return Finding(what, told, judged=False)
    # Edges are as wide.
    score = np.asarray(cv2.GaussianBlur(score, (0, 0), 1.0), dtype=np.float64)
    row, column = np.unravel_index(int(score.argmax()), score.shape)
    clear = float((score.max() - score.mean()) / max(float(score.std()), 1e-12))
    dx, dy = int(column) - _FARTHEST_PX, int(row) - _FARTHEST_PX
    if clear < _CLEAR:
        told = (
            'its edges fit nowhere clearly: show it objects on a plain ground; if that does not '
            'help, depth is not aligned: give align_depth.enable:=true and its topics'
        )
        return Finding(what, told, judged=False)
    fault = (
        ''
        if max(abs(dx), abs(dy)) <= _OFF_PX
        else 'give align_depth.enable:=true and its topics, or calibrate the camera anew'
    )
    return Finding(what, f'off by ({dx}, {dy}) pixels', fault)


def _depth_edges(depth: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mark with 1 where depth jumps between pixels that all have one."""
    kernel = np.ones((3, 3), np.uint8)
    high = cv2.dilate(np.where(np.isnan(depth), np.inf, depth).astype(np.float32), kernel)
    low = cv2.erode(np.where(np.isnan(depth), -np.inf, depth).astype(np.float32), kernel)
    known = np.isfinite(high) & np.isfinite(low)
    jump = np.where(known, high, 0) - np.where(known, low, 0)
    edges: NDArray[np.float32] = (known & (jump > _JUMP * np.where(known, low, 1))).astype(
        np.float32
    )
    return edges


def _gradients(colour: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return how steeply brightness changes, (H, W), of mean 0; the strongest count alike."""
    grey = cv2.GaussianBlur(cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY), (0, 0), 1.0)
    steep = cv2.magnitude(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    steep = np.minimum(steep, np.quantile(steep, 0.98))
    return (steep - steep.mean()).astype(np.float32)


def _correlation(edges: NDArray[np.float32], steep: NDArray[np.float32]) -> Array:
    """Sum ``steep`` over the edges, shifted by up to _FARTHEST_PX each way: [dy, dx].

    At [dy, dx], an edge at (u, v) in depth is looked for at (u - dx, v - dy) in colour.
    """
    m = _FARTHEST_PX
    inner = np.ascontiguousarray(edges[m:-m, m:-m])
    found = cv2.matchTemplate(steep, inner, cv2.TM_CCORR)
    return found[::-1, ::-1].astype(np.float64)
