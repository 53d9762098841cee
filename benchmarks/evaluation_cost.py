"""Seconds of an evaluation over those of the forward passes alone.

`python -m benchmarks.evaluation_cost`. 50 pairs of rendered caps at 640x480, D = 64, 256 queries
each: descriptors at the queries, exact heatmaps, their maxima, errors. Both are timed in turn in
one run, in processor time of one thread; the figure is the median of the ratios of neighbours. The
network is that of the shipped model, at its own input of 320x240 and at 640x480. REPEATS=5 takes
more of them (3), PAIRS=10 fewer pairs. How well the network matches changes what its search costs:
an untrained one is timed, too.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks.report import OUTPUT, Target, given, in_turn, report
from don_kp_ros.evaluation.measure import measure
from don_kp_ros.evaluation.pairs import PairSet
from don_kp_ros.evaluation.protocols.posed import Posed
from don_kp_ros.evaluation.reading import Reader
from don_kp_ros.networks.checkpoint import load
from don_kp_ros.networks.model import DescriptorModel
from don_kp_ros.resources import shipped_model
from don_kp_ros.simulation import command

_MOST = 1.3
_QUERIES, _SEED = 256, 0


def main() -> int:
    """Run the benchmark."""
    torch.set_num_threads(1)
    repeats, pairs = int(os.environ.get('REPEATS') or 3), int(os.environ.get('PAIRS') or 50)
    data = _pairs(pairs)
    checkpoint = load(shipped_model())
    rows: list[dict[str, Any]] = []
    for side in (320, 640):
        preprocessing = dataclasses.replace(checkpoint.preprocessing, input_size=side)
        trained = dataclasses.replace(checkpoint, preprocessing=preprocessing)
        for name, network in (('trained', trained), ('untrained', trained.untrained())):
            model = DescriptorModel(network)
            measure(model, dataclasses.replace(data, pairs=data.pairs[:2]))  # warms up
            forward = partial(_forward, model, data)
            alone, whole, ratio = in_turn(forward, partial(measure, model, data), repeats)
            rows.append(
                {
                    'network input': f'{side}x{side * 3 // 4}',
                    'weights': name,
                    'forward s': round(alone, 2),
                    'evaluation s': round(whole, 2),
                    'ratio': round(ratio, 3),
                }
            )
    ok = report(
        'evaluation_cost',
        f'Evaluation of {len(data.pairs)} pairs at 640x480, D = {checkpoint.network.dimension}, '
        f'{_QUERIES} queries each, and the forward passes alone, processor seconds',
        rows,
        [
            Target(f'evaluation over forward passes, input of {size}', worst, _MOST)
            for size, worst in _worst(rows).items()
        ],
        _SEED,
        variables=given('REPEATS', 'PAIRS'),
    )
    return 0 if ok else 1


def _worst(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Take the larger ratio of each network input."""
    worst: dict[str, float] = {}
    for row in rows:
        size = row['network input']
        worst[size] = max(worst.get(size, 0.0), row['ratio'])
    return worst


def _pairs(number: int) -> PairSet:
    """Render pairs of views of caps; every picture is in one pair, and is described once."""
    folder = OUTPUT / 'evaluation_cost' / f'{number}'
    if not (folder / 'views.json').is_file():
        options = ['--object', 'cap', '--instances', str(number), '--views', str(2 * number)]
        if command.main([str(folder), *options, '--negatives', '0', '--seed', str(_SEED)]):
            raise SystemExit(1)
    protocol = Posed(
        pairs=10 * number, queries=_QUERIES, views=2 * number, tilt=(), ratio=(), rotation=()
    )
    (condition,) = protocol.conditions(folder, _SEED, Reader())
    chosen, used = [], set[int]()
    for pair in condition.data.pairs:
        if used.isdisjoint((pair.image_a, pair.image_b)):
            chosen.append(pair)
            used |= {pair.image_a, pair.image_b}
    filled = []
    for pair in chosen:  # some pairs share fewer points
        places = np.resize(np.arange(len(pair.uv_a)), _QUERIES)
        filled.append(dataclasses.replace(pair, uv_a=pair.uv_a[places], uv_b=pair.uv_b[places]))
    return dataclasses.replace(condition.data, pairs=filled)


def _forward(model: DescriptorModel, data: PairSet) -> None:
    for pair in data.pairs:
        for index in (pair.image_a, pair.image_b):
            model.describe(data.images[index])


if __name__ == '__main__':
    sys.exit(main())
