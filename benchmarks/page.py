"""How long a picture takes from its stamp to the browser.

`python -m benchmarks.page`: the simulated stack in real time, `don_kp view`, and a Chromium
without a window that tells when it has drawn the picture of which stamp, for SECONDS=30. From the
stamp by the simulation's /clock, which includes what the simulation takes to draw the picture
itself, and goes slower than this machine's time where the machine is busy. From the arrival of the
camera's info, which is published with the picture, by this machine's time. A minute.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import sync_playwright
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo

from benchmarks.database_node import enter_a_domain
from benchmarks.report import Target, given, report
from don_kp_ros.bringup.processes import Bringup
from don_kp_ros.clients.asking import spun
from don_kp_ros.clients.stack import Stack
from don_kp_ros.nodes.kit import camera_topics
from don_kp_ros.nodes.kit.conversions import seconds_from_stamp
from don_kp_ros.nodes.kit.qos import SENSOR

_MOST_MS = 150.0
_SETTLING_S = 5.0
_PATIENCE_S = 60.0
_LISTEN = """() => {
  window.drawn = [];
  document.getElementById('picture').addEventListener('drawn', (event) => window.drawn.push(
    [event.detail[0] + 1e-9 * event.detail[1], (performance.timeOrigin + performance.now()) / 1e3]
  ));
}"""


def main() -> int:
    """Measure, print, write; 1 where the target is missed."""
    seconds = float(os.environ.get('SECONDS') or 30)
    with tempfile.TemporaryDirectory(prefix='don_kp-page-') as name:
        folder = Path(name)
        enter_a_domain(folder)
        arguments = {
            'simulation': 'true',
            'simulation_domain': os.environ['ROS_DOMAIN_ID'],
            'database': str(folder / 'descriptors.sqlite'),
        }
        with Bringup(arguments, folder / 'logs') as nodes, Stack('/') as stack:
            ticks: list[tuple[float, float]] = []  # this machine's time, the simulation's
            arrivals: dict[float, float] = {}  # of this machine's time, by stamp

            def on_tick(message: Clock) -> None:
                ticks.append((time.time(), seconds_from_stamp(message.clock)))

            def on_info(message: CameraInfo) -> None:
                stamp = round(seconds_from_stamp(message.header.stamp), 6)
                arrivals.setdefault(stamp, time.time())

            stack.node.create_subscription(Clock, '/clock', on_tick, SENSOR)
            info = camera_topics.COLOUR_INFO
            stack.node.create_subscription(CameraInfo, info, on_info, SENSOR)
            with spun(stack):
                drawn = _drawn(seconds)
            if ended := nodes.poll():
                raise RuntimeError(f'{ended.node} ended:\n{nodes.tail(ended.node)}')
    row = figures(np.array(drawn), np.array(ticks), arrivals)
    load = os.getloadavg()[0]
    ok = report(
        'page',
        f'From the stamp of a picture to its drawing, {seconds:g} s, ms; load {load:.1f}',
        [row],
        [Target('stamp to drawing, 90 % of pictures, ms', row['from stamp: p90'], _MOST_MS)],
        details={'load': load},
        variables=given('SECONDS'),
    )
    return 0 if ok else 1


def figures(drawn: np.ndarray, ticks: np.ndarray, arrivals: dict[float, float]) -> dict[str, Any]:
    """Make the row.

    drawn (N, 2): stamps, and this machine's times when they were drawn; ticks (M, 2): this
    machine's times and /clock's; arrivals: this machine's times by stamp. Seconds.
    """
    stamps, times = drawn.T
    from_stamp = 1e3 * (np.interp(times, *ticks.T) - stamps)
    known = [round(stamp, 6) in arrivals for stamp in stamps]
    from_arrival = 1e3 * np.array(
        [t - arrivals[round(stamp, 6)] for (stamp, t), ok in zip(drawn, known, strict=True) if ok]
    )
    published = sum(stamps[0] - 1e-3 <= stamp <= stamps[-1] + 1e-3 for stamp in arrivals)
    factor = float(np.ptp(ticks[:, 1]) / np.ptp(ticks[:, 0]))
    row: dict[str, Any] = {'published': int(published), 'drawn': len(drawn)}
    row['real time factor'] = factor
    for name, values in ('from stamp', from_stamp), ('from arrival', from_arrival):
        middle, high = np.percentile(values, (50, 90))
        row |= {f'{name}: median': float(middle), f'{name}: p90': float(high)}
    row['within 150 ms'] = float(np.mean(from_stamp <= _MOST_MS))
    return row


def _drawn(seconds: float) -> list[tuple[float, float]]:
    """Look at the page for some seconds; return stamps and when they were drawn."""
    command = [sys.executable, '-m', 'don_kp_ros.cli', 'view', '--port', '0']
    page = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert page.stdout is not None
        found = re.search(r'http://\S+', page.stdout.readline())
        if found is None:
            raise RuntimeError('don_kp view did not start')
        program = shutil.which('chromium') or shutil.which('chromium-browser')
        root = ['--no-sandbox'] if os.getuid() == 0 else []
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=program, args=root)
            tab = browser.new_page()
            tab.goto(found[0])
            tab.locator('#picture[data-stamp]').wait_for(timeout=1e3 * _PATIENCE_S)
            time.sleep(_SETTLING_S)
            tab.evaluate(_LISTEN)
            tab.wait_for_timeout(1e3 * seconds)
            drawn: list[tuple[float, float]] = tab.evaluate('window.drawn')
            browser.close()
        return drawn
    finally:
        page.terminate()
        page.wait()


if __name__ == '__main__':
    sys.exit(main())
