"""The page of grasp trials: tables, and a picture of every failure."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from don_kp_ros.demo.pictures import end_of
from don_kp_ros.evaluation.drawings import jpeg
from don_kp_ros.evaluation.report import page, section, table
from don_kp_ros.evaluation.results import text
from don_kp_ros.geometry import rigid
from don_kp_ros.robots.preset import load_preset
from don_kp_ros.simulation.camera import D435
from don_kp_ros.simulation.scene import Layout
from don_kp_ros.simulation.world import World

Row = dict[str, Any]
Array = NDArray[np.float64]
Picture = NDArray[np.uint8]

_OPEN = 0.04  # metres, of each finger
_FINGER, _APPROACH = 0.03, 0.06  # metres, as they are drawn
_COLOUR, _EDGE = (255, 210, 0), (0, 0, 0)


def page_of(
    title: str,
    summary: Sequence[Row],
    phases: Sequence[Row],
    trials: Sequence[tuple[Row, Row, Path]],
    curves: str = '',
) -> str:
    """Write the page; trials: the row of each, what came of its goal, and its picture's path.

    curves: an SVG element, where there is one.
    """
    failed = [trial for trial in trials if not trial[0]['passed']]
    figures = ''.join(_figure(*trial) for trial in failed)
    return page(
        title,
        [
            f'<h1>{escape(title)}</h1>',
            *([section('Success', curves)] if curves else []),
            section('Results', _table(summary)),
            section('Seconds of each phase, medians', _table(phases)),
            section(f'Failures: {len(failed)} of {len(trials)}', figures),
        ],
    )


def marked(view: Picture, T_base_grasp: Array, T_base_optical: Array) -> Picture:
    """Draw a grasp, a tool's pose (4, 4), as an open hand into a view from a camera's pose (4, 4).

    The view may be wider than the camera's picture, which is at its left.
    """
    y, z = _OPEN, -_FINGER
    hand = [[0, -y, 0], [0, -y, z], [0, y, z], [0, y, 0]], [[0, 0, z], [0, 0, z - _APPROACH]]
    T = rigid.inverse(np.asarray(T_base_optical, np.float64)) @ np.asarray(
        T_base_grasp, np.float64
    )
    drawn = view.copy()
    for thickness, colour in ((5, _EDGE), (2, _COLOUR)):
        for line in hand:
            uv = D435.project(rigid.apply(T, np.array(line, np.float64)))
            points = np.rint(uv).astype(np.int32).reshape(-1, 1, 2)
            cv2.polylines(drawn[:, : D435.width], [points], False, colour, thickness, cv2.LINE_AA)
    return drawn


@functools.lru_cache(maxsize=1)
def _observing() -> Array:
    """Return the pose (4, 4) in the base frame from which the camera looks for what to grasp."""
    return World(Layout.draw(0, 0, with_subject=False), load_preset('panda')).camera_pose()


def _figure(row: Row, told: Row, path: Path) -> str:
    name = f'{row["kind"]} {row["instance"]}, seed {row["seed"]}: {told["verdict"]}'
    caption = f'<b>{escape(name)}</b><br>{escape(told["message"])}'
    if told['steps']:
        seconds = sum(step['simulated'] for step in told['steps'])
        caption += f'<br>it ended in {escape(told["steps"][-1]["phase"])}, after {seconds:.1f} s'
    if told['error'] is not None:
        caption += f'<br>found {1000 * told["error"]:.0f} mm from the true place'
    pictures = ''
    if path.is_file():
        view = np.asarray(Pillow.open(path).convert('RGB'))
        if told['grasp'] is not None:
            view = marked(view, np.array(told['grasp']), _observing())
        pictures += f'<img src="{jpeg(view)}" alt="{escape(name)}: seen, and the heatmap">'
    if (end := end_of(path)).is_file():
        view = np.asarray(Pillow.open(end).convert('RGB'))
        style = 'width: 50%; padding-top: 4px'  # as wide as one of the two above
        pictures += f'<img src="{jpeg(view)}" alt="{escape(name)}: the end" style="{style}">'
    return f'<figure>{pictures}<figcaption>{caption}</figcaption></figure>'


def _table(rows: Sequence[Row]) -> str:
    if not rows:
        return ''
    cells = [[escape(text(value)) for value in row.values()] for row in rows]
    return table(list(rows[0]), cells, marked=None)
