"""Looks at what lies in a folder or file, and reads it by the rules of the format that it has."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from don_kp_ros.annotation.formats import bop, coco, cut_outs, labelme, sam, voc
from don_kp_ros.annotation.formats.marks import Marked, Pictures
from don_kp_ros.data.folder import RGBS
from don_kp_ros.data.picture_file import DataError, list_files, named

_BY_FILE = {'labelme': labelme, 'sam': sam}  # one JSON file for each picture


class Source(NamedTuple):
    """What was found in a format: told in words, and what reads it."""

    seen: str
    read: Callable[[], list[Marked]]


def read_source(
    source: Path, pictures: Path | None, wanted: str | None
) -> tuple[str, list[Marked]]:
    """Read all marked pictures; return the format's name with them; raises DataError.

    pictures: folder in which they lie, if not in that of the source; wanted: the format, where
    several are there.
    """
    if not source.exists():
        raise DataError(f'{source}: no such file or folder')
    found = _found(source, pictures)
    if wanted is not None:
        found = {name: own for name, own in found.items() if name == wanted}
    if len(found) == 1:
        name, own = next(iter(found.items()))
        return name, own.read()
    if found:
        seen = '; '.join(f'{name}: {own.seen}' for name, own in sorted(found.items()))
        raise DataError(f'{source}: may be several formats: {seen}; choose by --format')
    raise DataError(f'{source}: {_none(source, wanted)}')


def _none(source: Path, wanted: str | None) -> str:
    if not source.is_dir():
        return f'is no {wanted or "annotation"} file that is known'
    if (source / RGBS).is_dir():
        return 'has pictures in rgbs already; `don_kp data check` examines such a folder'
    xml = list(source.rglob('*.xml'))
    if xml:
        return f'holds {named(xml)}; export polygons or masks as COCO, or as "Segmentation mask"'
    there = list_files(source)
    what = f'no {wanted}' if wanted else 'nothing that is known'
    return f'holds {what}, but {named(there) if there else "nothing"}'


def _found(source: Path, folder: Path | None) -> dict[str, Source]:
    if folder is not None and not folder.is_dir():
        raise DataError(f'{folder}: no such folder (--pictures)')
    root = source if source.is_dir() else source.parent
    pictures = Pictures(folder or root)
    if source.is_file():
        return _in_files([source], pictures, source)
    if scenes := bop.scenes(source):
        return {'bop': Source(f'{len(scenes)} scenes', partial(bop.read, source))}
    found: dict[str, Source] = {}
    classes = sorted(source.rglob(voc.CLASSES))
    if len(classes) > 1:
        raise DataError(f'{source}: has {" and ".join(map(str, classes))}; give the folder of one')
    if classes:
        found['voc'] = Source(str(classes[0]), partial(voc.read, classes[0].parent, pictures))
        pictures = pictures.outside(*classes, *source.rglob(voc.OBJECTS))
    masks = sorted(path.parent for path in source.rglob(sam.METADATA))
    if masks:
        others = pictures.outside(*masks)
        reads = [partial(sam.read_folder, path, others) for path in masks]
        found['sam'] = Source(f'{len(masks)} folders of masks', lambda: [r() for r in reads])
    found |= _in_files(sorted(source.rglob('*.json')), pictures, source)
    if not found:
        own = Pictures(source)
        cut = [path for path in own if cut_outs.fits(path)]
        if cut and len(cut) < len(list(own)):
            rest = [path for path in own if path not in cut]
            raise DataError(
                f'{source}: {named(cut)} are cut out by alpha, and {named(rest)} are not; put '
                'them elsewhere'
            )
        if cut:
            found['cut-outs'] = Source(f'{len(cut)} pictures', partial(cut_outs.read, own))
    return found


def _in_files(paths: list[Path], pictures: Pictures, source: Path) -> dict[str, Source]:
    """Tell JSON files by their content."""
    every: dict[str, list[tuple[Path, Any]]] = {}
    for path in paths:
        content = _json(path)
        for name, module in {'coco': coco, **_BY_FILE}.items():
            if module.fits(content):
                every.setdefault(name, []).append((path, content))
    found: dict[str, Source] = {}
    for name, files in every.items():
        seen = named([path for path, _ in files])
        if name == 'coco' and len(files) > 1:
            raise DataError(f'{source}: holds {seen} of COCO; give the path of one')
        if name == 'coco':
            found[name] = Source(seen, partial(coco.read, *files[0], pictures))
        else:
            reads = [partial(_BY_FILE[name].read, *file, pictures) for file in files]
            found[name] = Source(seen, lambda reads=reads: [read() for read in reads])  # type: ignore[misc]
    return found


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding='utf-8-sig'))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f'{path}: cannot be read as JSON ({error})') from error
