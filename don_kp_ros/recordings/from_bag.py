"""Makes a folder to train on of a recording: sharp, different pictures, posed if possible."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from don_kp_ros.data.depth_view import Matrix
from don_kp_ros.data.folder import DEPTHS, RGBS, write_image
from don_kp_ros.data.index_file import DEPTH_UNIT
from don_kp_ros.data.posed import PosedView, write_depth, write_index
from don_kp_ros.data.whole_folder import made_whole
from don_kp_ros.errors import RefusedError
from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.depth import MILLIMETRE
from don_kp_ros.geometry.frames import TransformError
from don_kp_ros.recordings.bag_frames import BagFrames, depth_of, picture_of, together
from don_kp_ros.recordings.reading import open_bag
from don_kp_ros.recordings.sharp_frames import SharpFrames

_MOVED_M, _MOVED_RAD = 0.02, np.radians(3)  # of the camera, below which all views are one


@dataclass(frozen=True)
class Request:
    """What to take from a recording.

    colour, depth: topics, where it has several; most: pictures; object: that the views show;
    fixed: the frame that stands still with the object, the topmost where empty; depth_unit: of a
    count, metres.
    """

    colour: str = ''
    depth: str = ''
    most: int = 200
    object: str = 'object'
    fixed: str = ''
    depth_unit: float = MILLIMETRE


def folder_from_bag(recording: Path, folder: Path, request: Request) -> list[str]:
    """Write a folder; return what became of it, in sentences.

    Raises DataError where the folder exists, and RefusedError where the recording has no pictures.
    """
    with open_bag(recording) as bag, made_whole(folder) as whole:
        frames = BagFrames(bag, request.colour, request.depth)
        sharp, stamps = SharpFrames(), []
        for shot in frames.pictures():
            sharp.add(picture_of(shot), shot.stamp)
            stamps.append(shot.stamp)
        chosen = sharp.chosen(request.most)
        depths = [shot.stamp for shot in frames.depths()] if frames.depth else []
        pairs = together([stamps[number] for number in chosen], depths)
        taken = [
            _Taken(f'{place:06d}', number, stamps[number], pairs.get(place))
            for place, number in enumerate(chosen)
        ]
        told = [f'{frames.colour}: {len(taken)} sharp, different ones of {sharp.seen} pictures']
        try:
            fixed, views = _views(frames, taken, request)
        except RefusedError as error:
            told.append(f'plain pictures, not posed views: {error}')
            _write_pictures(whole, frames, taken)
            if taken and all(one.depth is not None for one in taken):
                _write_depths(whole, frames, taken, request, MILLIMETRE)
            return told
        known = {view.name for view in views}
        if hidden := len(taken) - len(views):
            told.append(f'{hidden} of them have no depth or no pose, and are left out')
        taken = [one for one in taken if one.name in known]
        _write_pictures(whole, frames, taken)
        _write_depths(whole, frames, taken, request, DEPTH_UNIT)
        assert frames.camera is not None
        write_index(whole, frames.camera, views)
        told.append(f'{len(views)} posed views of {request.object!r} in {fixed}')
        return told


@dataclass(frozen=True)
class _Taken:
    """A picture that is taken, by its number among all, and its depth's among all depths."""

    name: str
    number: int
    stamp: float
    depth: int | None


def _views(
    frames: BagFrames, taken: Sequence[_Taken], request: Request
) -> tuple[str, list[PosedView]]:
    """Return the frame that stands still, and the views that have pose in it and depth.

    Raises RefusedError where they are of no use.
    """
    camera = frames.camera
    if not frames.depth:
        raise RefusedError('no depth that is aligned to the pictures was recorded')
    if camera is None:
        raise RefusedError(frames.no_camera)
    if camera.distortion or camera.fisheye:
        raise RefusedError(f'{camera} distorts; record rectified images')
    tree, odd = frames.transforms()
    try:
        fixed = request.fixed or tree.top(frames.frame)
    except TransformError as error:
        raise RefusedError(f'{error}; or name a frame that stands still by --fixed') from error
    if fixed == frames.frame:
        raise RefusedError(f'no transform was recorded that tells where {frames.frame} is')
    between = set(tree.chain(frames.frame)) ^ set(tree.chain(fixed))
    for frame in sorted(between):
        if frame in odd:
            raise RefusedError(f'{odd[frame]}; cut the recording there')
    views, why = [], ''
    for one in taken:
        try:
            T = tree.lookup(fixed, frames.frame, one.stamp)
        except TransformError as error:
            why = str(error)
            continue
        if one.depth is not None:
            views.append(PosedView(one.name, request.object, T))
    if not views:
        raise RefusedError(why or 'no picture has a depth image of its time')
    first = rigid.inverse(views[0].T_object_camera)
    if not any(_moved(first @ view.T_object_camera) for view in views):
        raise RefusedError(f'the camera did not move in {fixed}')
    return fixed, views


def _moved(T: Matrix) -> bool:
    turned = np.arccos(np.clip((np.trace(T[:3, :3]) - 1) / 2, -1, 1))
    return bool(np.linalg.norm(T[:3, 3]) > _MOVED_M or turned > _MOVED_RAD)


def _write_pictures(root: Path, frames: BagFrames, taken: Sequence[_Taken]) -> None:
    (root / RGBS).mkdir(parents=True)
    names = {one.number: one.name for one in taken}
    for number, shot in enumerate(frames.pictures()):
        if number in names:
            write_image(root / RGBS / f'{names[number]}.png', picture_of(shot))


def _write_depths(
    root: Path, frames: BagFrames, taken: Sequence[_Taken], request: Request, unit: float
) -> None:
    (root / DEPTHS).mkdir()
    names: dict[int | None, list[str]] = {}
    for one in taken:
        names.setdefault(one.depth, []).append(one.name)
    for number, shot in enumerate(frames.depths()):
        if number in names:
            depth = depth_of(shot, request.depth_unit)
            for name in names[number]:
                write_depth(root / DEPTHS / f'{name}.png', depth, unit)
