"""Seconds of a training step over those of the backbone alone, for every method and dimension.

`python -m benchmarks.training_speed`. See don_kp_ros/studies/step_costs.py for the sizes. Both are
timed in turn in one run, in processor time of one thread; the figure is the median of the ratios
of neighbours. REPEATS=5 takes more of them (3). The optimiser is left out: both need it.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import Any

import torch

from benchmarks.report import Target, in_turn, report
from don_kp_ros.studies import step_costs as costs

_MOST = 1.15


def main() -> int:
    """Run the benchmark."""
    torch.set_num_threads(1)
    repeats = int(os.environ.get('REPEATS') or 3)
    pairs = costs.batch()
    rows: list[dict[str, Any]] = []
    for method in costs.METHODS:
        for dimension in costs.DIMENSIONS:
            module = costs.training(method, dimension)
            costs.step(module, pairs)  # warms up
            alone, whole, ratio = in_turn(
                partial(costs.backbone_step, module, pairs),
                partial(costs.step, module, pairs),
                repeats,
                after=module.zero_grad,
            )
            rows.append(
                {
                    'method': method,
                    'D': dimension,
                    'backbone s': round(alone, 3),
                    'step s': round(whole, 3),
                    'ratio': round(ratio, 3),
                }
            )
    worst = max(row['ratio'] for row in rows)
    ok = report(
        'training_speed',
        'A training step and the backbone alone: ResNet-34 at stride 8, one pair of 256x256, '
        'N = 128, processor seconds',
        rows,
        [Target('step over backbone, at most', worst, _MOST)],
    )
    return 0 if ok else 1


if __name__ == '__main__':
    sys.exit(main())
