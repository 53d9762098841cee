"""Reads mask files: which pixels are the object's, whatever tool wrote them.

Alpha is the mask where it varies. Two values are a mask, whatever they are: the background is 0,
or else the commoner one along the border. A palette's pixels count by their index, as in PASCAL
VOC. Two levels with the noise of compression or smooth edges between them are told apart in the
middle. Of more values the user must say which are the object's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from don_kp_ros.data.picture_file import DataError, Image, PictureFile

_SAYS_NOTHING = (255, 65535, 0xFFFFFF, 0xFFFFFFFFFFFF)  # white, not the number of an object
_LISTED = 8  # values that a message lists
_MOST = 128  # values that a file of objects' numbers has
_FEW = 16  # values that may be those of single objects
_RARE = 0.01  # share of white
_SMOOTH = 5  # values; where there are fewer, edges between two levels are lines
_WHICH = (
    'say which are the object by --mask-value N (again for more of them), or save a mask of two '
    'values'
)
_FAST = ('L', 'RGB', 'RGBA')  # modes that OpenCV decodes as Pillow does, and faster
_EDGE, _BLOCK = 9, 33  # pixels: about an edge, and about the blocks that JPEG compresses


@dataclass(frozen=True)
class _Levels:
    """The numbers (H, W) in a file and its alpha (H, W), if any.

    kind: what a number is; a colour is 0xRRGGBB, with 16 bits 0xRRRRGGGGBBBB.
    """

    file: PictureFile
    numbers: NDArray[Any]
    alpha: NDArray[Any] | None = None
    kind: Literal['value', 'index', 'colour'] = 'value'

    def listed(self, where: NDArray[np.bool_] | None = None) -> str:
        """List the numbers, of some pixels or of all, commonest first."""
        values, counts = _counted(self.numbers if where is None else self.numbers[where])
        order = np.argsort(-counts, kind='stable')
        shown = [f'{self.name(values[i])} ({counts[i]} pixels)' for i in order[:_LISTED]]
        more = f' and {len(values) - _LISTED} more' if len(values) > _LISTED else ''
        return f'{len(values)} {self.plural}: {", ".join(shown)}{more}'

    @property
    def plural(self) -> str:
        """What the numbers are called."""
        return {'value': 'values', 'index': 'palette indices', 'colour': 'colours'}[self.kind]

    def name(self, number: Any) -> str:
        """Write a number as --mask-value takes it."""
        return f'0x{int(number):06x}' if self.kind == 'colour' else f'{number:.10g}'


def read_mask(path: Path, values: tuple[int, ...] = ()) -> Image:
    """Read a mask as (H, W) uint8, 0 or 255, upright; raises DataError.

    values: of the object's pixels; none: of two values one is the object's.
    """
    return mask_of(PictureFile.open(path), values)[0]


def mask_of(file: PictureFile, values: tuple[int, ...] = ()) -> tuple[Image, int | None]:
    """Decode a mask as `read_mask` does; also return the number that it gives the object, if any.

    Such a number may be an object's or a class's, so that two of them may be two objects.
    """
    levels = _levels(file)
    if values:
        shown, number = _chosen(levels, values), None
    else:
        cut_out = _cut_out(levels)
        shown, number = (cut_out, None) if cut_out is not None else _of_two(levels)
    return shown * np.uint8(255), number


def _levels(file: PictureFile) -> _Levels:
    header = file.header
    if header is not None and header.format != 'MPO' and getattr(header, 'n_frames', 1) > 1:
        raise DataError(f'{file.path}: holds several pictures; save the mask alone')
    if header is not None and header.mode == 'P':
        numbers = file.decoded_by_pillow()
        return _Levels(file, numbers, _palette_alpha(file, numbers), 'index')
    if header is None or file.deep or (header.mode in _FAST and header.format != 'TIFF'):
        pixels = file.decoded(cv2.IMREAD_UNCHANGED)
    elif header.mode in ('1', 'L', 'LA', 'I', 'F', 'RGB', 'RGBA'):
        pixels = file.decoded_by_pillow()
    else:
        pixels = file.decoded_by_pillow('RGBA' if 'A' in header.mode else 'RGB')
    if pixels.ndim == 2:
        return _Levels(file, pixels)
    alpha = pixels[..., -1] if pixels.shape[2] in (2, 4) else None
    if pixels.shape[2] == 2:
        return _Levels(file, pixels[..., 0], alpha)
    red, green, blue = (pixels[..., i] for i in range(3))
    if np.array_equal(red, green) and np.array_equal(green, blue):
        return _Levels(file, red, alpha)
    if file.lossy and max(np.ptp(pixels[..., :3].astype(np.int16), axis=2).ravel()) <= _FEW:
        return _Levels(file, green, alpha)  # grey, but for compression
    bits = 8 * pixels.itemsize
    red, green, blue = (own.astype(np.uint64) for own in (red, green, blue))
    return _Levels(file, red << 2 * bits | green << bits | blue, alpha, 'colour')


def _palette_alpha(file: PictureFile, indices: NDArray[Any]) -> NDArray[np.uint8] | None:
    """Look up the alpha (H, W) of a palette's entries."""
    told = file.header.info.get('transparency') if file.header is not None else None
    if told is None:
        return None
    alphas = np.full(256, 255, np.uint8)
    if isinstance(told, bytes):
        alphas[: len(told)] = np.frombuffer(told, np.uint8)
    else:
        alphas[told] = 0
    return alphas[indices]


def _chosen(levels: _Levels, values: tuple[int, ...]) -> NDArray[np.bool_]:
    """Find the pixels of the values that the user names."""
    shown = np.isin(levels.numbers, np.array(values))
    if levels.alpha is not None and np.ptp(levels.alpha) > 0:
        shown &= levels.alpha > 0
    if not shown.any():
        named = ', '.join(levels.name(value) for value in values)
        raise DataError(
            f'{levels.file.path}: empty, no pixel has the value {named} (--mask-value); there '
            f'are {levels.listed()}'
        )
    return shown


def _cut_out(levels: _Levels) -> NDArray[np.bool_] | None:
    """Take alpha as the mask, where it varies."""
    alpha = levels.alpha
    if alpha is None or np.ptp(alpha) == 0:
        return None
    path, low, high = levels.file.path, int(alpha.min()), int(alpha.max())
    if low > 0 and high - low < np.iinfo(alpha.dtype).max / 4:
        raise DataError(
            f'{path}: its alpha varies, but only between {low} and {high}; save it without alpha, '
            'or cut the object out'
        )
    shown = alpha > (low + high) / 2
    if 2 <= len(_counted(levels.numbers[shown])[0]) <= _FEW:
        raise DataError(
            f'{path}: is cut out by its alpha, but holds in there {levels.listed(shown)}; {_WHICH}'
        )
    return shown


def _of_two(levels: _Levels) -> tuple[NDArray[np.bool_], int | None]:
    """Tell the object from the background by two values, or by two levels; raises DataError."""
    numbers, path = levels.numbers, levels.file.path
    low, high = numbers.min(), numbers.max()
    if low == high == 0:
        raise DataError(f'{path}: empty, no object is marked (every pixel is 0)')
    if low == high:
        return np.ones(numbers.shape, np.bool_), None
    if ((numbers == low) | (numbers == high)).all():
        background = 0 if 0 in (low, high) else _at_border(levels, low, high)
        value = low if background == high else high
        _check_palette(levels, int(background), int(value))
        numbered = numbers.dtype.kind in 'iu' and value not in _SAYS_NOTHING
        return numbers != background, int(value) if numbered else None
    if (white := _with_specks_white(levels)) is not None:
        return _of_two(replace(levels, numbers=white))
    values, counts = _counted(numbers)
    if not np.isfinite(values).all():
        raise DataError(f'{path}: holds {levels.listed()}; save it with whole numbers')
    shown = _of_two_levels(numbers, values, counts) if levels.kind == 'value' else None
    if shown is not None and not levels.file.lossy and len(values) < _SMOOTH:
        shown = shown if _is_a_line_between(numbers, values, counts) else None
    if shown is None:
        if len(values) > _MOST:
            number = f'{len(values)} {levels.plural}'
            raise DataError(f'{path}: holds {number}, as a picture does; a mask has two')
        raise DataError(f'{path}: holds {levels.listed()}; {_WHICH}')
    return shown, None


def _with_specks_white(levels: _Levels) -> NDArray[Any] | None:
    """Make what is nearly white white, if there is a little of it: no object is numbered so."""
    numbers = levels.numbers
    if levels.kind != 'value' or numbers.dtype not in (np.uint8, np.uint16):
        return None
    full = np.iinfo(numbers.dtype).max
    bright, white = numbers > full - full // 16, np.count_nonzero(numbers == full)
    if not white < np.count_nonzero(bright) <= (1 + _RARE) * white:
        return None
    return np.where(bright, numbers.dtype.type(full), numbers)


def _at_border(levels: _Levels, first: Any, second: Any) -> Any:
    """Return that of two values which fills most of the border; raises DataError if none does."""
    numbers = levels.numbers
    border = np.concatenate([numbers[0], numbers[-1], numbers[:, 0], numbers[:, -1]])
    share = float(np.mean(border == first))
    if 0.25 < share < 0.75:
        raise DataError(
            f'{levels.file.path}: holds {levels.listed()}; none is 0, and both lie along the '
            f'border, so either may be the background; {_WHICH}'
        )
    return first if share > 0.5 else second


def _check_palette(levels: _Levels, background: int, value: int) -> None:
    """Raise DataError where indices and colours of a palette say the opposite."""
    if levels.kind != 'index' or levels.file.header is None:
        return
    palette = levels.file.header.getpalette('RGB') or []
    colours = [palette[3 * index : 3 * index + 3] for index in (background, value)]
    if colours == [[255] * 3, [0] * 3]:
        raise DataError(
            f'{levels.file.path}: its palette shows index {value} black and {background} white; '
            f'{_WHICH}'
        )


def _of_two_levels(
    numbers: NDArray[Any], values: NDArray[Any], counts: NDArray[np.intp]
) -> NDArray[np.bool_] | None:
    """Tell two levels apart that compression or smooth edges blur; None if there are others.

    Every other value must have been made by an edge: it lies near both levels, and nowhere is it
    a region of its own.
    """
    commonest = values[np.argmax(counts)]
    span = float(values[-1]) - float(values[0])
    far = np.abs(values.astype(np.float64) - float(commonest)) > span / 2
    if not far.any() or span <= 0:
        return None
    other = values[far][np.argmax(counts[far])]
    low, high = sorted((float(commonest), float(other)))
    exact = (numbers == commonest) | (numbers == other)
    if np.mean(exact) < 0.5:
        return None
    levels = numbers.astype(np.float32)
    margin = (high - low) / 4
    if float(values[0]) < low - margin or float(values[-1]) > high + margin:
        return None
    is_low, is_high = levels <= low + margin, levels >= high - margin
    between = ~(is_low | is_high)
    lies_by = {
        (name, side): cv2.dilate(own.view(np.uint8), np.ones((side, side), np.uint8)) > 0
        for name, own in (('low', is_low), ('high', is_high))
        for side in (_EDGE, _BLOCK)
    }
    if (between & ~(lies_by['low', _EDGE] & lies_by['high', _EDGE])).any():
        return None
    if (~exact & ~(lies_by['low', _BLOCK] & lies_by['high', _BLOCK])).any():
        return None
    five = np.ones((5, 5), np.uint8)
    flat = cv2.erode(levels, five) == cv2.dilate(levels, five)
    if (flat & ~exact).any():
        return None
    return levels > (low + high) / 2


def _is_a_line_between(
    numbers: NDArray[Any], values: NDArray[Any], counts: NDArray[np.intp]
) -> bool:
    """Tell whether every pixel of the rarer values touches both of the two commonest.

    So few values may be those of small objects, which do not.
    """
    commonest = values[np.argsort(-counts)[:2]]
    touches = [
        cv2.dilate((numbers == value).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        for value in commonest
    ]
    return bool((touches[0] & touches[1])[~np.isin(numbers, commonest)].all())


def _counted(numbers: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """List the different numbers, rising, and how often each is there."""
    if numbers.dtype in (np.uint8, np.uint16):
        counts = np.bincount(numbers.ravel())
        values = np.flatnonzero(counts)
        return values, counts[values]
    return np.unique(numbers, return_counts=True)
