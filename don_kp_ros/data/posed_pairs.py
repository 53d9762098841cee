"""View pairs of posed views: two views of one object, each as its camera, turned, would show it.

A pixel of one view is lifted by its depth, moved by the poses, and projected into the other
(Florence et al. 2018, the baseline of paper 2).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.data.appearance import Appearance
from don_kp_ros.data.depth_view import DepthView, correspondences
from don_kp_ros.data.draws import log_uniform
from don_kp_ros.data.folder import INDEX, DataError, Image, Sample
from don_kp_ros.data.homography import Matrix, WarpConfiguration
from don_kp_ros.data.lifting import PairGeometry
from don_kp_ros.data.pairs import ViewConfiguration, ViewPair, warped_view
from don_kp_ros.data.posed import FEWEST_COMMON, PosedSample, kind_of
from don_kp_ros.data.source import Source, prepare
from don_kp_ros.geometry import rigid

_ATTEMPTS = 1000  # of pairs in a row, before a folder is given up


def nothing_in_common(folder: Path, attempts: int, last: str) -> DataError:
    """Make the error of a folder whose pairs of views share too little, the last one of `last`."""
    return DataError(
        f'{folder}: {attempts} pairs of views in a row share fewer than {FEWEST_COMMON} points '
        f'(the last of {last}); take views that differ less, check poses and depths, raise '
        'views.tolerance to how much these miss each other, or lower views.warp.shift and '
        'views.warp.scale'
    )


@dataclass(frozen=True)
class PosedSource:
    """A posed view prepared for warping.

    source: the picture; K (3, 3): intrinsics of that picture, pixels; view: the part of it that
    shows the object; pixels (K, 2): pixels of `view` with the object's depth.
    """

    path: Path
    object: str
    source: Source
    K: Matrix
    view: DepthView
    pixels: NDArray[np.int32]


def prepare_posed(sample: PosedSample, input_size: int, oversampling: float = 1.25) -> PosedSource:
    """Resize a posed view's picture for warping as `prepare` does; its depth stays as it is."""
    source = prepare(Sample(sample.path, sample.image, sample.mask), input_size, oversampling)
    sx, sy = np.array(source.image.shape[1::-1]) / sample.image.shape[1::-1]
    # Pixel centres are at integers: the picture begins at -0.5.
    resize = np.array([[sx, 0, (sx - 1) / 2], [0, sy, (sy - 1) / 2], [0, 0, 1]])
    view = sample.cropped()
    v, u = np.nonzero((view.mask > 0) & np.isfinite(view.depth))
    pixels = np.stack([u, v], axis=1).astype(np.int32)
    return PosedSource(sample.path, sample.object, source, resize @ sample.camera.K, view, pixels)


@dataclass(frozen=True)
class Canvas:
    """The camera that would have taken a warped view: turned about its axis, zoomed, shifted.

    K (3, 3): its intrinsics, pixels; T_canvas_camera (4, 4): from the true camera's frame to its.
    """

    K: Matrix
    T_canvas_camera: Matrix

    def homography(self, K: Matrix) -> Matrix:
        """Map pixels of a picture with intrinsics K (3, 3) to the canvas: (3, 3)."""
        return np.asarray(self.K @ self.T_canvas_camera[:3, :3] @ np.linalg.inv(K))

    def project(self, points: Matrix) -> Matrix:
        """Project points (N, 3) in the true camera's frame to the canvas: (N, 2)."""
        mapped = rigid.apply(self.T_canvas_camera, points) @ self.K.T
        return np.asarray(mapped[:, :2] / mapped[:, 2:])


def random_canvas(
    source: Source, K: Matrix, side: int, warp: WarpConfiguration, rng: np.random.Generator
) -> Canvas:
    """Draw a camera that shows a picture's object near the middle of a square canvas.

    It varies rotation, scale and shift. A perspective warp would need a camera that looks
    elsewhere, at sides of the object that the picture does not show. K (3, 3): of the picture,
    pixels.
    """
    half, middle = side / 2, (side - 1) / 2
    place = middle + rng.uniform(-1, 1, 2) * warp.shift * half
    rotation = rigid.rotation_about(
        [0, 0, 1], np.deg2rad(rng.uniform(-warp.rotation, warp.rotation))
    )
    f = np.sqrt(K[0, 0] * K[1, 1]) * source.zoom * log_uniform(rng, warp.scale)
    ray = rotation @ np.linalg.inv(K) @ [*source.centre, 1.0]
    cx, cy = place - f * ray[:2]
    return Canvas(np.array([[f, 0, cx], [0, f, cy], [0, 0, 1]]), rigid.transform(rotation))


class PosedSampler:
    """Draw view pairs of posed views: two views of one object, each with changed appearance.

    backgrounds are pictures without the object; the views' own surroundings are used, too.
    """

    def __init__(
        self,
        configuration: ViewConfiguration,
        views: Sequence[PosedSource],
        backgrounds: list[Image],
    ) -> None:
        """Group the views by object; raises DataError if no object has two views."""
        self._configuration = configuration
        self._appearance = Appearance(configuration, [view.source for view in views], backgrounds)
        groups: dict[tuple[Path, str], list[PosedSource]] = defaultdict(list)
        for view in views:
            groups[view.path.parent, view.object].append(view)  # names are a folder's own
        self._groups = [group for group in groups.values() if len(group) > 1]
        if not self._groups:
            where = views[0].path.parent.parent / INDEX if views else 'no views'
            raise DataError(f'{where}: no object has two views; pairs of views are needed')
        self.kinds = tuple(sorted({kind_of(group[0].object) for group in self._groups}))
        self._sizes = np.array([len(group) for group in self._groups])

    def draw(self, rng: np.random.Generator) -> ViewPair:
        """Draw two square views of one object with correspondences seen in both.

        Pairs that share fewer than FEWEST_COMMON points are drawn again. Raises DataError if no
        try succeeds.
        """
        for _ in range(_ATTEMPTS):
            group = self._groups[
                int(rng.choice(len(self._sizes), p=self._sizes / self._sizes.sum()))
            ]
            first, second = rng.choice(len(group), 2, replace=False)
            pair = self._pair(group[int(first)], group[int(second)], rng)
            if pair is not None:
                return pair
        view = group[0]
        raise nothing_in_common(view.path.parent.parent, _ATTEMPTS, view.object)

    def check(self) -> None:
        """Draw a pair once; raises DataError if that fails."""
        self.draw(np.random.default_rng(0))

    def _pair(self, a: PosedSource, b: PosedSource, rng: np.random.Generator) -> ViewPair | None:
        side, wanted = self._configuration.size, self._configuration.queries
        if len(a.pixels) == 0:
            return None
        candidates = a.pixels[rng.integers(len(a.pixels), size=6 * max(wanted, 64))]
        _, seen = correspondences(a.view, b.view, candidates, self._configuration.tolerance)
        if np.count_nonzero(seen) < FEWEST_COMMON:
            return None
        chosen = candidates[seen]
        points = a.view.camera.deproject(chosen, a.view.depth[chosen[:, 1], chosen[:, 0]])
        T_b_a = rigid.inverse(b.view.T_object_camera) @ a.view.T_object_camera
        uv, seen_by, views, canvases = [], np.ones(len(points), bool), [], []
        for source, p in ((a, points), (b, rigid.apply(T_b_a, points))):
            canvas = random_canvas(source.source, source.K, side, self._configuration.warp, rng)
            pixels = canvas.project(p)
            seen_by &= np.all((pixels >= 0) & (pixels <= side - 1), axis=1)
            uv.append(pixels)
            canvases.append(canvas)
        if np.count_nonzero(seen_by) < FEWEST_COMMON:
            return None
        for source, canvas, pixels in zip((a, b), canvases, uv, strict=True):
            homography = canvas.homography(source.K)
            view = warped_view(source.source, homography, (side, side), self._appearance, rng)
            views.append(view)
            u, v = np.rint(pixels[seen_by]).astype(int).T
            seen_by[seen_by] &= view.mask[v, u] > 0  # not behind an occluding patch
        if np.count_nonzero(seen_by) < FEWEST_COMMON:
            return None
        taken = np.resize(np.flatnonzero(seen_by), wanted)
        T_world_a, T_world_b = (
            source.view.T_object_camera @ rigid.inverse(canvas.T_canvas_camera)
            for source, canvas in zip((a, b), canvases, strict=True)
        )
        geometry = PairGeometry(
            K_a=canvases[0].K,
            K_b=canvases[1].K,
            T_b_a=rigid.inverse(T_world_b) @ T_world_a,
            T_world_a=T_world_a,
            T_world_b=T_world_b,
        )
        uv_a, uv_b = (pixels[taken].astype(np.float32) for pixels in uv)
        kind = kind_of(a.object)
        return ViewPair(views[0], views[1], uv_a, uv_b, geometry=geometry, kind=kind)
