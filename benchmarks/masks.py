"""Masks by depth against the truth of simulated views.

`python -m benchmarks.masks`: VIEWS=100 views of caps, mugs, cans, bottles and boxes in turn, each
of another instance, up to three other things beside it, seen as `don_kp render` sees them. Nobody
points: what stands nearest to the picture's middle is taken. Colours and depth have a D435's
faults. Beside it: exact depth, and of a quarter of the views colour, without a box and in one
about the object. SEED=1 draws other views.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from benchmarks.report import Target, given, report
from don_kp_ros.annotation.by_colour import mask_by_colour
from don_kp_ros.annotation.by_depth import mask_by_depth
from don_kp_ros.annotation.proposal import Proposal
from don_kp_ros.errors import RefusedError
from don_kp_ros.pose.segmentation import Mask
from don_kp_ros.simulation.camera import D435, with_faults
from don_kp_ros.simulation.instances import VALIDATION
from don_kp_ros.simulation.kinds import BUILT_IN
from don_kp_ros.simulation.posed import Subject, Viewpoints, draw_subjects, take

Row = dict[str, Any]

BY_DEPTH = "a D435's depth"
BAD = 0.8  # intersection over union; what is below must be doubtful
BOX_PX = 8  # off the object


def trial(subject: Subject, seed: Sequence[int], colour: bool) -> list[Row]:
    """Take a view, and measure a mask of each way; colour: also by colour, which takes seconds."""
    rng = np.random.default_rng(seed)
    shot = take(subject, Viewpoints(), rng)
    exact, seen = shot.frame, with_faults(shot.frame, rng)
    ways: dict[str, Callable[[], Proposal]] = {
        BY_DEPTH: lambda: mask_by_depth(seen.colour, seen.depth, D435, None),
        'exact depth': lambda: mask_by_depth(exact.colour, exact.depth, D435, None),
    }
    if colour:
        box = _box(shot.mask)
        ways['colour, no box'] = lambda: mask_by_colour(seen.colour, None, [], [])
        ways['colour, a box'] = lambda: mask_by_colour(seen.colour, box, [], [])
    return [
        {'way': way, 'kind': subject.kind, **measured(make, shot.mask)}
        for way, make in ways.items()
    ]


def measured(make: Callable[[], Proposal], true: Mask) -> Row:
    """Measure a mask: its intersection over union with the true one, 0 where it is refused."""
    try:
        found = make()
    except RefusedError as error:
        return {'iou': 0.0, 'doubts': [str(error)]}
    shown = found.mask > 0
    overlap = float((shown & true).sum() / (shown | true).sum())
    return {'iou': overlap, 'doubts': list(found.doubts)}


def _box(mask: Mask) -> tuple[float, ...]:
    """Return the box about a mask as a hand draws it."""
    height, width = mask.shape
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    top, left = max(rows[0] - BOX_PX, 0), max(columns[0] - BOX_PX, 0)
    bottom, right = min(rows[-1] + BOX_PX, height), min(columns[-1] + BOX_PX, width)
    return float(left), float(top), float(right - left), float(bottom - top)


def summary(way: str, kind: str, rows: Sequence[Row]) -> Row:
    """Make the figures of some views; `unsaid` counts the bad ones that nothing is doubted of."""
    bad = [row for row in rows if row['iou'] < BAD]
    sure = [row['iou'] for row in rows if not row['doubts']]
    return {
        'way': way,
        'kind': kind,
        'views': len(rows),
        'mean IoU': round(float(np.mean([row['iou'] for row in rows])), 3),
        'least': round(min(row['iou'] for row in rows), 3),
        f'below {BAD}': len(bad),
        'unsaid': sum(not row['doubts'] for row in bad),
        'doubtful': len(rows) - len(sure),
        'mean of the others': round(float(np.mean(sure)), 3) if sure else float('nan'),
    }


def main() -> int:
    """Run the benchmark; 1 where a target is missed."""
    cv2.setNumThreads(1)
    views, seed = int(os.environ.get('VIEWS') or 100), int(os.environ.get('SEED') or 0)
    subjects = draw_subjects(list(BUILT_IN), views, seed, VALIDATION)
    rows: list[Row] = []
    for number, subject in enumerate(tqdm(subjects, desc='masks', unit='view')):
        rows += trial(subject, [seed, 8, number], colour=number % 4 == 0)  # of every kind
    table = []
    for way in dict.fromkeys(row['way'] for row in rows):
        own = [row for row in rows if row['way'] == way]
        for kind in BUILT_IN if way == BY_DEPTH else ():
            if some := [row for row in own if row['kind'] == kind]:
                table.append(summary(way, kind, some))
        table.append(summary(way, 'all', own))
    every = next(row for row in table if row['kind'] == 'all')
    ok = report(
        'masks',
        f'Masks of {views} views',
        table,
        [
            Target('mean IoU', every['mean IoU'], 0.93, at_least=True),
            Target(f'views below {BAD} that nobody is told of', every['unsaid'], 0),
        ],
        seed=seed,
        details={'rows_of_views': rows},
        variables=given('VIEWS', 'SEED'),
    )
    return 0 if ok else 1


if __name__ == '__main__':
    sys.exit(main())
