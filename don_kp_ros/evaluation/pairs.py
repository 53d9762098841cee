"""Pairs of pictures with true correspondences, to measure on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from don_kp_ros.data.appearance import Appearance
from don_kp_ros.data.depth_view import correspondences
from don_kp_ros.data.folder import Correspondences, DataError, Image, Sample
from don_kp_ros.data.homography import project, random_homography
from don_kp_ros.data.pairs import ViewConfiguration, warped_view
from don_kp_ros.data.posed import FEWEST_COMMON, PosedSample, kind_of
from don_kp_ros.data.scenes import Scene
from don_kp_ros.data.source import Source, prepare
from don_kp_ros.evaluation.pck import pixel_errors

Pixels = NDArray[np.float32]

SIDE = 640  # pixels of the longer side of synthetic pictures


@dataclass(frozen=True)
class Pair:
    """Two pictures (by index) with true pixels uv_a, uv_b (Q, 2).

    homography (3, 3): maps any pixel of A to B, if both are views of one picture; mask_b (H, W):
    the object in B, uint8; objects_b (H, W): all objects in B, where it shows several; names: of
    the points, if they have any; kind: of the object, if known.
    """

    image_a: int
    image_b: int
    uv_a: Pixels
    uv_b: Pixels
    homography: NDArray[np.float64] | None = None
    mask_b: Image | None = None
    objects_b: Image | None = None
    names: tuple[str, ...] = ()
    kind: str = ''


@dataclass(frozen=True)
class PairSet:
    """Pictures to measure on, pairs of them with true pixels, and pictures without the object.

    origin: where they come from, in words; width: errors are in pixels of a picture of this width
    (None: of each picture itself).
    """

    origin: str
    images: list[Image]
    pairs: list[Pair]
    negatives: list[Image]
    width: int | None = None

    def pictures(self, number: int) -> tuple[Image, Image]:
        """Return pictures A and B of a pair."""
        pair = self.pairs[number]
        return self.images[pair.image_a], self.images[pair.image_b]

    def errors(self, number: int, uv: ArrayLike) -> NDArray[np.float64]:
        """Compute how far pixels (Q, 2) of a pair's B are from its true ones: (Q,).

        In pixels of a 640-pixel-wide picture.
        """
        pair = self.pairs[number]
        width = self.width or self.images[pair.image_b].shape[1]
        return pixel_errors(uv, pair.uv_b, width)

    def mask_b(self, number: int) -> Image:
        """Return the mask (H, W) of a pair's B; raises ValueError where it has none."""
        mask = self.pairs[number].mask_b
        if mask is None:
            raise ValueError(f'{self.origin}: pair {number} has no mask of B')
        return mask

    def some(self, pairs: int, queries: int) -> PairSet:
        """Keep a number of pairs, evenly spread, and of queries in each."""
        places = np.unique(np.linspace(0, len(self.pairs) - 1, pairs).round().astype(int))
        kept = []
        for pair in (self.pairs[i] for i in places):
            chosen = np.random.default_rng(0).permutation(len(pair.uv_a))[:queries]
            uv_a, uv_b = pair.uv_a[chosen], pair.uv_b[chosen]
            names = tuple(pair.names[i] for i in chosen if pair.names)
            kept.append(dataclasses.replace(pair, uv_a=uv_a, uv_b=uv_b, names=names))
        return dataclasses.replace(self, pairs=kept)


def with_truth(
    samples: Mapping[int, Sample],
    truth: Correspondences,
    negatives: list[Image],
    kind: str = 'held pictures',
) -> PairSet:
    """Pair pictures, by index, by their true correspondences; `kind` says what they are.

    Pairs of a picture that is not there are left out. Raises DataError naming a pair without any
    correspondence, or with one that lies outside of its picture.
    """
    places = {index: place for place, index in enumerate(samples)}
    pairs = []
    for number, (a, b) in enumerate(zip(truth.image_a, truth.image_b, strict=True)):
        if a not in places or b not in places:
            continue
        names = f'{samples[a].path.name}, {samples[b].path.name}'
        name = f'{truth.path}: pair {number} ({names})'
        uv_a, uv_b = truth.uv_a[number], truth.uv_b[number]
        known = np.isfinite(np.hstack([uv_a, uv_b])).all(axis=1)
        if not known.any():
            raise DataError(f'{name} has no correspondences; leave it out')
        uv_a, uv_b, mask_b = uv_a[known], uv_b[known], samples[b].mask
        for uv, mask in ((uv_a, samples[a].mask), (uv_b, mask_b)):
            outside = ~in_picture(uv, mask)
            if outside.any():
                u, v = uv[outside][0]
                raise DataError(
                    f'{name}: pixel ({u:g}, {v:g}) lies outside of the picture of '
                    f'{mask.shape[1]}x{mask.shape[0]}; are u and v swapped?'
                )
        pairs.append(Pair(places[a], places[b], uv_a, uv_b, mask_b=mask_b))
    images = [sample.image for sample in samples.values()]
    origin = f'{len(pairs)} pairs of {len(images)} {kind} with true correspondences'
    return PairSet(origin, images, pairs, negatives)


def at_side(sample: Sample) -> Source:
    """Resize a picture to SIDE, for views to measure on; raises DataError as `prepare` does."""
    remedy = 'crop the picture about the object'
    return prepare(sample, SIDE, oversampling=1.0, remedy=remedy)


def synthetic(
    samples: list[Sample],
    configuration: ViewConfiguration,
    backgrounds: list[Image],
    negatives: list[Image],
    pairs: int,
    queries: int,
    seed: int,
    kind: str = 'held pictures',
    both: bool = False,
    crop: int | None = None,
) -> PairSet:
    """Pair pictures with random views of themselves; their homographies are the truth.

    kind: what the pictures are; both: A is a random view, too, instead of the picture itself;
    crop: the side of square views about the object, in pixels of a 640-pixel-wide picture, instead
    of whole pictures.
    """
    sources = [at_side(sample) for sample in samples]
    appearance = Appearance(configuration, sources, backgrounds)
    images: list[Image] = []
    if not both:
        images = [source.image for source in sources]
    result = []
    for number in range(pairs):
        index = number % len(sources)
        source = sources[index]
        rng = np.random.default_rng((seed, 1, number))
        size = (source.image.shape[1], source.image.shape[0]) if crop is None else (crop, crop)
        points = source.object_uv
        to_a, view_a = np.eye(3), None
        if both:
            to_a = random_homography(source.centre, 1.0, size, configuration.warp, rng)
            view_a = warped_view(source, to_a, size, appearance, rng)
        to_b = random_homography(source.centre, 1.0, size, configuration.warp, rng)
        view_b = warped_view(source, to_b, size, appearance, rng)
        uv_a = points if view_a is None else project(to_a, points)
        uv_b = project(to_b, points)
        places = np.flatnonzero(
            shown_on(uv_b, view_b.mask) & (True if view_a is None else shown_on(uv_a, view_a.mask))
        )
        if len(places) == 0:
            continue
        places = rng.choice(places, min(queries, len(places)), replace=False)
        if view_a is not None:
            index = len(images)
            images.append(view_a.image)
        images.append(view_b.image)
        b, to_b_from_a = len(images) - 1, to_b @ np.linalg.inv(to_a)
        result.append(Pair(index, b, uv_a[places], uv_b[places], to_b_from_a, view_b.mask))
    width = None if crop is None else SIDE
    return PairSet(f'{len(result)} random views of {kind}', images, result, negatives, width)


def posed(
    samples: list[PosedSample],
    chosen: set[int],
    pairs: int,
    queries: int,
    negatives: list[Image],
    kind: str,
    tolerance: float,
) -> PairSet:
    """Pair each chosen view, by index, with other views of its object; poses are the truth.

    Each has its first partner before any has its second; chosen views are paired with each other
    first. kind: what they are; tolerance: see `correspondences`.
    """
    order = sorted(range(len(samples)), key=lambda i: (i not in chosen, i))
    partners = {
        b: [a for a in order if a != b and samples[a].object == samples[b].object] for b in chosen
    }
    candidates = sorted((rank, b, a) for b, own in partners.items() for rank, a in enumerate(own))
    result: list[Pair] = []
    for _, b, a in candidates:
        if len(result) == pairs:
            break
        rng = np.random.default_rng((a, b))
        pair = posed_pair(samples, a, b, queries, rng, tolerance)
        if pair is not None:
            result.append(pair)
    return PairSet(
        f'{len(result)} pairs of {kind} with true poses',
        [sample.image for sample in samples],
        result,
        negatives,
    )


def of_scenes(
    scenes: list[Scene],
    queries: int,
    negatives: list[Image],
    what: str,
    tolerance: float,
) -> PairSet:
    """Pair the two views of each scene, once for every object that both show; poses are the truth.

    what: the scenes are; tolerance: see `correspondences`.
    """
    result: list[Pair] = []
    for place, scene in enumerate(scenes):
        every = scene.b.whole().mask
        for number in scene.in_both():
            views = [
                view.of(number, scene.entry.objects[number - 1]) for view in (scene.a, scene.b)
            ]
            rng = np.random.default_rng((place, number))
            pair = posed_pair(views, 0, 1, queries, rng, tolerance)
            if pair is not None:
                # Of no kind: what is not asked for is of other kinds, and in the picture.
                a, b = 2 * place, 2 * place + 1
                own = dataclasses.replace(pair, image_a=a, image_b=b, objects_b=every, kind='')
                result.append(own)
    pictures = [view.image for scene in scenes for view in (scene.a, scene.b)]
    origin = f'{len(result)} objects in {len(scenes)} {what} with true poses'
    return PairSet(origin, pictures, result, negatives)


def posed_pair(
    samples: list[PosedSample],
    a: int,
    b: int,
    queries: int,
    rng: np.random.Generator,
    tolerance: float,
) -> Pair | None:
    """Pair two views, by index, by points of a's object that b sees, too; None for too few."""
    v, u = np.nonzero(samples[a].mask)
    places = rng.choice(len(u), min(4 * max(queries, FEWEST_COMMON), len(u)), replace=False)
    uv_a = np.stack([u[places], v[places]], axis=1).astype(np.float32)
    uv_b, seen = correspondences(samples[a], samples[b], uv_a, tolerance)
    if np.count_nonzero(seen) < FEWEST_COMMON:
        return None
    shown = np.flatnonzero(seen)[:queries]
    met, kind = uv_b[shown].astype(np.float32), kind_of(samples[a].object)
    return Pair(a, b, uv_a[shown], met, mask_b=samples[b].mask, kind=kind)


def check(data: PairSet) -> None:
    """Raise ValueError naming what the figures need and is missing.

    They need at least one pair, correspondences in every pair, and pixels in every given mask.
    """
    if not data.pairs:
        raise ValueError(f'{data.origin}: there are no pairs to measure on')
    for number, pair in enumerate(data.pairs):
        name = f'{data.origin}: pair {number} (pictures {pair.image_a} and {pair.image_b})'
        if len(pair.uv_a) == 0:
            raise ValueError(f'{name} has no correspondences; leave it out')
        if pair.uv_a.shape != pair.uv_b.shape:
            raise ValueError(f'{name} has {len(pair.uv_a)} pixels in A and {len(pair.uv_b)} in B')
        if not (np.isfinite(pair.uv_a).all() and np.isfinite(pair.uv_b).all()):
            raise ValueError(f'{name} has a correspondence that is NaN or infinite; leave it out')
        if pair.mask_b is not None and not (pair.mask_b > 127).any():
            raise ValueError(f"{name}: the mask of B has no pixels; B doesn't show the object")


def in_picture(uv: Pixels, picture: Image) -> NDArray[np.bool_]:
    """Tell which pixels (N, 2) lie in a picture (H, W, ...)."""
    height, width = picture.shape[:2]
    inside: NDArray[np.bool_] = np.all((uv >= -0.5) & (uv < [width - 0.5, height - 0.5]), axis=1)
    return inside


def shown_on(uv: Pixels, mask: Image) -> NDArray[np.bool_]:
    """Tell which pixels (N, 2) lie in the picture and on the object's mask (H, W)."""
    height, width = mask.shape
    inside = np.all((uv >= 0) & (uv <= [width - 1, height - 1]), axis=1)
    u, v = np.rint(np.where(inside[:, None], uv, 0)).astype(int).T
    shown: NDArray[np.bool_] = inside & (mask[v, u] > 127)
    return shown


def mask_centre(mask: Image) -> NDArray[np.float64]:
    """Compute the centre (2,) of a mask (H, W), pixels."""
    moments = cv2.moments(mask, binaryImage=True)
    area = max(moments['m00'], 1.0)
    return np.array([moments['m10'] / area, moments['m01'] / area])
