"""Masks that are decoded well and yet cannot be right, or are doubtful."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from masked import (
    HEIGHT,
    WIDTH,
    Mask,
    Truth,
    folder,
    levels,
    photo,
    pillow,
    read,
    truth,
    write,
)

from don_kp_ros.data.contact_sheet import ContactSheet
from don_kp_ros.data.folder import ImageFolder
from don_kp_ros.data.mask_check import MaskCheck
from don_kp_ros.data.mask_options import MaskOptions
from don_kp_ros.data.picture_file import DataError, read_image


def white(shown: np.ndarray) -> tuple[str, bytes]:
    return pillow(levels(np.asarray(shown) > 0, 0, 255))


def outline(shown: Truth, width: int) -> np.ndarray:
    drawn = np.zeros(shown.shape, np.uint8)
    contours, _ = cv2.findContours(shown.view(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(drawn, contours, -1, 1, width)


def dashed(shown: Truth) -> np.ndarray:
    return outline(shown, 2) * ((np.indices(shown.shape).sum(axis=0) // 6) % 2)


def at_border(shown: Truth) -> np.ndarray:
    """Shift an object so that the picture's border cuts it off."""
    return np.roll(shown, -30, axis=0)


def box(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    """Draw a box by its sides' shares of the picture."""
    drawn = np.zeros((HEIGHT, WIDTH), np.uint8)
    rows = slice(round(top * HEIGHT), round(bottom * HEIGHT))
    drawn[rows, round(left * WIDTH) : round(right * WIDTH)] = 1
    return drawn


def dots(density: float, side: int) -> np.ndarray:
    small = np.random.default_rng(0).random((HEIGHT // side, WIDTH // side)) < density
    return np.kron(small, np.ones((side, side)))


IMPOSSIBLE: dict[str, tuple[Mask, str]] = {
    'inverted': (lambda t: white(~t), 'fills the whole border'),
    'inverted, JPEG': (lambda t: pillow(levels(t, 255, 0), '.jpg'), 'fills the whole border'),
    'inverted, cut off': (lambda t: white(~at_border(t)), 'three sides .is the mask inverted'),
    'inverted cut-out': (
        lambda t: pillow(np.dstack([photo(1), levels(t, 255, 0)])), 'fills the whole border',
    ),
    'all white': (lambda t: white(t | True), 'covers over 95 %'),
    'inverted, in a black frame': (
        lambda t: white(np.pad((~t)[2:-2, 2:-2], 2)), 'fills the whole border',
    ),
    'nearly all white': (lambda t: white(~box(0, 0, 0.2, 0.2)[::-1].astype(bool)), 'over 95 %'),
    'an outline': (lambda t: white(outline(t, 1)), 'no region'),
    'an outline, 2 pixels': (lambda t: white(outline(t, 2)), 'no region'),
    'an outline, 3 pixels': (lambda t: white(outline(t, 3)), 'no region'),
    'an outline, 5 pixels': (lambda t: white(outline(t, 5)), 'no region'),
    'points': (lambda t: white(dots(0.1, 1)), 'no region'),
    'a photo, thresholded': (lambda t: white(dots(0.3, 4)), 'no region'),
    'hatched': (lambda t: white(t & (np.arange(WIDTH) % 3 == 0)), 'no region'),
}  # fmt: skip

POSSIBLE: dict[str, Mask] = {
    'cut off': lambda t: white(at_border(t)),
    'in a corner': lambda t: white(box(0, 0, 0.5, 0.6)),
    'as large as half the picture': lambda t: white(box(0.1, 0.1, 0.9, 0.8)),
    'a ring': lambda t: white(outline(t, 9)),
    'a cable': lambda t: white(box(0.1, 0.5, 0.9, 0.53)),
    'in five pieces': lambda t: white(box(0.1, 0.1, 0.9, 0.8) * (np.arange(WIDTH) % 32 > 6)),
    'of few pixels': lambda t: white(box(0.5, 0.5, 0.54, 0.55)),
    'speckled': lambda t: white(t | (dots(0.001, 1) > 0)),
    'with holes': lambda t: white(t & ~(dots(0.05, 1) > 0)),
}


@pytest.mark.parametrize('name', IMPOSSIBLE)
def test_a_mask_that_cannot_be_right_is_refused(tmp_path: Path, name: str) -> None:
    mask, message = IMPOSSIBLE[name]
    root = folder(tmp_path, mask)
    with pytest.raises(DataError, match=rf'{message}.*3 files .0\.\w+, 1.*--trust-masks'):
        read(root)
    masks, told = read(root, trust=True)
    assert len(masks) == 3
    assert any('are the masks right?' in line for line in told)


@pytest.mark.parametrize('name', POSSIBLE)
def test_an_unusual_mask_is_read_without_a_word(tmp_path: Path, name: str) -> None:
    assert read(folder(tmp_path, POSSIBLE[name]))[1] == []


@pytest.mark.parametrize(
    ('mask', 'words'),
    [
        (box(0, 0.1, 1, 0.9), 'over 60 %'),
        (box(0, 0.5, 1, 1), 'three sides'),
        (dashed(truth(1)), 'thin lines'),
        (outline(truth(0), 2), 'no region'),
    ],
)
def test_what_is_doubtful_is_said_and_names_the_picture(
    tmp_path: Path, mask: np.ndarray, words: str
) -> None:
    masks = iter((truth(0), mask, truth(2)))
    (line, *_) = read(folder(tmp_path, lambda t: white(next(masks))))[1]
    assert words in line
    assert '1 file (1.png)' in line


def test_one_inverted_mask_of_many_is_found(tmp_path: Path) -> None:
    masks = iter((truth(0), ~truth(1), truth(2)))
    root = folder(tmp_path, lambda t: white(next(masks)))
    with pytest.raises(DataError, match=r'fills the whole border .* 1 file \(1\.png\)'):
        read(root)


class TestSwappedFolders:
    def test_are_named(self, tmp_path: Path) -> None:
        folder(tmp_path, white)
        (tmp_path / 'rgbs').rename(tmp_path / 'aside')
        (tmp_path / 'masks').rename(tmp_path / 'rgbs')
        (tmp_path / 'aside').rename(tmp_path / 'masks')
        with pytest.raises(DataError, match=r'masks/0.*rgbs and masks swapped'):
            read(tmp_path)

    def test_masks_are_no_pictures(self, tmp_path: Path) -> None:
        folder(tmp_path, white)
        for number in range(3):
            content = (tmp_path / f'masks/{number}.png').read_bytes()
            write(tmp_path, 'rgbs', f'{number}.png', content=content)
        with pytest.raises(DataError, match=r'two values, as a mask does.* 3 files'):
            read(tmp_path)


class TestContactSheet:
    def check(self, root: Path, sheet: Path) -> list[str]:
        told: list[str] = []
        own = ImageFolder.open(root)
        watched = MaskCheck(root, MaskOptions(), told.append, sheet)
        list(watched.watch(own.samples(), len(own.images)))
        return told

    def test_shows_every_mask_and_says_its_share(self, tmp_path: Path) -> None:
        sheet = tmp_path / 'new' / 'sheet.png'
        (line,) = self.check(folder(tmp_path, white), sheet)
        for number in range(3):
            assert f'{truth(number).mean():.1%} of {number}.png' in line
        assert str(sheet) in line
        drawn = read_image(sheet)
        cell = drawn[:120, :160].astype(int)  # of 0.png, at its own size
        coloured = np.ptp(cell, axis=2) > 0
        inside = cv2.erode(truth(0).view(np.uint8), np.ones((5, 5), np.uint8)) > 0
        around = cv2.dilate(truth(0).view(np.uint8), np.ones((5, 5), np.uint8)) > 0
        np.testing.assert_array_equal(cell[inside], photo(0)[inside])
        assert not coloured[~around].any()

    def test_is_there_to_look_at_when_masks_are_refused(self, tmp_path: Path) -> None:
        sheet = tmp_path / 'sheet.png'
        with pytest.raises(DataError, match=str(sheet)):
            self.check(folder(tmp_path, lambda t: white(~t)), sheet)
        assert sheet.is_file()

    def test_of_many_pictures_shows_some_and_all_that_are_doubtful(self, tmp_path: Path) -> None:
        sheet = ContactSheet(tmp_path / 'sheet.png', 1000)
        for number in range(1000):
            shown = np.full((60, 80, 3), 255 if number == 637 else 60, np.uint8)
            mask = np.full((60, 80), 255, np.uint8)
            sheet.add(shown, mask, str(number), doubtful=number == 637)
        sheet.write()
        drawn = read_image(tmp_path / 'sheet.png')
        assert drawn.shape[0] * drawn.shape[1] < 100 * 180 * 180
        assert (drawn == 255).all(axis=2).sum() > 100 * 100

    def test_many_shares_are_told_by_their_range(self, tmp_path: Path) -> None:
        (line,) = self.check(folder(tmp_path, white, numbers=13), tmp_path / 'sheet.png')
        assert ' to ' in line and 'in the middle' in line
