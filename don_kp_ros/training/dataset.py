"""Reads a training folder: pictures to train on, and pictures to measure on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from rich.progress import track

from don_kp_ros.configuration import ConfigurationError
from don_kp_ros.data.drawn_pairs import DrawnSampler
from don_kp_ros.data.folder import (
    INDEX,
    DataError,
    Image,
    ImageFolder,
    Sample,
    list_images,
)
from don_kp_ros.data.mask_check import MaskCheck
from don_kp_ros.data.pairs import PairSampler, ViewSampler
from don_kp_ros.data.picture_file import read_image
from don_kp_ros.data.posed import PosedFolder
from don_kp_ros.data.posed_diagnosis import NONE_FITS, diagnose
from don_kp_ros.data.posed_pairs import PosedSampler, prepare_posed
from don_kp_ros.data.scene_pairs import SceneSampler, prepare_scene
from don_kp_ros.data.scenes import SCENES, SceneFolder
from don_kp_ros.data.source import Source, prepare, prepare_background
from don_kp_ros.evaluation.absence import stand_ins
from don_kp_ros.evaluation.pairs import PairSet, of_scenes, posed, synthetic, with_truth
from don_kp_ros.training.drawing import drawing
from don_kp_ros.training.settings import TrainingConfiguration, ValidationConfiguration

_FEWEST_TO_HOLD = 10  # with fewer pictures all are needed for training


@dataclass(frozen=True)
class Dataset:
    """A sampler of training pairs, a validation set, and a description of their data.

    files: the digest of each file that was read, by its name in the folder; drawn: whether the
    pictures without the object are drawn, since none are given; objects: how many scenes name.
    """

    sampler: PairSampler
    validation: PairSet
    description: str
    files: dict[str, str]
    drawn: bool
    objects: int = 0


def read_dataset(
    root: Path,
    configuration: TrainingConfiguration,
    seed: int,
    sheet: Path,
    say: Callable[[str], None],
) -> Dataset:
    """Read and check every picture of a folder; raises DataError naming the file.

    sheet: where to draw masks over their pictures; say: is told what is left out or doubtful.
    """
    input_size = configuration.preprocessing.input_size
    backgrounds, measured = _backgrounds(configuration)
    folder = _open(root)
    if configuration.loss.descriptors == 'objects' and not isinstance(folder, SceneFolder):
        raise ConfigurationError(
            f'loss.descriptors is objects, but {root} holds no scenes ({SCENES}): make some with '
            '`don_kp render --scene`, or set it to nt_xent'
        )
    if configuration.loss.segmentation and not isinstance(folder, SceneFolder):
        raise ConfigurationError(
            f'loss.segmentation is {configuration.loss.segmentation:g}, but {root} holds no '
            f'scenes ({SCENES}) of objects to tell apart: set it to 0'
        )
    if configuration.views.drawn is not None and not isinstance(folder, SceneFolder):
        raise ConfigurationError(
            f'views.drawn is set, but {root} holds no scenes ({SCENES}) whose objects could be '
            'drawn: make some with `don_kp render --scene --object FILE`, or set it to null'
        )
    negatives = [read_image(path, folder.bits) for path in folder.negatives]
    share = configuration.validation.held
    held = _every(len(negatives), max(round(share * len(negatives)), len(negatives) > 1))
    measured += [image for i, image in enumerate(negatives) if i in held]
    backgrounds += [image for i, image in enumerate(negatives) if i not in held]
    backgrounds = [prepare_background(image, input_size) for image in backgrounds]
    check = MaskCheck(root, configuration.masks, say, sheet)
    sampler: PairSampler
    if isinstance(folder, SceneFolder):
        sampler, number, validation = _scenes(folder, configuration, backgrounds, measured, check)
    elif isinstance(folder, PosedFolder):
        sampler, number, validation = _posed(folder, configuration, backgrounds, measured, check)
    else:
        sampler, number, validation = _pictures(
            folder, configuration, seed, backgrounds, measured, check
        )
    if not validation.pairs:
        raise DataError(f'{root}: no pair of validation pictures shows a common point')
    sampler.check()
    drawn = not validation.negatives
    if drawn:
        validation = replace(validation, negatives=stand_ins(validation, seed))
    description = (
        f'{number} pictures with masks, {len(backgrounds)} backgrounds; '
        f'measured on {validation.origin}, {len(validation.negatives)} pictures without the object'
        f'{" (drawn, since none are given)" if drawn else ""}'
    )
    files = {path.relative_to(root).as_posix(): _digest(path) for path in folder.files}
    if configuration.backgrounds is not None:
        others = list_images(configuration.backgrounds)
        files |= {f'backgrounds/{path.name}': _digest(path) for path in others}
    objects = len(folder.objects) if isinstance(folder, SceneFolder) else 0
    return Dataset(sampler, validation, description, files, drawn, objects)


def _open(root: Path) -> ImageFolder | PosedFolder | SceneFolder:
    if (root / SCENES).exists():
        return SceneFolder.open(root)
    return PosedFolder.open(root) if (root / INDEX).exists() else ImageFolder.open(root)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _pictures(
    folder: ImageFolder,
    configuration: TrainingConfiguration,
    seed: int,
    backgrounds: list[Image],
    negatives: list[Image],
    check: MaskCheck,
) -> tuple[PairSampler, int, PairSet]:
    """Read single pictures: pairs are two warps of one."""
    losses = configuration.loss.keypoints
    in_space = losses.truth != 'image' or losses.pose > 0
    if configuration.network.keypoints and in_space and configuration.views.lift is None:
        raise ConfigurationError(
            f'loss.keypoints.truth is {losses.truth} and pose is {losses.pose}, but {folder.root} '
            'holds single pictures: set views.lift, or train on posed views'
        )
    external = folder.validation()
    held_pictures = 0
    if external is None and len(folder.images) >= _FEWEST_TO_HOLD:
        held_pictures = round(configuration.validation.held * len(folder.images))
    if external is None and not held_pictures:
        enough = len(folder.images) >= _FEWEST_TO_HOLD
        more = 'raise validation.held' if enough else f'take {_FEWEST_TO_HOLD} or more'
        what = f'{len(folder.images)} pictures of {folder.root}'
        _none_held(configuration.validation, what, more)
    held: list[Sample] = []
    shown: list[Sample] = []  # a few training pictures to measure on, if none are held out
    sources: list[Source] = []
    chosen = _every(len(folder.images), held_pictures)
    for note in folder.notes:
        check.say(note)
    total, values = len(folder.images), check.options.values
    samples = track(folder.samples(values), 'Reading pictures', total=total, transient=True)
    for number, sample in enumerate(check.watch(samples, total)):
        if number in chosen:
            held.append(sample)
            continue
        sources.append(prepare(sample, configuration.preprocessing.input_size))
        if len(shown) < _FEWEST_TO_HOLD:
            shown.append(sample)
    if external is not None:
        apart, truth = external
        own = [read_image(path, apart.bits) for path in apart.negatives]
        check = MaskCheck(apart.root, check.options, check.say)
        measured = dict(enumerate(check.watch(apart.samples(values), len(apart.images))))
        validation = with_truth(measured, truth, own or negatives)
    else:
        validation = synthetic(
            held or shown,
            configuration.views,
            negatives or backgrounds,
            negatives,
            configuration.validation.final_pairs,
            configuration.validation.queries,
            seed,
            'held pictures' if held else 'the training pictures (none is held)',
        )
    sampler = ViewSampler(configuration.views, sources, backgrounds)
    return sampler, len(sources), validation


def _posed(
    folder: PosedFolder,
    configuration: TrainingConfiguration,
    backgrounds: list[Image],
    negatives: list[Image],
    check: MaskCheck,
) -> tuple[PairSampler, int, PairSet]:
    """Read posed views: pairs are two views of one object."""
    if configuration.network.keypoints and configuration.loss.keypoints.truth == 'image':
        raise ConfigurationError(
            f'loss.keypoints.truth is image, but {folder.root} holds posed views, which no '
            'homography relates: train as config/training/posed.yaml does, with truth camera or '
            'world and network.keypoints.depth=true, or set network.keypoints=null'
        )
    settings, external = configuration.validation, folder.validation()
    held = set[int]()
    if external is None:
        held = _of_every_object([view.object for view in folder.views], settings.held)
        if not held:
            what = f'{len(folder.views)} views of {folder.root}'
            _none_held(settings, what, 'take three or more of an object')
    total, values = len(folder.views), check.options.values
    views = track(folder.samples(values), 'Reading views', total=total, transient=True)
    samples = list(check.watch(views, total))
    index, tolerance = folder.root / INDEX, configuration.views.tolerance
    mistake = diagnose(samples, folder.depth_unit, tolerance)
    if mistake is not None:
        raise DataError(f'{index}: {mistake}')
    shown, origin = samples, 'views of held objects'
    if external is not None:
        own = [read_image(path, external.bits) for path in external.negatives]
        check = MaskCheck(external.root, check.options, check.say)
        shown = list(check.watch(external.samples(values), len(external.views)))
        negatives = own or negatives
    else:
        origin = 'held views' if held else 'the training views (none is held)'
    measured = held or set(range(len(shown)))
    validation = posed(
        shown,
        measured,
        max(settings.final_pairs, len(measured)),
        settings.queries,
        negatives,
        origin,
        tolerance,
    )
    if not validation.pairs:
        raise DataError(
            f'{index}: no two views of an object show common points, within {tolerance:g} m, '
            f'{NONE_FITS}'
        )
    sources = [
        prepare_posed(sample, configuration.preprocessing.input_size)
        for number, sample in enumerate(samples)
        if number not in held
    ]
    return PosedSampler(configuration.views, sources, backgrounds), len(sources), validation


def _scenes(
    folder: SceneFolder,
    configuration: TrainingConfiguration,
    backgrounds: list[Image],
    negatives: list[Image],
    check: MaskCheck,
) -> tuple[PairSampler, int, PairSet]:
    """Read scenes: pairs are the two views of one."""
    if configuration.network.keypoints or configuration.chosen_keypoints:
        raise ConfigurationError(
            f'{folder.root} holds scenes, of which no keypoints are learned: set '
            'network.keypoints to null and chosen_keypoints to 0'
        )
    folder.refuse_values(check.options.values)
    settings, external = configuration.validation, folder.validation()
    total = len(folder.entries)
    held = set[int]() if external is not None else _every(total, round(settings.held * total))
    if external is None and not held:
        scenes = f'{total} scenes of {folder.root}'
        _none_held(settings, scenes, 'raise validation.held, take more')
    found = list(track(folder.scenes(), 'Reading scenes', total=total, transient=True))
    whole = [view.whole() for scene in found for view in (scene.a, scene.b)]
    list(check.watch(iter(whole), len(whole)))
    measured, what = found, 'held scenes'
    if external is not None:
        measured = list(external.scenes())
        negatives = [read_image(path, external.bits) for path in external.negatives] or negatives
    elif held:
        measured = [found[number] for number in sorted(held)]
    else:
        what = 'training scenes (none is held)'
    tolerance = configuration.views.tolerance
    validation = of_scenes(measured, settings.queries, negatives, what, tolerance)
    sources = [
        prepare_scene(scene, configuration.preprocessing.input_size, folder.objects)
        for number, scene in enumerate(found)
        if number not in held
    ]
    lone = configuration.loss.descriptors == 'objects' and configuration.loss.objects.lone
    sampler: PairSampler
    if configuration.views.drawn is None:
        sampler = SceneSampler(configuration.views, sources, backgrounds, lone)
    elif lone:
        raise ConfigurationError(
            'views.drawn and loss.objects.lone are both set, and no object is drawn alone: set '
            'loss.objects.lone to false'
        )
    else:
        draw = drawing(folder)
        sampler = DrawnSampler(configuration.views, sources, backgrounds, draw)
    return sampler, 2 * len(sources), validation


def _none_held(settings: ValidationConfiguration, what: str, more: str) -> None:
    """Refuse patience where none of `what` is held; more: what would let some be held."""
    if settings.patience:
        raise ConfigurationError(
            f'validation.patience is {settings.patience}, but of the {what} none is held to '
            f'measure on: {more}, add a folder validation/, or set validation.patience to 0'
        )


def _backgrounds(configuration: TrainingConfiguration) -> tuple[list[Image], list[Image]]:
    """Read the backgrounds to train with, and hold some of them out to measure with."""
    folder = configuration.backgrounds
    if folder is None:
        return [], []
    images = [read_image(path) for path in list_images(folder)]
    if not images:
        raise DataError(f'{folder}: no background pictures there (key backgrounds)')
    held = _every(len(images), round(configuration.validation.held * len(images)))
    return (
        [image for i, image in enumerate(images) if i not in held],
        [image for i, image in enumerate(images) if i in held],
    )


def _of_every_object(objects: list[str], share: float) -> set[int]:
    """Choose views to hold out, a share of each object's views.

    Objects of fewer than three views are not held; if there are others, at least one view is.
    """
    places: dict[str, list[int]] = {}
    for number, name in enumerate(objects):
        places.setdefault(name, []).append(number)
    held = {
        numbers[place]
        for numbers in places.values()
        if len(numbers) > 2
        for place in _every(len(numbers), round(share * len(numbers)))
    }
    largest = max(places.values(), key=len)
    return held or ({largest[-1]} if len(largest) > 2 else set())


def _every(total: int, wanted: int) -> set[int]:
    """Spread `wanted` indices evenly over range(total)."""
    return {int((i + 0.5) * total / wanted) for i in range(wanted)}
