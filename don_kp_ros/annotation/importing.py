"""Writes what other tools marked as a folder that can be trained on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.annotation.formats.marks import Mark, Marked, Shot
from don_kp_ros.annotation.selection import Choice
from don_kp_ros.data.folder import (
    DEPTHS,
    MASKS,
    RGBS,
    SMALLEST_OBJECT,
    DataError,
    Image,
    Sample,
    write_image,
    write_samples,
)
from don_kp_ros.data.picture_file import PictureFile, bits_used, check_fit, image_of, upright
from don_kp_ros.data.posed import FEWEST_COMMON, PosedView, write_depth, write_index
from don_kp_ros.data.whole_folder import made_whole
from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera

_SAME = 1e-6  # relative, of cameras


def write_folder(folder: Path, choice: Choice) -> list[str]:
    """Write all pictures and masks, or, where something is wrong, nothing; raises DataError.

    Where poses and depth are known, they are posed views. Returns what was left out, in sentences.
    """
    hidden: list[str] = []
    with made_whole(folder) as whole:
        if choice.chosen[0][0].shot is not None:
            _write_posed(whole, choice, hidden)
        else:
            write_samples(whole, _samples(choice, hidden))
        if len(hidden) == len(choice.chosen):
            raise DataError(f'{folder}: of no picture enough is left: {"; ".join(hidden[:4])}')
    return [f'left out {told}' for told in hidden]


def _samples(choice: Choice, hidden: list[str]) -> Iterator[Sample]:
    """Read pictures and draw their masks; what is hardly seen goes to ``hidden``, in words."""
    bits = bits_used(marked.open().path for marked, _ in choice.chosen)
    for marked, marks in choice.chosen:
        file = marked.open()
        image = image_of(file, bits)
        mask = _fitted(file, image, marked, marks)
        area = int(np.count_nonzero(mask))
        if area < SMALLEST_OBJECT:
            hidden.append(f'{marked.name}: the object has {area} pixels, {SMALLEST_OBJECT} needed')
            continue
        yield Sample(Path(f'{marked.name}.png'), image, mask)


def _fitted(file: PictureFile, image: Image, marked: Marked, marks: Iterable[Mark]) -> Image:
    """Draw the mask (H, W) of marks, 0 or 255, turned as the picture is; raises DataError."""
    size = image.shape[:2]
    stored = size[::-1] if file.tag > 4 else size
    tag = file.tag if marked.upright else 1
    annotated = PictureFile(Path(f'{marked.name} as it was annotated'), b'', None, tag)
    as_stored = file.tag != 1 and not marked.upright and marked.size == stored != size
    if marked.size is not None and not as_stored:  # before a mask of any size is drawn
        check_fit(file, size, annotated, marked.size)
    drawn = np.logical_or.reduce([mark.draw() for mark in marks])
    mask = np.asarray(drawn * np.uint8(255))
    if as_stored:
        return np.ascontiguousarray(upright(mask, file.tag))
    check_fit(file, size, annotated, mask.shape)
    return mask


def _write_posed(folder: Path, choice: Choice, hidden: list[str]) -> None:
    for name in (RGBS, MASKS, DEPTHS):
        (folder / name).mkdir(parents=True)
    marks = {marked.name: (marked, own) for marked, own in choice.chosen}
    if len(marks) < len(choice.chosen):
        raise DataError(f'{folder}: two pictures have the same name; import scenes one by one')
    views: list[PosedView] = []
    camera: Camera | None = None
    for sample in _samples(choice, hidden):
        marked, own = marks[sample.path.stem]
        if len(own) > 1 or own[0].T_camera_object is None or marked.shot is None:
            raise DataError(
                f'{marked.name}: marks the object {len(own)} times, and a view has one pose; say '
                '--several leave-out'
            )
        shot = marked.shot()
        camera = shot.camera if camera is None else camera
        _check_camera(marked, shot, camera)
        known = int(np.isfinite(_depth_on(sample, shot, marked)).sum())
        if known < FEWEST_COMMON:
            hidden.append(f'{marked.name}: {known} pixels of the object have a depth')
            continue
        name = marked.name
        write_image(folder / RGBS / f'{name}.png', sample.image)
        write_image(folder / MASKS / f'{name}.png', sample.mask)
        write_depth(folder / DEPTHS / f'{name}.png', shot.depth)
        views.append(PosedView(name, own[0].name, rigid.inverse(own[0].T_camera_object)))
    if camera is not None:
        write_index(folder, camera, views)


def _depth_on(sample: Sample, shot: Shot, marked: Marked) -> NDArray[np.float32]:
    if shot.depth.shape != sample.mask.shape:
        height, width = shot.depth.shape
        raise DataError(
            f'{marked.name}: its depth has {width}x{height} pixels, unlike its picture'
        )
    return shot.depth[sample.mask > 0]


def _check_camera(marked: Marked, shot: Shot, camera: Camera) -> None:
    sizes = {(one.width, one.height) for one in (shot.camera, camera)}
    if len(sizes) > 1 or not np.allclose(shot.camera.K, camera.K, rtol=_SAME):
        raise DataError(
            f'{marked.name}: was taken by {shot.camera}, pictures before it by {camera}; a folder '
            'of posed views has one camera: import the scenes of each camera by itself'
        )
