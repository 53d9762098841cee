"""Finds what belongs to a picture by its name, as the tools that write masks choose it."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from don_kp_ros.data.picture_file import DataError, list_files

_PICTURE_WORDS = 'rgba?|colou?r|images?|img|photo|picture|pic|frame|input|original|leftimg8bit'
_WORDS = {
    'mask': 'masks?|segm?|segmentation|labels?|labelids|gt|gtfine|annotation|alpha|matte|fg|'
    'foreground|silhouette|binary|instances?|semantic|cutout|nobg|removebg-preview',
    'depth': 'depths?|aligned|z16',
}

Names = Callable[[Path], set[str]]  # of a file, by which another one may know it


def pair(pictures: Sequence[Path], others: Sequence[Path], what: str) -> dict[Path, Path]:
    """Find the mask (or the depth) of each picture; a picture without one is left out.

    The nearest name counts: for 0_rgb.jpg in this order 0_rgb.jpg.png, 0_rgb.png, 0_rgb_mask.png,
    0.png, 0_mask.png. Raises DataError where two files stand for one.
    """
    names: list[Names] = [lambda path: {_composed(path.name)}, *_without(_PICTURE_WORDS)]
    other_names = _without(_WORDS[what])
    found: dict[Path, Path] = {}
    owners: dict[Path, Path] = {}
    for name in names:
        for other_name in other_names:
            named = _by(name, (path for path in pictures if path not in found))
            others_named = _by(other_name, (path for path in others if path not in owners))
            for key in sorted(named.keys() & others_named.keys()):
                picture, other = _only(named[key]), _only(others_named[key])
                _only(sorted({found.setdefault(picture, other), other}))
                _only(sorted({owners.setdefault(other, picture), picture}))
    belonging = {
        key: other for picture, other in found.items() for name in names for key in name(picture)
    }
    for other in others:
        for key in set().union(*(name(other) for name in other_names)):
            if other not in owners and key in belonging:
                _only([belonging[key], other])
    return found


def missing(without: Sequence[Path], folder: Path, unpaired: Sequence[Path], what: str) -> str:
    """Say that pictures have no mask (or depth) in a folder, and what lies there instead."""
    first = without[0]
    others = f' (nor have {len(without) - 1} others)' if len(without) > 1 else ''
    expected = folder / f'{first.stem}.png'
    text = f'{first}: has no {what}{others}; {expected} is expected'
    if what == 'mask':
        text += f' (`don_kp mask {folder.parent}` makes masks)'
    json = next(
        (
            path
            for path in (folder / f'{first.stem}.json', first.with_suffix('.json'))
            if path.is_file()
        ),
        None,
    )
    if json is not None and what == 'mask':
        return (
            f'{text}; {json} lies there, polygons as labelme writes them: `don_kp data import '
            f'{folder.parent} NEW` makes a folder with their masks'
        )
    if not folder.is_dir():
        there = ', '.join(path.name for path in list_files(folder.parent))
        return f'{text}, but there is no folder {folder}; there are {there}'
    near = difflib.get_close_matches(first.stem, [path.name for path in unpaired], 1, 0.0)
    return f'{text}; the nearest that lies there is {near[0]}' if near else f'{text}; none is left'


def by_stem(paths: Iterable[Path]) -> dict[str, Path]:
    """Find files by their stems; raises DataError where two have the same."""
    return {stem: _only(own) for stem, own in _by(lambda path: {path.stem}, paths).items()}


def _by(names: Names, paths: Iterable[Path]) -> dict[str, list[Path]]:
    groups: dict[str, list[Path]] = {}
    for path in paths:
        for name in names(path):
            groups.setdefault(name, []).append(path)
    return groups


def _only(paths: Sequence[Path]) -> Path:
    if len(paths) > 1:
        raise DataError(
            f'{paths[1]}: stands for the same picture as {paths[0]}; remove one of them'
        )
    return paths[0]


def _without(words: str) -> list[Names]:
    """Name a file by its stem, by that without a word at an end, and without two of them."""
    ends = [
        re.compile(pattern, re.IGNORECASE)
        for pattern in (rf'(?:[-_. ]+|(?<=\d))(?:{words})$', rf'^(?:{words})(?:[-_. ]+|(?=\d))')
    ]

    def names(path: Path, count: int) -> set[str]:
        found = {_composed(path.stem)}
        for _ in range(count):
            found = {end.sub('', stem) for stem in found for end in ends if end.search(stem)}
        return found - {''}

    return [partial(names, count=count) for count in range(3)]


def _composed(name: str) -> str:
    """Write letters with their accents, which macOS takes apart."""
    return unicodedata.normalize('NFC', name)
