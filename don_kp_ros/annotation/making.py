"""Makes the masks that a folder lacks, by depth where there is depth, by colour elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import PIL.ExifTags
import PIL.Image
from numpy.typing import NDArray

from don_kp_ros.annotation.by_colour import mask_by_colour
from don_kp_ros.annotation.by_depth import mask_by_depth
from don_kp_ros.annotation.prompts import Prompts
from don_kp_ros.annotation.proposal import Proposal
from don_kp_ros.data.contact_sheet import ContactSheet
from don_kp_ros.data.folder import (
    DEPTH_SUFFIXES,
    DEPTHS,
    INDEX,
    MASKS,
    DataError,
    Image,
    list_files,
    list_images,
    list_rgbs,
    read_depth,
)
from don_kp_ros.data.mask_check import share_of
from don_kp_ros.data.pairing import by_stem, pair
from don_kp_ros.data.picture_file import (
    PictureFile,
    bits_used,
    check_fit,
    image_of,
    upright,
)
from don_kp_ros.data.posed import read_index
from don_kp_ros.errors import RefusedError
from don_kp_ros.geometry.camera import Camera
from don_kp_ros.geometry.depth import MILLIMETRE
from don_kp_ros.outputs import replacing

_TURNED_BACK = {6: 8, 8: 6}  # every other turn is undone by itself


@dataclass(frozen=True)
class How:
    """How masks are made: by depth, by colour, or (none) by depth where there is depth.

    intrinsics: fx, fy, cx, cy of the camera, pixels, where no views.json tells them.
    """

    by: Literal['depth', 'colour'] | None
    at: Prompts
    off: Prompts
    box: Prompts
    intrinsics: tuple[float, float, float, float] | None = None


@dataclass(frozen=True)
class Made:
    """What became of a picture: a mask's share of it, or none; and what is doubtful or wrong."""

    picture: Path
    share: float | None
    said: tuple[str, ...]


@dataclass(frozen=True)
class Task:
    """The pictures of a folder that get masks, with their masks' and depths' files."""

    root: Path
    pictures: tuple[Path, ...]
    old: dict[Path, Path]
    depths: dict[Path, Path]
    unit: float  # metres
    camera: Camera | None
    bits: int | None

    @classmethod
    def open(cls, root: Path, overwrite: bool) -> Task:
        """Find what lacks a mask; overwrite: take all pictures. Raises DataError."""
        images = list_rgbs(root)
        by_stem(images)  # a mask has its picture's stem
        old = pair(images, list_images(root / MASKS), 'mask')
        files = [p for p in list_files(root / DEPTHS) if p.suffix.lower() in DEPTH_SUFFIXES]
        unit, camera = MILLIMETRE, None
        if (root / INDEX).exists():
            index = read_index(root / INDEX)
            unit, camera = index.depth_unit, index.camera
        pictures = tuple(image for image in images if overwrite or image not in old)
        depths = pair(images, files, 'depth')
        return cls(root, pictures, old, depths, unit, camera, bits_used(images))

    def masks(self, how: How, sheet: Path) -> Iterator[Made]:
        """Make and write the masks, one by one; raises DataError where none can be written."""
        drawn = ContactSheet(sheet, len(self.pictures))
        for path in self.pictures:
            try:
                picture = PictureFile.open(path)
                image = image_of(picture, self.bits)
                found = self._proposal(picture, image, how)
            except (DataError, RefusedError) as error:
                yield Made(path, None, (str(error).removeprefix(f'{path}: '),))
                continue
            self._write(picture, found.mask)
            share = share_of(found.mask)
            drawn.add(image, found.mask, f'{path.stem} {share:.1%}', bool(found.doubts))
            yield Made(path, share, found.doubts)
        drawn.write()

    def read(self, path: Path) -> Image:
        """Read one of the pictures, (H, W, 3) upright; raises DataError."""
        return image_of(PictureFile.open(path), self.bits)

    def write(self, path: Path, mask: Image) -> None:
        """Write the mask (H, W), 0 or 255, of one of the pictures.

        The old one stays until the new one is whole. Raises DataError.
        """
        self._write(PictureFile.open(path), mask)

    def _proposal(self, picture: PictureFile, image: Image, how: How) -> Proposal:
        at, off, boxes = (own.of(picture.path) for own in (how.at, how.off, how.box))
        depth_path = self.depths.get(picture.path)
        if how.by == 'depth' and depth_path is None:
            raise RefusedError(f'has no depth in {self.root / DEPTHS}; leave --by out')
        if depth_path is None or how.by == 'colour':
            if len(boxes) > 1:
                raise RefusedError(f'{len(boxes)} boxes are given for it; one is the object')
            return mask_by_colour(image, boxes[0] if boxes else None, at, off)
        if boxes or off:
            raise RefusedError('has depth, and --box and --off are for masks --by colour')
        if len(at) > 1:
            raise RefusedError(f'{len(at)} places --at are given for it; by depth one is enough')
        depth, camera = self._depth(picture, image, depth_path, how)
        return mask_by_depth(image, depth, camera, (at[0][0], at[0][1]) if at else None)

    def _depth(
        self, picture: PictureFile, image: Image, path: Path, how: How
    ) -> tuple[NDArray[np.float32], Camera]:
        height, width = image.shape[:2]
        camera = self.camera
        if how.intrinsics is not None:
            camera = Camera(width, height, *how.intrinsics)
        if camera is None:
            raise RefusedError(
                'has depth, but its camera is not known: give --intrinsics FX FY CX CY, pixels, '
                'or --by colour'
            )
        if (camera.width, camera.height) != (width, height):
            raise RefusedError(
                f'has {width}x{height} pixels, but the camera of {self.root / INDEX} '
                f'{camera.width}x{camera.height}'
            )
        depth = read_depth(path, self.unit).metres()
        check_fit(picture, image.shape, PictureFile.open(path), depth.shape)
        return depth, camera

    def _write(self, picture: PictureFile, mask: Image) -> None:
        folder = self.root / MASKS
        path, old = folder / f'{picture.path.stem}.png', self.old.get(picture.path)
        # Turned as the picture is, so that nobody must guess how they lie on each other.
        stored = upright(mask, _TURNED_BACK.get(picture.tag, picture.tag))
        exif = PIL.Image.Exif()
        if picture.tag != 1:
            exif[PIL.ExifTags.Base.Orientation] = picture.tag
        try:
            folder.mkdir(exist_ok=True)
            with replacing(path) as partial:
                PIL.Image.fromarray(np.ascontiguousarray(stored)).save(partial, 'PNG', exif=exif)
        except OSError as error:
            raise DataError(
                f'{path}: cannot be written ({error.strerror}); free some space, or make its '
                'folder writable'
            ) from error
        if old is not None and old != path:
            old.unlink(missing_ok=True)  # or the picture would have two
