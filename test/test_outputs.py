"""What cannot be written is found before the work; what is written is whole."""

import contextlib
import os
from pathlib import Path

import pytest
from disk import full_disk

from don_kp_ros import cli
from don_kp_ros.errors import RefusedError
from don_kp_ros.outputs import check_writable, replacing

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize('name', ['m.png', 'new/deep/m.png', 'old.png'])
def test_what_can_be_written_is_left_as_it_is(tmp_path: Path, name: str) -> None:
    (tmp_path / 'old.png').write_text('old')
    check_writable(tmp_path / name)
    assert os.listdir(tmp_path) == ['old.png']
    assert (tmp_path / 'old.png').read_text() == 'old'


@pytest.mark.parametrize(
    ('path', 'words'),
    [
        ('/proc/m.png', ['/proc/m.png', 'into /proc (']),  # nobody can, not even root
        ('/proc/new/m.png', ['into /proc (']),
        ('file/m.png', ['file/m.png', 'Not a directory']),
        ('file/new/m.png', ['Not a directory']),
        ('folder', ['is a folder; name a file in it']),
    ],
)
def test_what_cannot_be_written_is_said(tmp_path: Path, path: str, words: list[str]) -> None:
    (tmp_path / 'file').touch()
    (tmp_path / 'folder').mkdir()
    with pytest.raises(RefusedError) as caught:
        check_writable(tmp_path / path)
    for word in words:
        assert word in str(caught.value)


def test_a_file_is_replaced_by_a_whole_one_alone(tmp_path: Path) -> None:
    file = tmp_path / 'm.json'
    with replacing(file) as partial:
        partial.write_text('first')
        assert not file.exists()
    with full_disk(), pytest.raises(OSError, match='too large'), replacing(file) as partial:
        partial.write_bytes(bytes(1 << 20))
    assert file.read_text() == 'first'
    with replacing(file) as partial:
        partial.write_text('second')
        assert file.read_text() == 'first'
    assert file.read_text() == 'second'
    assert os.listdir(tmp_path) == ['m.json']


@pytest.mark.parametrize(
    'arguments',
    [
        'train none --output /proc/m.safetensors',
        'evaluate none --model none --protocol folder --output /proc/e',
        'study leave_one_out none --output /proc/s',
        'match none 1 2 none --output /proc/m.png',
        'export models/objects.safetensors --onnx /proc/m.onnx',
        'render /proc/pictures',
        'grasp --output /proc/g',
    ],
    ids=lambda arguments: arguments.split()[0],
)
def test_commands_find_it_before_their_work(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: str
) -> None:
    monkeypatch.chdir(ROOT)
    with contextlib.suppress(SystemExit):  # of a parser
        assert cli.main(arguments.split()) == 1
    assert 'cannot be written into /proc (' in capsys.readouterr().err
