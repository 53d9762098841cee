"""Folders of scenes: several objects at rest, seen twice, with a mask of every object.

docs/data.md describes the layout::

    FOLDER/rgbs/NAME.jpg     picture of a view
    FOLDER/masks/NAME.png    8 bits: 1 where the scene's first object is, 2 its second ...; 0: none
    FOLDER/depths/NAME.png   depth along the optical axis, 16 bits, units of the index; 0: none
    FOLDER/lone/NAME_K.jpg   optional: object K of a scene's first view alone, as it stands there
    FOLDER/meshes/NAME.glb   optional: the mesh of an object in its frame, metres; or .ply, .obj
    FOLDER/scenes.json       camera; of every scene its objects, its two views, and their poses
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from don_kp_ros.data.depth_view import DepthView, Matrix
from don_kp_ros.data.folder import (
    SMALLEST_OBJECT,
    DataError,
    Image,
    bits_of_folder,
    list_images,
    read_depth,
)
from don_kp_ros.data.index_file import (
    DEPTH_UNIT,
    camera_entry,
    check_file_name,
    read_camera,
    read_json,
    read_pose,
    read_unit,
    write_json,
)
from don_kp_ros.data.pairing import by_stem
from don_kp_ros.data.picture_file import PictureFile, check_fit, image_of
from don_kp_ros.data.posed import PosedSample
from don_kp_ros.geometry.camera import Camera

SCENES = 'scenes.json'
FORMAT, VERSION = 'don_kp scenes', 1
MOST_OBJECTS = 255  # numbers of an 8-bit mask
_MESHES = ('.glb', '.ply', '.obj')


@dataclass(frozen=True)
class Entry:
    """One scene of the index; poses (4, 4) are in the scene's frame, metres.

    objects, views: their names; T_scene_object, T_scene_camera: of each.
    """

    name: str
    objects: tuple[str, ...]
    T_scene_object: tuple[Matrix, ...]
    views: tuple[str, str]
    T_scene_camera: tuple[Matrix, Matrix]


@dataclass(frozen=True)
class SceneView(DepthView):
    """A view of a scene with its picture (H, W, 3) uint8 RGB.

    The mask holds the objects' numbers, from 1; `T_object_camera` is `T_scene_camera`, for nothing
    in the scene moves.
    """

    path: Path
    image: Image

    def of(self, number: int, name: str) -> PosedSample:
        """Show one object alone in the mask, by its number; name: the object's."""
        return self._sample((self.mask == number).astype(np.uint8) * 255, name)

    def whole(self) -> PosedSample:
        """Show all objects in the mask, as if they were one."""
        return self._sample((self.mask > 0).astype(np.uint8) * 255, '')

    def _sample(self, mask: Image, name: str) -> PosedSample:
        pose = self.T_object_camera
        return PosedSample(mask, self.depth, self.camera, pose, self.path, name, self.image)


@dataclass(frozen=True)
class Scene:
    """A scene with its two views, and the files of the lone objects of the first, by number.

    bits: that these use if they store 16, as those of all views do; none: as many as each does.
    """

    entry: Entry
    a: SceneView
    b: SceneView
    lone: dict[int, PictureFile]
    bits: int | None = None

    def in_both(self) -> list[int]:
        """List the numbers of the objects with at least SMALLEST_OBJECT pixels in both views."""
        sizes = [np.bincount(view.mask.ravel(), minlength=256) for view in (self.a, self.b)]
        shown = np.flatnonzero(np.minimum(*sizes) >= SMALLEST_OBJECT)
        return [int(number) for number in shown if number > 0]


@dataclass(frozen=True)
class SceneFolder:
    """A data set of scenes; `scenes` reads them. depth_unit: metres."""

    root: Path
    camera: Camera
    depth_unit: float
    entries: tuple[Entry, ...]
    images: tuple[tuple[Path, Path], ...]  # of each scene's views
    lone: tuple[dict[int, Path], ...]  # of each scene's objects, by number
    negatives: tuple[Path, ...]
    meshes: dict[str, Path]  # of objects, by name

    @classmethod
    def open(cls, root: Path) -> SceneFolder:
        """Read the index and find every file; raises DataError."""
        index = root / SCENES
        camera, unit, entries = read_scenes(index)
        pictures = by_stem(list_images(root / 'rgbs'))
        alone = by_stem(list_images(root / 'lone'))
        for name in (name for entry in entries for name in entry.views):
            expected = pictures.get(name, root / 'rgbs' / f'{name}.jpg')
            for path in (
                expected,
                root / 'masks' / f'{name}.png',
                root / 'depths' / f'{name}.png',
            ):
                if not path.is_file():
                    raise DataError(f'{path}: missing; {index} lists the view {name}')
        images = tuple((pictures[a], pictures[b]) for a, b in (entry.views for entry in entries))
        lone = tuple(
            {
                number: alone[name]
                for number in range(1, len(entry.objects) + 1)
                if (name := f'{entry.views[0]}_{number}') in alone
            }
            for entry in entries
        )
        negatives = tuple(list_images(root / 'negatives'))
        files = sorted((root / 'meshes').glob('*'))
        meshes = {path.stem: path for path in files if path.suffix.lower() in _MESHES}
        return cls(root, camera, unit, entries, images, lone, negatives, meshes)

    @property
    def files(self) -> list[Path]:
        """Every file that it is made of, the held folder's included; raises DataError."""
        held = self.validation()
        scenes = [path for index in range(len(self.entries)) for path in self.files_of(index)]
        more = [*self.negatives, *self.meshes.values(), *([] if held is None else held.files)]
        return [self.root / SCENES, *scenes, *more]

    def files_of(self, index: int) -> list[Path]:
        """Every file of a scene."""
        views = self.images[index]
        others = [
            self.root / folder / f'{path.stem}.png'
            for folder in ('masks', 'depths')
            for path in views
        ]
        return [*views, *others, *self.lone[index].values()]

    def validation(self) -> SceneFolder | None:
        """Open the held folder, if there is one; raises DataError."""
        root = self.root / 'validation'
        return SceneFolder.open(root) if root.is_dir() else None

    @property
    def objects(self) -> list[str]:
        """The names of all objects, in order."""
        return sorted({name for entry in self.entries for name in entry.objects})

    @cached_property
    def bits(self) -> int | None:
        """The bits that pictures of 16 bits use together, one range for all; none without them."""
        return bits_of_folder(self.root)

    def scenes(self) -> Iterator[Scene]:
        """Read and check every scene, in the order of the index; raises DataError."""
        with ThreadPoolExecutor(2) as pool:
            yield from pool.map(self.scene, range(len(self.entries)))

    def scene(self, index: int) -> Scene:
        """Read and check a scene; raises DataError."""
        a, b = self.view(2 * index), self.view(2 * index + 1)
        return Scene(self.entries[index], a, b, self.lone_of(index), self.bits)

    def refuse_values(self, values: tuple[int, ...]) -> None:
        """Raise DataError for values of masks, which number the objects here and are all read."""
        if values:
            raise DataError(
                f'{self.root}: masks of scenes number their objects, which are all read, and '
                f'{", ".join(map(str, values))} would choose some; leave out --mask-value'
            )

    def view(self, number: int) -> SceneView:
        """Read and check a view, two of each scene in the order of the index; raises DataError."""
        index, side = divmod(number, 2)
        entry = self.entries[index]
        path, T_scene_camera = self.images[index][side], entry.T_scene_camera[side]
        return self._view(path, T_scene_camera, len(entry.objects))

    def lone_of(self, index: int) -> dict[int, PictureFile]:
        """Read and check a scene's lone objects, by number; raises DataError."""
        lone = {}
        for number, path in self.lone[index].items():
            lone[number] = PictureFile.open(path)
            self._check_size(path, image_of(lone[number], self.bits))
        return lone

    def _view(self, path: Path, T_scene_camera: Matrix, objects: int) -> SceneView:
        mask_path, depth_path = (
            self.root / folder / f'{path.stem}.png' for folder in ('masks', 'depths')
        )
        picture, mask_file = PictureFile.open(path), PictureFile.open(mask_path)
        image = image_of(picture, self.bits)
        depth = read_depth(depth_path, self.depth_unit).metres()
        numbers = mask_file.decoded(cv2.IMREAD_UNCHANGED)
        if numbers.ndim != 2 or numbers.dtype != np.uint8:
            raise DataError(
                f'{mask_path}: holds {numbers.dtype} of shape {numbers.shape}; 8 bits of one '
                'channel are expected, the numbers of the objects'
            )
        if numbers.max() > objects:
            raise DataError(
                f'{mask_path}: shows an object {numbers.max()}, and {self.root / SCENES} lists '
                f'{objects} of this scene; list it, or remove it from the mask'
            )
        for file, array in ((path, image), (mask_path, numbers), (depth_path, depth)):
            self._check_size(file, array)
        check_fit(picture, image.shape, mask_file, numbers.shape)
        check_fit(picture, image.shape, PictureFile.open(depth_path), depth.shape)
        if not numbers.any():
            raise DataError(
                f'{mask_path}: shows no object; mend it, or take its scene out of '
                f'{self.root / SCENES}'
            )
        return SceneView(numbers, depth, self.camera, T_scene_camera, path, image)

    def _check_size(self, path: Path, array: Any) -> None:
        expected = (self.camera.height, self.camera.width)
        if array.shape[:2] != expected:
            raise DataError(
                f'{path}: {array.shape[1]}x{array.shape[0]} pixels, but the camera of '
                f'{self.root / SCENES} has {expected[1]}x{expected[0]}'
            )


def read_scenes(path: Path) -> tuple[Camera, float, tuple[Entry, ...]]:
    """Read and check scenes.json: its camera, its depth unit and its scenes; raises DataError."""
    content = read_json(path, FORMAT, 'scenes')
    if content.get('version') != VERSION:
        raise DataError(
            f'{path}: version {content.get("version")} is not known; this program reads version '
            f'{VERSION}: render the folder anew, or update the program'
        )
    unit = read_unit(path, content)
    found = content.get('scenes')
    if not isinstance(found, list) or not found:
        raise DataError(f'{path}: "scenes" must be a list of at least one scene')
    entries = tuple(entry_of(path, entry, number) for number, entry in enumerate(found))
    for what, names in (
        ('scene', [entry.name for entry in entries]),
        ('view', [view for entry in entries for view in entry.views]),
    ):
        name, times = Counter(names).most_common(1)[0]
        if times > 1:
            raise DataError(f'{path}: the {what} {name} is listed {times} times')
    return read_camera(path, content.get('camera')), unit, entries


def write_scenes(root: Path, camera: Camera, entries: Iterable[Entry], made: Any = None) -> None:
    """Write scenes.json for depths in DEPTH_UNIT; a reader sees no file or the whole one.

    made: JSON that tells how the scenes were made; no reader needs it.
    """
    content = {
        'format': FORMAT,
        'version': VERSION,
        'depth_unit_m': DEPTH_UNIT,
        'camera': camera_entry(camera),
        'scenes': [plain(entry) for entry in entries],
        **({} if made is None else {'made': made}),
    }
    write_json(root / SCENES, content, indent=1)


def plain(entry: Entry) -> dict[str, Any]:
    """Return a scene as the index holds it."""
    objects = zip(entry.objects, entry.T_scene_object, strict=True)
    views = zip(entry.views, entry.T_scene_camera, strict=True)
    return {
        'name': entry.name,
        'objects': [{'name': name, 'T_scene_object': T.tolist()} for name, T in objects],
        'views': [{'name': name, 'T_scene_camera': T.tolist()} for name, T in views],
    }


def entry_of(path: Path, entry: Any, number: int = 0) -> Entry:
    """Read and check what `plain` returns; raises DataError, naming the file that holds it."""
    if not isinstance(entry, dict):
        raise DataError(f'{path}: scene {number} must have name, objects and views')
    name = entry.get('name')
    if not isinstance(name, str) or not name:
        raise DataError(f'{path}: scene {number} has no name')
    objects, placed = _read_named(path, name, 'objects', 'T_scene_object', entry)
    if not 1 <= len(objects) <= MOST_OBJECTS:
        raise DataError(
            f'{path}: scene {name} has {len(objects)} objects; 1 to {MOST_OBJECTS} can be numbered'
        )
    views, cameras = _read_named(path, name, 'views', 'T_scene_camera', entry)
    if len(views) != 2:
        raise DataError(f'{path}: scene {name} has {len(views)} views; two are expected')
    for view in views:
        check_file_name(path, view)
    return Entry(name, objects, placed, (views[0], views[1]), (cameras[0], cameras[1]))


def _read_named(
    path: Path, scene: str, key: str, pose: str, entry: dict[str, Any]
) -> tuple[tuple[str, ...], tuple[Matrix, ...]]:
    found = entry.get(key)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise DataError(f'{path}: "{key}" of scene {scene} must be a list of name and {pose}')
    names = [one.get('name') for one in found]
    for name in names:
        if not isinstance(name, str) or not name:
            raise DataError(f'{path}: one of the {key} of scene {scene} has no name')
        if names.count(name) > 1:
            raise DataError(f'{path}: {name} is listed {names.count(name)} times in scene {scene}')
    poses = (
        read_pose(path, f'{pose} of {name} in scene {scene}', one.get(pose))
        for name, one in zip(names, found, strict=True)
    )
    return tuple(names), tuple(poses)
