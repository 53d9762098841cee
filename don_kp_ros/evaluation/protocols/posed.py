"""Posed views of one object: true change of viewpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.configuration import within
from don_kp_ros.data.folder import DataError
from don_kp_ros.data.posed import FEWEST_COMMON, PosedFolder, PosedSample, kind_of
from don_kp_ros.evaluation.pairs import Pair, PairSet, posed_pair
from don_kp_ros.evaluation.protocols.protocol import Condition, DepthProtocol
from don_kp_ros.evaluation.reading import Reader
from don_kp_ros.geometry import rigid

Array = NDArray[np.float64]

_MOST_CANDIDATES = 20_000  # pairs of posed views that are looked at


class Change(NamedTuple):
    """How two posed views differ.

    tilt: degrees between the lines of sight to the object's middle; ratio: of the distances to it,
    a's over b's, so that above 1 it is larger in b; rotation: degrees about the optical axis, 0 to
    180.
    """

    tilt: float
    ratio: float
    rotation: float


def change(T_object_a: Array, T_object_b: Array, middle: Array) -> Change:
    """Compare the poses (4, 4) of two cameras that see a point (3,), all in the object's frame.

    The rotation is the twist about the optical axis, taken from the rotation between the cameras.
    The tilt turns the line of sight and is not a part of it.
    """
    a, b = (T[:3, 3] - middle for T in (T_object_a, T_object_b))
    far_a, far_b = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    tilt = np.arccos(np.clip(a @ b / (far_a * far_b), -1, 1))
    R = T_object_b[:3, :3].T @ T_object_a[:3, :3]
    twist = np.arctan2(R[1, 0] - R[0, 1], R[0, 0] + R[1, 1])
    return Change(float(np.rad2deg(tilt)), far_a / far_b, float(abs(np.rad2deg(twist))))


@dataclass(frozen=True)
class Limits:
    """Limits on the differences between the views of a pair that a curve does not show."""

    tilt: float = 30.0  # degrees, at most
    ratio: float = 1.4  # of the distances, at most, and at least 1 over it
    rotation: float = 180.0  # degrees, at most

    def __post_init__(self) -> None:
        within('tilt', self.tilt, 0, 180)
        within('ratio', self.ratio, 1, 100)
        within('rotation', self.rotation, 0, 180)


@dataclass(frozen=True)
class Posed(DepthProtocol):
    """Posed views: the camera has really moved, and depth and poses are exact.

    views: at most so many views of the folder, drawn at random; tilt, ratio, rotation: edges of
    the bins of each curve; limits: on the differences that a curve does not show.
    """

    kind: ClassVar[str] = 'posed'

    views: int = 300
    tilt: tuple[float, ...] = (0, 10, 20, 30, 40, 50, 60, 70)  # degrees
    ratio: tuple[float, ...] = (0.5, 0.63, 0.79, 1.0, 1.26, 1.59, 2.0)  # of the distances
    rotation: tuple[float, ...] = (0, 30, 60, 90, 120, 150, 180)  # degrees
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        super().__post_init__()
        within('views', self.views, 2, 1e5)
        for name, least in (('tilt', 0.0), ('ratio', 0.01), ('rotation', 0.0)):
            edges = getattr(self, name)
            if edges and (len(edges) < 2 or edges[0] < least or (np.diff(edges) <= 0).any()):
                raise ValueError(
                    f'{name} is {list(edges)}; the edges of bins must rise from {least:g} or more'
                )

    def conditions(self, root: Path, seed: int, reader: Reader) -> list[Condition]:
        """Make a condition of all pairs, and one for each bin that has pairs."""
        folder, rng = PosedFolder.open(root), np.random.default_rng((seed, 2))
        number = len(folder.views)
        chosen = np.sort(rng.choice(number, min(self.views, number), replace=False))
        samples = reader.posed(folder, (int(i) for i in chosen))
        bins = self._bins()
        filled: list[list[Pair]] = [[] for _ in bins]
        middles = [_middle(sample) for sample in samples]
        for a, b in candidates(samples, rng, one_object=True):
            if all(len(pairs) == self.pairs for pairs in filled):
                break
            poses = (samples[a].T_object_camera, samples[b].T_object_camera)
            moved = change(*poses, (middles[a] + middles[b]) / 2)
            places = [
                pairs
                for (_, _, _, accepts), pairs in zip(bins, filled, strict=True)
                if len(pairs) < self.pairs and accepts(moved)
            ]
            if not places:
                continue
            rng_of_pair = np.random.default_rng((seed, a, b))
            pair = posed_pair(samples, a, b, self.queries, rng_of_pair, self.tolerance)
            if pair is not None:
                for pairs in places:
                    pairs.append(pair)
        images = [sample.image for sample in samples]
        conditions = [
            Condition(
                name,
                PairSet(f'{len(pairs)} pairs of {len(samples)} posed views', images, pairs, []),
                curve,
                value,
                samples,
            )
            for (name, curve, value, _), pairs in zip(bins, filled, strict=True)
            if pairs
        ]
        if not conditions:
            raise DataError(
                f'{root}: no two views of one object share {FEWEST_COMMON} points within '
                f'{self.tolerance:g} m; take views that differ less, check poses and depths, or '
                'raise tolerance to what these miss each other by'
            )
        return conditions

    def _bins(self) -> list[tuple[str, str, float | None, Callable[[Change], bool]]]:
        """List the name, curve and value of every condition, and a test for its pairs."""

        def accept(low: Change, high: Change) -> Callable[[Change], bool]:
            return lambda moved: all(
                least <= value <= most for least, value, most in zip(low, moved, high, strict=True)
            )

        limits = self.limits
        low = Change(0.0, 1 / limits.ratio, 0.0)
        high = Change(limits.tilt, limits.ratio, limits.rotation)
        result: list[tuple[str, str, float | None, Callable[[Change], bool]]] = [
            ('any views', '', None, lambda moved: True)
        ]
        for name, curve, unit in (
            ('tilt', 'angle between the lines of sight, degrees', ' degrees'),
            ('ratio', 'size in B over size in A', ' times'),
            ('rotation', 'rotation about the optical axis, degrees', ' degrees'),
        ):
            edges = getattr(self, name)
            for least, most in zip(edges, edges[1:], strict=False):
                middle = float(np.sqrt(least * most) if name == 'ratio' else (least + most) / 2)
                accepts = accept(low._replace(**{name: least}), high._replace(**{name: most}))
                title = f'{name} {least:g} to {most:g}{unit}'
                result.append((title, curve, round(middle, 3), accepts))
        return result


def _middle(sample: PosedSample) -> Array:
    """Average the points (3,) of the object that a view shows, in the object's frame."""
    v, u = np.nonzero((sample.mask > 0) & np.isfinite(sample.depth))
    points = sample.camera.deproject(np.stack([u, v], axis=1), sample.depth[v, u])
    return np.asarray(rigid.apply(sample.T_object_camera, points).mean(axis=0))


def candidates(
    samples: list[PosedSample], rng: np.random.Generator, one_object: bool
) -> list[tuple[int, int]]:
    """List ordered pairs of different views in random order, not too many.

    one_object: both views show the same object; otherwise they show different ones of one kind.
    """

    def fit(a: str, b: str) -> bool:
        return a == b if one_object else a != b and kind_of(a) == kind_of(b)

    total = len(samples) ** 2
    numbers = rng.permutation(total) if total <= 4_000_000 else rng.integers(total, size=2_000_000)
    pairs = []
    for number in numbers:
        a, b = divmod(int(number), len(samples))
        if a != b and fit(samples[a].object, samples[b].object):
            pairs.append((a, b))
            if len(pairs) == _MOST_CANDIDATES:
                break
    return pairs
