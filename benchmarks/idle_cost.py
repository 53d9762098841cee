"""What each node costs while the camera runs and nobody asks.

`python -m benchmarks.idle_cost`: a camera of 640x480 pixels at 30 Hz, a robot that tells its
joints and frames at 50 Hz, one stored point. The processor time of each node over SECONDS=20,
beside that of processes that take the camera's pictures, or the robot's state, and do nothing with
them. A minute.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.database_node import Caller, enter_a_domain
from benchmarks.report import Target, given, report
from benchmarks.running_nodes import NODES, beside, cpu_seconds, running_nodes, store_points

_WARM_UP_S = 5.0
_MOST = 2.0  # per cent of a core
_IDLE = ('descriptor_database', 'grasp')


def main() -> int:
    """Measure, print, write; 1 where a target is missed."""
    seconds = float(os.environ.get('SECONDS') or 20)
    with tempfile.TemporaryDirectory(prefix='don_kp-idle-') as name:
        folder = Path(name)
        enter_a_domain(folder)
        with (
            running_nodes(folder) as nodes,
            beside('picture_subscriber') as pictures,
            beside('state_subscriber') as state,
        ):
            with Caller() as caller:
                store_points(caller, 1)
            pids = {node: nodes.process(node).pid for node in NODES}
            pids |= {'pictures taken alone': pictures.pid, 'state taken alone': state.pid}
            time.sleep(_WARM_UP_S)
            shares = _shares(pids, seconds)
    rows = [{'process': name, '% of a core': share} for name, share in shares.items()]
    load = os.getloadavg()[0]
    ok = report(
        'idle_cost',
        f'Camera at 30 Hz, nobody asks, {seconds:g} s; load {load:.1f}',
        rows,
        [Target(f'{node}, % of a core', shares[node], _MOST) for node in _IDLE],
        details={'load': load},
        variables=given('SECONDS'),
    )
    return 0 if ok else 1


def _shares(pids: dict[str, int], seconds: float) -> dict[str, float]:
    """Return the share of a core, in per cent, that each process takes over some time."""
    began = time.monotonic()
    before = {name: cpu_seconds(pid) for name, pid in pids.items()}
    time.sleep(seconds)
    used = {name: cpu_seconds(pid) - before[name] for name, pid in pids.items()}
    passed = time.monotonic() - began
    return {name: 100 * cpu / passed for name, cpu in used.items()}


if __name__ == '__main__':
    sys.exit(main())
