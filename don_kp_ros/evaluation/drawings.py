"""Pictures of matches and plots of figures, for people."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from don_kp_ros.data.folder import Image
from don_kp_ros.evaluation.pck import THRESHOLDS

Colour = tuple[int, int, int]

BAD = 50.0  # pixels of a 640-pixel-wide picture from which a match is drawn red
_WIDTH = 520  # pixels of each of the two pictures
_GAP = 12
_MOST_LINES = 12
_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)
_COLOURS = ('#1f5fa8', '#d1701b', '#7a7a7a', '#b8b8b8', '#3c8d4d', '#9b4f96')
_STYLE: Any = {
    'svg.fonttype': 'none',
    'svg.hashsalt': 'don_kp',
    'font.size': 9.0,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.grid': True,
    'grid.color': '#e3e6ea',
    'axes.edgecolor': '#8a929b',
    'axes.labelcolor': '#3a424a',
    'xtick.color': '#5a626a',
    'ytick.color': '#5a626a',
}


def draw_matches(
    image_a: Image,
    image_b: Image,
    uv_a: ArrayLike,
    true: ArrayLike,
    found: ArrayLike,
    errors: ArrayLike,
) -> Image:
    """Draw matches: lines from A (Q, 2) to where they were found in B, and to the truth there.

    A cross marks a point and where it was found, a ring its true place. If there are many matches,
    some are drawn, evenly spread by error. Colours go from green (no error) to red (50 pixels or
    more).
    """
    errors = np.asarray(errors, np.float64)
    order = np.argsort(errors, kind='stable')
    chosen = order[np.unique(np.linspace(0, len(order) - 1, _MOST_LINES).round().astype(int))]
    left, scale_a = _resized(image_a)
    right, scale_b = _resized(image_b)
    height = max(left.shape[0], right.shape[0])
    canvas = np.full((height, 2 * _WIDTH + _GAP, 3), 255, np.uint8)
    canvas[: left.shape[0], :_WIDTH] = left
    canvas[: right.shape[0], _WIDTH + _GAP :] = right
    aside = np.array([_WIDTH + _GAP, 0])
    a = _placed(np.asarray(uv_a)[chosen], scale_a)
    truth = _placed(np.asarray(true)[chosen], scale_b) + aside
    guess = _placed(np.asarray(found)[chosen], scale_b) + aside
    marks = list(zip(a.tolist(), truth.tolist(), guess.tolist(), errors[chosen], strict=True))
    for start, _, end, error in marks:
        cv2.line(canvas, start, end, _colour(error), 1, cv2.LINE_AA)
    for start, place, end, error in marks:
        cv2.line(canvas, place, end, _WHITE, 2, cv2.LINE_AA)
        for thickness, shade in ((4, _BLACK), (2, _colour(error))):
            cv2.circle(canvas, place, 7, shade, thickness, cv2.LINE_AA)
            for centre in (start, end):
                cv2.drawMarker(canvas, centre, shade, cv2.MARKER_CROSS, 10, thickness, cv2.LINE_AA)
    return canvas


def jpeg(image: Image) -> str:
    """Encode a picture (H, W, 3) RGB as a data URI."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, 88]
    written, encoded = cv2.imencode('.jpg', np.ascontiguousarray(image[:, :, ::-1]), quality)
    if not written:
        raise ValueError(f'a picture of shape {image.shape} could not be encoded')
    return f'data:image/jpeg;base64,{base64.b64encode(encoded.tobytes()).decode()}'


def plot_pck(curves: Mapping[str, Sequence[float]]) -> str:
    """Plot PCK@k for k = 1..100 of each name as an SVG element."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(7.2, 3.4), layout='constrained')
        axes = figure.add_subplot()
        for place, (name, values) in enumerate(curves.items()):
            axes.plot(THRESHOLDS, values, label=name, **_line(place))
        axes.set(xlim=(0, 100), ylim=(0, 1.02), xlabel='k, pixels', ylabel='PCK@k')
        axes.legend(frameon=False, loc='center left', bbox_to_anchor=(1.01, 0.5))
        return _svg(figure, 'pck')


def plot_curve(
    identity: str, label: str, values: Sequence[float], points: Sequence[Mapping[str, Any]]
) -> str:
    """Plot AUC, PCK@10 and the 75 % quantile against a value as an SVG element.

    points: for each value, the figures of every method by name. The first method's interval over
    pairs is shaded. identity: distinguishes the SVG's ids from those of other SVGs in the page.
    """
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(10.2, 3.1), layout='constrained')
        figures = (('auc', 'AUC'), ('pck_10', 'PCK@10'), ('q75_px', '75 % quantile, pixels'))
        for axes, (key, title) in zip(figure.subplots(1, 3), figures, strict=True):
            for place, name in enumerate(points[0]):
                own = [point[name] for point in points]
                heights = [figures_of[key] for figures_of in own]
                axes.plot(values, heights, marker='o', ms=3, label=name, **_line(place))
                if place == 0 and all(figures_of['interval_95'] for figures_of in own):
                    ends = np.array([figures_of['interval_95'][key] for figures_of in own])
                    shade = {'color': _COLOURS[0], 'alpha': 0.15, 'lw': 0}
                    axes.fill_between(values, ends[:, 0], ends[:, 1], **shade)
            axes.set(xlabel=label, ylabel=title)
            axes.set_ylim(0, None if key.endswith('_px') else 1.02)
        handles, names = axes.get_legend_handles_labels()
        figure.legend(handles, names, loc='outside upper center', ncols=6, frameon=False)
        return _svg(figure, identity)


@dataclass(frozen=True)
class Panel:
    """Shares of several names against the levels of something."""

    label: str
    levels: Sequence[float]
    shares: Mapping[str, Sequence[float]]


def plot_shares(panels: Sequence[Panel]) -> str:
    """Plot shares, 0 to 1, of the same names in each panel as an SVG element."""
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(3.4 * columns, 0.4 + 2.5 * rows), layout='constrained')
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, panel in zip(grid, panels, strict=False):
            for place, (name, shares) in enumerate(panel.shares.items()):
                axes.plot(panel.levels, shares, marker='o', ms=3, label=name, **_line(place))
            axes.set(xlabel=panel.label, ylim=(0, 1.05))
        for axes in grid[len(panels) :]:
            axes.remove()
        handles, names = grid[0].get_legend_handles_labels()
        figure.legend(handles, names, loc='outside upper center', ncols=6, frameon=False)
        return _svg(figure, 'shares')


def _line(place: int) -> dict[str, Any]:
    return {'color': _COLOURS[place % len(_COLOURS)], 'lw': 2.2 if place == 0 else 1.3}


def _svg(figure: Figure, identity: str) -> str:
    buffer = io.StringIO()
    nothing = dict.fromkeys(('Date', 'Creator', 'Format', 'Type'))
    figure.savefig(buffer, format='svg', metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index('<svg') :]
    text = re.sub(r'<metadata>.*?</metadata>\s*', '', text, flags=re.DOTALL)
    # Several SVGs share one page, so their ids must differ.
    return re.sub(r'( id="|url\(#|href="#)', rf'\g<1>{identity}-', text)


def _resized(image: Image) -> tuple[Image, float]:
    scale = _WIDTH / image.shape[1]
    size = (_WIDTH, max(1, round(image.shape[0] * scale)))
    kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.resize(image, size, interpolation=kind).astype(np.uint8, copy=False), scale


def _placed(uv: NDArray[Any], scale: float) -> NDArray[np.int64]:
    """Map pixels of a picture to the nearest ones of its resized copy."""
    return np.rint((np.asarray(uv, np.float64) + 0.5) * scale - 0.5).astype(np.int64)


def _colour(error: float) -> Colour:
    """Choose between green and red over yellow."""
    share = float(np.clip(error / BAD, 0, 1))
    return round(255 * min(1, 2 * share)), round(210 * min(1, 2 - 2 * share)), 40
