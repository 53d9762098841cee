"""Reads and writes picture files: their formats, their bits, and which way is up (EXIF)."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
from numpy.typing import NDArray

Image = NDArray[np.uint8]

SUFFIXES = (
    '.png', '.jpg', '.jpeg', '.jpe', '.jfif', '.bmp', '.dib', '.webp', '.tif', '.tiff', '.gif',
    '.avif', '.jp2', '.ppm', '.pgm', '.pbm', '.heic', '.heif',
)  # fmt: skip
_HEIF_SUFFIXES = ('.heic', '.heif')
_HEIF_BRANDS = (b'heic', b'heix', b'heim', b'heis', b'hevc', b'mif1', b'msf1')
_HEIF = 'HEIC, which needs `pip install pillow-heif`; or save it as JPEG'
_DEEP_SUFFIXES = ('.png', '.tif', '.tiff', '.ppm', '.pgm', '.jp2')  # may store 16 bits
_NAMED = 4  # files that a message names
_SYSTEM_FILES = ('thumbs.db', 'ehthumbs.db', 'desktop.ini', '__macosx', '@eadir', 'icon\r')
_ORIENTATION = 274  # the tag's number in EXIF
# How the stored pixels are turned upright, by tag: transposed, then flipped along these axes.
_TURNS = {
    2: (False, (1,)), 3: (False, (0, 1)), 4: (False, (0,)), 5: (True, ()),
    6: (True, (1,)), 7: (True, (0, 1)), 8: (True, (0,)),
}  # fmt: skip


class DataError(Exception):
    """A data set cannot be used; the message names the file and what is wrong with it."""


@dataclass(frozen=True)
class PictureFile:
    """A file's bytes, what Pillow says of them before it decodes them, and the EXIF tag.

    header: None where only OpenCV knows the format; tag: 1 to 8, 1 is upright.
    """

    path: Path
    data: bytes
    header: PIL.Image.Image | None
    tag: int

    @classmethod
    def open(cls, path: Path) -> PictureFile:
        """Read a file; raises DataError."""
        try:
            data = path.read_bytes()
        except OSError as error:
            raise DataError(f'{path}: cannot be read ({error.strerror})') from error
        return cls.of(path, data)

    @classmethod
    def of(cls, path: Path, data: bytes) -> PictureFile:
        """Take what a file holds, or what another file holds of it; raises DataError."""
        if data[8:12] in _HEIF_BRANDS and b'avif' not in data[:64] and not _reads_heif():
            raise DataError(f'{path}: {_HEIF}')
        try:
            header = PIL.Image.open(io.BytesIO(data))
        except PIL.Image.DecompressionBombError as error:
            raise DataError(f'{path}: too large ({error}); reduce it') from error
        except (OSError, SyntaxError, ValueError):
            return cls(path, data, None, 1)
        return cls(path, data, header, _tag(header, data))

    def decoded(self, flags: int) -> NDArray[Any]:
        """Decode the pixels by OpenCV, upright, colours as RGB; raises DataError."""
        try:
            buffer = np.frombuffer(self.data, np.uint8)
            flags |= cv2.IMREAD_IGNORE_ORIENTATION
            pixels: Any = cv2.imdecode(buffer, flags) if self.data else None
        except cv2.error:
            pixels = None
        if pixels is None:
            whole = self.header is not None and self.header.mode.startswith(('I', 'F'))
            return self.decoded_by_pillow(None if whole else 'RGB')
        if pixels.ndim == 3:
            four = pixels.shape[2] == 4
            pixels = cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA if four else cv2.COLOR_BGR2RGB)
        return pixels if self._turned_by_reader else upright(pixels, self.tag)

    def decoded_by_pillow(self, mode: str | None = None) -> NDArray[Any]:
        """Decode the pixels by Pillow, upright, in a mode of Pillow's; raises DataError."""
        try:
            assert self.header is not None
            pixels = np.asarray(self.header.convert(mode) if mode else self.header)
        except (AssertionError, OSError, SyntaxError, ValueError) as error:
            reason = 'not an image that can be read; it may be truncated'
            raise DataError(f'{self.path}: {reason}') from error
        return pixels if self._turned_by_reader else upright(pixels, self.tag)

    @property
    def _turned_by_reader(self) -> bool:
        """Tell whether OpenCV and Pillow turn this format's pixels whatever they are told."""
        return self.header is not None and self.header.format == 'TIFF'

    @property
    def deep(self) -> bool:
        """Tell whether it stores 16 bits, of which Pillow drops some."""
        return self.header is not None and _is_deep(self.header)

    @property
    def multiplied(self) -> bool:
        """Tell whether OpenCV would multiply its colours by their alpha."""
        header = self.header
        rgba = header is not None and (header.format, header.mode) == ('TIFF', 'RGBA')
        return rgba and not self.deep

    @property
    def lossy(self) -> bool:
        """Tell whether the format may have changed values a little."""
        return self.header is not None and self.header.format not in (
            'PNG', 'TIFF', 'BMP', 'DIB', 'GIF', 'PPM'
        )  # fmt: skip


def _tag(header: PIL.Image.Image, data: bytes) -> int:
    # A PNG without EXIF would be decoded to look for it at its end.
    if header.format == 'PNG' and b'eXIf' not in data and b'exif' not in data:
        return 1
    try:
        tag = header.getexif().get(_ORIENTATION, 1)
    except Exception:  # whatever broken EXIF raises, the pixels may be well
        return 1
    return tag if tag in _TURNS else 1


def upright(pixels: NDArray[Any], tag: int) -> NDArray[Any]:
    """Turn stored pixels (H, W, ...) upright, as an EXIF orientation tag says."""
    transposed, flipped = _TURNS.get(tag, (False, ()))
    return np.flip(pixels.swapaxes(0, 1) if transposed else pixels, flipped)


def check_fit(
    picture: PictureFile, size: tuple[int, ...], other: PictureFile, own: tuple[int, ...]
) -> None:
    """Raise DataError where a picture and its mask or depth do not lie on each other.

    size, own: theirs, (H, W, ...) upright. Where their EXIF tags differ but the stored sizes are
    equal, nothing tells on which pixels the other one was drawn: on those that are stored, or on
    those that a viewer shows.
    """
    fits = size[:2] == own[:2]
    tags = (picture.tag, other.tag)
    told_by_size = (tags[0] > 4) != (tags[1] > 4) and size[0] != size[1]
    if fits and (tags[0] == tags[1] or told_by_size):
        return
    text = f'{other.path}: {own[1]}x{own[0]} pixels, but {picture.path} has {size[1]}x{size[0]}'
    if tags[0] == tags[1]:
        raise DataError(text)
    tagged = picture if picture.tag != 1 else other
    text += f' after EXIF orientation {tags[1]} and {tags[0]}'
    if fits:
        text = (
            f'{other.path}: EXIF orientation {tags[1]}, but {picture.path} has {tags[0]}, so one '
            'may be turned against the other'
        )
    kind = f'{tagged.path.parent}/*{tagged.path.suffix}'
    raise DataError(
        f'{text}; if they lie on each other as they are stored, remove the tag: exiftool '
        f'-Orientation= {kind}; if as a viewer shows them, turn the pixels: mogrify -auto-orient '
        f'{kind}'
    )


def read_image(path: Path, bits: int | None = None) -> Image:
    """Read a picture as (H, W, 3) uint8 RGB, upright; raises DataError.

    bits: that 16-bit pictures use; none: as many as this one does.
    """
    return image_of(PictureFile.open(path), bits)


def image_of(file: PictureFile, bits: int | None = None) -> Image:
    """Decode a picture as `read_image` does."""
    if file.multiplied:
        pixels = file.decoded_by_pillow('RGB')
    else:
        pixels = file.decoded(cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    if pixels.dtype == np.uint16:
        used = bits or _bits(pixels)
        pixels = np.minimum(pixels >> (used - 8), 255).astype(np.uint8)
    if pixels.dtype != np.uint8:
        raise DataError(f'{file.path}: holds {pixels.dtype}; save it with 8 or 16 bits')
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    return np.ascontiguousarray(pixels)


def bits_used(paths: Iterable[Path]) -> int | None:
    """Tell how many bits the pictures among these that store 16 use together, if there are any.

    Broken pictures are passed over: whoever reads them, tells.
    """
    used = None
    for path in paths:
        if path.suffix.lower() in _DEEP_SUFFIXES and _stores_16_bits(path):
            try:
                pixels = PictureFile.open(path).decoded(cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
            except DataError:
                continue
            used = max(used or 8, _bits(pixels)) if pixels.dtype == np.uint16 else used
    return used


def _stores_16_bits(path: Path) -> bool:
    try:
        with PIL.Image.open(path) as header:
            return header.mode[0] == 'I' or _is_deep(header)
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError):
        return False


def _is_deep(header: PIL.Image.Image) -> bool:
    return any(';16' in str(tile.args) for tile in getattr(header, 'tile', ()))


def _bits(pixels: NDArray[Any]) -> int:
    """Tell how many bits cameras take for values as large as these: 8, 10, 12, 14 or 16."""
    needed = int(pixels.max()).bit_length()
    return max(8, needed + needed % 2)


def list_images(folder: Path) -> list[Path]:
    """List the pictures of a folder by name; a folder that does not exist has none."""
    return [path for path in list_files(folder) if _is_picture(path)]


def list_files(folder: Path) -> list[Path]:
    """List what lies in a folder by name, but what operating systems put there."""
    if not folder.is_dir():
        return []
    return sorted(
        path
        for path in folder.iterdir()
        if not path.name.startswith('.') and path.name.lower() not in _SYSTEM_FILES
    )


def files_left_out(folder: Path) -> list[str]:
    """Count and name the files of a folder that are no pictures that can be read, by reason."""
    others = [path for path in list_files(folder) if not _is_picture(path)]
    heif = [path for path in others if path.suffix.lower() in _HEIF_SUFFIXES]
    plain = [path for path in others if path not in heif]
    reasons = ((heif, _HEIF), (plain, f'pictures end with {", ".join(SUFFIXES)}'))
    return [f'{folder}: left out {named(files)}: {why}' for files, why in reasons if files]


def named(paths: Sequence[Path]) -> str:
    """Count files and name the first of them."""
    names = ', '.join(path.name for path in paths[:_NAMED])
    more = ', ...' if len(paths) > _NAMED else ''
    return f'{len(paths)} file{"s" * (len(paths) > 1)} ({names}{more})'


def _is_picture(path: Path) -> bool:
    suffix = path.suffix.lower()
    return suffix in SUFFIXES and (suffix not in _HEIF_SUFFIXES or _reads_heif())


def _reads_heif() -> bool:
    """Let Pillow read HEIC, if what teaches it is installed."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


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
