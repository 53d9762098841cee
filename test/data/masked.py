"""Folders of pictures with masks as other people's tools write them, and their truth."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from don_kp_ros.data.folder import ImageFolder
from don_kp_ros.data.mask_check import MaskCheck
from don_kp_ros.data.mask_options import MaskOptions

Truth = NDArray[np.bool_]
Mask = Callable[[Truth], tuple[str, bytes]]  # suffix and content of a truth's file

HEIGHT, WIDTH = 120, 160
TURNS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: np.swapaxes(a, 0, 1),
    6: lambda a: np.rot90(a),  # stored pixels; a viewer turns them clockwise
    7: lambda a: np.swapaxes(a[::-1, ::-1], 0, 1),
    8: lambda a: np.rot90(a, -1),
}


def truth(number: int, height: int = HEIGHT, width: int = WIDTH) -> Truth:
    """Draw an ellipse that no turn or reflection brings onto itself."""
    drawn = np.zeros((height, width), np.uint8)
    cv2.ellipse(drawn, (55 + 3 * number, 48), (32, 18), 25.0 + 20 * number, 0, 360, 1, -1)
    return drawn > 0


def photo(number: int, shape: tuple[int, ...] = (HEIGHT, WIDTH)) -> NDArray[np.uint8]:
    """Make a textured picture (H, W, 3)."""
    rng = np.random.default_rng(number)
    coarse = rng.integers(20, 235, (12, 16, 3), dtype=np.uint8)
    large = cv2.resize(coarse, shape[1::-1], interpolation=cv2.INTER_NEAREST)
    noise = rng.integers(0, 20, (*shape[:2], 3), dtype=np.uint8)
    return large + noise


def pillow(
    array: NDArray[Any], suffix: str = '.png', mode: str | None = None, **options: Any
) -> tuple[str, bytes]:
    """Encode an array (H, W, ...), colours as RGB.

    mode: Pillow's, of what the values mean; palette: colours of the values; exif: orientation.
    """
    file, image = io.BytesIO(), Image.fromarray(np.ascontiguousarray(array))
    if mode == '1':
        image = image.convert('1', dither=Image.Dither.NONE)
    if 'palette' in options:
        image.putpalette(options.pop('palette'))
    if 'exif' in options:
        exif = Image.Exif()
        exif[274] = options['exif']
        options['exif'] = exif
    image.save(file, Image.registered_extensions()[suffix], **options)
    return suffix, file.getvalue()


def turned(path: Path) -> None:
    """Give a PNG an EXIF tag by which it stands on its head; the pixels stay."""
    with Image.open(path) as image:
        image.load()
        exif = Image.Exif()
        exif[274] = 3
        image.save(path, exif=exif)


def opencv(array: NDArray[Any], suffix: str = '.png', *options: int) -> tuple[str, bytes]:
    """Encode an array of any depth, colours as BGR."""
    return suffix, cv2.imencode(suffix, array, options)[1].tobytes()


def levels(shown: Truth, background: float, value: float, dtype: Any = np.uint8) -> NDArray[Any]:
    """Write a truth by two values."""
    return np.where(shown, value, background).astype(dtype)


def write(root: Path, *parts: str, content: bytes) -> Path:
    """Write a file, and the folders above it."""
    path = root.joinpath(*parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def folder(root: Path, mask: Mask, numbers: int = 3) -> Path:
    """Write a data folder of photos, and masks as a tool encodes them."""
    for number in range(numbers):
        suffix, content = mask(truth(number))
        write(root, 'masks', f'{number}{suffix}', content=content)
        suffix, content = pillow(photo(number))
        write(root, 'rgbs', f'{number}{suffix}', content=content)
    return root


def read(root: Path, *values: int, trust: bool = False) -> tuple[list[Truth], list[str]]:
    """Read a folder's masks as a training does; also return what a user is told."""
    told: list[str] = []
    own = ImageFolder.open(root)
    told += own.notes
    check = MaskCheck(root, MaskOptions(values, trust), told.append)
    return [sample.mask > 0 for sample in check.watch(own.samples(values), len(own.images))], told


def overlap(masks: list[Truth]) -> float:
    """Return the least intersection over union with the truth."""
    shares = []
    for number, mask in enumerate(masks):
        own = truth(number)
        assert mask.shape == own.shape
        shares.append(np.count_nonzero(mask & own) / np.count_nonzero(mask | own))
    return min(shares)
