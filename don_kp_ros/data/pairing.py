"""Finds what belongs to a picture by its name, as the tools that write masks choose it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from don_kp_ros.data.picture_file import DataError, list_files

_PICTURE_WORDS = 'rgba?|colou?r|images?|img|photo|picture|pic|frame|leftimg8bit'
_WORDS = {
    'mask': 'masks?|segm?|segmentation|labels?|labelids|gt|gtfine|annotation|alpha|matte|'
    'silhouette|binary|instances?|semantic',
    'depth': 'depths?|aligned|z16',
}

Name = Callable[[Path], str]


def pair(pictures: Sequence[Path], others: Sequence[Path], what: str) -> dict[Path, Path]:
    """Find the mask (or the depth) of each picture; a picture without one is left out.

    For 0_rgb.jpg, in this order: 0_rgb.jpg.png, 0_rgb.jpg_mask.png, 0_rgb.png, 0_rgb_mask.png,
    0.png, 0_mask.png. Raises DataError where two files stand for one.
    """
    names: list[Name] = [lambda path: path.name, lambda path: path.stem, _bare(_PICTURE_WORDS)]
    other_names: list[Name] = [lambda path: path.stem, _bare(_WORDS[what])]
    found: dict[Path, Path] = {}
    for name in names:
        for other_name in other_names:
            named = _by(name, (path for path in pictures if path not in found))
            taken = set(found.values())
            others_named = _by(other_name, (path for path in others if path not in taken))
            for key in sorted(named.keys() & others_named.keys()):
                found[_only(named[key])] = _only(others_named[key])
    taken = set(found.values())
    belonging = {name(picture): other for picture, other in found.items() for name in names}
    for other in others:
        for other_name in other_names:
            if other not in taken and other_name(other) in belonging:
                _only([belonging[other_name(other)], other])
    return found


def missing(without: Sequence[Path], folder: Path, unpaired: Sequence[Path], what: str) -> str:
    """Say that pictures have no mask (or depth) in a folder, and what lies there instead."""
    first = without[0]
    others = f' (nor have {len(without) - 1} others)' if len(without) > 1 else ''
    expected = folder / f'{first.stem}.png'
    text = f'{first}: has no {what}{others}; {expected} is expected'
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
            f'{text}; {json} lies there, polygons as labelme writes them: labelme_export_json '
            f'{json} (labelme 5; later examples/tutorial/export_json.py) makes a label.png of '
            f'them, which is the mask'
        )
    if not folder.is_dir():
        folders = ', '.join(path.name for path in list_files(folder.parent) if path.is_dir())
        return f'{text}, but there is no folder {folder}; there are {folders}'
    near = difflib.get_close_matches(first.stem, [path.name for path in unpaired], 1, 0.0)
    return f'{text}; the nearest that lies there is {near[0]}' if near else f'{text}; none is left'


def by_stem(paths: Iterable[Path]) -> dict[str, Path]:
    """Find files by their stems; raises DataError where two have the same."""
    return {stem: _only(own) for stem, own in _by(lambda path: path.stem, paths).items()}


def _by(name: Name, paths: Iterable[Path]) -> dict[str, list[Path]]:
    groups: dict[str, list[Path]] = {}
    for path in paths:
        groups.setdefault(name(path), []).append(path)
    return groups


def _only(paths: Sequence[Path]) -> Path:
    if len(paths) > 1:
        raise DataError(
            f'{paths[1]}: stands for the same picture as {paths[0]}; remove one of them'
        )
    return paths[0]


def _bare(words: str) -> Name:
    """Take words off the ends of a file's stem: 0 of 0_rgb, color-0 and frame0."""
    at_ends = re.compile(
        rf'^(?:{words})(?:[-_. ]+|(?=\d))|(?:[-_. ]+|(?<=\d))(?:{words})$', re.IGNORECASE
    )

    def bare(path: Path) -> str:
        stem = path.stem
        while (shorter := at_ends.sub('', stem)) not in ('', stem):
            stem = shorter
        return stem

    return bare
