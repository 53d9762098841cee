"""Renders pictures of caps on tables, for training and for measuring the result.

The folder that is written::

    rgbs/000000.jpg ...       pictures, each with one cap of the training set
    masks/000000.png ...      which pixels show the cap
    negatives/000000.jpg ...  pictures without a cap
    validation/               caps that are in none of the pictures above, in pairs of views
        rgbs/ masks/ negatives/
        correspondences.npz   image_a, image_b (P,) indices into the sorted pictures;
                              uv_a, uv_b (P, Q, 2) pixels that show the same point of the cap

From one view of a pair to the other the cap lies elsewhere, turned, and the camera has moved.
With ``--object`` posed views of an object are rendered instead: `don_kp_ros.simulation.posed`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.data.folder import CORRESPONDENCES_VERSION, DataError
from don_kp_ros.geometry import rigid
from don_kp_ros.simulation.camera import D435, Frame, Renderer, look_at, mujoco, with_faults
from don_kp_ros.simulation.instances import TRAINING_CAPS, VALIDATION_CAPS
from don_kp_ros.simulation.rendering import render_all, write_picture
from don_kp_ros.simulation.scene import CAP, Layout, build

Array = NDArray[np.float64]

POINTS_PER_PAIR = 256

_POSED_RANGES = {'tilt': (0.0, 85.0), 'distance': (0.2, 3.0), 'roll': (-360.0, 360.0)}
_POSED_OPTIONS = ('views', 'instances', *_POSED_RANGES, 'size', 'up')


def main(argv: list[str] | None = None) -> int:
    """Render pictures to train on: caps on tables, or with --object posed views of an object."""
    parser = _parser()
    options = parser.parse_args(argv)
    if options.object is not None:
        return _render_posed(parser, options)
    given = [f'--{name}' for name in _POSED_OPTIONS if getattr(options, name) is not None]
    if given:
        parser.error(f'{given[0]} belongs to posed views: give --object, too')
    images = 1000 if options.images is None else options.images
    pairs = 40 if options.pairs is None else options.pairs
    if images < 1 or pairs < 0 or options.workers < 1:
        parser.error('--images and --workers must be at least 1, --pairs at least 0')
    negatives = images // 4 if options.negatives is None else options.negatives

    folder, validation = options.folder, options.folder / 'validation'
    for parent in (folder, validation):
        for name in ('rgbs', 'masks', 'negatives'):
            (parent / name).mkdir(parents=True, exist_ok=True)
    jobs: list[tuple[Callable[..., object], tuple[object, ...]]] = []
    for i in range(images):
        jobs.append((_render_scene, (folder, [options.seed, 0, i], i)))
    for i in range(negatives):
        jobs.append((_render_negative, (folder, [options.seed, 1, i], i)))
    for i in range(pairs):
        jobs.append((_render_pair, (validation, [options.seed, 2, i], i)))
        jobs.append((_render_negative, (validation, [options.seed, 3, i], i)))

    results = render_all(jobs, options.workers)
    if pairs:
        a, b, uv_a, uv_b = zip(*(pair for pair in results if pair is not None), strict=True)
        file, version = validation / 'correspondences.npz', CORRESPONDENCES_VERSION
        np.savez(file, version=version, image_a=a, image_b=b, uv_a=uv_a, uv_b=uv_b)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='don_kp render', description=main.__doc__)
    parser.add_argument('folder', type=Path)
    parser.add_argument(
        '--negatives', type=int, help='pictures without the object (a quarter of the others)'
    )
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--workers', type=int, default=2, help='processes')
    caps = parser.add_argument_group('caps on tables')
    caps.add_argument('--images', type=int, help='pictures with a cap (1000)')
    caps.add_argument('--pairs', type=int, help='pairs of views for validation (40)')
    posed = parser.add_argument_group('posed views, with depth and views.json (docs/data.md)')
    posed.add_argument(
        '--object', metavar='KIND|FILE', help='cap, mug, can or box; or a mesh, .obj or .glb'
    )
    posed.add_argument('--views', type=int, help='pictures with the object (100)')
    posed.add_argument('--instances', type=int, help='different ones of the kind (1)')
    for name, text in (
        ('tilt', 'degrees of the line of sight off the vertical (0 60)'),
        ('distance', "metres from the object's middle (0.4 0.8)"),
        ('roll', 'degrees about the line of sight (-180 180)'),
    ):
        posed.add_argument(f'--{name}', type=float, nargs=2, metavar=('LOW', 'HIGH'), help=text)
    posed.add_argument('--size', type=float, help="metres of a mesh's largest extent")
    posed.add_argument('--up', choices=('y', 'z'), help='axis of a mesh (.glb: y, .obj: z)')
    return parser


def _render_posed(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    # Here, not above: the module builds on this one.
    from don_kp_ros.simulation import posed

    for name in ('images', 'pairs'):
        if getattr(options, name) is not None:
            parser.error(f'--{name} belongs to caps on tables; with --object give --views')
    views = 100 if options.views is None else options.views
    instances = 1 if options.instances is None else options.instances
    negatives = views // 4 if options.negatives is None else options.negatives
    if instances < 1 or negatives < 0 or options.workers < 1:
        parser.error('--instances and --workers must be at least 1, --negatives at least 0')
    if views < 2 * instances:
        parser.error(f'--views is {views}; two of every instance are needed: {2 * instances}')
    if instances > len(posed.INSTANCES):
        parser.error(f'--instances is {instances}; there are {len(posed.INSTANCES)}')
    ranges: dict[str, Any] = {}
    for name, (lowest, highest) in _POSED_RANGES.items():
        bounds = getattr(options, name)
        if bounds is None:
            continue
        if not lowest <= bounds[0] <= bounds[1] <= highest:
            parser.error(
                f'--{name} is {bounds[0]:g} {bounds[1]:g}; '
                f'allowed is LOW HIGH within {lowest:g} to {highest:g}'
            )
        ranges[name] = (bounds[0], bounds[1])
    built_in = options.object in posed.BUILT_IN
    if built_in and (options.size is not None or options.up is not None):
        parser.error(f'--size and --up belong to meshes; {options.object} has its own size')
    if not built_in and instances != 1:
        parser.error(f'--instances is {instances}; of a mesh there is 1')
    try:
        if built_in:
            numbers = posed.draw_instances(instances, options.seed)
            subjects = [posed.Subject(options.object, number) for number in numbers]
        else:
            subjects = [posed.Subject(options.object, 0, options.size, options.up)]
            print(subjects[0].description)
        viewpoints = posed.Viewpoints(**ranges)
        posed.render(
            options.folder, subjects, views, negatives, viewpoints, options.seed, options.workers
        )
    except DataError as error:
        print(f'don_kp render: {error}', file=sys.stderr)
        return 1
    return 0


def _render_scene(folder: Path, seed: list[int], index: int) -> None:
    rng = np.random.default_rng(seed)
    layout = Layout.draw(int(rng.integers(2**62)), int(rng.choice(TRAINING_CAPS)))
    with _Stage(layout) as stage:
        frame, mask, _ = stage.shoot(rng)
    write_picture(folder / 'rgbs' / f'{index:06d}.jpg', frame.colour)
    write_picture(folder / 'masks' / f'{index:06d}.png', mask.astype(np.uint8) * 255)


def _render_negative(folder: Path, seed: list[int], index: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(0, 6))
    layout = Layout.draw(int(rng.integers(2**62)), 0, with_cap=False, distractors=count)
    with _Stage(layout) as stage:
        frame, _, _ = stage.shoot(rng)
    write_picture(folder / 'negatives' / f'{index:06d}.jpg', frame.colour)


def _render_pair(folder: Path, seed: list[int], index: int) -> tuple[int, int, Array, Array]:
    rng = np.random.default_rng(seed)
    instance = int(rng.choice(VALIDATION_CAPS))
    while True:
        views = []
        for i in (2 * index, 2 * index + 1):
            with _Stage(Layout.draw(int(rng.integers(2**62)), instance)) as stage:
                frame, mask, T_world_optical = stage.shoot(rng)
            write_picture(folder / 'rgbs' / f'{i:06d}.jpg', frame.colour)
            write_picture(folder / 'masks' / f'{i:06d}.png', mask.astype(np.uint8) * 255)
            assert stage.layout.cap is not None
            T_optical_cap = rigid.inverse(T_world_optical) @ stage.layout.cap.pose
            views.append((stage.truth.depth, mask, T_optical_cap))
        (depth_a, mask_a, T_a_cap), (depth_b, mask_b, T_b_cap) = views
        v, u = np.nonzero(mask_a)
        uv_a = np.stack([u, v], axis=-1).astype(np.float64)
        point_b = rigid.apply(
            T_b_cap @ rigid.inverse(T_a_cap), D435.deproject(uv_a, depth_a[v, u])
        )
        uv_b = D435.project(point_b)
        cell = np.round(uv_b).astype(int)
        seen = D435.contains(uv_b)
        cell[~seen] = 0
        at = cell[:, 1], cell[:, 0]
        # Seen in B too: on the cap, and nothing of it nearer (2 mm, a slope over half a pixel).
        seen &= mask_b[at] & (np.abs(depth_b[at] - point_b[:, 2]) < 0.002)
        if seen.sum() >= POINTS_PER_PAIR:
            break
    chosen = rng.choice(np.flatnonzero(seen), POINTS_PER_PAIR, replace=False)
    return 2 * index, 2 * index + 1, uv_a[chosen], uv_b[chosen]


class _Stage:
    """A scene, and a camera that goes where the wrist would."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._model, _ = build(layout)
        self._data = mujoco.MjData(self._model)
        mujoco.mj_forward(self._model, self._data)
        self._renderer = Renderer(self._model)

    def __enter__(self) -> _Stage:
        return self

    def __exit__(self, *_: object) -> None:
        self._renderer.close()

    def shoot(self, rng: np.random.Generator) -> tuple[Frame, NDArray[np.bool_], Array]:
        """Draw a view with faults, the cap's mask and ``T_world_optical``.

        Views that show less than half of a cap are drawn again.
        """
        while True:
            target = [rng.uniform(0.42, 0.54), rng.uniform(-0.12, 0.12), 0.0]
            tilt, around = rng.uniform(0, 0.5) ** 1.5, rng.uniform(-np.pi, np.pi)
            distance = rng.uniform(0.42, 0.72)
            direction = [
                np.sin(tilt) * np.cos(around),
                np.sin(tilt) * np.sin(around),
                np.cos(tilt),
            ]
            eye = np.array(target) + distance * np.array(direction)
            roll = rng.uniform(-np.pi, np.pi)
            up = np.array([np.cos(roll), np.sin(roll), 0.0])
            T_world_optical = look_at(eye, np.array(target), up)
            mask = np.zeros((D435.height, D435.width), dtype=np.bool_)
            if self.layout.cap is not None:
                mask = self._renderer.mask(self._data, T_world_optical, CAP)
                border = mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any()
                if mask.sum() < 3000 or border:
                    continue
            self.truth = self._renderer.render(self._data, T_world_optical)
            return with_faults(self.truth, rng), mask, T_world_optical


if __name__ == '__main__':
    raise SystemExit(main())
