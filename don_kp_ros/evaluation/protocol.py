"""Protocols: what a model is measured on, each a configuration (config/evaluation/).

A protocol makes conditions from a data folder: named sets of pairs of pictures with truth. Those
of a curve differ in one thing alone, as the angle by which a camera was turned (paper 2, fig. 5).
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from don_kp_ros import configuration
from don_kp_ros.configuration import ConfigurationError
from don_kp_ros.data.folder import (
    DataError,
    Image,
    ImageFolder,
    Sample,
    read_correspondences,
    read_image,
    read_sample,
)
from don_kp_ros.data.lifting import local_scale
from don_kp_ros.data.posed import FEWEST_COMMON, PosedFolder, PosedSample, correspondences
from don_kp_ros.data.views import (
    ColourConfiguration,
    Source,
    ViewConfiguration,
    change_colours,
    prepare,
    prepare_background,
    project,
)
from don_kp_ros.evaluation.pairs import (
    Pair,
    PairSet,
    from_folder,
    mask_centre,
    shown_on,
    synthetic,
)
from don_kp_ros.geometry import rigid
from don_kp_ros.resources import config_path

Array = NDArray[np.float64]
Pixels = NDArray[np.float32]

_SIDE = 640  # pixels of the longer side of pictures that are warped
_MOST_BACKGROUNDS = 64
_MOST_CANDIDATES = 20_000  # pairs of posed views that are looked at
_SAME = 6.0  # mean difference of 255 below which two pictures are the same but for compression
_STRAIGHT = np.deg2rad(89.0)


@dataclass(frozen=True)
class Condition:
    """Pairs that are measured together, and the place on a curve that they are for.

    value: of what the curve changes, in the words of `curve`; views: of the pictures of `data`, in
    order, where their depth is known.
    """

    name: str
    data: PairSet
    curve: str = ''
    value: float | None = None
    views: Sequence[PosedSample] = ()


@dataclass
class Reader:
    """Reads pictures: a broken one is a DataError, or left out and named in `skipped`."""

    skip_broken: bool = False
    skipped: list[str] = field(default_factory=list)

    def samples(self, folder: ImageFolder, most: int | None = None) -> dict[int, Sample]:
        """Read a folder's pictures with their masks, by index; raises DataError.

        most: of the pictures, evenly spread ones (none: all).
        """
        found = {}
        for index in _places(folder.images, most or len(folder.images)):
            files = (folder.images[index], folder.masks[index])
            try:
                found[index] = read_sample(*files)
            except DataError as error:
                self._skip(error, files)
        if not found:
            raise DataError(f'{folder.root}: none of its pictures can be read')
        return found

    def posed(self, folder: PosedFolder, places: Iterable[int]) -> list[PosedSample]:
        """Read some of a folder's posed views, by index; raises DataError."""
        found: list[PosedSample] = []
        for view, image in ((folder.views[i], folder.images[i]) for i in places):
            try:
                found += dataclasses.replace(folder, views=(view,), images=(image,)).samples()
            except DataError as error:
                names = (('masks', view.name), ('depths', view.name))
                self._skip(error, (image, *(folder.root / d / f'{n}.png' for d, n in names)))
        if not found:
            raise DataError(f'{folder.root}: none of its views can be read')
        return found

    def backgrounds(self, folder: ImageFolder) -> list[Image]:
        """Read a folder's pictures without the object, evenly spread ones of many."""
        found = []
        for path in _spread(folder.negatives, _MOST_BACKGROUNDS):
            try:
                found.append(prepare_background(read_image(path), _SIDE))
            except DataError as error:
                self._skip(error, (path,))
        return found

    def _skip(self, error: DataError, files: Sequence[Path]) -> None:
        if not any(_is_broken(path) for path in files):
            raise error  # the files are whole, what they say is wrong
        if not self.skip_broken:
            raise DataError(f'{error}; --skip-broken leaves it out') from error
        self.skipped.append(str(error))


@dataclass(frozen=True)
class Protocol(ABC):
    """What all protocols say.

    pairs: of pictures, at most, of every point of a curve; queries: points of the object in each;
    step: pixels between neighbours of the grid on which descriptors not learned are compared;
    resamples: of the bootstrap intervals.
    """

    kind: ClassVar[str]

    description: str = ''
    pairs: int = 50
    queries: int = 100
    step: int = 2
    resamples: int = 2000

    def __post_init__(self) -> None:
        for name, most in (('pairs', 1e5), ('queries', 1e5), ('step', 64), ('resamples', 1e6)):
            _within(name, getattr(self, name), 1, most)

    @abstractmethod
    def conditions(self, root: Path, seed: int, reader: Reader) -> list[Condition]:
        """Make the conditions of a data folder; the same seed makes the same ones.

        Raises DataError naming what is missing or wrong.
        """


@dataclass(frozen=True)
class HeldViews(Protocol):
    """Random views of pictures with masks: their homographies are the truth.

    both: A is a random view as well, and not the picture as it is; crop: side of square views
    about the object in pixels of a 640-pixel-wide picture, instead of whole pictures.
    """

    kind: ClassVar[str] = 'held_views'

    both: bool = False
    crop: int | None = None
    views: ViewConfiguration = field(default_factory=ViewConfiguration)

    def conditions(self, root: Path, seed: int, reader: Reader) -> list[Condition]:
        """Make one condition; views that show nothing of the object are left out."""
        folder = ImageFolder.open(root)
        samples = list(reader.samples(folder, self.pairs).values())
        data = synthetic(
            samples,
            self.views,
            reader.backgrounds(folder),
            [],
            self.pairs,
            self.queries,
            seed,
            held=True,
            both=self.both,
            crop=self.crop,
        )
        origin = f'{len(data.pairs)} random views of {len(samples)} pictures'
        return [Condition('random views', dataclasses.replace(data, origin=origin))]


@dataclass(frozen=True)
class Folder(Protocol):
    """A folder with correspondences.npz, or whose validation/ has one (docs/data.md)."""

    kind: ClassVar[str] = 'folder'

    def conditions(self, root: Path, seed: int, reader: Reader) -> list[Condition]:
        """Make one condition of the folder's pairs, evenly spread ones of many."""
        if not (root / 'correspondences.npz').exists() and (root / 'validation').is_dir():
            root = root / 'validation'
        folder, file = ImageFolder.open(root), root / 'correspondences.npz'
        truth = read_correspondences(file, len(folder.images))
        samples = reader.samples(folder)
        kept = []
        for number, (a, b) in enumerate(zip(truth.image_a, truth.image_b, strict=True)):
            if a not in samples or b not in samples:
                continue
            name = f'{file}: pair {number} ({folder.images[a].name}, {folder.images[b].name})'
            uv_a, uv_b = truth.uv_a[number], truth.uv_b[number]
            known = np.isfinite(np.hstack([uv_a, uv_b])).all(axis=1)
            if not known.any():
                raise DataError(f'{name} has no correspondences; leave it out')
            for uv, mask in ((uv_a, samples[a].mask), (uv_b, samples[b].mask)):
                outside = ~_inside(uv[known], mask)
                if outside.any():
                    u, v = uv[known][outside][0]
                    raise DataError(
                        f'{name}: pixel ({u:g}, {v:g}) lies outside of the picture of '
                        f'{mask.shape[1]}x{mask.shape[0]}; are u and v swapped?'
                    )
            kept.append(number)
        new = {old: index for index, old in enumerate(samples)}
        whole = dataclasses.replace(
            folder,
            images=tuple(folder.images[i] for i in samples),
            masks=tuple(folder.masks[i] for i in samples),
            negatives=(),
            depths=(),
        )
        truth = dataclasses.replace(
            truth,
            image_a=np.array([new[int(i)] for i in truth.image_a[kept]], np.int64),
            image_b=np.array([new[int(i)] for i in truth.image_b[kept]], np.int64),
            uv_a=truth.uv_a[kept],
            uv_b=truth.uv_b[kept],
        )
        data = from_folder(whole, truth, [])
        masks = [sample.mask for sample in samples.values()]
        pairs = [dataclasses.replace(pair, mask_b=masks[pair.image_b]) for pair in data.pairs]
        origin = f'{len(pairs)} pairs of {len(samples)} pictures with true correspondences'
        data = dataclasses.replace(data, origin=origin, pairs=pairs)
        if data.pairs:
            data = data.some(self.pairs, self.queries)
        return [Condition('true correspondences', data)]


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

    The rotation is the twist about the optical axis of the rotation between the cameras; the tilt
    turns the line of sight and does not count there.
    """
    a, b = (T[:3, 3] - middle for T in (T_object_a, T_object_b))
    far_a, far_b = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    tilt = np.arccos(np.clip(a @ b / (far_a * far_b), -1, 1))
    R = T_object_b[:3, :3].T @ T_object_a[:3, :3]
    twist = np.arctan2(R[1, 0] - R[0, 1], R[0, 0] + R[1, 1])
    return Change(float(np.rad2deg(tilt)), far_a / far_b, float(abs(np.rad2deg(twist))))


@dataclass(frozen=True)
class Limits:
    """How much the views of a pair may differ in what a curve does not change."""

    tilt: float = 30.0  # degrees, at most
    ratio: float = 1.4  # of the distances, at most, and at least 1 over it
    rotation: float = 180.0  # degrees, at most

    def __post_init__(self) -> None:
        _within('tilt', self.tilt, 0, 180)
        _within('ratio', self.ratio, 1, 100)
        _within('rotation', self.rotation, 0, 180)


@dataclass(frozen=True)
class Posed(Protocol):
    """Posed views: the camera has truly moved, and depth and poses are the truth.

    views: of the folder, at most, drawn at random; tilt, ratio, rotation: edges of the bins of
    each curve; limits: on what it does not change.
    """

    kind: ClassVar[str] = 'posed'

    views: int = 300
    tilt: tuple[float, ...] = (0, 10, 20, 30, 40, 50, 60, 70)  # degrees
    ratio: tuple[float, ...] = (0.5, 0.63, 0.79, 1.0, 1.26, 1.59, 2.0)  # of the distances
    rotation: tuple[float, ...] = (0, 30, 60, 90, 120, 150, 180)  # degrees
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        super().__post_init__()
        _within('views', self.views, 2, 1e5)
        for name, least in (('tilt', 0.0), ('ratio', 0.01), ('rotation', 0.0)):
            edges = getattr(self, name)
            if edges and (len(edges) < 2 or edges[0] < least or (np.diff(edges) <= 0).any()):
                raise ValueError(
                    f'{name} is {list(edges)}; the edges of bins must rise from {least:g} or more'
                )

    def conditions(self, root: Path, seed: int, reader: Reader) -> list[Condition]:
        """Make a condition of any pairs, and one of each bin that has pairs."""
        folder, rng = PosedFolder.open(root), np.random.default_rng((seed, 2))
        number = len(folder.views)
        chosen = np.sort(rng.choice(number, min(self.views, number), replace=False))
        samples = reader.posed(folder, (int(i) for i in chosen))
        bins = self._bins()
        filled: list[list[Pair]] = [[] for _ in bins]
        middles = [_middle(sample) for sample in samples]
        for a, b in _candidates(samples, rng):
            if all(len(pairs) == self.pairs for pairs in filled):
                break
            poses = (samples[a].T_object_camera, samples[b].T_object_camera)
            moved = change(*poses, (middles[a] + middles[b]) / 2)
            places = [
                pairs
                for (_, _, _, accepts), pairs in zip(bins, filled, strict=True)
                if len(pairs) < self.pairs and accepts(moved)
            ]
            pair = (
                self._pair(samples, a, b, np.random.default_rng((seed, a, b))) if places else None
            )
            for pairs in places if pair is not None else ():
                assert pair is not None
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
                f'{root}: no two views of one object share {FEWEST_COMMON} points; take views '
                'that differ less, or check poses and depths'
            )
        return conditions

    def _bins(self) -> list[tuple[str, str, float | None, Callable[[Change], bool]]]:
        """List name, curve and value of every condition, and whether pairs belong there."""

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

    def _pair(
        self, samples: list[PosedSample], a: int, b: int, rng: np.random.Generator
    ) -> Pair | None:
        v, u = np.nonzero(samples[a].mask)
        wanted = min(4 * max(self.queries, FEWEST_COMMON), len(u))
        places = rng.choice(len(u), wanted, replace=False)
        uv_a = np.stack([u[places], v[places]], axis=1).astype(np.float32)
        uv_b, seen = correspondences(samples[a], samples[b], uv_a)
        if np.count_nonzero(seen) < FEWEST_COMMON:
            return None
        shown = np.flatnonzero(seen)[: self.queries]
        mask = samples[b].mask
        return Pair(
            a, b, uv_a[shown], uv_b[shown].astype(np.float32), mask_centre(mask), mask_b=mask
        )


@dataclass(frozen=True)
class Invariance(Protocol):
    """Pictures rotated about the optical axis, scaled, and tilted: one change at a time.

    B is the picture itself through a homography that keeps the object's middle in the picture's.
    pairs: of pictures and their views, at most as many as there are pictures; focal: length in
    widths of the picture, for the tilt; colour: how appearance changes besides, by default not.
    """

    kind: ClassVar[str] = 'invariance'

    pairs: int = 10
    step: int = 4
    rotation: tuple[float, ...] = (0, 15, 30, 45, 60, 75, 90, 105, 120, 135, 150, 165, 180)
    scale: tuple[float, ...] = (0.5, 0.63, 0.79, 1.0, 1.26, 1.59, 2.0)
    tilt: tuple[float, ...] = (0, 10, 20, 30, 40, 50, 60, 70)
    focal: float = 0.96
    colour: ColourConfiguration = field(
        default_factory=lambda: ColourConfiguration(
            probability=0.0, grey=0.0, gradient=0.0, blur=0.0, noise=0.0
        )
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for angle in self.rotation:
            _within('rotation', angle, -180, 180)
        for factor in self.scale:
            _within('scale', factor, 0.1, 10)
        for angle in self.tilt:
            _within('tilt', angle, 0, 80)
        _within('focal', self.focal, 0.1, 100)
        if not (self.rotation or self.scale or self.tilt):
            raise ValueError('rotation, scale and tilt are all empty; one value must be given')

    def conditions(self, root: Path, seed: int, reader: Reader) -> list[Condition]:
        """Make a condition of each value, all of the same pictures and points."""
        samples = reader.samples(ImageFolder.open(root), self.pairs).values()
        sources = [prepare(sample, _SIDE, oversampling=1.0) for sample in samples]
        return [
            self._condition(sources, name, curve, value, seed)
            for name, curve, values in (
                ('rotation', 'rotation about the optical axis, degrees', self.rotation),
                ('scale', 'size in B over size in A', self.scale),
                ('tilt', 'tilt of the picture plane, degrees', self.tilt),
            )
            for value in values
        ]

    def _condition(
        self, sources: list[Source], name: str, curve: str, value: float, seed: int
    ) -> Condition:
        images, pairs = [source.image for source in sources], []
        for number, source in enumerate(sources):
            rng = np.random.default_rng((seed, 3, number))
            around = float(rng.uniform(-np.pi, np.pi))
            size = (source.image.shape[1], source.image.shape[0])
            homography = warp_about(
                source.centre,
                size,
                np.deg2rad(value) if name == 'rotation' else 0.0,
                value if name == 'scale' else 1.0,
                np.deg2rad(value) if name == 'tilt' else 0.0,
                around,
                self.focal * size[0],
            )
            order = rng.permutation(len(source.object_uv))
            image, mask = _warped(source, homography, size)
            uv_a = source.object_uv[order]
            uv_b = project(homography, uv_a)
            shown = np.flatnonzero(shown_on(uv_b, mask))[: self.queries]
            if len(shown) == 0:
                raise DataError(
                    f'{source.path}: at {name} {value:g} nothing of the object is in the picture; '
                    f'leave the value out of {name}'
                )
            images.append(change_colours(image, self.colour, rng))
            pairs.append(
                Pair(
                    number,
                    len(images) - 1,
                    uv_a[shown],
                    uv_b[shown],
                    mask_centre(mask),
                    homography,
                    mask,
                )
            )
        origin = f'{len(pairs)} pictures, {name} {value:g}'
        return Condition(f'{name} {value:g}', PairSet(origin, images, pairs, []), curve, value)


def warp_about(
    centre: Array,
    size: tuple[int, int],
    rotation: float,
    scale: float,
    tilt: float,
    around: float,
    focal: float,
) -> Array:
    """Make the homography (3, 3) of a plane that is moved before the camera.

    The plane is turned by `rotation` (clockwise in the picture), enlarged by `scale` and tilted by
    `tilt` about an axis in it of direction `around`, radians all. A pixel `centre` (2,) comes to
    the middle of a canvas (W, H); focal: length in pixels.
    """
    if not 0 <= tilt < _STRAIGHT:
        raise ValueError(f'tilt is {np.rad2deg(tilt):g} degrees; it must be from 0 to 89')
    R = rigid.rotation_about([np.cos(around), np.sin(around), 0.0], tilt)
    R = R @ rigid.rotation_about([0, 0, 1], rotation)
    plane = np.array([[*R[0, :2], 0], [*R[1, :2], 0], [*(R[2, :2] / focal), 1]])
    plane[:, :2] *= scale
    middle = (np.array(size) - 1) / 2
    to_centre, to_middle = np.eye(3), np.eye(3)
    to_centre[:2, 2], to_middle[:2, 2] = -np.asarray(centre), middle
    return np.asarray(to_middle @ plane @ to_centre)


@dataclass(frozen=True)
class Turned(Protocol):
    """Pictures that are another one turned by 180 degrees, found by comparing all of them."""

    kind: ClassVar[str] = 'turned'

    def conditions(self, root: Path, seed: int, reader: Reader) -> list[Condition]:
        """Make one condition of every picture that has a turned copy, and that copy."""
        samples = list(reader.samples(ImageFolder.open(root)).values())
        images = [sample.image for sample in samples]
        copies = turned_copies(images)
        if not copies:
            raise DataError(f'{root}: no picture is another one turned by 180 degrees')
        pairs = []
        for b, a in copies.items():
            mask_a, mask_b = samples[a].mask, samples[b].mask
            # Masks are drawn by hand, each on its own: only points on both count.
            v, u = np.nonzero((mask_a > 127) & (mask_b[::-1, ::-1] > 127))
            if len(u) == 0:
                raise DataError(
                    f'{samples[a].path}: its mask and the turned mask of {samples[b].path.name} '
                    'have no pixel in common'
                )
            rng = np.random.default_rng((seed, a, b))
            chosen = rng.choice(len(u), min(self.queries, len(u)), replace=False)
            uv = np.stack([u[chosen], v[chosen]], axis=1).astype(np.float32)
            height, width = mask_a.shape
            half_turn = np.array([[-1.0, 0, width - 1], [0, -1.0, height - 1], [0, 0, 1]])
            there = project(half_turn, uv)
            pairs.append(Pair(a, b, uv, there, mask_centre(mask_b), half_turn, mask_b))
        named = ', '.join(
            f'{samples[c].path.name} of {samples[o].path.name}' for c, o in copies.items()
        )
        data = PairSet(f'turned copies: {named}', images, pairs[: self.pairs], [])
        return [Condition('turned by 180 degrees', data)]


def turned_copies(images: Sequence[Image]) -> dict[int, int]:
    """Find pictures that are an earlier one turned by 180 degrees: {copy: original}."""
    copies: dict[int, int] = {}
    for later, image in enumerate(images):
        for earlier in range(later):
            other = images[earlier]
            if earlier in copies or other.shape != image.shape:
                continue
            if cv2.absdiff(np.ascontiguousarray(image[::-1, ::-1]), other).mean() < _SAME:
                copies[later] = earlier
                break
    return copies


PROTOCOLS: dict[str, type[Protocol]] = {
    protocol.kind: protocol for protocol in (HeldViews, Folder, Posed, Invariance, Turned)
}


def read_protocol(path: Path, overrides: Sequence[str] = ()) -> Protocol:
    """Read a protocol's configuration; raises ConfigurationError.

    path: a YAML file, or the name of one in config/evaluation/; overrides: `--key=value`.
    """
    if not path.exists() and path.name == str(path) and not path.suffix:
        try:
            path = config_path(f'evaluation/{path}.yaml')
        except FileNotFoundError as error:
            raise ConfigurationError(
                f'{path}: neither a file nor the name of a protocol; those are '
                f'{", ".join(PROTOCOLS)}'
            ) from error
    mapping = configuration.override(configuration.load(path), overrides)
    kind = mapping.pop('kind', None)
    if kind not in PROTOCOLS:
        raise ConfigurationError(f'{path}: kind is {kind!r}; allowed are {", ".join(PROTOCOLS)}')
    return configuration.read(PROTOCOLS[kind], mapping, str(path))


def _middle(sample: PosedSample) -> Array:
    """Average the points (3,) of the object that a view shows, in the object's frame."""
    v, u = np.nonzero((sample.mask > 0) & np.isfinite(sample.depth))
    points = sample.camera.deproject(np.stack([u, v], axis=1), sample.depth[v, u])
    return np.asarray(rigid.apply(sample.T_object_camera, points).mean(axis=0))


def _candidates(samples: list[PosedSample], rng: np.random.Generator) -> list[tuple[int, int]]:
    """List ordered pairs of different views of one object in random order, not too many."""
    total = len(samples) ** 2
    numbers = rng.permutation(total) if total <= 4_000_000 else rng.integers(total, size=2_000_000)
    pairs = []
    for number in numbers:
        a, b = divmod(int(number), len(samples))
        if a != b and samples[a].object == samples[b].object:
            pairs.append((a, b))
            if len(pairs) == _MOST_CANDIDATES:
                break
    return pairs


def _inside(uv: Pixels, mask: Image) -> NDArray[np.bool_]:
    height, width = mask.shape
    inside: NDArray[np.bool_] = np.all((uv >= -0.5) & (uv < [width - 0.5, height - 0.5]), axis=1)
    return inside


def _warped(source: Source, homography: Array, size: tuple[int, int]) -> tuple[Image, Image]:
    """Show a picture and its mask through a homography on a canvas (W, H).

    Beyond its edges a picture is continued by them: its mirror image would show the object twice.
    """
    centre = source.centre[None].astype(np.float32)
    image, shrink = source.image, float(local_scale(homography, centre)[0])
    if shrink < 0.6:  # bilinear sampling would alias
        image = cv2.GaussianBlur(image, (0, 0), 0.4 / shrink).astype(np.uint8, copy=False)
    warped = cv2.warpPerspective(image, homography, size, borderMode=cv2.BORDER_REPLICATE)
    mask = cv2.warpPerspective(source.mask, homography, size)
    return warped.astype(np.uint8, copy=False), mask.astype(np.uint8, copy=False)


def _places(items: Sequence[object], number: int) -> list[int]:
    """Choose indices of at most so many items, evenly spread."""
    if not items:
        return []
    return [int(i) for i in np.unique(np.linspace(0, len(items) - 1, number).round())]


def _spread(paths: Sequence[Path], number: int) -> list[Path]:
    return [paths[i] for i in _places(paths, number)]


def _is_broken(path: Path) -> bool:
    try:
        read_image(path)
    except DataError:
        return True
    return False


def _within(name: str, value: float, lowest: float, highest: float) -> None:
    if not lowest <= value <= highest:
        raise ValueError(f'{name} is {value}; allowed is {lowest:.10g} to {highest:.10g}')
