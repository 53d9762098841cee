"""What descriptors are compared on: splits of renders, of photos, and of backgrounds."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import partial
from itertools import permutations
from pathlib import Path

import numpy as np

from don_kp_ros import configuration
from don_kp_ros.configuration import ConfigurationError
from don_kp_ros.data.appearance import BackgroundConfiguration, ColourConfiguration
from don_kp_ros.data.folder import (
    DataError,
    Image,
    ImageFolder,
    Sample,
    list_images,
    write_samples,
)
from don_kp_ros.data.homography import WarpConfiguration
from don_kp_ros.data.pairs import ViewConfiguration
from don_kp_ros.data.picture_file import read_image
from don_kp_ros.evaluation.pairs import Pair, PairSet, synthetic
from don_kp_ros.evaluation.protocols.turned import half_turn, turned_copies
from don_kp_ros.evaluation.reading import Reader
from don_kp_ros.resources import config_path
from don_kp_ros.studies.pictures import Pictures, alike
from don_kp_ros.studies.study import Study
from don_kp_ros.studies.trainings import Kept, Recipe

OF_PHOTOS = ('photos', 'transfer', 'mixed')  # where views are turned by any angle
SPLITS = ('held', 'unseen', *OF_PHOTOS)
_CROP = 384  # pixels of 640: what a training's view of 192 pixels at the network's scale shows
_PAIRS, _QUERIES = 60, 100
_NAMED = 'named_points.json'
# As light and cameras may change a picture; what is trained with is stronger.
_COLOUR = ColourConfiguration(
    brightness=0.2, gamma=(0.6, 1.6), saturation=(0.3, 1.7), hue=20, grey=0.1
)


@dataclass(frozen=True)
class Split:
    """What is trained on, and what is measured on: about the object, and in whole pictures.

    rotation: degrees, +-, by which views are turned in training.
    """

    name: str
    rotation: float
    learned: list[Sample]
    about: PairSet
    whole: PairSet | None


@dataclass(frozen=True)
class Photos:
    """What is learned from, and pairs of a photo and its turned copy, which is not.

    named: by a photo's name, pixels (u, v) by the names of the points that it shows.
    """

    learned: list[Sample]
    pairs: list[tuple[Sample, Sample]]
    named: dict[str, dict[str, tuple[float, float]]]

    @classmethod
    def read(cls, root: Path, reader: Reader | None = None) -> Photos:
        """Read a folder, or its caps_real/, and hold out every turned copy; raises DataError."""
        reader = reader or Reader()
        folders = [folder for folder in (root, root / 'caps_real') if (folder / 'rgbs').is_dir()]
        if not folders:
            raise DataError(f'{root}: neither it nor its caps_real/ has a folder rgbs/')
        samples = sorted(reader.samples(ImageFolder.open(folders[0])).values(), key=_by_number)
        copies = turned_copies(samples)
        if not copies:
            raise DataError(f'{folders[0]}: no picture is another one turned by 180 degrees')
        return cls(
            [sample for i, sample in enumerate(samples) if i not in copies],
            [(samples[original], samples[copy]) for copy, original in copies.items()],
            _named_points(folders[0] / _NAMED),
        )

    def turned_pairs(self, seed: int) -> PairSet:
        """Pair random pixels of each photo with where they lie in its copy."""
        images: list[Image] = []
        pairs: list[Pair] = []
        for photo, copy in self.pairs:
            at, rng = len(images), np.random.default_rng(seed)
            images += [photo.image, copy.image]
            uv_a, uv_b, turn = half_turn(photo, copy, _QUERIES, rng)
            pairs.append(Pair(at, at + 1, uv_a, uv_b, turn, copy.mask))
        return PairSet('photos and their turned copies', images, pairs, [])

    def named_pairs(self, known: int | None = None) -> PairSet | None:
        """Pair the named points of every two photos that are learned from, both ways.

        known: the photo, by index, in which none is looked for, since it alone is learned.
        """
        pairs: list[Pair] = []
        for (a, one), (b, other) in permutations(enumerate(self.learned), 2):
            of_a, of_b = (self.named.get(sample.path.stem, {}) for sample in (one, other))
            names = tuple(sorted(of_a.keys() & of_b.keys()))
            if names and b != known:
                uv_a, uv_b = (
                    np.array([own[name] for name in names], np.float32) for own in (of_a, of_b)
                )
                pairs.append(Pair(a, b, uv_a, uv_b, mask_b=other.mask, names=names))
        images = [sample.image for sample in self.learned]
        return PairSet('named points of different photos', images, pairs, []) if pairs else None


@dataclass(frozen=True)
class Data:
    """The pictures that the splits are made of; objects: what each render shows.

    backgrounds: files; the last quarter of them is only measured with.
    """

    renders: list[Sample]
    objects: tuple[str, ...]
    photos: Photos
    backgrounds: list[Path]

    @classmethod
    def read(cls, root: Path, reader: Reader | None = None) -> Data:
        """Read a folder of caps/, caps_real/ and backgrounds/; raises DataError."""
        reader = reader or Reader()
        told = Pictures.open(root / 'caps').told
        read = reader.samples(ImageFolder.open(root / 'caps'))
        renders = list(read.values())
        objects = alike(renders) if told is None else tuple(told[i] for i in read)
        photos = Photos.read(root / 'caps_real', reader)
        return cls(renders, objects, photos, list_images(root / 'backgrounds'))

    def left_out(self, wanted: tuple[str, ...]) -> tuple[str, ...]:
        """Check the names of objects to be left out (none: each); raises DataError."""
        objects = tuple(dict.fromkeys(self.objects))
        if len(objects) == 1:
            raise DataError('all renders show one object; none can be left out')
        if not set(wanted) <= set(objects):
            raise DataError(
                f'left_out is {", ".join(wanted)}; the objects are {", ".join(objects)}'
            )
        return wanted or objects

    def split(self, name: str, rotation: float, left_out: str = '') -> Split:
        """Make a split; views of renders are turned by +-rotation, degrees."""
        if name in OF_PHOTOS:
            shown = {photo.path for photo, _ in self.photos.pairs}
            others = [photo for photo in self.photos.learned if photo.path not in shown]
            pictures = {
                'photos': self.photos.learned,
                'transfer': self.renders,
                'mixed': [*self.renders, *others],
            }
            return Split(name, 180.0, pictures[name], self.photos.turned_pairs(0), None)
        if name == 'held':
            held = [i for i in range(len(self.renders)) if i % 4 == 2]
        else:
            held = [i for i, shown in enumerate(self.objects) if shown == left_out]
        learned = [sample for i, sample in enumerate(self.renders) if i not in held]
        measured = [self.renders[i] for i in held]
        backgrounds = [read_image(path) for path in self.backgrounds[-self._measured_with() :]]
        views = ViewConfiguration(
            occlusion=0,
            warp=WarpConfiguration(rotation=rotation),
            colour=_COLOUR,
            background=BackgroundConfiguration(keep=0, image=1, noise=0, plain=0),
        )

        def pairs(crop: int | None) -> PairSet:
            return synthetic(
                measured, views, backgrounds, [], _PAIRS, _QUERIES, seed=0, both=True, crop=crop
            )

        return Split(name, rotation, learned, pairs(_CROP), pairs(None))

    def training_backgrounds(self) -> tuple[Path, ...]:
        """Return the backgrounds that nothing is measured on."""
        return tuple(self.backgrounds[: -self._measured_with()])

    def training(self, root: Path, split: Split, method: str, study: Study, seed: int) -> Kept:
        """Say how a method, by its name in config/training, learns a split; root keeps it."""
        return Kept(
            root,
            f'{split.name}-{method}-{split.rotation:g}',
            method_recipe(method, split.rotation, study, seed),
            partial(write_samples, samples=split.learned),
            self.training_backgrounds(),
        )

    def _measured_with(self) -> int:
        return max(1, len(self.backgrounds) // 4)


def method_recipe(method: str, rotation: float, study: Study, seed: int) -> Recipe:
    """Say how a method is trained on views turned by +-rotation; raises ConfigurationError."""
    try:
        config = configuration.find(method, config_path('training'))
    except ConfigurationError as error:
        raise ConfigurationError(f'methods: {error}') from error
    overrides = (f'--views.warp.rotation={rotation:g}', *study.overrides)
    return Recipe.within(study.minutes, config, overrides, seed)


def _named_points(path: Path) -> dict[str, dict[str, tuple[float, float]]]:
    """Read the named points of photos, if there is the file; raises DataError."""
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        return {
            photo: {name: (float(u), float(v)) for name, (u, v) in points.items()}
            for photo, points in content.items()
            if photo != 'note'
        }
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(
            f'{path}: not named points of photos ({error}); {{"2": {{"button": [393, 244]}}}} '
            'gives pixel (u, v) of a point of photo 2'
        ) from error


def _by_number(sample: Sample) -> tuple[int, str]:
    """Order 2 before 11: the later one of two that are the same is held out."""
    digits = re.sub(r'\D', '', sample.path.stem)
    return int(digits or 0), sample.path.stem
