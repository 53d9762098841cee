"""View pairs of a scene's picture and of a drawing of the same objects by their meshes.

Periyasamy, Schwarz and Behnke 2019, "Refining 6D object pose predictions using abstract
render-and-compare", section III-A, where the picture is real and the drawing synthetic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from don_kp_ros.data.appearance import Appearance
from don_kp_ros.data.depth_view import DepthView, correspondences
from don_kp_ros.data.draws import log_uniform
from don_kp_ros.data.folder import DataError, Image
from don_kp_ros.data.homography import Matrix, project
from don_kp_ros.data.pairs import (
    DrawnConfiguration,
    SceneTruth,
    ViewConfiguration,
    ViewPair,
    WarpedView,
    warped_view,
)
from don_kp_ros.data.posed import FEWEST_COMMON
from don_kp_ros.data.posed_pairs import PosedSource, nothing_in_common, random_canvas
from don_kp_ros.data.scene_pairs import SceneSource, common, labels_of, random_grid
from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera

# A picture (H, W, 3) uint8 RGB of objects in a list; the position there of what each pixel (H, W)
# shows, -1 for nothing; and its depth (H, W) in metres, NaN for nothing.
Drawn = tuple[Image, NDArray[np.int64], NDArray[np.float32]]
Draw = Callable[[Sequence[str], Sequence[Matrix], Camera], Drawn]  # by names and poses (4, 4)

_FINER = 2  # drawn pixels to a side of one: drawings have sharp edges
_SMALLEST = 16  # pixels of an object in view a
_ATTEMPTS = 1000


class DrawnSampler:
    """Draw view pairs: a of a scene's picture, b of a drawing, both with changed appearance.

    Each is about one of the objects. backgrounds are pictures without the objects; the pictures'
    own surroundings are used, too, also about what is drawn.
    """

    kinds: tuple[str, ...] = ('',)

    def __init__(
        self,
        configuration: ViewConfiguration,
        scenes: Sequence[SceneSource],
        backgrounds: list[Image],
        draw: Draw,
    ) -> None:
        self._configuration = configuration
        self._how = configuration.drawn or DrawnConfiguration()
        sources = [view.source for scene in scenes for view in (scene.a, scene.b)]
        self._appearance = Appearance(configuration, sources, backgrounds)
        self._draw = draw
        self._choices = [
            (scene, view, number, centres[which])
            for scene in scenes
            for which, view in enumerate((scene.a, scene.b))
            for number, centres in scene.centres.items()
        ]
        if not self._choices:
            where = scenes[0].a.path.parent.parent if scenes else 'no scenes'
            raise DataError(f'{where}: there is no object that both views of a scene show')

    def draw(self, rng: np.random.Generator) -> ViewPair:
        """Draw two square views with correspondences seen in both.

        Pairs that share fewer than FEWEST_COMMON points are drawn again. Raises DataError if no
        try succeeds.
        """
        for _ in range(_ATTEMPTS):
            choice = self._choices[int(rng.integers(len(self._choices)))]
            pair = self._pair(*choice, rng)
            if pair is not None:
                return pair
        raise nothing_in_common(choice[1].path.parent.parent, _ATTEMPTS, choice[1].path.stem)

    def check(self) -> None:
        """Draw a pair once; raises DataError if that fails."""
        self.draw(np.random.default_rng(0))

    def _pair(
        self,
        scene: SceneSource,
        view: PosedSource,
        target: int,
        centre: Matrix,
        rng: np.random.Generator,
    ) -> ViewPair | None:
        settings, side = self._configuration, self._configuration.size
        source = replace(view.source, centre=centre)
        canvas = random_canvas(source, view.K, side, settings.warp, rng)
        size, homography = (side, side), canvas.homography(view.K)
        a = warped_view(view.source, homography, size, self._appearance, rng)
        labels_a = labels_of(view, canvas, size) * (a.mask > 127)
        sizes = np.bincount(labels_a.ravel(), minlength=1)
        numbers = [int(n) for n in np.flatnonzero(sizes >= _SMALLEST) if n > 0]
        T_canvas_scene = canvas.T_canvas_camera @ rigid.inverse(view.view.T_object_camera)
        placed = [
            self._placed(T_canvas_scene @ scene.entry.T_scene_object[n - 1], canvas.K, rng)
            for n in numbers
        ]
        camera = Camera.from_K(canvas.K, side, side)
        camera = replace(camera, cx=(side - 1) / 2, cy=(side - 1) / 2)
        fine = camera.resized(_FINER * side, _FINER * side)
        names = [scene.entry.objects[n - 1] for n in numbers]
        drawn, which, depth = self._draw(names, placed, fine)
        labels_b = np.array([*numbers, 0], np.uint8)[which]
        seen = [
            (
                _alone(view.view, n, scene.entry.T_scene_object[n - 1]),
                DepthView((labels_b == n).astype(np.uint8), depth, fine, rigid.inverse(T)),
            )
            for n, T in zip(numbers, placed, strict=True)
        ]
        field = self._field(seen, canvas.homography(view.view.camera.K), rng)
        if np.isfinite(field[1, ..., 0]).sum() < FEWEST_COMMON:
            return None
        b, labels_b = self._view(drawn, labels_b, rng)
        labels = np.stack([labels_a, labels_b])
        uv = common(labels, field, settings.queries, rng)
        truth = SceneTruth(labels, field, target, None, scene.classes)
        return uv and ViewPair(a, b, *uv, scene=truth)

    def _placed(self, T: Matrix, K: Matrix, rng: np.random.Generator) -> Matrix:
        """Draw a pose (4, 4) for an object that view a shows at another."""
        R = T[:3, :3]
        if rng.random() >= self._how.same:
            R = rigid.from_quaternion(rng.normal(size=4))[:3, :3]
        side = self._configuration.size
        aside = (rng.uniform(0, side - 1, 2) - (side - 1) / 2) / [K[0, 0], K[1, 1]]
        depth = T[2, 3] * log_uniform(rng, self._how.distance)
        return rigid.transform(R, depth * np.array([*aside, 1.0]))

    def _field(
        self,
        seen: Sequence[tuple[DepthView, DepthView]],
        to_a: Matrix,
        rng: np.random.Generator,
    ) -> NDArray[np.float32]:
        """Find where view b shows what view a shows, object by object; see SceneTruth."""
        grid = random_grid(self._configuration.size, rng)
        from_a: Matrix = np.asarray(np.linalg.inv(to_a), np.float64)
        uv_a = project(from_a, grid.reshape(-1, 2).astype(np.float32))
        there = np.full((len(uv_a), 2), np.nan)
        for a, b in seen:
            uv_b, found = correspondences(a, b, uv_a, self._configuration.tolerance)
            there[found] = (uv_b[found] + 0.5) / _FINER - 0.5
        last = self._configuration.size - 1
        there[~((there >= 0) & (there <= last)).all(axis=1)] = np.nan
        return np.stack([grid, there.reshape(grid.shape)]).astype(np.float32)

    def _view(
        self, drawn: Image, labels: NDArray[np.uint8], rng: np.random.Generator
    ) -> tuple[WarpedView, NDArray[np.uint8]]:
        """Make a view of a drawing: it, and its labels (S, S)."""
        size = (self._configuration.size, self._configuration.size)
        shown = np.where(labels > 0, np.uint8(255), np.uint8(0))
        image, mask = (
            cv2.resize(one, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
            for one in (drawn, shown)
        )
        image, mask = self._appearance.changed(image, mask, rng)
        labels = labels[::_FINER, ::_FINER] * (mask > 127)
        return WarpedView(image, mask, np.eye(3)), labels


def _alone(view: DepthView, number: int, T_scene_object: Matrix) -> DepthView:
    """Show one object of a scene's view, in its own frame."""
    T_object_camera = rigid.inverse(T_scene_object) @ view.T_object_camera
    mask = (view.mask == number).astype(np.uint8)
    return DepthView(mask, view.depth, view.camera, T_object_camera)
