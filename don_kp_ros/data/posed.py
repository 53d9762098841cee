"""Folders of posed views: pictures with masks, depth and the camera's pose.

The layout is that of `don_kp_ros.data.folder` with depths and an index beside it (docs/data.md)::

    FOLDER/rgbs/NAME.jpg    picture
    FOLDER/masks/NAME.png   mask (mask_file)
    FOLDER/depths/NAME.png  depth along the optical axis, 16 bits, units of the index; 0: none
    FOLDER/views.json       camera, of every view its object and T_object_camera, and where named
                            points lie on the objects, if that is known
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.data.depth_view import DepthView, Matrix
from don_kp_ros.data.folder import (
    INDEX,
    DataError,
    Image,
    bits_of_folder,
    list_images,
    read_depth,
    read_sample,
    write_image,
)
from don_kp_ros.data.index_file import (
    DEPTH_UNIT,
    camera_entry,
    check_file_name,
    is_number,
    read_camera,
    read_json,
    read_pose,
    read_unit,
    write_json,
)
from don_kp_ros.data.pairing import by_stem
from don_kp_ros.data.picture_file import PictureFile, check_fit
from don_kp_ros.geometry.camera import Camera

FORMAT = 'don_kp posed views'
VERSIONS = (1, 2)  # named points came with the second
FEWEST_COMMON = 24  # points seen in both views of a pair: as many as there are in paper 1

Points = Mapping[str, Mapping[str, Matrix]]  # object, name: a point (3,) in its frame, metres


def kind_of(name: str) -> str:
    """Tell the kind of an object by its name: that of `cap-17` is `cap`; `cap` is its own."""
    kind, _, number = name.rpartition('-')
    return kind if kind and number.isdecimal() else name


@dataclass(frozen=True)
class PosedView:
    """One entry of the index.

    T_object_camera (4, 4) maps points from the camera's frame to the object's, metres.
    """

    name: str
    object: str
    T_object_camera: Matrix


@dataclass(frozen=True)
class PosedSample(DepthView):
    """A view with its picture (H, W, 3) uint8 RGB and the object that it shows.

    number: by which the mask's file calls the object, if it does.
    """

    path: Path
    object: str
    image: Image
    number: int | None = None


@dataclass(frozen=True)
class PosedFolder:
    """A data set of posed views; `samples` reads them.

    points: by object and name, (3,) in the object's frame, metres; empty where none are known.
    """

    root: Path
    camera: Camera
    depth_unit: float  # metres
    views: tuple[PosedView, ...]
    images: tuple[Path, ...]
    masks: tuple[Path, ...]
    depths: tuple[Path, ...]
    negatives: tuple[Path, ...]
    points: Points

    @classmethod
    def open(cls, root: Path) -> PosedFolder:
        """Read the index and find every view's files; raises DataError."""
        if not root.is_dir():
            raise DataError(f'{root}: no such folder')
        camera, unit, views, points = read_index(root / INDEX)
        pictures = by_stem(list_images(root / 'rgbs'))
        masks, depths = (
            tuple(root / name / f'{view.name}.png' for view in views)
            for name in ('masks', 'depths')
        )
        for view, mask, depth in zip(views, masks, depths, strict=True):
            expected = pictures.get(view.name, root / 'rgbs' / f'{view.name}.jpg')
            for path in (expected, mask, depth):
                if not path.is_file():
                    raise DataError(f'{path}: missing; {root / INDEX} lists the view {view.name}')
        return cls(
            root=root,
            camera=camera,
            depth_unit=unit,
            views=views,
            images=tuple(pictures[view.name] for view in views),
            masks=masks,
            depths=depths,
            negatives=tuple(list_images(root / 'negatives')),
            points=points,
        )

    @property
    def files(self) -> list[Path]:
        """Every file that it is made of, the held folder's included; raises DataError."""
        held = self.validation()
        inner = [] if held is None else held.files
        own = [*self.images, *self.masks, *self.depths, *self.negatives]
        return [self.root / INDEX, *own, *inner]

    def validation(self) -> PosedFolder | None:
        """Open the held folder, of other objects, if there is one; raises DataError."""
        root = self.root / 'validation'
        return PosedFolder.open(root) if root.is_dir() else None

    @cached_property
    def bits(self) -> int | None:
        """The bits that pictures of 16 bits use together, one range for all; none without them."""
        return bits_of_folder(self.root)

    def samples(self, mask_values: tuple[int, ...] = ()) -> Iterator[PosedSample]:
        """Read and check every view, in the order of the index; raises DataError."""
        with ThreadPoolExecutor(2) as pool:
            read = partial(self.sample, mask_values=mask_values)
            yield from pool.map(read, range(len(self.views)))

    def sample(self, index: int, mask_values: tuple[int, ...] = ()) -> PosedSample:
        """Read and check a view; raises DataError.

        mask_values: of the object's pixels; none: masks have two values.
        """
        view, path = self.views[index], self.images[index]
        mask_path, depth_path = self.masks[index], self.depths[index]
        sample = read_sample(path, mask_path, mask_values=mask_values, bits=self.bits)
        depth = read_depth(depth_path, self.depth_unit).metres()
        expected = (self.camera.height, self.camera.width)
        for file, array in ((path, sample.image), (depth_path, depth)):
            if array.shape[:2] != expected:
                raise DataError(
                    f'{file}: {array.shape[1]}x{array.shape[0]} pixels, but the camera of '
                    f'{self.root / INDEX} has {expected[1]}x{expected[0]}'
                )
        check_fit(PictureFile.open(path), depth.shape, PictureFile.open(depth_path), depth.shape)
        known = int(np.isfinite(depth[sample.mask > 0]).sum())
        if known < FEWEST_COMMON:
            raise DataError(
                f'{depth_path}: {known} pixels have a depth where {mask_path} marks the object, '
                f'and pairs share at least {FEWEST_COMMON}; leave the view {view.name} out of '
                f'{INDEX}'
            )
        return PosedSample(
            mask=sample.mask,
            depth=depth,
            camera=self.camera,
            T_object_camera=view.T_object_camera,
            path=path,
            object=view.object,
            image=sample.image,
            number=sample.number,
        )


class Index(NamedTuple):
    """What views.json holds: see PosedFolder."""

    camera: Camera
    depth_unit: float
    views: tuple[PosedView, ...]
    points: Points


def read_index(path: Path) -> Index:
    """Read and check views.json; raises DataError."""
    content = read_json(path, FORMAT, 'posed views')
    if content.get('version') not in VERSIONS:
        raise DataError(
            f'{path}: version {content.get("version")} is not known; this program reads versions '
            f'{VERSIONS[0]} and {VERSIONS[1]}: render or record the folder anew, or update the '
            'program'
        )
    unit = read_unit(path, content)
    entries = content.get('views')
    if not isinstance(entries, list) or not entries:
        raise DataError(
            f'{path}: "views" must be a list of at least one view; where a rendering was '
            'interrupted, the same command repeats it'
        )
    views = tuple(_read_view(path, number, entry) for number, entry in enumerate(entries))
    name, times = Counter(view.name for view in views).most_common(1)[0]
    if times > 1:
        raise DataError(f'{path}: the view {name} is listed {times} times')
    if 'points' in content and content['version'] == VERSIONS[0]:
        raise DataError(f'{path}: "points" came with version {VERSIONS[1]}; set version to it')
    points = _read_points(path, content.get('points', {}), {view.object for view in views})
    return Index(read_camera(path, content.get('camera')), unit, views, points)


def write_index(
    root: Path, camera: Camera, views: Iterable[PosedView], points: Points | None = None
) -> None:
    """Write views.json for depths in DEPTH_UNIT, all of it or nothing; points: see PosedFolder."""
    named = {
        shown: {name: np.asarray(point, np.float64).tolist() for name, point in own.items()}
        for shown, own in (points or {}).items()
    }
    content = {
        'format': FORMAT,
        'version': VERSIONS[1] if named else VERSIONS[0],
        'depth_unit_m': DEPTH_UNIT,
        'camera': camera_entry(camera),
        'views': [
            {
                'name': view.name,
                'object': view.object,
                'T_object_camera': view.T_object_camera.tolist(),
            }
            for view in views
        ],
        **({'points': named} if named else {}),
    }
    write_json(root / INDEX, content, indent=1)


def write_depth(path: Path, depth: NDArray[np.float32], unit: float = DEPTH_UNIT) -> None:
    """Write depth (H, W), metres, NaN where there is none, in steps of ``unit`` metres."""
    steps = np.nan_to_num(np.rint(depth / unit), nan=0, posinf=0, neginf=0)
    steps[(steps < 0) | (steps > 0xFFFF)] = 0
    write_image(path, steps.astype(np.uint16))


def _read_points(path: Path, entry: Any, objects: set[str]) -> Points:
    if not isinstance(entry, dict) or not all(isinstance(own, dict) for own in entry.values()):
        raise DataError(
            f'{path}: "points" must map objects to their points: {{"cap-17": {{"button": '
            "[x, y, z]}}, metres in the object's frame"
        )
    result: dict[str, dict[str, Matrix]] = {}
    for shown, own in entry.items():
        if shown not in objects:
            raise DataError(f'{path}: "points" names {shown}, which no view shows; remove it')
        for name, values in own.items():
            numbers = isinstance(values, list) and len(values) == 3 and all(map(is_number, values))
            if not name or not numbers:
                raise DataError(
                    f'{path}: the point {name!r} of {shown} is {values}; three finite numbers '
                    'under a name are expected'
                )
            result.setdefault(shown, {})[name] = np.array(values, dtype=np.float64)
    return result


def _read_view(path: Path, number: int, entry: Any) -> PosedView:
    if not isinstance(entry, dict):
        raise DataError(f'{path}: view {number} must have name, object and T_object_camera')
    name, shown = entry.get('name'), entry.get('object')
    for key, value in (('name', name), ('object', shown)):
        if not isinstance(value, str) or not value:
            raise DataError(f'{path}: view {number} has no {key}')
    assert isinstance(name, str) and isinstance(shown, str)
    check_file_name(path, name)
    T = read_pose(path, f'T_object_camera of view {name}', entry.get('T_object_camera'))
    return PosedView(name, shown, T)
