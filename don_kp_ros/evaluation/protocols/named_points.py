"""Named points of one object looked for on another one of its kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.configuration import within
from don_kp_ros.data.folder import INDEX, DataError
from don_kp_ros.data.posed import PosedFolder, PosedSample
from don_kp_ros.evaluation.pairs import Pair, PairSet
from don_kp_ros.evaluation.protocols.posed import candidates
from don_kp_ros.evaluation.protocols.protocol import Condition, DepthProtocol
from don_kp_ros.evaluation.reading import Reader
from don_kp_ros.geometry import rigid

Array = NDArray[np.float64]


@dataclass(frozen=True)
class NamedPoints(DepthProtocol):
    """Posed views of two objects of one kind with known named points: looks for a's points on b.

    The truth is the projection of b's own point of that name. Only points that both views see
    count. views: at most so many views of the folder, drawn at random; points: the names (none:
    all).
    """

    kind: ClassVar[str] = 'named_points'

    views: int = 300
    points: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        within('views', self.views, 2, 1e5)

    def conditions(self, root: Path, seed: int, reader: Reader) -> list[Condition]:
        """Make one condition; its matches can also be split by the points' names."""
        folder, rng = PosedFolder.open(root), np.random.default_rng((seed, 5))
        points = self._points(folder)
        known = [i for i, view in enumerate(folder.views) if view.object in points]
        chosen = np.sort(rng.choice(known, min(self.views, len(known)), replace=False))
        samples = reader.posed(folder, (int(i) for i in chosen))
        seen = [seen_points(sample, points[sample.object], self.tolerance) for sample in samples]
        pairs: list[Pair] = []
        for a, b in candidates(samples, rng, one_object=False):
            if len(pairs) == self.pairs:
                break
            common = [name for name in seen[a] if name in seen[b]]
            if not common:
                continue
            names = [common[i] for i in np.sort(rng.permutation(len(common))[: self.queries])]
            uv_a, uv_b = (
                np.array([of[name] for name in names], np.float32) for of in (seen[a], seen[b])
            )
            mask_b = samples[b].mask
            pairs.append(Pair(a, b, uv_a, uv_b, mask_b=mask_b, names=tuple(names)))
        if not pairs:
            raise DataError(
                f'{root / INDEX}: no two views of different objects of one kind see a point of '
                f'one name within {self.tolerance:g} m of the depth there; render more '
                '--instances, or more views, or raise tolerance to what points and depths miss '
                'each other by'
            )
        shown = len({sample.object for sample in samples})
        origin = f'{len(pairs)} pairs of {len(samples)} views of {shown} objects'
        images = [sample.image for sample in samples]
        return [Condition('named points', PairSet(origin, images, pairs, []), views=samples)]

    def _points(self, folder: PosedFolder) -> dict[str, dict[str, Array]]:
        """Choose the points that count, by object; raises DataError if there are none."""
        index = folder.root / INDEX
        if not folder.points:
            raise DataError(
                f'{index}: has no named points; add "points" (docs/data.md), or render caps: '
                'don_kp render FOLDER --object cap --instances 10'
            )
        every = {name for own in folder.points.values() for name in own}
        unknown = [name for name in self.points or () if name not in every]
        if unknown:
            raise DataError(
                f'{index}: no object has the point {unknown[0]!r} (key points); there are '
                f'{"; ".join(sorted(every))}'
            )
        wanted = every if self.points is None else set(self.points)
        return {
            shown: {name: point for name, point in own.items() if name in wanted}
            for shown, own in folder.points.items()
        }


def seen_points(
    view: PosedSample, points: Mapping[str, Array], tolerance: float
) -> dict[str, Array]:
    """Project those points (3,) in the object's frame, metres, that a view sees: pixels (2,).

    A point is seen if the view's depth at its pixel is that of the point, within `tolerance`
    metres, so that nothing hides it.
    """
    if not points:
        return {}
    in_camera = rigid.apply(rigid.inverse(view.T_object_camera), np.stack(list(points.values())))
    uv = view.camera.project(in_camera)
    gap = np.abs(view.depth_at(uv) - in_camera[:, 2])
    return {
        name: place
        for name, place, off in zip(points, uv, gap, strict=True)
        if off <= tolerance  # not for NaN
    }
