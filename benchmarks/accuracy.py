"""Honest accuracy of mined, NT-Xent and joint descriptors at equal processor time.

`DATA=FOLDER python -m benchmarks.accuracy`: FOLDER holds caps/, caps_real/ and backgrounds/. Five
questions are asked, each with its own trainings:

held       other renders of objects that were trained on, each in two random views
unseen     renders of an object that was left out, each object in its turn
photos     photos of one object, found in one that is another turned by 180 degrees
transfer   the same photos, after training on renders alone; also by the shipped model, which
           learned from many more renders
mixed      the same photos, after training on renders and the photos that nothing is measured on

Without DATA rendered caps take the place of both, and the result goes to accuracy-rendered.json.
SPLITS, METHODS and SEEDS choose some (SPLITS=held METHODS=joint SEEDS=0,1), LEFT_OUT some of the
objects, by their first pictures' names (LEFT_OUT=01_rgb,04_rgb), MINUTES is the processor time of
each training (10), ROTATION the degrees by which views are turned (45). In all there are 54
trainings, some eleven hours on one core; they are kept and gone on with (benchmarks/runs.py).
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.real_photos import Photos, points_to_find, rendered_folder
from benchmarks.report import OUTPUT, Target, given, report
from benchmarks.runs import Run, trained
from don_kp_ros.data.appearance import BackgroundConfiguration, ColourConfiguration
from don_kp_ros.data.folder import DataError, Image, ImageFolder, Sample, list_images, read_image
from don_kp_ros.data.homography import WarpConfiguration
from don_kp_ros.data.pairs import ViewConfiguration
from don_kp_ros.data.posed import PosedFolder
from don_kp_ros.evaluation.baselines import ColourPatches, DenseSift, baseline_errors
from don_kp_ros.evaluation.measure import centroid_accuracy, measure, random_accuracy
from don_kp_ros.evaluation.pairs import Pair, PairSet, mask_centre, synthetic
from don_kp_ros.evaluation.pck import Accuracy
from don_kp_ros.networks.checkpoint import Checkpoint, load
from don_kp_ros.networks.model import DescriptorModel

METHODS = ('mined', 'nt_xent', 'joint')
_OF_PHOTOS = ('photos', 'transfer', 'mixed')  # where views are turned by any angle
SPLITS = ('held', 'unseen', *_OF_PHOTOS)
_CROP = 384  # pixels of 640: what a training's view of 192 pixels at the network's scale shows
_PAIRS, _QUERIES = 60, 100
_SAME_OBJECT = 0.25  # Bhattacharyya distance of colour histograms
# As light and cameras may change a picture; what is trained with is stronger.
_COLOUR = ColourConfiguration(
    brightness=0.2, gamma=(0.6, 1.6), saturation=(0.3, 1.7), hue=20, grey=0.1
)
# AUC to be reached after ten minutes; beyond held views by the default method.
_LIMITS = {
    ('held', 'mined'): 0.955,
    ('held', 'joint'): 0.965,
    ('unseen', 'joint'): 0.94,
    ('photos', 'joint'): 0.92,
    ('transfer', 'joint'): 0.58,
}


@dataclass(frozen=True)
class Split:
    """What is trained on, and what is measured on: about the object, and in whole pictures."""

    learned: list[Sample]
    about: PairSet
    whole: PairSet | None


@dataclass(frozen=True)
class Data:
    """The pictures that the splits are made of; objects: what each render shows."""

    renders: list[Sample]
    objects: list[str]
    photos: Photos
    backgrounds: list[Image]
    name: str

    @classmethod
    def read(cls) -> Data:
        """Read DATA, or render it; raises DataError."""
        folder = os.environ.get('DATA', '')
        if folder:
            root = Path(folder)
            samples = list(ImageFolder.open(root / 'caps').samples())
            return cls(
                samples,
                objects_shown(samples),
                Photos.read(root / 'caps_real'),
                [read_image(path) for path in list_images(root / 'backgrounds')],
                root.resolve().name,
            )
        work = OUTPUT / 'accuracy'
        renders = work / 'renders'
        if not renders.is_dir():
            partial = work / 'renders.partial'
            shutil.rmtree(partial, ignore_errors=True)
            command = [sys.executable, '-m', 'don_kp_ros.simulation.command', str(partial)]
            options = ['--object', 'cap', '--views', '15', '--instances', '5', '--negatives', '40']
            subprocess.run([*command, *options], check=True)
            partial.rename(renders)
        opened = ImageFolder.open(renders)
        return cls(
            list(opened.samples()),
            [view.object for view in PosedFolder.open(renders).views],
            Photos.read(rendered_folder(work, 0)),
            [read_image(path) for path in opened.negatives],
            'rendered caps',
        )

    def variant(self, variables: dict[str, str]) -> str:
        """Name the result of a run that is not the whole benchmark on given pictures."""
        rendered = [] if os.environ.get('DATA') else ['rendered']
        return '-'.join([*rendered, *variables.values()])

    def left_out(self) -> tuple[str, ...]:
        """Name the objects to be left out, as LEFT_OUT chooses; raises DataError."""
        objects = tuple(dict.fromkeys(self.objects))
        if len(objects) == 1:
            raise DataError('all renders show one object; none can be left out')
        left_out = chosen('LEFT_OUT', objects)
        if not set(left_out) <= set(objects):
            raise DataError(f'LEFT_OUT={",".join(left_out)}: the objects are {",".join(objects)}')
        return left_out

    def split(self, name: str, rotation: float, left_out: str = '') -> Split:
        """Make a split; backgrounds are divided between training and measuring."""
        quarter = max(1, len(self.backgrounds) // 4)
        backgrounds = self.backgrounds[-quarter:]
        if name in _OF_PHOTOS:
            shown = {photo.path for photo, _ in self.photos.pairs}
            others = [photo for photo in self.photos.learned if photo.path not in shown]
            pictures = {
                'photos': self.photos.learned,
                'transfer': self.renders,
                'mixed': [*self.renders, *others],
            }
            return Split(pictures[name], _turned_pairs(self.photos), None)
        if name == 'held':
            held = [i for i in range(len(self.renders)) if i % 4 == 2]
        else:
            held = [i for i, shown in enumerate(self.objects) if shown == left_out]
        learned = [sample for i, sample in enumerate(self.renders) if i not in held]
        measured = [self.renders[i] for i in held]
        views = ViewConfiguration(
            occlusion=0,
            warp=WarpConfiguration(rotation=rotation),
            colour=_COLOUR,
            background=BackgroundConfiguration(keep=0, image=1, noise=0, plain=0),
        )

        def pairs(crop: int | None) -> PairSet:
            return synthetic(
                measured, views, backgrounds, [], _PAIRS, _QUERIES, 0, True, both=True, crop=crop
            )

        return Split(learned, pairs(_CROP), pairs(None))

    def training_backgrounds(self) -> list[Image]:
        """Return the backgrounds that nothing is measured on."""
        return self.backgrounds[: -max(1, len(self.backgrounds) // 4)]


def main() -> int:
    """Run the benchmark."""
    try:
        data = Data.read()
        parts = [
            (name, left_out)
            for name in chosen('SPLITS', SPLITS)
            for left_out in (data.left_out() if name == 'unseen' else ('',))
        ]
    except DataError as error:
        print(f'accuracy: {error}', file=sys.stderr)
        return 2
    rotation, minutes = number('ROTATION', 45), number('MINUTES', 10)
    seeds = [int(seed) for seed in chosen('SEEDS', ('0', '1'))]
    rows: list[dict[str, Any]] = []
    found: dict[tuple[str, str], list[float]] = {}
    cards = {}
    for name, left_out in parts:
        split = data.split(name, rotation, left_out)
        shown = f'{name} {left_out}'.strip()
        rows += _references(shown, split)
        if name == 'transfer':
            shipped = Run(load(Path('models/caps.safetensors')), 0.0, '')
            rows.append(_row(shown, 'shipped model', '', shipped, split)[0])
        for place, method in enumerate(chosen('METHODS', METHODS)):
            for seed in seeds:
                run = train(data, split, name, method, rotation, minutes, seed)
                row, accuracy = _row(shown, method, seed, run, split)
                if place == 0 and seed == seeds[0]:
                    rows.append(_untrained(shown, run.checkpoint, split))
                rows.append(row)
                found.setdefault((name, method), []).append(accuracy.auc)
                card = {**run.checkpoint.card, 'commit': run.commit}
                cards[f'{shown}-{method}-{seed}'] = card
    targets = []
    if (minutes, rotation) == (10, 45):
        for key, limit in _LIMITS.items():
            if key in found:
                mean = round(float(np.mean(found[key])), 4)
                targets.append(Target(f'AUC, {", ".join(key)}', mean, limit, at_least=True))
    if (minutes, rotation) == (30, 45):
        targets = _after_half_an_hour(rows)
    variables = given('SPLITS', 'LEFT_OUT', 'METHODS', 'SEEDS', 'MINUTES', 'ROTATION')
    ok = report(
        'accuracy',
        f'Accuracy after {minutes:g} processor minutes, views turned by +-{rotation:g} degrees, '
        'pixels of a 640-pixel-wide picture',
        rows,
        targets,
        None,
        {'data': data.name, 'cards': cards},
        variables={'DATA': data.name, **variables},
        variant=data.variant(variables),
    )
    return 0 if ok else 1


def _after_half_an_hour(rows: list[dict[str, Any]]) -> list[Target]:
    """Say what the default method must reach on held views in thirty minutes."""
    judged = [row for row in rows if (row['split'], row['descriptors']) == ('held', 'joint')]
    if not judged:
        return []
    return [
        Target(f'{key}, held, joint', float(np.mean([row[key] for row in judged])), limit, True)
        for key, limit in (('auc', 0.98), ('pck_5', 0.88))
    ]


def train(
    data: Data, split: Split, name: str, method: str, rotation: float, minutes: float, seed: int
) -> Run:
    """Train a method on a split, or take the run that was done before."""
    turned = 180.0 if name in _OF_PHOTOS else rotation
    return trained(
        f'{name}-{method}-{turned:g}',
        split.learned,
        Path(f'config/training/{method}.yaml'),
        minutes,
        seed,
        (f'--views.warp.rotation={turned:g}',),
        tuple(data.training_backgrounds()),
    )


def at_scale(checkpoint: Checkpoint, data: PairSet) -> DescriptorModel:
    """Load a model so that crops appear to it at the scale of whole pictures."""
    if data.width is not None:
        side = data.images[0].shape[1]
        size = round(checkpoint.preprocessing.input_size * side / data.width)
        preprocessing = dataclasses.replace(checkpoint.preprocessing, input_size=size)
        checkpoint = dataclasses.replace(checkpoint, preprocessing=preprocessing)
    return DescriptorModel(checkpoint)


def _row(
    name: str, method: str, seed: int | str, run: Run, split: Split
) -> tuple[dict[str, Any], Accuracy]:
    accuracy = measure(at_scale(run.checkpoint, split.about), split.about).accuracy
    whole = None
    if split.whole is not None:
        whole = measure(DescriptorModel(run.checkpoint), split.whole).accuracy
    return _figures(name, method, seed, accuracy, whole, run.checkpoint.card['steps']), accuracy


def _untrained(name: str, like: Checkpoint, split: Split) -> dict[str, Any]:
    run = Run(like.untrained(), 0.0, '')
    accuracy = measure(at_scale(run.checkpoint, split.about), split.about).accuracy
    whole = None
    if split.whole is not None:
        whole = measure(DescriptorModel(run.checkpoint), split.whole).accuracy
    return _figures(name, 'untrained', '', accuracy, whole, 0)


def _references(name: str, split: Split) -> list[dict[str, Any]]:
    rows = []
    references: tuple[tuple[str, Callable[[PairSet], Accuracy]], ...] = (
        ('object centroid', centroid_accuracy),
        ('random pixel of the object', random_accuracy),
    )
    for reference, function in references:
        whole = None if split.whole is None else function(split.whole)
        rows.append(_figures(name, reference, '', function(split.about), whole, ''))
    if 'METHODS' not in os.environ:  # half a minute each
        for reference, baseline in (('dense SIFT', DenseSift()), ('colours', ColourPatches())):
            errors = np.concatenate(baseline_errors(baseline, split.about))
            rows.append(_figures(name, reference, '', Accuracy.of(errors), None, ''))
    return rows


def _figures(
    split: str,
    descriptors: str,
    seed: int | str,
    accuracy: Accuracy,
    whole: Accuracy | None,
    steps: int | str,
) -> dict[str, Any]:
    figures = accuracy.rounded()
    return {
        'split': split,
        'descriptors': descriptors,
        'seed': seed,
        'steps': steps,
        **{key: figures[key] for key in ('auc', 'pck_5', 'pck_10', 'median_px')},
        'auc in whole pictures': '' if whole is None else whole.rounded()['auc'],
    }


def _turned_pairs(photos: Photos) -> PairSet:
    images, pairs = [], []
    for photo, copy in photos.pairs:
        uv, truth = points_to_find(photo, np.random.default_rng(0))
        images += [photo.image, copy.image]
        height, width = copy.mask.shape
        turn = np.array([[-1.0, 0, width - 1], [0, -1, height - 1], [0, 0, 1]])
        at = len(images) - 2
        pairs.append(Pair(at, at + 1, uv, truth, mask_centre(copy.mask), turn, copy.mask))
    return PairSet('photos and their turned copies', images, pairs, [])


def objects_shown(samples: list[Sample]) -> list[str]:
    """Tell what each picture shows by the colours in its mask: the name of the first alike."""
    histograms = [_histogram(sample) for sample in samples]
    names = []
    for histogram in histograms:
        distances = [
            cv2.compareHist(histogram, other, cv2.HISTCMP_BHATTACHARYYA) for other in histograms
        ]
        first = int(np.argmax(np.array(distances) < _SAME_OBJECT))
        names.append(samples[first].path.stem)
    return names


def _histogram(sample: Sample) -> NDArray[np.float32]:
    histogram = cv2.calcHist([sample.image], [0, 1, 2], sample.mask, [12] * 3, [0, 256] * 3)
    return np.asarray(histogram / histogram.sum(), np.float32)


def chosen(variable: str, default: tuple[str, ...]) -> tuple[str, ...]:
    """Read what an environment variable lists, separated by commas."""
    return tuple(filter(None, os.environ.get(variable, '').split(','))) or default


def number(variable: str, default: float) -> float:
    """Read a number from an environment variable."""
    return float(os.environ.get(variable) or default)


if __name__ == '__main__':
    sys.exit(main())
