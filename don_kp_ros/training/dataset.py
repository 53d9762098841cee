"""Read a training folder: pictures to learn from, pictures to measure with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.progress import track

from don_kp_ros.data.folder import (
    DataError,
    Image,
    ImageFolder,
    Sample,
    list_images,
    read_image,
)
from don_kp_ros.data.views import Source, ViewSampler, prepare, prepare_background
from don_kp_ros.training.settings import TrainingConfiguration
from don_kp_ros.training.validation import ValidationSet, from_folder, synthetic

_FEWEST_TO_HOLD = 10  # with fewer pictures all are needed for training


@dataclass(frozen=True)
class Dataset:
    """A sampler of training pairs, a validation set, and what they were made of, in words."""

    sampler: ViewSampler
    validation: ValidationSet
    description: str


def read_dataset(root: Path, configuration: TrainingConfiguration, seed: int) -> Dataset:
    """Read and check every picture of a folder; raises DataError naming the file."""
    folder = ImageFolder.open(root)
    external = folder.validation()
    share = configuration.validation.held
    held_pictures = 0
    if external is None and len(folder.images) >= _FEWEST_TO_HOLD:
        held_pictures = round(share * len(folder.images))
    held: list[Sample] = []
    shown: list[Sample] = []  # a few training pictures, to measure on where none are held
    sources: list[Source] = []
    input_size = configuration.preprocessing.input_size
    chosen = _every(len(folder.images), held_pictures)
    samples = track(folder.samples(), 'Reading pictures', total=len(folder.images), transient=True)
    for number, sample in enumerate(samples):
        if number in chosen:
            held.append(sample)
            continue
        sources.append(prepare(sample, input_size))
        if len(shown) < _FEWEST_TO_HOLD:
            shown.append(sample)
    backgrounds = _backgrounds(configuration, input_size)
    negatives = [read_image(path) for path in folder.negatives]
    held_negatives = _every(len(negatives), max(round(share * len(negatives)), len(negatives) > 1))
    measured = [image for i, image in enumerate(negatives) if i in held_negatives]
    backgrounds += [
        prepare_background(image, input_size)
        for i, image in enumerate(negatives)
        if i not in held_negatives
    ]
    if external is not None:
        validation = from_folder(*external, measured)
    else:
        validation = synthetic(
            held or shown,
            configuration.views,
            backgrounds,
            measured,
            configuration.validation.final_pairs,
            configuration.validation.queries,
            seed,
            held=bool(held),
        )
    if not validation.pairs:
        raise DataError(f'{root}: no pair of validation pictures shows a common point')
    description = (
        f'{len(sources)} pictures with masks, {len(backgrounds)} backgrounds; '
        f'measured on {validation.origin}, {len(validation.negatives)} pictures without the object'
    )
    sampler = ViewSampler(configuration.views, sources, backgrounds)
    return Dataset(sampler, validation, description)


def _backgrounds(configuration: TrainingConfiguration, input_size: int) -> list[Image]:
    folder = configuration.backgrounds
    if folder is None:
        return []
    paths = list_images(folder)
    if not paths:
        raise DataError(f'{folder}: no background pictures there (key backgrounds)')
    return [prepare_background(read_image(path), input_size) for path in paths]


def _every(total: int, wanted: int) -> set[int]:
    """Spread `wanted` indices evenly over range(total)."""
    return {int((i + 0.5) * total / wanted) for i in range(wanted)}
