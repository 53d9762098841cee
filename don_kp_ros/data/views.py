"""Synthetic view pairs: two random views of one picture, with true correspondences (paper 2).

Each view is a homography of the picture (rotation, scale, shift, perspective) with changed
colours, light, noise and background, drawn independently. A pixel's place in a view follows from
the homography in closed form.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from don_kp_ros.configuration import Range, within
from don_kp_ros.data.folder import SMALLEST_OBJECT, DataError, Image, Sample
from don_kp_ros.data.lifting import (
    CORRESPONDENCES,
    LiftConfiguration,
    PairGeometry,
    intrinsics,
    local_scale,
    pair_geometry,
)

Matrix = NDArray[np.float64]

_LUMA = np.array([0.299, 0.587, 0.114])
_ATTEMPTS = 10


@dataclass(frozen=True)
class WarpConfiguration:
    """Where the object appears in a view."""

    rotation: float = 45.0  # degrees, drawn from +- this
    scale: Range = (0.8, 1.25)  # relative to the object's size at inference, log-uniform
    shift: float = 0.3  # of the object off the view's centre, fraction of the view's half side
    perspective: float = 0.2  # displacement of the view's corners, fraction of its half side:
    # shear, stretch and perspective together
    probability: float = 1.0  # of such a displacement; rotation, scale and shift always are

    def __post_init__(self) -> None:
        within('rotation', self.rotation, 0, 180)
        within('scale', self.scale, 0.1, 10)
        within('shift', self.shift, 0, 1)
        within('perspective', self.perspective, 0, 0.5)
        within('probability', self.probability, 0, 1)


@dataclass(frozen=True)
class ColourConfiguration:
    """How the colours, the light and the sharpness of a view change.

    Strongly, by default: points are to be told by shape, since another cap has other colours.
    """

    probability: float = 0.9  # of brightness, contrast, saturation, hue and gamma, together
    brightness: float = 0.3  # added, fraction of the range, drawn from +- this
    contrast: Range = (0.6, 1.5)  # factor about the mean, log-uniform
    gamma: Range = (0.4, 2.5)  # exponent, log-uniform
    saturation: Range = (0.0, 2.5)  # factor
    hue: float = 180.0  # degrees, drawn from +- this
    tint: float = 0.1  # factor of each channel, drawn from 1 +- this
    grey: float = 0.3  # probability of a view without colours
    gradient: float = 0.5  # probability of light that falls off to one side
    gradient_strength: Range = (0.0, 0.5)  # fraction of the light at the darker side
    blur: float = 0.3  # probability
    blur_sigma: Range = (0.3, 1.2)  # pixels
    noise: float = 0.5  # probability
    noise_sigma: Range = (1.0, 8.0)  # of 255

    def __post_init__(self) -> None:
        for name in ('probability', 'grey', 'gradient', 'blur', 'noise'):
            within(name, getattr(self, name), 0, 1)
        for name in ('brightness', 'tint'):
            within(name, getattr(self, name), 0, 1)
        within('gradient_strength', self.gradient_strength, 0, 1)
        within('hue', self.hue, 0, 180)
        for name in ('contrast', 'gamma'):
            within(name, getattr(self, name), 0.05, 20)
        within('saturation', self.saturation, 0, 10)
        within('blur_sigma', self.blur_sigma, 0.05, 20)
        within('noise_sigma', self.noise_sigma, 0, 128)


@dataclass(frozen=True)
class BackgroundConfiguration:
    """What replaces the picture outside of the object's mask: relative weights of each kind."""

    keep: float = 0.3  # the picture's own
    image: float = 0.5  # a crop of a background, of a negative, or of a picture beside its object
    noise: float = 0.1  # smooth random colours
    plain: float = 0.1  # one colour
    crop: Range = (0.3, 1.2)  # side of such a crop, relative to what it fills
    mirrored: float = 0.5  # probability that it is; all quarter turns are as likely
    own: int = 20  # at most so many pictures serve as backgrounds, too, beside their objects
    noise_cells: Range = (4, 64)  # squares across smooth noise, log-uniform

    def __post_init__(self) -> None:
        _weights(keep=self.keep, image=self.image, noise=self.noise, plain=self.plain)
        within('crop', self.crop, 0.1, 10)
        within('mirrored', self.mirrored, 0, 1)
        within('own', self.own, 0, 1_000_000)
        within('noise_cells', self.noise_cells, 1, 1024)


@dataclass(frozen=True)
class TextureConfiguration:
    """A random texture on the object, the same in both views of a pair: its shading remains.

    An object is seen with many prints so, and the network must tell points apart by what it has
    never seen before. Views of one picture alone can have it; posed views have none.
    """

    probability: float = 0.3
    strength: Range = (0.2, 1.0)  # share of the texture in the colours
    image: float = 0.6  # relative weights: a crop as of backgrounds, ...
    noise: float = 0.2  # ... smooth random colours
    plain: float = 0.2  # ... one colour

    def __post_init__(self) -> None:
        _weights(image=self.image, noise=self.noise, plain=self.plain)
        within('probability', self.probability, 0, 1)
        within('strength', self.strength, 0, 1)


@dataclass(frozen=True)
class ViewConfiguration:
    """How view pairs are made."""

    size: int = 128  # pixels of a square view
    queries: int = 64  # correspondences per pair
    occlusion: float = 0.3  # probability that a patch of background hides a part of the object
    occlusion_size: Range = (0.05, 0.18)  # half axes of the patch, fraction of the view's side
    occlusion_place: Range = (0.15, 0.85)  # of its centre, across the view and down
    tolerance: float = 0.003  # metres by which a point may miss the depth of another posed view
    lift: LiftConfiguration | None = None  # give correspondences depth, and pairs a motion
    warp: WarpConfiguration = field(default_factory=WarpConfiguration)
    texture: TextureConfiguration = field(default_factory=TextureConfiguration)
    colour: ColourConfiguration = field(default_factory=ColourConfiguration)
    background: BackgroundConfiguration = field(default_factory=BackgroundConfiguration)

    def __post_init__(self) -> None:
        if not 32 <= self.size <= 2048 or self.size % 32:
            raise ValueError(f'size is {self.size}; allowed are multiples of 32, 32 to 2048')
        within('queries', self.queries, 1, 100_000)
        within('occlusion', self.occlusion, 0, 1)
        within('occlusion_size', self.occlusion_size, 0, 1)
        within('occlusion_place', self.occlusion_place, 0, 1)
        within('tolerance', self.tolerance, 1e-6, 1)


@dataclass(frozen=True)
class Source:
    """A picture prepared for warping.

    object_uv (K, 2): its pixels on the object, with a depth if it has any; centre (2,): of the
    object's bounding box; zoom: network pixels per pixel of this picture, at the scale of
    inference; depth (H, W): metres, NaN where there is none.
    """

    image: Image
    mask: Image
    object_uv: NDArray[np.float32]
    centre: NDArray[np.float64]
    zoom: float
    depth: NDArray[np.float32] | None = None
    path: Path = Path()


@dataclass(frozen=True)
class View:
    """A view (H, W, 3) uint8 RGB, the object's mask (H, W) uint8, and source to view (3, 3)."""

    image: Image
    mask: Image
    homography: Matrix


@dataclass(frozen=True)
class ViewPair:
    """Two views of one object; uv_a[i] and uv_b[i], (Q, 2) float32, show the same point of it.

    homography (3, 3): maps any pixel of view a to view b; None where the views show another side.
    """

    a: View
    b: View
    uv_a: NDArray[np.float32]
    uv_b: NDArray[np.float32]
    homography: Matrix | None = None
    geometry: PairGeometry | None = None


def prepare(sample: Sample, input_size: int, oversampling: float = 1.25) -> Source:
    """Resize a picture for warping: a little finer than the network's input, to stay sharp.

    Raises DataError where too little of the object is left, or of its depth.
    """
    longest = max(sample.image.shape[:2])
    scale = min(1.0, oversampling * input_size / longest)
    image, mask = _resized(sample.image, scale), _resized(sample.mask, scale)
    depth = sample.depth
    shown = mask > 127
    _check_size(sample.path, 'the object', shown)
    if depth is not None:
        size = (image.shape[1], image.shape[0])
        depth = cv2.resize(depth, size, interpolation=cv2.INTER_NEAREST_EXACT).astype(np.float32)
        shown &= np.isfinite(depth)
        _check_size(sample.path, "the object's depth", shown)
    v, u = np.nonzero(shown)
    uv = np.stack([u, v], axis=1).astype(np.float32)
    centre = (uv.min(axis=0) + uv.max(axis=0)) / 2.0
    zoom = input_size / longest / scale
    return Source(image, mask, uv, centre.astype(np.float64), zoom, depth, sample.path)


def _check_size(path: Path, what: str, shown: NDArray[np.bool_]) -> None:
    area = int(np.count_nonzero(shown))
    if area < SMALLEST_OBJECT:
        height, width = shown.shape
        raise DataError(
            f'{path}: {what} has {area} pixels in the {width}x{height} that the picture is '
            f'resized to; at least {SMALLEST_OBJECT} are needed: raise preprocessing.input_size, '
            'or crop the picture about the object'
        )


def prepare_background(image: Image, input_size: int) -> Image:
    """Resize a background picture to the network's input."""
    return _resized(image, min(1.0, input_size / max(image.shape[:2])))


class ViewSampler:
    """Draw view pairs of prepared pictures.

    backgrounds are pictures without the object; the pictures' own surroundings are used besides.
    """

    def __init__(
        self, configuration: ViewConfiguration, sources: list[Source], backgrounds: list[Image]
    ) -> None:
        self._configuration = configuration
        self._sources = sources
        self._backgrounds = backgrounds

    def draw(self, rng: np.random.Generator) -> ViewPair:
        """Draw a picture and two square views of it with correspondences seen in both.

        Where these share too few points, others are drawn, of other pictures in the end;
        DataError where that does not help.
        """
        for _ in range(_ATTEMPTS):
            source = self._sources[int(rng.integers(len(self._sources)))]
            pair = self._pair_of(source, rng)
            if pair is not None:
                return pair
        raise self._impossible(source)

    def check(self) -> None:
        """Draw a pair of each picture once; raises DataError naming one of which none can be."""
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
        if rng.random() < self._configuration.texture.probability:
            source = self._textured(source, rng)
        views = [self.view(source, homography, size, rng) for homography in homographies]
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
        self, source: Source, views: list[View], points: NDArray[np.float32]
    ) -> PairGeometry | None:
        """Lift pixels (Q, 2) of a picture in both views: what is shown larger is nearer."""
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

    def view(
        self, source: Source, homography: Matrix, size: tuple[int, int], rng: np.random.Generator
    ) -> View:
        """Show a picture through a homography on a canvas (W, H), its appearance changed."""
        configuration = self._configuration
        shrink = float(np.sqrt(abs(np.linalg.det(homography[:2, :2]))))
        image = source.image
        if shrink < 0.6:  # bilinear sampling would alias
            image = _uint8(cv2.GaussianBlur(image, (0, 0), 0.4 / shrink))
        warped = _uint8(
            cv2.warpPerspective(
                image, homography, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
            )
        )
        mask = _uint8(cv2.warpPerspective(source.mask, homography, size, flags=cv2.INTER_LINEAR))
        background = self._background(size, rng)
        if background is not None:
            warped = _blend(warped, background, mask)
        if rng.random() < configuration.occlusion:
            warped, mask = self._occlude(warped, mask, rng)
        return View(change_colours(warped, configuration.colour, rng), mask, homography)

    def _textured(self, source: Source, rng: np.random.Generator) -> Source:
        """Paint the object of a picture anew, under its own light and shade."""
        size = (source.image.shape[1], source.image.shape[0])
        weights = self._configuration.texture
        kinds = np.array([weights.image, weights.noise, weights.plain])
        kind = rng.choice(['image', 'noise', 'plain'], p=kinds / kinds.sum())
        texture = self._surface(kind, size, rng)
        grey = cv2.cvtColor(source.image, cv2.COLOR_RGB2GRAY)
        light = grey / np.float32(max(1.0, cv2.mean(grey, source.mask)[0]))
        painted = np.clip(texture * light[:, :, None], 0, 255).astype(np.uint8)
        weight = source.mask.astype(np.float32) / 255
        weight *= np.float32(rng.uniform(*self._configuration.texture.strength))
        image = _uint8(cv2.blendLinear(painted, source.image, weight, 1 - weight))
        return replace(source, image=image)

    def _background(self, size: tuple[int, int], rng: np.random.Generator) -> Image | None:
        weights = self._configuration.background
        kinds = np.array([weights.keep, weights.image, weights.noise, weights.plain])
        kind = rng.choice(['keep', 'image', 'noise', 'plain'], p=kinds / kinds.sum())
        return None if kind == 'keep' else self._surface(kind, size, rng)

    def _surface(self, kind: str, size: tuple[int, int], rng: np.random.Generator) -> Image:
        """Make a picture (W, H): image, noise or plain; noise where there is no image."""
        if kind == 'image':
            crop = self._background_crop(size, rng)
            if crop is not None:
                return crop
        if kind == 'plain':
            return _plain(size, rng)
        cells = log_uniform(rng, self._configuration.background.noise_cells)
        return _smooth_noise(size, round(cells), rng)

    def _background_crop(self, size: tuple[int, int], rng: np.random.Generator) -> Image | None:
        settings = self._configuration.background
        choices = len(self._backgrounds) + min(len(self._sources), settings.own)
        if choices == 0:
            return None
        for _ in range(_ATTEMPTS):
            number = int(rng.integers(choices))
            if number < len(self._backgrounds):
                picture, mask = self._backgrounds[number], None
            else:
                source = self._sources[int(rng.integers(len(self._sources)))]
                picture, mask = source.image, source.mask
            height, width = picture.shape[:2]
            side = int(min(rng.uniform(*settings.crop) * max(size), height, width))
            v, u = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
            if mask is not None and mask[v : v + side : 2, u : u + side : 2].any():
                continue
            crop = np.rot90(picture[v : v + side, u : u + side], int(rng.integers(4)))
            if rng.random() < settings.mirrored:
                crop = crop[:, ::-1]
            resized = cv2.resize(np.ascontiguousarray(crop), size, interpolation=cv2.INTER_LINEAR)
            return _uint8(resized)
        return None

    def _occlude(self, image: Image, mask: Image, rng: np.random.Generator) -> tuple[Image, Image]:
        size = (image.shape[1], image.shape[0])
        patch = self._background_crop(size, rng)
        if patch is None:
            patch = _plain(size, rng)
        half_axes = rng.uniform(*self._configuration.occlusion_size, 2) * min(size)
        axes = half_axes.astype(int).tolist()
        centre = (rng.uniform(*self._configuration.occlusion_place, 2) * size).astype(int).tolist()
        shape = np.zeros(mask.shape, np.uint8)
        cv2.ellipse(shape, centre, axes, float(rng.uniform(0, 180)), 0, 360, 255, -1, cv2.LINE_AA)
        return _blend(patch, image, shape), np.minimum(mask, 255 - shape)


def random_homography(
    centre: NDArray[np.float64],
    zoom: float,
    size: tuple[int, int],
    warp: WarpConfiguration,
    rng: np.random.Generator,
) -> Matrix:
    """Draw a homography (3, 3) that brings `centre` near the middle of a canvas (W, H).

    zoom: canvas pixels per picture pixel before the random scale.
    """
    width, height = size
    half = min(size) / 2
    middle = np.array([width - 1, height - 1]) / 2
    place = middle + rng.uniform(-1, 1, 2) * warp.shift * half
    angle = np.deg2rad(rng.uniform(-warp.rotation, warp.rotation))
    scale = zoom * log_uniform(rng, warp.scale)
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    similarity = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    similarity[:2, 2] = place - similarity[:2, :2] @ centre
    if warp.probability < 1 and rng.random() >= warp.probability:
        return similarity
    corners = middle + half * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    moved = corners + rng.uniform(-1, 1, (4, 2)) * warp.perspective * half
    perspective = cv2.getPerspectiveTransform(corners.astype(np.float32), moved.astype(np.float32))
    return np.asarray(perspective @ similarity, dtype=np.float64)


def project(homography: Matrix, points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Map pixels (N, 2) by a homography (3, 3)."""
    mapped = points @ homography[:, :2].T + homography[:, 2]
    return np.asarray(mapped[:, :2] / mapped[:, 2:], dtype=np.float32)


def change_colours(
    image: Image, configuration: ColourConfiguration, rng: np.random.Generator
) -> Image:
    """Change colours, light, sharpness and noise of an image (H, W, 3) uint8 at random."""
    grey = rng.random() < configuration.grey
    if rng.random() < configuration.probability:
        matrix = _colour_matrix(
            0.0 if grey else float(rng.uniform(*configuration.saturation)),
            float(np.deg2rad(rng.uniform(-configuration.hue, configuration.hue))),
        )
        matrix *= rng.uniform(1 - configuration.tint, 1 + configuration.tint, (3, 1))
        image = _uint8(cv2.transform(image, matrix))
        ramp = np.linspace(0, 1, 256) ** log_uniform(rng, configuration.gamma)
        mean = float(ramp[image[::4, ::4]].mean())
        ramp = (ramp - mean) * log_uniform(rng, configuration.contrast) + mean
        ramp += rng.uniform(-configuration.brightness, configuration.brightness)
        image = _uint8(cv2.LUT(image, (ramp * 255).clip(0, 255).astype(np.uint8)))
    elif grey:
        image = _uint8(cv2.transform(image, _colour_matrix(0.0, 0.0)))
    if rng.random() < configuration.blur:
        sigma = float(rng.uniform(*configuration.blur_sigma))
        image = _uint8(cv2.GaussianBlur(image, (0, 0), sigma))
    return _light_and_noise(image, configuration, rng)


def _light_and_noise(
    image: Image, configuration: ColourConfiguration, rng: np.random.Generator
) -> Image:
    light, noise = rng.random(2) < (configuration.gradient, configuration.noise)
    if not light and not noise:
        return image
    result = image.astype(np.float32)
    height, width = image.shape[:2]
    if light:
        direction = rng.uniform(0, 2 * np.pi)
        across = np.linspace(-0.5, 0.5, width, dtype=np.float32) * np.float32(np.cos(direction))
        down = np.linspace(-0.5, 0.5, height, dtype=np.float32) * np.float32(np.sin(direction))
        strength = np.float32(rng.uniform(*configuration.gradient_strength))
        result *= (1 + strength * (across + down[:, None]))[:, :, None]
    if noise:
        sigma = np.float32(rng.uniform(*configuration.noise_sigma))
        first = int(rng.integers(1 << 16))
        noise_store = _noise(result.size + (1 << 16))
        result += noise_store[first : first + result.size].reshape(result.shape) * sigma
    return _uint8(cv2.convertScaleAbs(np.maximum(result, 0, out=result)))


@functools.lru_cache(maxsize=4)
def _noise(number: int) -> NDArray[np.float32]:
    """Draw a store of white noise once: drawing it for every view would cost most of its time."""
    return np.random.default_rng(0).standard_normal(number, dtype=np.float32)


def _colour_matrix(saturation: float, hue: float) -> Matrix:
    """Scale the saturation and rotate the hue about the grey axis: a matrix for RGB columns."""
    grey = np.broadcast_to(_LUMA, (3, 3))
    axis = np.full(3, 1 / np.sqrt(3))
    cross = np.cross(np.eye(3), -axis)
    rotation = np.eye(3) + np.sin(hue) * cross + (1 - np.cos(hue)) * (cross @ cross)
    return np.asarray((grey + saturation * (np.eye(3) - grey)) @ rotation, dtype=np.float64)


def _blend(inside: Image, outside: Image, mask: Image) -> Image:
    weight = mask.astype(np.float32) / 255
    return _uint8(cv2.blendLinear(inside, outside, weight, 1 - weight))


def _uint8(image: NDArray[Any]) -> Image:
    """State the type that OpenCV keeps but doesn't declare."""
    return image.astype(np.uint8, copy=False)


def _smooth_noise(size: tuple[int, int], cells: int, rng: np.random.Generator) -> Image:
    noise = rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
    return _uint8(cv2.resize(noise, size, interpolation=cv2.INTER_LINEAR))


def _plain(size: tuple[int, int], rng: np.random.Generator) -> Image:
    image = np.empty((size[1], size[0], 3), np.uint8)
    image[:] = rng.integers(0, 256, 3, dtype=np.uint8)
    return image


def _resized(image: Image, scale: float) -> Image:
    size = [max(1, round(side * scale)) for side in image.shape[1::-1]]
    if scale == 1:
        return image
    return _uint8(cv2.resize(image, (size[0], size[1]), interpolation=cv2.INTER_AREA))


def log_uniform(rng: np.random.Generator, bounds: Range) -> float:
    """Draw a factor whose logarithm is uniform between the bounds'."""
    return float(np.exp(rng.uniform(np.log(bounds[0]), np.log(bounds[1]))))


def _weights(**weights: float) -> None:
    if min(weights.values()) < 0 or sum(weights.values()) <= 0:
        raise ValueError(
            f'{", ".join(weights)} are {tuple(weights.values())}; none may be negative, one must '
            'be more'
        )
