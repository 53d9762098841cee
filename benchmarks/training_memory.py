"""Bytes that a training step keeps for its backward pass, for every method and dimension.

`python -m benchmarks.training_memory`. See don_kp_ros/studies/step_costs.py for the sizes.
`recomputed` is what the part above the features would keep besides; it is computed anew in the
backward pass instead, when it exists for a moment. On a CUDA machine, torch's own peak of a whole
step is shown too.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

import torch

from benchmarks.report import Target, report
from don_kp_ros.studies import step_costs as costs

_MOST = 1.05  # of the backbone's own
_GROWTH = 0.02  # from D = 3 to D = 512


def main() -> int:
    """Run the benchmark."""
    pairs = costs.batch()
    cuda = torch.cuda.is_available()
    if cuda:
        pairs = {name: tensor.cuda() for name, tensor in pairs.items()}
    rows: list[dict[str, Any]] = []
    growth = []
    for method in costs.METHODS:
        kept = {}
        for dimension in costs.DIMENSIONS:
            module = costs.training(method, dimension)
            if cuda:
                module.cuda()
            own = costs.saved_bytes(partial(costs.features, module, pairs))
            kept[dimension] = costs.saved_bytes(partial(module.training_step, pairs, 0))
            below = costs.features(module, pairs).detach().requires_grad_()
            recomputed = costs.saved_bytes(partial(module.losses, below, pairs))
            row = {
                'method': method,
                'D': dimension,
                'backbone MB': round(own / 1e6, 1),
                'kept MB': round(kept[dimension] / 1e6, 1),
                'of the backbone': round(kept[dimension] / own, 4),
                'recomputed MB': round(recomputed / 1e6, 1),
            }
            if cuda:
                torch.cuda.reset_peak_memory_stats()
                costs.step(module, pairs)
                row['peak MB'] = round(torch.cuda.max_memory_allocated() / 1e6, 1)
            rows.append(row)
        growth.append(kept[max(kept)] / kept[min(kept)] - 1)
    worst = max(row['of the backbone'] for row in rows)
    ok = report(
        'training_memory',
        'Kept for the backward pass: ResNet-34 at stride 8, one pair of 256x256, N = 128',
        rows,
        [
            Target("kept, of the backbone's own, at most", worst, _MOST),
            Target('growth from D = 3 to D = 512, at most', round(max(growth), 4), _GROWTH),
        ],
    )
    return 0 if ok else 1


if __name__ == '__main__':
    sys.exit(main())
