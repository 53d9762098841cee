"""Synthetic view pairs: two random views of one picture, with true correspondences (paper 2).

Each view is a homography of the picture (rotation, scale, shift, perspective) with changed
colours, light, noise and background, drawn independently. A pixel's place in a view follows from
the homography in closed form.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.configuration import Range, within
from don_kp_ros.data.appearance import Appearance, AppearanceConfiguration
from don_kp_ros.data.folder import DataError, Image
from don_kp_ros.data.homography import (
    Matrix,
    WarpConfiguration,
    local_scale,
    project,
    random_homography,
    warped,
)
from don_kp_ros.data.lifting import (
    CORRESPONDENCES,
    LiftConfiguration,
    PairGeometry,
    intrinsics,
    pair_geometry,
)
from don_kp_ros.data.source import Source

_ATTEMPTS = 10


@dataclass(frozen=True)
class DrawnConfiguration:
    """How view b is drawn by the meshes of the objects that view a of a scene shows (paper 4).

    Each stands anywhere in it.
    """

    same: float = 0.5  # probability that an object is turned as in view a; else it is any way
    distance: Range = (0.8, 1.25)  # of an object, times that in view a

    def __post_init__(self) -> None:
        within('same', self.same, 0, 1)
        within('distance', self.distance, 0.1, 10)


@dataclass(frozen=True)
class ViewConfiguration(AppearanceConfiguration):
    """How view pairs are made."""

    size: int = 128  # pixels of a square view
    queries: int = 64  # correspondences per pair
    tolerance: float = 0.003  # metres by which a point may miss the depth of another posed view
    lift: LiftConfiguration | None = None  # give correspondences depth, and pairs a motion
    drawn: DrawnConfiguration | None = None  # pairs of a scene's picture and a drawing
    warp: WarpConfiguration = field(default_factory=WarpConfiguration)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 32 <= self.size <= 2048 or self.size % 32:
            raise ValueError(f'size is {self.size}; allowed are multiples of 32, 32 to 2048')
        within('queries', self.queries, 1, 100_000)
        within('tolerance', self.tolerance, 1e-6, 1)


@dataclass(frozen=True)
class WarpedView:
    """A view (H, W, 3) uint8 RGB, the object's mask (H, W) uint8, and source to view (3, 3)."""

    image: Image
    mask: Image
    homography: Matrix


@dataclass(frozen=True)
class SceneTruth:
    """What two views of a scene of several objects show.

    labels (2, S, S) uint8: of a and b, the number of the object at each pixel; 0: none. field
    (2, n, n, 2) float32: pixels of a on a grid, and those of b that show the same points, NaN
    where b shows none of them or a no object. target: number of the object that the pair is about.
    lone (S, S, 3) uint8 RGB: that object alone on a plain ground, where view a shows it; None if
    it is not wanted. classes (n + 1,): for each number of the labels the number of that object
    among all of the folder, from 1; the first is 0.
    """

    labels: NDArray[np.uint8]
    field: NDArray[np.float32]
    target: int
    lone: Image | None
    classes: NDArray[np.int64]


@dataclass(frozen=True)
class ViewPair:
    """Two views of one object, or of a scene; uv_a[i] and uv_b[i], (Q, 2), show the same point.

    homography (3, 3): maps any pixel of view a to view b; None for views of different sides; kind:
    of the object, if it is known. The masks of a scene's views show all of its objects.
    """

    a: WarpedView
    b: WarpedView
    uv_a: NDArray[np.float32]
    uv_b: NDArray[np.float32]
    homography: Matrix | None = None
    geometry: PairGeometry | None = None
    kind: str = ''
    scene: SceneTruth | None = None


class PairSampler(Protocol):
    """Draws view pairs, of single pictures or of posed views.

    kinds: of the objects of its pairs; '' where that is not known.
    """

    kinds: tuple[str, ...]

    def draw(self, rng: np.random.Generator) -> ViewPair:
        """Draw a pair."""

    def check(self) -> None:
        """Raise DataError if no pairs can be drawn."""


def warped_view(
    source: Source,
    homography: Matrix,
    size: tuple[int, int],
    appearance: Appearance,
    rng: np.random.Generator,
) -> WarpedView:
    """Warp a picture onto a canvas (W, H), and change its appearance."""
    image, mask = appearance.changed(*warped(source, homography, size), rng)
    return WarpedView(image, mask, homography)


class ViewSampler:
    """Draw view pairs of prepared pictures.

    backgrounds are pictures without the object; the pictures' own surroundings are used, too.
    """

    kinds: tuple[str, ...] = ('',)

    def __init__(
        self, configuration: ViewConfiguration, sources: list[Source], backgrounds: list[Image]
    ) -> None:
        self._configuration = configuration
        self._sources = sources
        self._appearance = Appearance(configuration, sources, backgrounds)

    def draw(self, rng: np.random.Generator) -> ViewPair:
        """Draw a picture and two square views of it with correspondences seen in both.

        If the views share too few points, others are drawn, at last of other pictures. Raises
        DataError if that does not help.
        """
        for _ in range(_ATTEMPTS):
            source = self._sources[int(rng.integers(len(self._sources)))]
            pair = self._pair_of(source, rng)
            if pair is not None:
                return pair
        raise self._impossible(source)

    def check(self) -> None:
        """Draw a pair of each picture once; raises DataError naming a picture that gives none."""
        for source in self._sources:
            if self._pair_of(source, np.random.default_rng(0)) is None:
                raise self._impossible(source)

    def _pair_of(self, source: Source, rng: np.random.Generator) -> ViewPair | None:
        pairs = (self._pair(source, rng) for _ in range(_ATTEMPTS))
        return next((pair for pair in pairs if pair is not None), None)

    def _impossible(self, source: Source) -> DataError:
        return DataError(
            f'{source.path}: {_ATTEMPTS} pairs of views in a row share too few points of the '
            'object; lower views.warp.shift, views.warp.scale or views.occlusion, or enlarge '
            'views.size'
        )

    def _pair(self, source: Source, rng: np.random.Generator) -> ViewPair | None:
        side, wanted = self._configuration.size, self._configuration.queries
        size = (side, side)
        homographies = [
            random_homography(source.centre, source.zoom, size, self._configuration.warp, rng)
            for _ in range(2)
        ]
        fewest = min(CORRESPONDENCES, wanted)
        candidates = rng.integers(len(source.object_uv), size=6 * max(wanted, CORRESPONDENCES))
        jitter = rng.uniform(-0.5, 0.5, (len(candidates), 2)).astype(np.float32)
        points = source.object_uv[candidates] + jitter
        uv = [project(homography, points) for homography in homographies]
        seen = np.all([np.all((p >= 0) & (p <= side - 1), axis=1) for p in uv], axis=0)
        if np.count_nonzero(seen) < fewest:
            return None
        source = self._appearance.textured(source, rng)
        views = [
            warped_view(source, homography, size, self._appearance, rng)
            for homography in homographies
        ]
        for view, pixels in zip(views, uv, strict=True):
            u, v = np.rint(pixels[seen]).astype(int).T
            seen[seen] &= view.mask[v, u] > 0  # not behind an occluding patch
        if np.count_nonzero(seen) < fewest:
            return None
        chosen = np.resize(np.flatnonzero(seen), wanted)
        return ViewPair(
            views[0],
            views[1],
            uv[0][chosen],
            uv[1][chosen],
            homographies[1] @ np.linalg.inv(homographies[0]),
            self._geometry(source, views, points[chosen]),
        )

    def _geometry(
        self, source: Source, views: list[WarpedView], points: NDArray[np.float32]
    ) -> PairGeometry | None:
        """Lift pixels (Q, 2) of a picture in both views; a view that enlarges is nearer."""
        lift = self._configuration.lift
        if lift is None:
            return None
        depth = np.full(len(points), lift.distance)
        if source.depth is not None:
            u, v = np.rint(points).astype(int).T
            height, width = source.depth.shape
            depth = source.depth[v.clip(0, height - 1), u.clip(0, width - 1)].astype(np.float64)
        a, b = (
            (
                project(view.homography, points).astype(np.float64),
                depth * source.zoom / local_scale(view.homography, points),
            )
            for view in views
        )
        input_size = source.zoom * max(source.image.shape[:2])
        K = intrinsics(lift, input_size, self._configuration.size)
        return pair_geometry((a[0], b[0]), (a[1], b[1]), K)
