"""How views look: their colours, light, sharpness and noise, and what is put about the object."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from don_kp_ros.configuration import Range, within
from don_kp_ros.data.draws import check_weights, log_uniform, weighted
from don_kp_ros.data.folder import Image
from don_kp_ros.data.source import Source

_LUMA = np.array([0.299, 0.587, 0.114])
_ATTEMPTS = 10


@dataclass(frozen=True)
class ColourConfiguration:
    """How the colours, the light and the sharpness of a view change.

    By default they change strongly: the network must identify points by shape, since another cap
    has other colours.
    """

    probability: float = 0.9  # of brightness, contrast, saturation, hue and gamma, together
    brightness: float = 0.3  # added, fraction of the range, drawn from +- this
    contrast: Range = (0.6, 1.5)  # factor about the mean, log-uniform
    gamma: Range = (0.4, 2.5)  # exponent, log-uniform
    saturation: Range = (0.0, 2.5)  # factor
    hue: float = 180.0  # degrees, drawn from +- this
    tint: float = 0.1  # factor of each channel, drawn from 1 +- this
    grey: float = 0.3  # probability of a view of one hue, which is the tint's
    gradient: float = 0.5  # probability of light that falls off to one side
    gradient_strength: Range = (0.0, 0.5)  # fraction of the light at the darker side
    blur: float = 0.3  # probability
    blur_sigma: Range = (0.3, 1.2)  # pixels
    noise: float = 0.5  # probability
    noise_sigma: Range = (1.0, 8.0)  # of 255

    def __post_init__(self) -> None:
        for name in ('probability', 'grey', 'gradient', 'blur', 'noise'):
            within(name, getattr(self, name), 0, 1)
        for name in ('brightness', 'tint', 'gradient_strength'):
            within(name, getattr(self, name), 0, 1)
        within('hue', self.hue, 0, 180)
        for name in ('contrast', 'gamma'):
            within(name, getattr(self, name), 0.05, 20)
        within('saturation', self.saturation, 0, 10)
        within('blur_sigma', self.blur_sigma, 0.05, 20)
        within('noise_sigma', self.noise_sigma, 0, 128)


@dataclass(frozen=True)
class BackgroundConfiguration:
    """The kinds of background that replace the picture outside of the mask, by relative weight."""

    keep: float = 0.3  # the picture's own
    image: float = 0.5  # a crop of a background, of a negative, or of a picture beside its object
    noise: float = 0.1  # smooth random colours
    plain: float = 0.1  # one colour
    crop: Range = (0.3, 1.2)  # side of such a crop, relative to what it fills
    mirrored: float = 0.5  # probability that it is; all quarter turns are equally likely
    own: int = 20  # all pictures serve, too, beside their objects; this is the most they count for
    noise_cells: Range = (4, 64)  # squares across smooth noise, log-uniform

    def __post_init__(self) -> None:
        check_weights(keep=self.keep, image=self.image, noise=self.noise, plain=self.plain)
        within('crop', self.crop, 0.1, 10)
        within('mirrored', self.mirrored, 0, 1)
        within('own', self.own, 0, 1_000_000)
        within('noise_cells', self.noise_cells, 1, 1024)


@dataclass(frozen=True)
class TextureConfiguration:
    """A random texture on the object, the same in both views of a pair; the shading remains.

    So the network sees an object with many prints, and cannot rely on any one of them. Only views
    of one picture can have a texture; posed views have none.
    """

    probability: float = 0.3
    strength: Range = (0.2, 1.0)  # share of the texture in the colours
    image: float = 0.6  # relative weights: a crop as of backgrounds, ...
    noise: float = 0.2  # ... smooth random colours
    plain: float = 0.2  # ... one colour

    def __post_init__(self) -> None:
        check_weights(image=self.image, noise=self.noise, plain=self.plain)
        within('probability', self.probability, 0, 1)
        within('strength', self.strength, 0, 1)


@dataclass(frozen=True)
class AppearanceConfiguration:
    """How the look of views changes from one to the next."""

    occlusion: float = 0.3  # probability of a patch of background that hides a part of the object
    occlusion_size: Range = (0.05, 0.18)  # half axes of the patch, fraction of the view's side
    occlusion_place: Range = (0.15, 0.85)  # of its centre, across the view and down
    texture: TextureConfiguration = field(default_factory=TextureConfiguration)
    colour: ColourConfiguration = field(default_factory=ColourConfiguration)
    background: BackgroundConfiguration = field(default_factory=BackgroundConfiguration)

    def __post_init__(self) -> None:
        within('occlusion', self.occlusion, 0, 1)
        within('occlusion_size', self.occlusion_size, 0, 1)
        within('occlusion_place', self.occlusion_place, 0, 1)


class Appearance:
    """Change how pictures look, at random.

    backgrounds are pictures without the object; the sources' own surroundings are used besides.
    """

    def __init__(
        self,
        configuration: AppearanceConfiguration,
        sources: Sequence[Source],
        backgrounds: Sequence[Image],
    ) -> None:
        self._configuration = configuration
        self._sources = sources
        self._backgrounds = backgrounds

    def textured(self, source: Source, rng: np.random.Generator) -> Source:
        """Paint the object of a picture anew, under its own light and shade, or leave it."""
        weights = self._configuration.texture
        if rng.random() >= weights.probability:
            return source
        size = (source.image.shape[1], source.image.shape[0])
        kind = weighted(rng, image=weights.image, noise=weights.noise, plain=weights.plain)
        texture = self._surface(kind, size, rng)
        grey = cv2.cvtColor(source.image, cv2.COLOR_RGB2GRAY)
        light = grey / np.float32(max(1.0, cv2.mean(grey, source.mask)[0]))
        painted = np.clip(texture * light[:, :, None], 0, 255).astype(np.uint8)
        strength = rng.uniform(*weights.strength)
        return replace(source, image=_blend(painted, source.image, source.mask, strength))

    def changed(self, image: Image, mask: Image, rng: np.random.Generator) -> tuple[Image, Image]:
        """Replace what is about the object, hide a part of it, and change colours and light.

        image (H, W, 3); mask (H, W): of the object. Returns both, the mask without what is hidden.
        """
        size = (image.shape[1], image.shape[0])
        background = self._background(size, rng)
        if background is not None:
            image = _blend(image, background, mask)
        if rng.random() < self._configuration.occlusion:
            image, mask = self._occluded(image, mask, rng)
        return change_colours(image, self._configuration.colour, rng), mask

    def _background(self, size: tuple[int, int], rng: np.random.Generator) -> Image | None:
        own = self._configuration.background
        kind = weighted(rng, keep=own.keep, image=own.image, noise=own.noise, plain=own.plain)
        return None if kind == 'keep' else self._surface(kind, size, rng)

    def _surface(self, kind: str, size: tuple[int, int], rng: np.random.Generator) -> Image:
        """Make a picture (W, H): image, noise or plain; noise if there is no image."""
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

    def _occluded(
        self, image: Image, mask: Image, rng: np.random.Generator
    ) -> tuple[Image, Image]:
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
    """Draw a stock of white noise once: drawing it for each view would take most of its time."""
    return np.random.default_rng(0).standard_normal(number, dtype=np.float32)


def _colour_matrix(saturation: float, hue: float) -> NDArray[np.float64]:
    """Scale the saturation and rotate the hue about the grey axis: a matrix for RGB columns."""
    grey = np.broadcast_to(_LUMA, (3, 3))
    axis = np.full(3, 1 / np.sqrt(3))
    cross = np.cross(np.eye(3), -axis)
    rotation = np.eye(3) + np.sin(hue) * cross + (1 - np.cos(hue)) * (cross @ cross)
    return np.asarray((grey + saturation * (np.eye(3) - grey)) @ rotation, dtype=np.float64)


def _blend(inside: Image, outside: Image, mask: Image, strength: float = 1.0) -> Image:
    weight = mask.astype(np.float32) / 255 * np.float32(strength)
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
