"""Rendered pictures of caps on tables, for training and for judging what was learned.

The folder that is written::

    rgbs/000000.jpg ...       pictures, each with one cap of the training set
    masks/000000.png ...      which pixels show the cap
    negatives/000000.jpg ...  pictures without a cap
    validation/               caps that are in none of the pictures above, in pairs of views
        rgbs/ masks/ negatives/
        correspondences.npz   image_a, image_b (P,) indices into the sorted pictures;
                              uv_a, uv_b (P, Q, 2) pixels that show the same point of the cap

From one view of a pair to the other the cap lies elsewhere, turned, and the camera has moved.
"""

from __future__ import annotations

import argparse
import multiprocessing
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from don_kp_ros.geometry import rigid
from don_kp_ros.simulation.camera import D435, Frame, Renderer, look_at, mujoco, with_faults
from don_kp_ros.simulation.scene import CAP, Layout, build

Array = NDArray[np.float64]

TRAINING_CAPS = range(0, 100_000)
VALIDATION_CAPS = range(100_000, 200_000)
UNSEEN_CAPS = range(200_000, 300_000)
"""Caps of the grasp trials: in no training or validation picture."""

POINTS_PER_PAIR = 256


def main(argv: list[str] | None = None) -> int:
    """Render a data set into a folder."""
    parser = argparse.ArgumentParser(prog='don_kp render', description=main.__doc__)
    parser.add_argument('folder', type=Path)
    parser.add_argument('--images', type=int, default=1000, help='pictures with a cap')
    parser.add_argument('--negatives', type=int, help='without; default: a quarter of the others')
    parser.add_argument('--pairs', type=int, default=40, help='pairs of views for validation')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--workers', type=int, default=2, help='processes')
    options = parser.parse_args(argv)
    if options.images < 1 or options.pairs < 0 or options.workers < 1:
        parser.error('--images and --workers must be at least 1, --pairs at least 0')
    negatives = options.images // 4 if options.negatives is None else options.negatives

    folder, validation = options.folder, options.folder / 'validation'
    for parent in (folder, validation):
        for name in ('rgbs', 'masks', 'negatives'):
            (parent / name).mkdir(parents=True, exist_ok=True)
    jobs: list[tuple[Callable[..., object], tuple[object, ...]]] = []
    for i in range(options.images):
        jobs.append((_render_scene, (folder, [options.seed, 0, i], i)))
    for i in range(negatives):
        jobs.append((_render_negative, (folder, [options.seed, 1, i], i)))
    for i in range(options.pairs):
        jobs.append((_render_pair, (validation, [options.seed, 2, i], i)))
        jobs.append((_render_negative, (validation, [options.seed, 3, i], i)))

    # Spawned, not forked: a graphics context does not survive a fork.
    with multiprocessing.get_context('spawn').Pool(options.workers) as pool:
        results = list(
            tqdm(pool.imap(_run, jobs, chunksize=4), total=len(jobs), desc='render', unit='scene')
        )
    if options.pairs:
        a, b, uv_a, uv_b = zip(*(pair for pair in results if pair is not None), strict=True)
        np.savez(
            validation / 'correspondences.npz', image_a=a, image_b=b, uv_a=uv_a, uv_b=uv_b
        )
    return 0


def _run(job: tuple[Callable[..., object], tuple[object, ...]]) -> object:
    function, arguments = job
    return function(*arguments)


def _render_scene(folder: Path, seed: list[int], index: int) -> None:
    rng = np.random.default_rng(seed)
    layout = Layout.draw(int(rng.integers(2**62)), int(rng.choice(TRAINING_CAPS)))
    with _Stage(layout) as stage:
        frame, mask, _ = stage.shoot(rng)
    _write(folder / 'rgbs' / f'{index:06d}.jpg', frame.colour)
    _write(folder / 'masks' / f'{index:06d}.png', mask.astype(np.uint8) * 255)


def _render_negative(folder: Path, seed: list[int], index: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(0, 6))
    layout = Layout.draw(int(rng.integers(2**62)), 0, with_cap=False, distractors=count)
    with _Stage(layout) as stage:
        frame, _, _ = stage.shoot(rng)
    _write(folder / 'negatives' / f'{index:06d}.jpg', frame.colour)


def _render_pair(folder: Path, seed: list[int], index: int) -> tuple[int, int, Array, Array]:
    rng = np.random.default_rng(seed)
    instance = int(rng.choice(VALIDATION_CAPS))
    while True:
        views = []
        for i in (2 * index, 2 * index + 1):
            with _Stage(Layout.draw(int(rng.integers(2**62)), instance)) as stage:
                frame, mask, T_world_optical = stage.shoot(rng)
            _write(folder / 'rgbs' / f'{i:06d}.jpg', frame.colour)
            _write(folder / 'masks' / f'{i:06d}.png', mask.astype(np.uint8) * 255)
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

        Views in which less than half of a cap shows are drawn again.
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


def _write(path: Path, picture: NDArray[np.uint8]) -> None:
    bgr = picture[..., ::-1] if picture.ndim == 3 else picture
    options = [cv2.IMWRITE_JPEG_QUALITY, 95] if path.suffix == '.jpg' else []
    if not cv2.imwrite(str(path), bgr, options):
        raise OSError(f'{path} could not be written')


if __name__ == '__main__':
    raise SystemExit(main())
