"""How long an image takes to its matches, and what a viewer of every picture adds to that.

`python -m benchmarks.perception_latency`: a camera of 640x480 pixels at 30 Hz, ten stored points.
From an image's stamp, that of its publication, to the arrival of its matches at a listener:
SECONDS=10 without a viewer and as long with one, in turn, ROUNDS=5 times. Two to three minutes.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.database_node import Caller, enter_a_domain, wait_until
from benchmarks.report import Target, given, report
from benchmarks.running_nodes import VIEWED, beside, running_nodes, store_points
from don_kp.msg import Matches
from don_kp_ros.nodes.kit.conversions import seconds_from_stamp

_POINTS = 10
_SETTLING_S = 1.0
_MOST = 1.05  # with a viewer, over without


def main() -> int:
    """Measure, print, write; 1 where the target is missed."""
    seconds = float(os.environ.get('SECONDS') or 10)
    rounds = int(os.environ.get('ROUNDS') or 5)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix='don_kp-latency-') as name:
        folder = Path(name)
        enter_a_domain(folder)
        with running_nodes(folder), Caller() as caller:
            store_points(caller, _POINTS)
            for number in range(1, rounds + 1):
                alone = _latencies(caller, seconds, viewers=0)
                with beside('viewer'):
                    viewed = _latencies(caller, seconds, viewers=1)
                rows.append(row(number, alone, viewed))
    load = os.getloadavg()[0]
    ok = report(
        'perception_latency',
        f'From image to matches, {_POINTS} points, {seconds:g} s each, ms; load {load:.1f}',
        rows,
        [Target('with a viewer, over without', median(r['ratio'] for r in rows), _MOST)],
        details={'load': load},
        variables=given('SECONDS', 'ROUNDS'),
    )
    return 0 if ok else 1


def _latencies(caller: Caller, seconds: float, viewers: int) -> list[float]:
    """Listen once there are so many viewers; return the seconds from each image to its matches."""
    wait_until(lambda: all(caller.node.count_subscribers(topic) == viewers for topic in VIEWED))
    time.sleep(_SETTLING_S)
    heard: list[float] = []

    def on_matches(message: Matches) -> None:
        heard.append(time.time() - seconds_from_stamp(message.header.stamp))

    subscription = caller.node.create_subscription(Matches, '/don_kp/matches', on_matches, 10)
    time.sleep(seconds)
    caller.node.destroy_subscription(subscription)
    return heard


def row(number: int, alone: list[float], viewed: list[float]) -> dict[str, Any]:
    """Make the row of a round: what was heard without a viewer, and with one."""
    figures: dict[str, Any] = {'round': number}
    for condition, heard in ('alone', alone), ('viewed', viewed):
        middle, high = np.percentile(1e3 * np.array(heard), (50, 90))
        figures[f'{condition}: images'] = len(heard)
        figures |= {f'{condition}: median': float(middle), f'{condition}: p90': float(high)}
    figures['ratio'] = figures['viewed: median'] / figures['alone: median']
    return figures


if __name__ == '__main__':
    sys.exit(main())
