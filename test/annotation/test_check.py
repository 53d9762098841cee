"""`don_kp data check`: what is wrong with a folder is found, and only that."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from masked import HEIGHT, WIDTH, folder, levels, photo, pillow, truth, write
from plates import scene_of_plates

from don_kp_ros.annotation.command import main
from don_kp_ros.annotation.duplicates import Duplicates
from don_kp_ros.data.picture_file import read_image


def white(shown: np.ndarray) -> tuple[str, bytes]:
    return pillow(levels(shown, 0, 255))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return folder(tmp_path / 'data', white)


def check(root: Path, *more: str) -> tuple[int, Path]:
    sheet = root.parent / 'sheet.png'
    return main(['check', str(root), '--sheet', str(sheet), *more]), sheet


def put(root: Path, name: str, image: np.ndarray, **options: int) -> None:
    write(root, 'rgbs', f'{name}.png', content=pillow(image, **options)[1])


def row(text: str, name: str) -> str:
    """Return the table's row of a picture, in one line."""
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.split()[:1] == [name])
    end = next(
        i for i in range(start + 1, len(lines)) if not lines[i].startswith('    ')
    )  # further lines of the cell begin with spaces
    return ' '.join(' '.join(lines[start:end]).split())


def test_nothing_is_wrong_with_a_good_folder(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, sheet = check(root)
    assert status == 0
    assert 'nothing is wrong with 3' in capsys.readouterr().out
    drawn = read_image(sheet).astype(int)
    edge = (drawn[..., 0] > 240) & (drawn[..., 1] < 20) & (drawn[..., 2] > 240)
    assert edge.sum() > 100  # the outlines of three masks


def test_every_fault_is_told_beside_its_picture(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    dark = photo(3)
    dark[truth(3)] = rng.integers(0, 9, (truth(3).sum(), 3))  # a sensor's noise alone
    alike = np.clip(photo(0) + rng.normal(0, 3, photo(0).shape), 0, 255).astype(np.uint8)
    large = cv2.resize(photo(5), (2 * WIDTH, 2 * HEIGHT))
    samples = {'3': (dark, truth(3)), '4': (alike, truth(0)), '5': (large, truth(5, 240, 320))}
    samples['6'] = photo(6), np.pad(truth(6)[1:-1, 1:-1] | True, 1)  # covers nearly everything
    for name, (image, shown) in samples.items():
        put(root, name, image)
        write(root, 'masks', f'{name}.png', content=white(shown)[1])
    put(root, '7', np.rot90(photo(7)), exif=6)
    write(root, 'masks', '7.png', content=white(truth(7))[1])
    status, _ = check(root)
    told = capsys.readouterr()
    assert 'nothing is wrong with 3' in told.out
    assert "darker than a sensor's noise" in row(told.out, '3.png')
    assert 'nearly the same picture as 0.png' in row(told.out, '4.png')
    assert '320x240 pixels, where most have 160x120' in row(told.out, '5.png')
    assert 'covers over 95 % of it' in row(told.out, '6.png')
    assert 'EXIF orientation 6' in row(told.out, '7.png')
    assert status == 1
    assert 'over 95 % of 1 file (6.png)' in told.err
    assert check(root, '--trust-masks')[0] == 0


def test_every_file_that_cannot_be_read_is_told(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(root, 'masks', '0.png', content=white(truth(0) & False)[1])
    write(root, 'rgbs', '2.png', content=b'no picture')
    status, _ = check(root)
    errors = capsys.readouterr().err
    assert status == 1
    assert 'masks/0.png: empty' in errors
    assert 'rgbs/2.png: not an image' in errors


def test_a_folder_of_which_nothing_can_be_read_has_no_sheet(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        write(root, 'rgbs', f'{number}.png', content=b'no picture')
    status, sheet = check(root)
    assert status == 1
    assert not sheet.exists()
    assert capsys.readouterr().err.count('refused:') == 3


def test_the_held_folder_is_examined_too(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder(root / 'validation', lambda shown: white(~shown))
    status, sheet = check(root)
    told = capsys.readouterr()
    assert status == 1
    assert 'validation: the object fills the whole border' in told.err
    assert 'validation/correspondences.npz: missing' in told.err
    assert sheet.with_name('sheet-validation.png').is_file()


def test_a_picture_without_a_mask_is_refused(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / 'masks' / '1.png').unlink()
    assert check(root)[0] == 1
    assert '1.png: has no mask' in capsys.readouterr().err


def test_an_object_that_moved_is_no_duplicate() -> None:
    table = photo(0)
    moved = [table.copy() for _ in range(2)]
    for image, left in zip(moved, (20, 60), strict=True):
        image[40:60, left : left + 20] = 255
    found = Duplicates()
    for image in (moved[0], moved[1], moved[0], moved[0][:, ::-1]):
        found.add(np.ascontiguousarray(image))
    assert found.found() == {2: 0}


class TestScenes:
    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        return scene_of_plates(tmp_path / 'scenes')

    def test_every_view_is_examined(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        status, sheet = check(root)
        assert status == 0
        assert 'nothing is wrong with 2' in capsys.readouterr().out
        assert sheet.is_file()

    @pytest.mark.parametrize('broken', ['rgbs/s_b.png', 'lone/s_a_2.png'])
    def test_what_cannot_be_read_is_told(
        self, root: Path, capsys: pytest.CaptureFixture[str], broken: str
    ) -> None:
        (root / broken).write_bytes(b'nothing')
        assert check(root)[0] == 1
        told = capsys.readouterr()
        assert f'{root / broken}: not an image' in told.err
        assert row(told.out, f'{Path(broken).stem[:3]}.png')

    def test_values_of_masks_are_refused(
        self, root: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert check(root, '--mask-value', '2')[0] == 1
        assert 'leave out --mask-value' in capsys.readouterr().err
