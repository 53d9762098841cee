"""Reads and checks folders of images with masks, and the correspondences of validation sets.

FOLDER/rgbs/NAME.jpg                  pictures (picture_file); an alpha channel is ignored
FOLDER/masks/NAME.png                 masks (mask_file); NAME_mask belongs to NAME_rgb (pairing)
FOLDER/depths/NAME.(png|npy)          optional: 16-bit millimetres, 0 for none, or float metres;
                                      NAME_depth belongs to NAME_rgb
FOLDER/negatives/                     optional pictures without the object
FOLDER/validation/                    optional held folder of the same layout, with
    correspondences.npz               image_a, image_b (P,) indices into the sorted pictures;
                                      uv_a, uv_b (P, N, 2) true pixels, NaN where there is none;
                                      version () of this layout, 1 where it is missing
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import cv2
import numpy as np
from numpy.typing import NDArray

from don_kp_ros.data.mask_file import mask_of
from don_kp_ros.data.pairing import missing, pair
from don_kp_ros.data.picture_file import (
    DataError,
    Image,
    PictureFile,
    bits_used,
    check_fit,
    files_left_out,
    image_of,
    list_files,
    list_images,
    named,
    write_image,
)
from don_kp_ros.geometry.depth import MILLIMETRE, DepthImage

Pixels = NDArray[np.float32]

RGBS, MASKS, DEPTHS, NEGATIVES = 'rgbs', 'masks', 'depths', 'negatives'
DEPTH_SUFFIXES = ('.png', '.npy')
INDEX = 'views.json'  # of a folder of posed views, which don_kp_ros.data.posed reads
UNFINISHED = '.rendering'  # in a folder of scenes that `don_kp render` has not finished
CORRESPONDENCES_VERSION = 1
# What NumPy raises for files that are damaged, empty, or of another kind.
_UNREADABLE = (OSError, ValueError, EOFError, AttributeError, TypeError, BadZipFile, zlib.error)
_FARTHEST_M = 20.0  # of a picture's depth, in the middle
SMALLEST_OBJECT = 24  # mask pixels: as many as there are correspondences in paper 1


@dataclass(frozen=True)
class Sample:
    """A picture (H, W, 3) uint8 RGB and its object's mask (H, W) uint8, 0 or 255.

    depth (H, W): float32 metres along the optical axis, NaN where there is none; number: by which
    the mask's file calls the object, if it does.
    """

    path: Path
    image: Image
    mask: Image
    depth: NDArray[np.float32] | None = None
    number: int | None = None


@dataclass(frozen=True)
class Correspondences:
    """True pixels between pairs of pictures, as a file holds them.

    image_a, image_b (P,): indices into the folder's sorted pictures; uv_a, uv_b (P, N, 2).
    """

    path: Path
    image_a: NDArray[np.int64]
    image_b: NDArray[np.int64]
    uv_a: Pixels
    uv_b: Pixels


@dataclass(frozen=True)
class ImageFolder:
    """The files of a data set; `samples` reads them.

    left_out: what lies there and is not read, in sentences.
    """

    root: Path
    images: tuple[Path, ...]
    masks: tuple[Path, ...]
    negatives: tuple[Path, ...]
    depths: tuple[Path, ...] = ()  # none, or one for each picture
    left_out: tuple[str, ...] = ()

    @classmethod
    def open(cls, root: Path) -> ImageFolder:
        """List a folder's pictures and find each one's mask; raises DataError."""
        images = list_rgbs(root)
        masks = list_images(root / MASKS)
        mask_of_image = pair(images, masks, 'mask')
        used = set(mask_of_image.values())
        if without := [image for image in images if image not in mask_of_image]:
            unpaired = [path for path in list_files(root / MASKS) if path not in used]
            raise DataError(missing(without, root / MASKS, unpaired, 'mask'))
        depths: list[Path] = []
        if not (root / INDEX).exists():  # a posed folder's depths have a unit of their own
            files = list_files(root / DEPTHS)
            depths = [path for path in files if path.suffix.lower() in DEPTH_SUFFIXES]
        depth_of_image = pair(images, depths, 'depth')
        if depths and (without := [image for image in images if image not in depth_of_image]):
            text = missing(without, root / DEPTHS, depths, 'depth')
            raise DataError(f'{text}. Others have one; add it, or remove the folder')
        others = [
            note for part in (RGBS, MASKS, NEGATIVES) for note in files_left_out(root / part)
        ]
        if alone := [path for path in masks if path not in used]:
            others.append(f'{root / MASKS}: left out {named(alone)}: no picture has such a name')
        return cls(
            root=root,
            images=tuple(images),
            masks=tuple(mask_of_image[image] for image in images),
            negatives=tuple(list_images(root / NEGATIVES)),
            depths=tuple(depth_of_image[image] for image in images if depths),
            left_out=tuple(others),
        )

    @property
    def files(self) -> list[Path]:
        """Every file that it is made of, the held folder's included; raises DataError."""
        held = self.root / 'validation'
        inner = []
        if held.is_dir():
            inner = [*ImageFolder.open(held).files, held / 'correspondences.npz']
        return [*self.images, *self.masks, *self.negatives, *self.depths, *inner]

    @cached_property
    def bits(self) -> int | None:
        """The bits that pictures of 16 bits use together, one range for all; none without them."""
        return bits_of_folder(self.root)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of how the folder is read, in sentences."""
        if self.bits in (None, 16):
            return self.left_out
        most = 2 ** (self.bits or 0) - 1
        scaled = f'{self.root}: pictures of 16 bits hold {self.bits}; {most} is white'
        return (*self.left_out, scaled)

    def samples(self, mask_values: tuple[int, ...] = ()) -> Iterator[Sample]:
        """Read and check every picture with its mask, in order; raises DataError.

        mask_values: of the object's pixels; none: masks have two values.
        """
        with ThreadPoolExecutor(2) as pool:
            read = partial(self.sample, mask_values=mask_values)
            yield from pool.map(read, range(len(self.images)))

    def sample(self, index: int, mask_values: tuple[int, ...] = ()) -> Sample:
        """Read and check a picture with its mask, as `samples` does."""
        depth = self.depths[index] if self.depths else None
        return read_sample(self.images[index], self.masks[index], depth, mask_values, self.bits)

    def validation(self) -> tuple[ImageFolder, Correspondences] | None:
        """Open the held folder, if there is one."""
        root = self.root / 'validation'
        if not root.is_dir():
            return None
        held = ImageFolder.open(root)
        return held, read_correspondences(root / 'correspondences.npz', len(held.images))


def list_rgbs(root: Path) -> list[Path]:
    """List the pictures of a data folder; raises DataError if there are none, saying why."""
    if not root.is_dir():
        raise DataError(f'{root}: no such folder')
    if (root / UNFINISHED).exists():
        raise DataError(f'{root}: an interrupted rendering; go on with its command')
    images = list_images(root / RGBS)
    if images:
        return images
    full = root.resolve()
    if full.name in (RGBS, MASKS, DEPTHS, NEGATIVES) and (full.parent / RGBS).is_dir():
        raise DataError(f'{root}: is a part of a data folder; give the whole one, {full.parent}')
    text = f'{root / RGBS}: no pictures there'
    if not (root / RGBS).is_dir() and (files := list_files(root)):
        folders = ', '.join(path.name for path in files if path.is_dir())
        holds = f'the folders {folders}' if folders else named(files)
        text = f'{text}, but {root} holds {holds}; pictures belong in {RGBS}, masks in {MASKS}'
    raise DataError('; '.join([text, *files_left_out(root / RGBS)]))


def bits_of_folder(root: Path) -> int | None:
    """Tell how many bits the pictures of a data folder that store 16 use, if there are any.

    Those of its validation/, or of the folder that it is the validation/ of, count, too: what is
    measured on is read as what was trained on.
    """
    whole = root.absolute()
    if whole.name == 'validation' and (whole.parent / RGBS).is_dir():
        whole = whole.parent
    parts = (whole, whole / 'validation')
    return bits_used(path for part in parts for path in list_images(part / RGBS))


def read_depth(path: Path, unit: float) -> DepthImage:
    """Read a depth image (.png) of 16-bit counts of ``unit`` metres; raises DataError.

    An array (.npy) may hold floating-point metres instead.
    """
    try:
        if path.suffix.lower() != '.npy':
            return DepthImage(PictureFile.open(path).decoded(cv2.IMREAD_UNCHANGED), unit)
        values = np.load(path, allow_pickle=False)
        if not np.issubdtype(values.dtype, np.floating):
            return DepthImage(values, unit)
        depth = DepthImage(values.astype(np.float32), unit)
    except _UNREADABLE as error:
        raise DataError(f'{path}: cannot be read ({error})') from error
    known = depth.metres()
    middle = float(np.median(known[np.isfinite(known)])) if np.isfinite(known).any() else 0.0
    if middle > _FARTHEST_M:
        raise DataError(
            f'{path}: the median depth is {middle:.0f} m, for floats are metres; are these '
            'millimetres? Divide them by 1000, or save them as 16-bit integers'
        )
    return depth


def write_samples(folder: Path, samples: Iterable[Sample]) -> None:
    """Write pictures and masks, of whatever folders, into one that can be trained on.

    Raises DataError for two pictures of one name.
    """
    for name in ('rgbs', 'masks'):
        (folder / name).mkdir(parents=True, exist_ok=True)
    written = set[str]()
    for sample in samples:
        name = f'{sample.path.stem.removesuffix("_rgb")}.png'
        if name in written:
            raise DataError(f'{sample.path}: another picture is named {name}, too; rename one')
        written.add(name)
        write_image(folder / 'rgbs' / name, sample.image)
        write_image(folder / 'masks' / name, sample.mask)


def read_sample(
    image_path: Path,
    mask_path: Path,
    depth_path: Path | None = None,
    mask_values: tuple[int, ...] = (),
    bits: int | None = None,
) -> Sample:
    """Read a picture, its mask and its depth and check that they fit; raises DataError.

    mask_values: of the object's pixels; bits: that a picture of 16 bits uses; none: as it is.
    """
    picture, mask_file = PictureFile.open(image_path), PictureFile.open(mask_path)
    image = image_of(picture, bits)
    try:
        mask, number = mask_of(mask_file, mask_values)
    except DataError as error:
        if any(len(np.unique(image[..., channel])) > 2 for channel in range(3)):
            raise
        raise DataError(
            f'{error}. But {image_path} looks like a mask: are {RGBS} and {MASKS} swapped?'
        ) from error
    check_fit(picture, image.shape, mask_file, mask.shape)
    area = int(np.count_nonzero(mask))
    if area < SMALLEST_OBJECT:
        raise DataError(
            f'{mask_path}: the object has {area} pixels; at least {SMALLEST_OBJECT} are needed'
        )
    if depth_path is None:
        return Sample(image_path, image, mask, None, number)
    depth = read_depth(depth_path, MILLIMETRE).metres()
    check_fit(picture, image.shape, PictureFile.open(depth_path), depth.shape)
    known = int(np.isfinite(depth[mask > 0]).sum())
    if known < SMALLEST_OBJECT:
        raise DataError(
            f'{depth_path}: {known} pixels of the object have a depth, the others none or NaN; '
            f'at least {SMALLEST_OBJECT} are needed'
        )
    return Sample(image_path, image, mask, depth, number)


def read_correspondences(path: Path, images: int) -> Correspondences:
    """Read and check a validation set's true pixels; raises DataError."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays: dict[str, Any] = {name: file[name] for name in file.files}
        image_a, image_b = (arrays[name].astype(np.int64) for name in ('image_a', 'image_b'))
        uv_a, uv_b = (arrays[name].astype(np.float32) for name in ('uv_a', 'uv_b'))
    except FileNotFoundError as error:
        raise DataError(f'{path}: missing; a validation folder needs it') from error
    except KeyError as error:
        raise DataError(f'{path}: has no array {error}') from error
    except _UNREADABLE as error:
        raise DataError(f'{path}: cannot be read ({error})') from error
    version = arrays.get('version', np.array(CORRESPONDENCES_VERSION))
    if version.shape != () or version != CORRESPONDENCES_VERSION:
        raise DataError(
            f'{path}: is of version {version}; this don_kp reads {CORRESPONDENCES_VERSION}'
        )
    pairs = image_a.size
    if pairs == 0:
        raise DataError(f'{path}: holds no pairs')
    fit = image_a.shape == image_b.shape == (pairs,) and uv_a.shape == uv_b.shape
    if not fit or uv_a.ndim != 3:
        raise DataError(f'{path}: image_a, image_b (P,) and uv_a, uv_b (P, N, 2) do not fit')
    if uv_a.shape[0] != pairs or uv_a.shape[2] != 2 or uv_a.shape[1] == 0:
        raise DataError(f'{path}: uv_a has shape {uv_a.shape}; ({pairs}, N, 2) is expected')
    if min(image_a.min(), image_b.min()) < 0 or max(image_a.max(), image_b.max()) >= images:
        raise DataError(f'{path}: an index lies outside of the {images} pictures beside it')
    return Correspondences(path, image_a, image_b, uv_a, uv_b)
