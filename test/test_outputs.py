"""What cannot be written is found before the work."""

import os
from pathlib import Path

import pytest

from don_kp_ros.errors import RefusedError
from don_kp_ros.outputs import check_writable


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
