"""View pairs of scenes: both views, each as its camera, turned, would show it.

A pixel of one view is lifted by its depth, moved by the poses, and projected into the other, for
all objects at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from don_kp_ros.data.appearance import Appearance, change_colours
from don_kp_ros.data.depth_view import correspondences
from don_kp_ros.data.folder import DataError, Image
from don_kp_ros.data.homography import Matrix, project, warped
from don_kp_ros.data.pairs import SceneTruth, ViewConfiguration, ViewPair, warped_view
from don_kp_ros.data.picture_file import PictureFile, image_of
from don_kp_ros.data.posed import FEWEST_COMMON
from don_kp_ros.data.posed_pairs import (
    Canvas,
    PosedSource,
    nothing_in_common,
    prepare_posed,
    random_canvas,
)
from don_kp_ros.data.scenes import Entry, Scene, SceneView
from don_kp_ros.data.source import Source

FIELD_STEP = 4  # pixels of a view between points of its field
_ATTEMPTS = 1000


@dataclass(frozen=True)
class SceneSource:
    """A scene prepared for warping.

    a, b: its views, whose `view.mask` holds the objects' numbers; centres: by the numbers of the
    objects that both show, the middles (2,) of their bounding boxes in the two pictures; lone: of
    some of these the files that show them alone in view a; classes: as in `SceneTruth`; bits: that
    the lone ones use, see `Scene`.
    """

    entry: Entry
    a: PosedSource
    b: PosedSource
    centres: dict[int, tuple[Matrix, Matrix]]
    lone: dict[int, PictureFile]
    classes: NDArray[np.int64]
    bits: int | None = None


def prepare_scene(scene: Scene, input_size: int, names: Sequence[str] = ()) -> SceneSource:
    """Resize a scene's pictures for warping as `prepare` does; their depths stay as they are.

    names: of all objects of the folder; those that are not among them are of class 0.
    """
    a, b = (
        replace(prepare_posed(view.whole(), input_size), view=view.cropped())
        for view in (scene.a, scene.b)
    )
    centres = {
        number: (_centre(scene.a, a, number), _centre(scene.b, b, number))
        for number in scene.in_both()
    }
    number_of = {name: number for number, name in enumerate(names, start=1)}
    classes = np.array([0, *(number_of.get(name, 0) for name in scene.entry.objects)])
    return SceneSource(scene.entry, a, b, centres, scene.lone, classes, scene.bits)


class SceneSampler:
    """Draw view pairs of scenes, each about one of its objects, with changed appearance.

    backgrounds are pictures without the objects; the views' own surroundings are used, too. lone:
    whether the object that a pair is about is shown alone, too.
    """

    kinds: tuple[str, ...] = ('',)

    def __init__(
        self,
        configuration: ViewConfiguration,
        scenes: Sequence[SceneSource],
        backgrounds: list[Image],
        lone: bool = False,
    ) -> None:
        """Find the objects that pairs can be about; raises DataError if there are none."""
        self._configuration = configuration
        sources = [view.source for scene in scenes for view in (scene.a, scene.b)]
        self._appearance = Appearance(configuration, sources, backgrounds)
        self._lone = lone
        self._choices = [
            (scene, number)
            for scene in scenes
            for number in scene.centres
            if not lone or number in scene.lone
        ]
        if not self._choices:
            where = scenes[0].a.path.parent.parent if scenes else 'no scenes'
            needed = ', and lone/ shows alone' if lone else ''
            raise DataError(f'{where}: there is no object that both views of a scene show{needed}')

    def draw(self, rng: np.random.Generator) -> ViewPair:
        """Draw two square views of a scene with correspondences seen in both.

        Pairs that share fewer than FEWEST_COMMON points, or none of the object that they are
        about, are drawn again. Raises DataError if no try succeeds.
        """
        for _ in range(_ATTEMPTS):
            scene, target = self._choices[int(rng.integers(len(self._choices)))]
            pair = self._pair(scene, target, rng)
            if pair is not None:
                return pair
        raise nothing_in_common(scene.a.path.parent.parent, _ATTEMPTS, f'scene {scene.entry.name}')

    def check(self) -> None:
        """Draw a pair once; raises DataError if that fails."""
        self.draw(np.random.default_rng(0))

    def _pair(self, scene: SceneSource, target: int, rng: np.random.Generator) -> ViewPair | None:
        settings = self._configuration
        sources = scene.a, scene.b
        canvases = [
            random_canvas(replace(s.source, centre=centre), s.K, settings.size, settings.warp, rng)
            for s, centre in zip(sources, scene.centres[target], strict=True)
        ]
        field = self._field(sources, canvases, rng)
        if np.isfinite(field[1, ..., 0]).sum() < FEWEST_COMMON:
            return None
        size = (settings.size, settings.size)
        homographies = [c.homography(s.K) for c, s in zip(canvases, sources, strict=True)]
        a, b = (
            warped_view(s.source, homography, size, self._appearance, rng)
            for s, homography in zip(sources, homographies, strict=True)
        )
        labels = np.stack(
            [
                labels_of(s, canvas, size) * (view.mask > 127)
                for s, canvas, view in zip(sources, canvases, (a, b), strict=True)
            ]
        )
        uv = common(labels, field, settings.queries, rng, target)
        if uv is None:
            return None
        lone = None
        if self._lone:
            alone = _alone(image_of(scene.lone[target], scene.bits), scene.a.source)
            lone = change_colours(warped(alone, homographies[0], size)[0], settings.colour, rng)
        truth = SceneTruth(labels, field, target, lone, scene.classes)
        return ViewPair(a, b, *uv, scene=truth)

    def _field(
        self,
        sources: tuple[PosedSource, PosedSource],
        canvases: list[Canvas],
        rng: np.random.Generator,
    ) -> NDArray[np.float32]:
        """Find where view b shows what view a shows on a grid (2, n, n, 2); NaN where nowhere."""
        side = self._configuration.size
        grid = random_grid(side, rng)
        (a, b), (to_a, to_b) = (
            [s.view for s in sources],
            [c.homography(s.view.camera.K) for c, s in zip(canvases, sources, strict=True)],
        )
        from_a: Matrix = np.asarray(np.linalg.inv(to_a), np.float64)
        uv_a = project(from_a, grid.reshape(-1, 2).astype(np.float32))
        uv_b, seen = correspondences(a, b, uv_a, self._configuration.tolerance)
        there = project(to_b, uv_b.astype(np.float32))
        seen &= np.all((there >= 0) & (there <= side - 1), axis=1)
        there[~seen] = np.nan
        return np.stack([grid.astype(np.float32), there.reshape(grid.shape)])


def _centre(view: SceneView, prepared: PosedSource, number: int) -> Matrix:
    """Find the middle (2,) of an object's bounding box in a view's prepared picture."""
    v, u = np.nonzero(view.mask == number)
    middle = (np.array([[u.min() + u.max(), v.min() + v.max()]]) / 2).astype(np.float32)
    resize: Matrix = prepared.K @ np.linalg.inv(view.camera.K)
    return project(resize, middle)[0].astype(np.float64)


def _alone(image: Image, source: Source) -> Source:
    """Show an object alone in a picture of the size that a view was prepared to."""
    size = (source.image.shape[1], source.image.shape[0])
    resized = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return replace(source, image=resized.astype(np.uint8, copy=False))


def random_grid(side: int, rng: np.random.Generator) -> Matrix:
    """Draw pixels (n, n, 2) of a square view, FIELD_STEP apart."""
    steps = np.arange(0, side, FIELD_STEP)
    # Not always at the middles of a map's cells.
    return np.stack(np.meshgrid(steps, steps), axis=-1) + rng.uniform(0, FIELD_STEP - 1, 2)


def common(
    labels: NDArray[np.uint8],
    field: NDArray[np.float32],
    wanted: int,
    rng: np.random.Generator,
    target: int | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """Choose so many points of a field that both views show, pixels (Q, 2) of a and b.

    labels, field: as in SceneTruth; what one of the views hides becomes NaN in the field. None if
    fewer than FEWEST_COMMON are left, or none of the target.
    """
    met, shown = _read(labels[1], field[1]), _read(labels[0], field[0])
    seen = (met == shown) & (shown > 0)  # the same object, and not behind an occluding patch
    field[1, ~seen] = np.nan
    if seen.sum() < FEWEST_COMMON or (target and not (shown[seen] == target).any()):
        return None
    chosen = _balanced(shown[seen], wanted, rng)
    return field[0][seen][chosen], field[1][seen][chosen]


def labels_of(source: PosedSource, canvas: Canvas, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Show the objects' numbers on a canvas (W, H)."""
    homography = canvas.homography(source.view.camera.K)
    labels = cv2.warpPerspective(source.view.mask, homography, size, flags=cv2.INTER_NEAREST)
    return labels.astype(np.uint8, copy=False)


def _read(labels: NDArray[np.uint8], uv: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Read labels (S, S) at the pixels nearest to uv (..., 2); 0 for NaN."""
    known = np.isfinite(uv[..., 0])
    u, v = np.moveaxis(np.rint(np.where(known[..., None], uv, 0)).astype(int), -1, 0)
    return np.where(known, labels[v, u], np.uint8(0))


def _balanced(
    numbers: NDArray[np.uint8], wanted: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Choose among points of objects (N,) so that all objects are about equally likely."""
    weight = 1 / np.bincount(numbers)[numbers]
    enough = len(numbers) >= wanted
    chosen = rng.choice(len(numbers), wanted, replace=not enough, p=weight / weight.sum())
    return np.asarray(chosen, dtype=np.int64)
