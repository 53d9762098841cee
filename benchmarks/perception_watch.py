"""Perception against the simulation, watched for minutes of its time.

`python -m benchmarks.perception_watch`: simulation, perception and database, with ten points of
the cap stored, at real time for SECONDS=300 simulated seconds. Every result must bear the stamp of
an image of the camera, and no image may be handled twice. The latency is perception's own, from an
image's stamp to its matches, in ROS time; memory is perception's resident set.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo

from benchmarks.database_node import Caller, enter_a_domain, wait_until
from benchmarks.report import Target, given, report
from benchmarks.running_nodes import store_points
from don_kp.msg import Matches
from don_kp_ros.bringup import description
from don_kp_ros.bringup.processes import Bringup
from don_kp_ros.nodes.kit import camera_topics
from don_kp_ros.nodes.kit.conversions import seconds_from_stamp

_NODES = 'simulation,perception,descriptor_database'
_POINTS = 10
_EVERY_S = 2.0  # wall time between two readings of the memory
_WARM_UP_S = 60.0  # simulated; what is loaded once is loaded by then
_MOST_MEMORY, _MOST_PERIODS = 1.02, 1.5
_ALL = QoSProfile(depth=1000, reliability=ReliabilityPolicy.BEST_EFFORT)


class Watch:
    """What is heard of camera and perception."""

    def __init__(self, caller: Caller) -> None:
        """Listen from now on."""
        self.images: set[float] = set()
        self.results: list[float] = []
        self.told: dict[str, str] = {}
        node = caller.node
        info = f'/{camera_topics.COLOUR_INFO}'
        node.create_subscription(CameraInfo, info, self._on_image, _ALL)
        node.create_subscription(Matches, '/don_kp/matches', self._on_result, _ALL)
        node.create_subscription(DiagnosticArray, '/diagnostics', self._on_told, _ALL)

    def _on_image(self, message: CameraInfo) -> None:
        self.images.add(seconds_from_stamp(message.header.stamp))

    def _on_result(self, message: Matches) -> None:
        self.results.append(seconds_from_stamp(message.header.stamp))

    def _on_told(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if 'perception' in status.name:
                self.told = {value.key: value.value for value in status.values}


def _resident_mib(pid: int) -> float:
    pages = int(Path(f'/proc/{pid}/statm').read_text().split()[1])
    return pages * os.sysconf('SC_PAGE_SIZE') / 2**20


def main() -> int:
    """Watch, print, write; 1 where a target is missed."""
    seconds = float(os.environ.get('SECONDS') or 300)
    with tempfile.TemporaryDirectory(prefix='don_kp-watch-') as name:
        folder = Path(name)
        domain = enter_a_domain(folder)
        arguments = {'simulation': 'true', 'simulation_domain': str(domain), 'nodes': _NODES}
        arguments['database'] = str(folder / 'descriptors.sqlite')
        with Bringup(arguments, folder / 'logs') as nodes, Caller() as caller:
            os.environ.update(description.environment(nodes.arguments))
            store_points(caller, _POINTS)
            watch = Watch(caller)
            wait_until(lambda: watch.results)
            pid, memory = nodes.process('perception').pid, []
            while watch.results[-1] - watch.results[0] < seconds:
                ended = nodes.poll()
                if ended is not None:
                    raise RuntimeError(f'{ended.node} ended:\n{nodes.tail(ended.node)}')
                passed = watch.results[-1] - watch.results[0]
                memory.append((passed, _resident_mib(pid)))
                time.sleep(_EVERY_S)
    rows, targets = figures(watch, memory)
    load = os.getloadavg()[0]
    ok = report(
        'perception_watch',
        f'Perception for {seconds:g} s of the simulation, {_POINTS} points; load {load:.1f}',
        rows,
        targets,
        details={'load': load},
        variables=given('SECONDS'),
    )
    return 0 if ok else 1


def figures(
    watch: Watch, memory: list[tuple[float, float]]
) -> tuple[list[dict[str, Any]], list[Target]]:
    """Judge what was heard, and the memory (seconds, MiB)."""
    stamps = np.array(watch.results)
    # The first result may be of an image before the first one heard; the last may come before it.
    first = min(watch.images)
    strangers = sum(one not in watch.images for one in watch.results[:-1] if one >= first)
    period = float(np.diff(stamps).mean())
    early = max((mib for passed, mib in memory if passed <= _WARM_UP_S), default=np.nan)
    late = max((mib for passed, mib in memory if passed > _WARM_UP_S), default=np.nan)
    latency = float(watch.told['latency, 99 % [s]'])
    row = {
        'images': len(watch.images),
        'results': len(stamps),
        'period, s': period,
        'latency, mean, s': float(watch.told['latency, mean [s]']),
        'latency, 99 %, s': latency,
        'memory of the first minute, MiB': early,
        'afterwards': late,
    }
    targets = [
        Target('results of no image', float(strangers), 0.0),
        Target('images handled twice', float(len(stamps) - len(set(watch.results))), 0.0),
        Target('latency, 99 %, periods', latency / period, _MOST_PERIODS),
        Target('memory afterwards, over the first minute', late / early, _MOST_MEMORY),
    ]
    return [row], targets


if __name__ == '__main__':
    sys.exit(main())
