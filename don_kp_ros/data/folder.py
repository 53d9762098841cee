"""Reads and checks folders of images with masks, and the correspondences of validation sets.

FOLDER/rgbs/NAME.(png|jpg|jpeg|bmp)   pictures; an alpha channel is ignored
FOLDER/masks/NAME.png                 masks, object > 127; NAME_mask belongs to NAME_rgb
FOLDER/depths/NAME.(png|npy)          optional: 16-bit millimetres, 0 for none, or float metres;
                                      NAME_depth belongs to NAME_rgb
FOLDER/negatives/                     optional pictures without the object
FOLDER/validation/                    optional held folder of the same layout, with
    correspondences.npz               image_a, image_b (P,) indices into the sorted pictures;
                                      uv_a, uv_b (P, N, 2) true pixels, NaN where there is none;
                                      version () of this layout, 1 where it is missing
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from don_kp_ros.geometry.depth import MILLIMETRE, DepthImage

Image = NDArray[np.uint8]
Pixels = NDArray[np.float32]

SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp')
DEPTH_SUFFIXES = ('.png', '.npy')
INDEX = 'views.json'  # of a folder of posed views, which don_kp_ros.data.posed reads
CORRESPONDENCES_VERSION = 1
SMALLEST_OBJECT = 24  # mask pixels: as many as there are correspondences in paper 1


class DataError(Exception):
    """A data set cannot be used; the message names the file and what is wrong with it."""


@dataclass(frozen=True)
class Sample:
    """A picture (H, W, 3) uint8 RGB and its object's mask (H, W) uint8, 0 or 255.

    depth (H, W): float32 metres along the optical axis, NaN where there is none.
    """

    path: Path
    image: Image
    mask: Image
    depth: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Correspondences:
    """True pixels between pairs of pictures.

    image_a, image_b (P,): indices into the folder's sorted pictures; uv_a, uv_b (P, N, 2).
    """

    image_a: NDArray[np.int64]
    image_b: NDArray[np.int64]
    uv_a: Pixels
    uv_b: Pixels


@dataclass(frozen=True)
class ImageFolder:
    """The files of a data set; `samples` reads them."""

    root: Path
    images: tuple[Path, ...]
    masks: tuple[Path, ...]
    negatives: tuple[Path, ...]
    depths: tuple[Path, ...] = ()  # none, or one for each picture

    @classmethod
    def open(cls, root: Path) -> ImageFolder:
        """List a folder's pictures and find each one's mask; raises DataError."""
        if not root.is_dir():
            raise DataError(f'{root}: no such folder')
        images = list_images(root / 'rgbs')
        if not images:
            raise DataError(f'{root / "rgbs"}: no pictures ({", ".join(SUFFIXES)}) there')
        by_stem(images, '_rgb')  # a mask belongs to one picture
        masks = by_stem(list_images(root / 'masks'), '_mask')
        for image in images:
            if _stem(image, '_rgb') not in masks:
                expected = root / 'masks' / f'{_stem(image, "_rgb")}.png'
                raise DataError(f'{image}: has no mask; {expected} is expected')
        depths: dict[str, Path] = {}
        if not (root / INDEX).exists():  # a posed folder's depths have a unit of their own
            depths = by_stem(_list(root / 'depths', DEPTH_SUFFIXES), '_depth')
        for image in images:
            if depths and _stem(image, '_rgb') not in depths:
                raise DataError(
                    f'{image}: has no depth in {root / "depths"}, but others have; add it, or '
                    'remove the folder'
                )
        return cls(
            root=root,
            images=tuple(images),
            masks=tuple(masks[_stem(image, '_rgb')] for image in images),
            negatives=tuple(list_images(root / 'negatives')),
            depths=tuple(depths[_stem(image, '_rgb')] for image in images if depths),
        )

    @property
    def files(self) -> list[Path]:
        """Every file that it is made of, the held folder's included; raises DataError."""
        held = self.root / 'validation'
        inner = []
        if held.is_dir():
            inner = [*ImageFolder.open(held).files, held / 'correspondences.npz']
        return [*self.images, *self.masks, *self.negatives, *self.depths, *inner]

    def samples(self) -> Iterator[Sample]:
        """Read and check every picture with its mask, in order; raises DataError."""
        with ThreadPoolExecutor(2) as pool:
            depths = self.depths or (None,) * len(self.images)
            yield from pool.map(read_sample, self.images, self.masks, depths)

    def validation(self) -> tuple[ImageFolder, Correspondences] | None:
        """Open the held folder, if there is one."""
        root = self.root / 'validation'
        if not root.is_dir():
            return None
        held = ImageFolder.open(root)
        return held, read_correspondences(root / 'correspondences.npz', len(held.images))


def list_images(folder: Path) -> list[Path]:
    """List the pictures of a folder by name; a folder that does not exist has none."""
    return _list(folder, SUFFIXES)


def _list(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in suffixes)


def read_image(path: Path) -> Image:
    """Read a picture as (H, W, 3) uint8 RGB; raises DataError."""
    return np.ascontiguousarray(_read(path, cv2.IMREAD_COLOR)[:, :, ::-1], dtype=np.uint8)


def read_mask(path: Path) -> Image:
    """Read a mask as (H, W) uint8, 0 or 255; raises DataError."""
    mask = _read(path, cv2.IMREAD_GRAYSCALE)
    return np.where(mask > 127, np.uint8(255), np.uint8(0))


def read_depth(path: Path, unit: float) -> DepthImage:
    """Read a depth image (.png) of 16-bit counts of ``unit`` metres; raises DataError.

    An array (.npy) may hold floating-point metres instead.
    """
    try:
        if path.suffix.lower() != '.npy':
            return DepthImage(_read(path, cv2.IMREAD_UNCHANGED), unit)
        values = np.load(path, allow_pickle=False)
        floats = np.issubdtype(values.dtype, np.floating)
        return DepthImage(values.astype(np.float32) if floats else values, unit)
    except (OSError, ValueError) as error:
        raise DataError(f'{path}: cannot be read ({error})') from error


def write_image(path: Path, image: Image | NDArray[np.uint16]) -> None:
    """Write a picture (H, W, 3) RGB or (H, W), as its suffix says; raises DataError."""
    bgr, suffix = image[..., ::-1] if image.ndim == 3 else image, path.suffix or '.png'
    try:
        known, encoded = cv2.imencode(suffix, bgr)
    except cv2.error:
        known = False
    if not known:
        raise DataError(f"{path}: no picture format ends with '{suffix}'; use .png")
    try:
        path.write_bytes(encoded.tobytes())
    except OSError as error:
        raise DataError(f'{path}: cannot be written ({error.strerror})') from error


def write_samples(folder: Path, samples: Iterable[Sample]) -> None:
    """Write pictures and masks, of whatever folders, into one that can be trained on."""
    for name in ('rgbs', 'masks'):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for sample in samples:
        name = f'{sample.path.stem.removesuffix("_rgb")}.png'
        write_image(folder / 'rgbs' / name, sample.image)
        write_image(folder / 'masks' / name, sample.mask)


def read_sample(image_path: Path, mask_path: Path, depth_path: Path | None = None) -> Sample:
    """Read a picture, its mask and its depth and check that they fit; raises DataError."""
    image, mask = read_image(image_path), read_mask(mask_path)
    if image.shape[:2] != mask.shape:
        sizes = [f'{array.shape[1]}x{array.shape[0]}' for array in (mask, image)]
        raise DataError(f'{mask_path}: {sizes[0]} pixels, but {image_path} has {sizes[1]}')
    area = int(np.count_nonzero(mask))
    if area == 0:
        raise DataError(f'{mask_path}: empty, no object is marked (pixels above 127)')
    if area < SMALLEST_OBJECT:
        raise DataError(
            f'{mask_path}: the object has {area} pixels; at least {SMALLEST_OBJECT} are needed'
        )
    if depth_path is None:
        return Sample(image_path, image, mask)
    depth = read_depth(depth_path, MILLIMETRE).metres()
    if depth.shape != mask.shape:
        sizes = [f'{array.shape[1]}x{array.shape[0]}' for array in (depth, image)]
        raise DataError(f'{depth_path}: {sizes[0]} pixels, but {image_path} has {sizes[1]}')
    known = int(np.isfinite(depth[mask > 0]).sum())
    if known < SMALLEST_OBJECT:
        raise DataError(
            f'{depth_path}: {known} pixels of the object have a depth, the others none or NaN; '
            f'at least {SMALLEST_OBJECT} are needed'
        )
    return Sample(image_path, image, mask, depth)


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
    except (OSError, ValueError) as error:
        raise DataError(f'{path}: cannot be read ({error})') from error
    version = arrays.get('version', np.array(CORRESPONDENCES_VERSION))
    if version.shape != () or version != CORRESPONDENCES_VERSION:
        raise DataError(
            f'{path}: is of version {version}; this don_kp reads {CORRESPONDENCES_VERSION}'
        )
    pairs = len(image_a)
    if pairs == 0:
        raise DataError(f'{path}: holds no pairs')
    if image_b.shape != (pairs,) or uv_a.shape != uv_b.shape or uv_a.ndim != 3:
        raise DataError(f'{path}: image_a, image_b (P,) and uv_a, uv_b (P, N, 2) do not fit')
    if uv_a.shape[0] != pairs or uv_a.shape[2] != 2 or uv_a.shape[1] == 0:
        raise DataError(f'{path}: uv_a has shape {uv_a.shape}; ({pairs}, N, 2) is expected')
    if min(image_a.min(), image_b.min()) < 0 or max(image_a.max(), image_b.max()) >= images:
        raise DataError(f'{path}: an index lies outside of the {images} pictures beside it')
    return Correspondences(image_a, image_b, uv_a, uv_b)


def _read(path: Path, flags: int) -> NDArray[Any]:
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise DataError(f'{path}: cannot be read ({error.strerror})') from error
    try:
        image = cv2.imdecode(data, flags) if len(data) else None
    except cv2.error:
        image = None
    if image is None:
        raise DataError(f'{path}: not an image that can be read; it may be truncated')
    return image


def by_stem(paths: Iterable[Path], suffix: str = '') -> dict[str, Path]:
    """Find files by their stems without a suffix; raises DataError where two have the same."""
    found: dict[str, Path] = {}
    for path in paths:
        other = found.setdefault(_stem(path, suffix), path)
        if other != path:
            raise DataError(f'{path}: stands for the same picture as {other}; remove one of them')
    return found


def _stem(path: Path, suffix: str) -> str:
    return path.stem.removesuffix(suffix)
