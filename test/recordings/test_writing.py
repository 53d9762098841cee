"""Recordings that are written, read by others' readers; and what disks refuse."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest
from rosbags.highlevel import AnyReader
from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from don_kp_ros.errors import RefusedError
from don_kp_ros.recordings import writing
from don_kp_ros.recordings.definitions import definition
from don_kp_ros.recordings.reading import offered, open_bag
from don_kp_ros.recordings.writing import Recording

ROOT = Path(__file__).parents[2]
KIND = 'std_msgs/msg/String'
TYPES = get_typestore(Stores.ROS2_JAZZY)
DIGEST = TYPES.hash_rihs01(KIND)
FOREVER = QosTime(9223372036, 854775807)
LATCHED = Qos(
    QosHistory.KEEP_LAST,
    1,
    QosReliability.RELIABLE,
    QosDurability.TRANSIENT_LOCAL,
    FOREVER,
    FOREVER,
    QosLiveliness.AUTOMATIC,
    FOREVER,
    False,
)


def text(content: str) -> bytes:
    return bytes(TYPES.serialize_cdr(TYPES.types[KIND](data=content), KIND))


def test_others_read_what_was_written(tmp_path: Path) -> None:
    recording = Recording(tmp_path / 'bag')
    topic = recording.add('/said', KIND, DIGEST, [LATCHED])
    for number in range(3):
        recording.write(topic, 10 + number, text(str(number)))
    recording.close()
    assert recording.counts == {'/said': 3}
    assert recording.size == sum(path.stat().st_size for path in (tmp_path / 'bag').iterdir())
    assert {path.name for path in (tmp_path / 'bag').iterdir()} == {'bag.mcap', 'metadata.yaml'}
    with AnyReader([tmp_path / 'bag']) as reader:  # which also compares definition and digest
        read = [
            (stamp, reader.deserialize(data, KIND).data) for _, stamp, data in reader.messages()
        ]
        assert read == [(10, '0'), (11, '1'), (12, '2')]
    with open_bag(tmp_path / 'bag') as bag:
        (connection,) = bag.connections
        assert offered(connection) == [LATCHED]
        assert [message.stamp for message in bag.messages([connection])] == [10, 11, 12]


def test_where_publishers_tell_no_digest_it_is_that_of_the_definition(tmp_path: Path) -> None:
    recording = Recording(tmp_path / 'bag')
    recording.write(recording.add('/said', KIND, 'INVALID', []), 10, text('a'))
    recording.close()
    with AnyReader([tmp_path / 'bag']) as reader:
        assert [one.digest for one in reader.connections] == [DIGEST]


@pytest.mark.parametrize(
    'kind',
    [
        'sensor_msgs/msg/CameraInfo',
        'tf2_msgs/msg/TFMessage',
        'diagnostic_msgs/msg/DiagnosticArray',
        'action_msgs/msg/GoalStatusArray',
    ],
)
def test_definitions_are_those_of_jazzy(kind: str) -> None:
    """A digest covers the names and types of all fields, of those inside, too."""
    made = get_typestore(Stores.EMPTY)
    made.register(get_types_from_msg(definition(kind), kind))
    assert made.hash_rihs01(kind) == TYPES.hash_rihs01(kind)


def test_a_definition_that_is_not_there_is_named() -> None:
    with pytest.raises(RefusedError, match=r'no_msgs/msg/No: its definition is not found'):
        definition('no_msgs/msg/No')


def test_an_existing_folder_and_a_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match='exists; name another folder'):
        Recording(tmp_path)
    with pytest.raises(RefusedError, match='name a folder; the file lies in it'):
        Recording(tmp_path / 'a.mcap')


def test_where_little_room_is_left_the_recording_ends_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = Recording(tmp_path / 'bag')
    topic = recording.add('/said', KIND, DIGEST, [])
    recording.write(topic, 1, text('a'))
    monkeypatch.setattr(writing, '_RESERVE', 2**62)
    monkeypatch.setattr(writing, '_LOOKS_EVERY', 0)
    with pytest.raises(RefusedError, match=r'bag: \d+ MB are free on its disk'):
        recording.write(topic, 2, text('b'))
    recording.close()
    with AnyReader([tmp_path / 'bag']) as reader:
        assert [stamp for _, stamp, _ in reader.messages()] == [1]


def test_a_disk_that_is_too_full_from_the_first_keeps_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as full:
        full.setattr(writing, '_RESERVE', 2**62)
        with pytest.raises(RefusedError, match=r'bag: \d+ MB are free on its disk'):
            Recording(tmp_path / 'bag')
    assert not [*tmp_path.iterdir()]
    Recording(tmp_path / 'bag').close()  # once there is room


def test_a_disk_that_takes_no_more_is_named(tmp_path: Path) -> None:
    script = f"""
import sys
from pathlib import Path
from don_kp_ros.recordings.writing import Recording
recording = Recording(Path({str(tmp_path / 'bag')!r}))
topic = recording.add('/said', {KIND!r}, {DIGEST!r}, [])
try:
    for number in range(100):
        recording.write(topic, number, bytes(100_000))
finally:
    recording.close()
"""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))

    done = subprocess.run(
        [sys.executable, '-c', script],
        cwd=ROOT,
        preexec_fn=limit,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert f'RefusedError: {tmp_path}/bag: cannot be written any more (' in last
    assert 'mcap recover' in last


@pytest.mark.parametrize('name', ['not.mcap', 'not.db3', 'not.txt', 'old.bag', 'folder', 'none'])
def test_what_is_no_recording_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == 'folder':
        path.mkdir()
    elif name != 'none':
        path.write_text('nothing of the kind')
    with pytest.raises(RefusedError, match=name), open_bag(path):
        pass


def test_a_recording_that_was_cut_off_is_named(tmp_path: Path) -> None:
    recording = Recording(tmp_path / 'bag')
    topic = recording.add('/said', KIND, DIGEST, [])
    for number in range(100):
        recording.write(topic, number, bytes(100_000))
    recording.close()
    file = tmp_path / 'bag' / 'bag.mcap'
    file.write_bytes(file.read_bytes()[:5_000_000])
    with pytest.raises(RefusedError, match='mcap recover'), open_bag(tmp_path / 'bag') as bag:
        list(bag.messages(bag.connections))
