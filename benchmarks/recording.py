"""What a recording of the simulation costs, and what perception finds in its replay.

`python -m benchmarks.recording`: simulation, perception and database, with ten points of the cap
stored, recorded for SECONDS=60 of simulated time by `don_kp record`. Then they end, perception and
the database start anew, and `don_kp replay --inputs` says what camera and robot said, at RATE=0.5
of its time. A match of the replay has to be that of the live run, by the stamp of its image.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CameraInfo

from benchmarks.database_node import Caller, enter_a_domain, wait_until
from benchmarks.report import Target, given, report
from benchmarks.running_nodes import store_points
from don_kp.msg import Descriptors, Matches
from don_kp_ros.bringup import description
from don_kp_ros.bringup.processes import Bringup
from don_kp_ros.nodes.kit import camera_topics
from don_kp_ros.nodes.kit.qos import LATCHED
from don_kp_ros.recordings.reading import open_bag

_MATCHES, _COLOUR = '/don_kp/matches', f'/{camera_topics.COLOUR}'
_COLOUR_INFO, _DEPTH_INFO = f'/{camera_topics.COLOUR_INFO}', f'/{camera_topics.DEPTH_INFO}'
_POINTS = 10
_MOST_MISSED = 0.1  # of the live run's images

ByStamp = dict[tuple[int, int], Any]


def main() -> int:
    """Record, replay, compare, print, write; 1 where a target is missed."""
    seconds = float(os.environ.get('SECONDS') or 60)
    rate = float(os.environ.get('RATE') or 0.5)
    with tempfile.TemporaryDirectory(prefix='don_kp-recording-') as name:
        folder = Path(name)
        domain = str(enter_a_domain(folder))
        arguments = {
            'simulation': 'true',
            'simulation_domain': domain,
            'database': str(folder / 'descriptors.sqlite'),
        }
        stack = {**arguments, 'nodes': 'perception,descriptor_database'}
        with (
            Bringup({**stack, 'nodes': f'simulation,{stack["nodes"]}'}, folder / 'live') as nodes,
            Caller() as caller,
        ):
            os.environ.update(description.environment(nodes.arguments))
            store_points(caller, _POINTS)
            live_folder = folder / 'live_bag'
            told = _run('record', live_folder, '--simulated-time', '--seconds', seconds)
        print(told)
        with Bringup(stack, folder / 'again'), Caller() as caller:
            heard: list[Descriptors] = []
            caller.node.create_subscription(
                Descriptors, '/don_kp/descriptors', heard.append, LATCHED
            )
            wait_until(lambda: heard and len(heard[-1].descriptors) == _POINTS)
            again: ByStamp = {}
            caller.node.create_subscription(
                Matches, _MATCHES, lambda one: again.update({_stamp(one): one}), 1000
            )
            replay = ('replay', live_folder, '--inputs', '--rate', rate, '--domain', domain)
            print(_run(*replay, '--wait-for', _COLOUR))
        live = _recorded(live_folder)
    shared = live.keys() & again.keys()
    # Of what is found nowhere, the position is NaN: only bytes compare.
    different = sum(
        serialize_message(live[stamp]) != serialize_message(again[stamp]) for stamp in shared
    )
    size = re.search(r'(\d+) messages in ([\d.]+) s, ([\d.]+) MB .*, (\d+)% of a core', told)
    assert size is not None
    row = {
        'messages': int(size[1]),
        'MB': float(size[3]),
        'wall time, s': float(size[2]),
        'of a core': float(size[4]) / 100,
        'matches, live': len(live),
        'of the same images in the replay': len(shared),
        'different': different,
    }
    missed = 1 - len(shared) / len(live)
    lost = sum(int(count) for count in re.findall(r'(\d+) lost of ', told))
    ok = report(
        'recording',
        f'{seconds:g} s of the simulation recorded, and replayed at rate {rate:g}',
        [row],
        [
            Target('messages lost', float(lost), 0.0),
            Target('different matches of an image', float(different), 0.0),
            Target('live matches without their like', missed, _MOST_MISSED),
        ],
        variables=given('SECONDS', 'RATE'),
    )
    return 0 if ok else 1


def _run(*arguments: object) -> str:
    """Run a command of don_kp; return what it tells."""
    command = [sys.executable, '-m', 'don_kp_ros.cli', *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f'{" ".join(command)} failed:\n{done.stdout}{done.stderr}')
    return done.stdout


def _recorded(folder: Path) -> ByStamp:
    """Read the matches of images that were recorded with their depth, as the first may not be."""
    read: dict[str, ByStamp] = {}
    with open_bag(folder) as bag:
        kinds = {_MATCHES: Matches, _COLOUR_INFO: CameraInfo, _DEPTH_INFO: CameraInfo}
        for one in bag.messages([one for one in bag.connections if one.topic in kinds]):
            topic = one.connection.topic
            message = deserialize_message(one.data, kinds[topic])
            read.setdefault(topic, {})[_stamp(message)] = message
    whole = read[_COLOUR_INFO].keys() & read[_DEPTH_INFO].keys()
    return {stamp: one for stamp, one in read[_MATCHES].items() if stamp in whole}


def _stamp(message: Any) -> tuple[int, int]:
    return message.header.stamp.sec, message.header.stamp.nanosec


if __name__ == '__main__':
    sys.exit(main())
