"""Names the mistake in poses, depths or intrinsics by which posed views miss each other.

Points of one view are looked for in other views of its object, as a training does. The mistakes
that are often made are undone one at a time; where far more points are met then, that one is it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from don_kp_ros.data.depth_view import DepthView, correspondences
from don_kp_ros.data.posed import PosedSample
from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera

NONE_FITS = (
    'and none would if the poses were inverse, in millimetres, of OpenGL or off by one, or the '
    'depth unit or the intrinsics of another size: if the views show the same sides, check '
    'T_object_camera, depth_unit_m and camera, of which more than one may be wrong'
)

_PAIRS, _POINTS = 60, 64
_UNITS = (0.01, 0.001, 0.00025, 0.0002, 0.000125, 0.0001)  # metres per step, of usual cameras
_SIZES = (1 / 4, 1 / 3, 3 / 8, 1 / 2, 2 / 3, 3 / 4, 1, 4 / 3, 3 / 2, 2, 8 / 3, 3, 4)
_BETTER, _MORE = 1.5, 0.1  # at least so many times as many points are met, and this share more
_FROM_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])

Views = Sequence[DepthView | None]  # None: not known under a hypothesis


def diagnose(samples: Sequence[PosedSample], depth_unit: float, tolerance: float) -> str | None:
    """Name the mistake and its remedy; None where the views fit, or no one mistake explains it.

    depth_unit: metres per step, as the index says; tolerance: metres by which a met point may miss
    the other view's depth.
    """
    rng = np.random.default_rng(0)
    pairs = _pairs(samples, rng)
    points = {a: _points(samples[a], rng) for a, _ in pairs}

    def met(views: Views) -> float:
        shares = [0.0]
        for a, b in pairs:
            first, second = views[a], views[b]
            if first is not None and second is not None:
                shares.append(correspondences(first, second, points[a], tolerance)[1].mean())
        return float(np.sum(shares) / max(1, len(shares) - 1))

    given = met(samples)
    used = {number for pair in pairs for number in pair}
    hypotheses = _hypotheses(samples, used, depth_unit)
    share, remedy = max((met(views), text) for text, views in hypotheses)
    if share < max(_BETTER * given, given + _MORE):
        return None
    return (
        f'{given:.0%} of the points of a view are met in another one of its object, but '
        f'{share:.0%} would be if {remedy}'
    )


def _hypotheses(
    samples: Sequence[PosedSample], used: set[int], depth_unit: float
) -> Iterator[tuple[str, Views]]:
    """Yield what may be wrong with its remedy, and the views without it that are used."""

    def views(change: Callable[[PosedSample], DepthView]) -> Views:
        return [change(s) if i in used else None for i, s in enumerate(samples)]

    def posed(change: Callable[[Any], Any]) -> Views:
        return views(lambda s: replace(s, T_object_camera=change(s.T_object_camera)))

    yield (
        'the poses were inverted: T_object_camera must map from the camera to the object, and '
        'these seem to map from the object to the camera',
        posed(rigid.inverse),
    )
    for unit, metres in (('millimetres', 0.001), ('centimetres', 0.01)):
        to_metres = np.ones((4, 4))
        to_metres[:3, 3] = metres
        yield (
            f'the translations were multiplied by {metres:g}: T_object_camera must be in metres, '
            f'and these seem to be in {unit}',
            posed(partial(np.multiply, to_metres)),
        )
    yield (
        'the y and z axes of the cameras were reversed: T_object_camera must be of the optical '
        'frame (x right, y down, z forward), and these seem to be of OpenGL (y up, z backward); '
        'multiply each by diag(1, -1, -1, 1) from the right',
        posed(lambda T: T @ _FROM_OPENGL),
    )
    for other in _UNITS:
        if not np.isclose(other, depth_unit):
            factor = np.float32(other / depth_unit)
            yield (
                f'depth_unit_m were {other:g} instead of {depth_unit:g}',
                views(partial(_deeper, factor=factor)),
            )
    for scale in _SIZES:
        for crop in (False, True):
            what = 'fx and fy' if crop else 'fx, fy, cx and cy'
            middle = ', and cx and cy in the middle' if crop else ''
            yield (
                f'{what} were about {scale:.2g} times as large{middle}: the camera seems to be '
                'that of pictures of another size',
                views(partial(_of_size, scale=scale, crop=crop)),
            )
    for step, name in ((1, 'next'), (-1, 'previous')):
        poses = {i - step: s.T_object_camera for i, s in enumerate(samples)}
        yield (
            f'each view had the pose of the {name} one in the index: the poses seem to be off by '
            'one',
            [
                replace(s, T_object_camera=poses[i]) if i in poses and i in used else None
                for i, s in enumerate(samples)
            ],
        )


def _deeper(view: DepthView, factor: np.float32) -> DepthView:
    return replace(view, depth=view.depth * factor)


def _of_size(view: DepthView, scale: float, crop: bool) -> DepthView:
    """Give a view the intrinsics of a picture so many times as large, or of the middle of it."""
    c = view.camera
    cx, cy = (scale * (place + 0.5) - 0.5 for place in (c.cx, c.cy))
    if crop:
        cx, cy = (c.width - 1) / 2, (c.height - 1) / 2
    camera = Camera(c.width, c.height, scale * c.fx, scale * c.fy, cx, cy)
    return replace(view, camera=camera)


def _pairs(samples: Sequence[PosedSample], rng: np.random.Generator) -> list[tuple[int, int]]:
    """Draw pairs of views of one object each, by index."""
    groups = defaultdict(list)
    for number, sample in enumerate(samples):
        groups[sample.object].append(number)
    shared = [number for group in groups.values() if len(group) > 1 for number in group]
    pairs = []
    for a in rng.choice(shared, _PAIRS) if shared else []:
        others = [number for number in groups[samples[a].object] if number != a]
        pairs.append((int(a), int(rng.choice(others))))
    return pairs


def _points(view: DepthView, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """Draw pixels (P, 2) of the object that have a depth."""
    v, u = np.nonzero((view.mask > 0) & np.isfinite(view.depth))
    chosen = rng.integers(len(u), size=_POINTS)
    return np.stack([u[chosen], v[chosen]], axis=1)
