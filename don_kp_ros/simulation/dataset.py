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
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.data.depth_view import DepthView, correspondences
from don_kp_ros.data.folder import CORRESPONDENCES_VERSION, write_image
from don_kp_ros.geometry import rigid
from don_kp_ros.simulation.camera import D435, Frame, StillScene, is_whole, look_at, with_faults
from don_kp_ros.simulation.instances import TRAINING_CAPS, VALIDATION_CAPS
from don_kp_ros.simulation.rendering import render_all
from don_kp_ros.simulation.scene import CAP, Layout, build

Array = NDArray[np.float64]

POINTS_PER_PAIR = 256


def render(folder: Path, images: int, negatives: int, pairs: int, seed: int, workers: int) -> None:
    """Render pictures with a cap, pictures without one, and pairs of views for validation.

    A picture without a cap goes with every pair.
    """
    validation = folder / 'validation'
    for parent in (folder, validation):
        for name in ('rgbs', 'masks', 'negatives'):
            (parent / name).mkdir(parents=True, exist_ok=True)
    jobs: list[tuple[Callable[..., object], tuple[object, ...]]] = []
    for i in range(images):
        jobs.append((_render_scene, (folder, [seed, 0, i], i)))
    for i in range(negatives):
        jobs.append((_render_negative, (folder, [seed, 1, i], i)))
    for i in range(pairs):
        jobs.append((_render_pair, (validation, [seed, 2, i], i)))
        jobs.append((_render_negative, (validation, [seed, 3, i], i)))
    results = render_all(jobs, workers)
    if pairs:
        a, b, uv_a, uv_b = zip(*(pair for pair in results if pair is not None), strict=True)
        file, version = validation / 'correspondences.npz', CORRESPONDENCES_VERSION
        np.savez(file, version=version, image_a=a, image_b=b, uv_a=uv_a, uv_b=uv_b)


def _render_scene(folder: Path, seed: list[int], index: int) -> None:
    rng = np.random.default_rng(seed)
    layout = Layout.draw(int(rng.integers(2**62)), int(rng.choice(TRAINING_CAPS)))
    with _Stage(layout) as stage:
        frame, mask, _ = stage.shoot(rng)
    write_image(folder / 'rgbs' / f'{index:06d}.jpg', frame.colour)
    write_image(folder / 'masks' / f'{index:06d}.png', mask.astype(np.uint8) * 255)


def _render_negative(folder: Path, seed: list[int], index: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(0, 6))
    layout = Layout.draw(int(rng.integers(2**62)), 0, with_cap=False, distractors=count)
    with _Stage(layout) as stage:
        frame, _, _ = stage.shoot(rng)
    write_image(folder / 'negatives' / f'{index:06d}.jpg', frame.colour)


def _render_pair(folder: Path, seed: list[int], index: int) -> tuple[int, int, Array, Array]:
    rng = np.random.default_rng(seed)
    instance = int(rng.choice(VALIDATION_CAPS))
    while True:
        views = []
        for i in (2 * index, 2 * index + 1):
            with _Stage(Layout.draw(int(rng.integers(2**62)), instance)) as stage:
                frame, mask, T_world_optical = stage.shoot(rng)
            write_image(folder / 'rgbs' / f'{i:06d}.jpg', frame.colour)
            shown = mask.astype(np.uint8) * 255
            write_image(folder / 'masks' / f'{i:06d}.png', shown)
            assert stage.layout.cap is not None
            T_cap_camera = rigid.inverse(stage.layout.cap.pose) @ T_world_optical
            views.append(DepthView(shown, stage.truth.depth, D435, T_cap_camera))
        uv_a = np.argwhere(views[0].mask)[:, ::-1].astype(np.float64)
        uv_b, seen = correspondences(views[0], views[1], uv_a, tolerance=0.002)
        if seen.sum() >= POINTS_PER_PAIR:
            break
    chosen = rng.choice(np.flatnonzero(seen), POINTS_PER_PAIR, replace=False)
    return 2 * index, 2 * index + 1, uv_a[chosen], uv_b[chosen]


class _Stage(StillScene):
    """A scene, and a camera that moves as if on the wrist."""

    def __init__(self, layout: Layout) -> None:
        super().__init__(build(layout)[0], None if layout.cap is None else CAP)
        self.layout = layout

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
            mask = self.mask(T_world_optical)
            if self.subject is not None and (mask.sum() < 3000 or not is_whole(mask)):
                continue
            self.truth = self.render(T_world_optical)
            return with_faults(self.truth, rng), mask, T_world_optical
