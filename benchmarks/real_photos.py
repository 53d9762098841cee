"""Train on a few photos for ten processor minutes; find their points in one never seen.

`DATA=FOLDER python -m benchmarks.real_photos`: FOLDER, or its caps_real/, holds rgbs/ and masks/.
Every photo that is another one turned by 180 degrees is held out: where a point of the one lies in
the other is known exactly. Without DATA, a few rendered pictures take the photos' place, and the
result goes to real_photos-rendered.json. SEED=1 trains from another seed. Models are kept
(benchmarks/runs.py).
"""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import OUTPUT, Target, report
from benchmarks.runs import trained, write_pictures
from don_kp_ros.data.folder import DataError, Image, ImageFolder, Sample
from don_kp_ros.evaluation.pck import Accuracy, pixel_errors
from don_kp_ros.evaluation.protocols.turned import turned_copies
from don_kp_ros.evaluation.transfer import transfer
from don_kp_ros.networks.model import DescriptorModel

CPU_MINUTES = 10.0
_POINTS = 100
_CONFIG = Path('config/training/photos.yaml')

Errors = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Photos:
    """What is learned from, and pairs of a photo and its turned copy, which is not."""

    learned: list[Sample]
    pairs: list[tuple[Sample, Sample]]

    @classmethod
    def read(cls, folder: Path) -> Photos:
        """Read a folder and hold out every turned copy; raises DataError where there is none."""
        samples = sorted(ImageFolder.open(folder).samples(), key=_by_number)
        copies = turned_copies([sample.image for sample in samples])
        if not copies:
            raise DataError(f'{folder}: no picture is another one turned by 180 degrees')
        return cls(
            [sample for i, sample in enumerate(samples) if i not in copies],
            [(samples[original], samples[copy]) for copy, original in copies.items()],
        )


def main() -> int:
    """Run the benchmark; return 0 if its targets are reached."""
    seed = int(os.environ.get('SEED', '0'))
    work = OUTPUT / 'real_photos'
    data = os.environ.get('DATA', '')
    try:
        folder = photo_folder(data) if data else rendered_folder(work, seed)
        photos = Photos.read(folder)
    except DataError as error:
        print(f'real_photos: {error}', file=sys.stderr)
        return 2
    learned = [sample.path.name for sample in photos.learned]
    matched = [f'{photo.path.name} to {copy.path.name}' for photo, copy in photos.pairs]
    print(f'Training on {", ".join(learned)}; then matching {", ".join(matched)}')
    run = trained('real_photos', photos.learned, _CONFIG, CPU_MINUTES, seed)
    model, minutes = run.checkpoint, run.cpu_minutes

    model_errors, untrained_errors, centroid_errors = [], [], []
    untrained = model.untrained()
    for photo, copy in photos.pairs:
        uv, truth = points_to_find(photo, np.random.default_rng(seed))
        views = (photo.image, copy.image)
        model_errors.append(errors(DescriptorModel(model), *views, uv, truth))
        untrained_errors.append(errors(DescriptorModel(untrained), *views, uv, truth))
        v, u = np.nonzero(copy.mask)
        centroid = np.broadcast_to([u.mean(), v.mean()], truth.shape)
        centroid_errors.append(pixel_errors(centroid, truth, views[1].shape[1]))
    source = folder.resolve().name if data else 'rendered caps'
    rows = []
    for name, found in (
        ('trained', model_errors),
        ('untrained', untrained_errors),
        ('object centroid', centroid_errors),
    ):
        figures = dataclasses.asdict(Accuracy.of(np.concatenate(found)))
        rows.append({'descriptors': name, **figures})
    ok = report(
        'real_photos',
        f'Points of a {"photo" if data else "rendered picture"} found in its turned copy, '
        'pixels of a 640-pixel-wide picture',
        rows,
        [
            Target('median error in pixels', rows[0]['median_px'], 8),
            Target('share within 20 px', rows[0]['pck_20'], 0.8, at_least=True),
            Target('processor minutes of training', round(minutes, 2), CPU_MINUTES),
        ],
        seed,
        {
            'data': source,
            'trained_on': learned,
            'matched': matched,
            'card': model.card,
            'trained_at': run.commit,
        },
        variables={'DATA': source, 'SEED': seed} if data else {'SEED': seed},
        variant='' if data else 'rendered',
    )
    return 0 if ok else 1


def photo_folder(data: str) -> Path:
    """Find the photos in a folder, or in its caps_real/; raises DataError."""
    for folder in (Path(data), Path(data) / 'caps_real'):
        if (folder / 'rgbs').is_dir():
            return folder
    raise DataError(f'{data}: neither it nor its caps_real/ has a folder rgbs/ (DATA)')


def rendered_folder(work: Path, seed: int) -> Path:
    """Render pictures in the place of photos, and say so."""
    print('DATA names no folder of photos: rendered caps take their place.')
    rendered, folder = work / f'rendered-{seed}', work / f'pictures-{seed}'
    if not folder.is_dir():
        command = [sys.executable, '-m', 'don_kp_ros.simulation.command', str(rendered)]
        options = ['--images', '3', '--negatives', '0', '--pairs', '0', '--seed', str(seed)]
        subprocess.run([*command, *options], check=True)
        partial = folder.with_suffix('.partial')
        shutil.rmtree(partial, ignore_errors=True)
        samples = list(ImageFolder.open(rendered).samples())
        write_pictures(partial, samples)
        turned = [
            Sample(Path(f'{s.path.stem}-turned.png'), s.image[::-1, ::-1], s.mask[::-1, ::-1])
            for s in samples[:1]
        ]
        write_pictures(partial, turned)
        partial.rename(folder)
    return folder


def points_to_find(
    sample: Sample, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Draw pixels (Q, 2) of the object, and where they lie in the turned picture."""
    v, u = np.nonzero(sample.mask)
    chosen = rng.choice(len(u), min(_POINTS, len(u)), replace=False)
    uv = np.stack([u[chosen], v[chosen]], axis=1).astype(np.float32)
    height, width = sample.mask.shape
    return uv, np.array([width - 1, height - 1], np.float32) - uv


def errors(
    model: DescriptorModel,
    image_a: Image,
    image_b: Image,
    uv: NDArray[np.float32],
    truth: NDArray[np.float32],
) -> Errors:
    """Match points between two pictures; return their errors in reference pixels."""
    found = transfer(
        model.describe(image_a),
        model.describe(image_b),
        uv,
        (image_a.shape[0], image_a.shape[1]),
        (image_b.shape[0], image_b.shape[1]),
    )
    return pixel_errors(found.uv, truth, image_b.shape[1])


def _by_number(sample: Sample) -> tuple[int, str]:
    """Order 2 before 11: the later one of two that are the same is held out."""
    digits = re.sub(r'\D', '', sample.path.stem)
    return int(digits or 0), sample.path.stem


if __name__ == '__main__':
    sys.exit(main())
