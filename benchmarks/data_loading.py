"""Whether training ever waits for its view pairs.

`DATA=FOLDER python -m benchmarks.data_loading`: FOLDER holds caps/ and backgrounds/; without it
caps are rendered. Views of 288x288 pixels, as many as in 320x240 and a few more, are made by a
loader of two processes alone; then a training with the default configuration runs for STEPS (60)
with one, and the time that it stands waiting for the next batch is compared with the time of a
step.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from pathlib import Path

import torch

from benchmarks.rendered import data_folder
from benchmarks.report import Target, report
from don_kp_ros import configuration
from don_kp_ros.data.folder import DataError
from don_kp_ros.data.loader import PairStream
from don_kp_ros.data.pairs import ViewConfiguration, ViewSampler
from don_kp_ros.data.picture_file import read_image
from don_kp_ros.data.source import prepare, prepare_background
from don_kp_ros.studies.splits import Data
from don_kp_ros.training.module import DescriptorTraining
from don_kp_ros.training.settings import TrainingConfiguration

_SHARE = 0.05
_PAIRS = 300


def main() -> int:
    """Run the benchmark."""
    try:
        folder = data_folder()
        data = Data.read(folder)
    except DataError as error:
        print(f'data_loading: {error}', file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    settings = configuration.read(TrainingConfiguration, {}, 'defaults')
    size = settings.preprocessing.input_size
    sources = [prepare(sample, size) for sample in data.renders]
    backgrounds = [prepare_background(read_image(path), size) for path in data.backgrounds]

    def stream(views: ViewConfiguration) -> PairStream:
        return PairStream(ViewSampler(views, sources, backgrounds), settings.pairs, seed=0)

    large = stream(dataclasses.replace(settings.views, size=288))
    batches = iter(large.loader(workers=2))
    for _ in range(4):
        next(batches)
    began = time.perf_counter()
    for _ in range(_PAIRS // settings.pairs):
        next(batches)
    rate = _PAIRS / (time.perf_counter() - began)
    del batches

    module = DescriptorTraining(settings, lambda: 0.5, Path('output'))
    optimiser = module.configure_optimizers()
    batches = iter(stream(settings.views).loader(workers=1))
    waited = total = 0.0
    steps = int(os.environ.get('STEPS') or 60)
    for number in range(steps + 5):
        began = time.perf_counter()
        batch = next(batches)
        ready = time.perf_counter()
        optimiser.zero_grad()
        module.training_step(batch, 0)['loss'].backward()
        optimiser.step()
        if number >= 5:
            waited += ready - began
            total += time.perf_counter() - began
    rows = [
        {
            'pairs a second, 2 processes, 288x288': round(rate, 1),
            'pairs a second that a step takes': round(settings.pairs * steps / total, 1),
            'ms a step': round(1000 * total / steps, 1),
            'ms waited': round(1000 * waited / steps, 2),
            'share waited': round(waited / total, 4),
        }
    ]
    name = folder.resolve().name if os.environ.get('DATA') else 'rendered caps'
    ok = report(
        'data_loading',
        'View pairs made, and waited for',
        rows,
        [Target('share of a step that is waited', waited / total, _SHARE)],
        0,
        {'data': name},
        variables={'DATA': name},
        variant='' if os.environ.get('DATA') else 'rendered',
    )
    return 0 if ok else 1


if __name__ == '__main__':
    sys.exit(main())
