"""How well keypoints keep their places between views of held pictures.

`DATA=FOLDER python -m benchmarks.keypoints`: on the runs of `benchmarks.accuracy`, of which it
does those that are missing; MINUTES, METHODS (mined, joint) and SEEDS as there. Views are turned
by +-45 degrees, as in training, and by +-180 degrees: as they are, and looked at in TURNS (8)
copies turned by equal angles, of which the most certain is believed (DescriptorModel.keypoints).
RETRAIN=1 also trains with views turned by +-180 degrees, for comparison.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from benchmarks.accuracy import Data, at_scale, chosen, number, train
from benchmarks.report import Target, given, report
from don_kp_ros.data.folder import DataError
from don_kp_ros.evaluation.keypoints import measure_keypoints

_SPLIT = 'held'
_JUDGED = 'joint'
_MEDIAN_PX = {10: 3.2, 30: 2.5}  # by minutes
_TURNED_PX = 6.0
_INSIDE, _SPREAD = 0.97, 0.9


def main() -> int:
    """Run the benchmark."""
    try:
        data = Data.read()
    except DataError as error:
        print(f'keypoints: {error}', file=sys.stderr)
        return 2
    minutes, turns = number('MINUTES', 10), int(number('TURNS', 8))
    ranges = {rotation: data.split(_SPLIT, rotation) for rotation in (45.0, 180.0)}
    trainings = (45.0, 180.0) if os.environ.get('RETRAIN') else (45.0,)
    rows: list[dict[str, Any]] = []
    for method in chosen('METHODS', ('mined', 'joint')):
        for seed in chosen('SEEDS', ('0', '1')):
            for trained in trainings:
                run = train(data, ranges[trained], _SPLIT, method, trained, minutes, int(seed))
                for shown, split in ranges.items():
                    for copies in (1, turns):
                        model = at_scale(run.checkpoint, split.about)
                        quality = measure_keypoints(model, split.about, copies)
                        rows.append(
                            {
                                'method': method,
                                'seed': int(seed),
                                'trained +-': trained,
                                'shown +-': shown,
                                'copies': copies,
                                **quality.rounded(),
                            }
                        )
    targets = []
    upright = _mean(rows, 45.0, 1)
    if int(minutes) in _MEDIAN_PX:
        limit = _MEDIAN_PX[int(minutes)]
        targets.append(Target('median px, +-45 degrees', upright['median_px'], limit))
    turned = _mean(rows, 180.0, turns)
    targets += [
        Target('share inside the mask, +-45 degrees', upright['inside'], _INSIDE, at_least=True),
        Target("spread over the mask's, +-45 degrees", upright['spread'], _SPREAD, at_least=True),
        Target(f'median px, +-180 degrees, {turns} copies', turned['median_px'], _TURNED_PX),
    ]
    variables = given('METHODS', 'SEEDS', 'MINUTES', 'TURNS', 'RETRAIN')
    ok = report(
        'keypoints',
        f'Keypoints between views of held pictures after {minutes:g} processor minutes, pixels of '
        'a 640-pixel-wide picture',
        rows,
        targets,
        None,
        {'data': data.name},
        variables={'DATA': data.name, **variables},
        variant=data.variant(variables),
    )
    return 0 if ok else 1


def _mean(rows: list[dict[str, Any]], shown: float, copies: int) -> dict[str, float]:
    """Average the default method's figures over seeds; the first method's, if it was not run."""
    methods = [row['method'] for row in rows]
    method = _JUDGED if _JUDGED in methods else methods[0]
    chosen_rows = [
        row
        for row in rows
        if (row['method'], row['trained +-'], row['shown +-'], row['copies'])
        == (method, 45.0, shown, copies)
    ]
    figures = ('median_px', 'inside', 'spread')
    return {
        name: round(sum(row[name] for row in chosen_rows) / len(chosen_rows), 3)
        for name in figures
    }


if __name__ == '__main__':
    sys.exit(main())
