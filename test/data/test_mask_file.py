"""What masks are read from: every way in which tools write one, or a refusal that says why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from masked import (
    HEIGHT,
    TURNS,
    WIDTH,
    Mask,
    Truth,
    folder,
    levels,
    opencv,
    overlap,
    photo,
    pillow,
    read,
    truth,
    write,
)
from PIL import Image

from don_kp_ros.data.mask_file import read_mask
from don_kp_ros.data.picture_file import DataError

VOC = [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0]
BLACK = [0, 0, 0] * 256


def coloured(shown: Truth, background: Any, colour: Any) -> np.ndarray:
    colours = np.broadcast_to(background, 3), np.broadcast_to(colour, 3)
    return np.stack(colours).astype(np.uint8)[shown.astype(int)]


def cut_out(shown: Truth, alpha: float = 255, background: float = 0) -> np.ndarray:
    """Cut a photo out by its alpha."""
    own = levels(shown, background, alpha)
    return np.dstack([photo(9), own])


def second(shown: Truth, number: float, value: float, other: float) -> np.ndarray:
    """Number the object, and another one beside it."""
    drawn = levels(shown, 0, number, np.uint16 if max(value, other) > 255 else np.uint8)
    drawn[100:110, 120:150] = other
    return drawn


def smooth(shown: Truth) -> np.ndarray:
    """Draw smooth edges that lie where the truth's do."""
    return cv2.GaussianBlur(levels(shown, 0, 255), (3, 3), 0.6)


def decoded(content: tuple[str, bytes]) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(content[1], np.uint8), cv2.IMREAD_UNCHANGED)


def specks(shown: Truth, value: int) -> np.ndarray:
    drawn = levels(shown, 0, 255)
    drawn[48, 55:58] = value
    return drawn


def spotted(shown: Truth) -> np.ndarray:
    drawn = levels(shown, 0, 1)
    drawn[3:5, 3:5] = 2
    return drawn


def void(shown: Truth) -> np.ndarray:
    """Number an object as PASCAL VOC does, with the border that does not count."""
    drawn = levels(shown, 0, 15)
    edge = cv2.morphologyEx(shown.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((5, 5), np.uint8))
    drawn[edge > 0] = 255
    return drawn


RIGHT: dict[str, Mask] = {
    '0 and 255': lambda t: pillow(levels(t, 0, 255)),
    '0 and 1': lambda t: pillow(levels(t, 0, 1)),
    '0 and 38': lambda t: pillow(levels(t, 0, 38)),
    '100 and 200': lambda t: pillow(levels(t, 100, 200)),
    '2 around 1': lambda t: pillow(levels(t, 2, 1)),
    '16 bits, 255': lambda t: opencv(levels(t, 0, 255, np.uint16)),
    '16 bits, 1': lambda t: opencv(levels(t, 0, 1, np.uint16)),
    '16 bits, 65535': lambda t: opencv(levels(t, 0, 65535, np.uint16)),
    '16 bits, colours': lambda t: opencv(np.dstack([levels(t, 0, 1, np.uint16)] * 3)),
    'one bit': lambda t: pillow(levels(t, 0, 255), mode='1'),
    'one bit, TIFF': lambda t: pillow(levels(t, 0, 255), '.tif', mode='1', compression='group4'),
    'one bit, BMP': lambda t: pillow(levels(t, 0, 255), '.bmp', mode='1'),
    'one bit, PBM': lambda t: pillow(levels(t, 0, 255), '.pbm', mode='1'),
    'TIFF': lambda t: pillow(levels(t, 0, 255), '.tif'),
    'TIFF, 32 bits': lambda t: pillow(levels(t, 0, 7, np.int32), '.tiff'),
    'TIFF, floats': lambda t: pillow(levels(t, 0, 1, np.float32), '.tiff'),
    'TIFF, -1 and 0': lambda t: pillow(levels(t, 0, -1, np.int32), '.tiff'),
    'BMP': lambda t: pillow(levels(t, 0, 255), '.bmp'),
    'GIF': lambda t: pillow(levels(t, 0, 255), '.gif'),
    'WebP': lambda t: pillow(levels(t, 0, 255), '.webp', lossless=True),
    'AVIF': lambda t: pillow(levels(t, 0, 255), '.avif', quality=95),
    'JPEG 2000': lambda t: pillow(levels(t, 0, 255), '.jp2'),
    'palette of VOC': lambda t: pillow(levels(t, 0, 1), palette=VOC),
    'palette, TIFF': lambda t: pillow(levels(t, 0, 2), '.tif', palette=VOC),
    'palette, BMP': lambda t: pillow(levels(t, 0, 1), '.bmp', palette=VOC),
    'palette without colours': lambda t: pillow(levels(t, 0, 1), palette=BLACK),
    'palette, 3 around 2': lambda t: pillow(levels(t, 3, 2), palette=VOC),
    'palette of one alpha': lambda t: pillow(levels(t, 0, 1), palette=VOC, transparency=0),
    'RGBA cut-out': lambda t: pillow(cut_out(t)),
    'RGBA cut-out, TIFF': lambda t: pillow(cut_out(t), '.tif'),
    'RGBA cut-out, WebP': lambda t: pillow(cut_out(t), '.webp', quality=80),
    'RGBA, 16 bits': lambda t: opencv(cut_out(t).astype(np.uint16) * 257),
    'RGBA, half covered': lambda t: pillow(cut_out(t, alpha=102)),
    'RGBA, never clear': lambda t: pillow(cut_out(t, background=100)),
    'RGBA, smooth alpha': lambda t: pillow(np.dstack([photo(9), smooth(t)])),
    'RGBA, white': lambda t: pillow(
        np.dstack([*[levels(t, 255, 255)] * 3, levels(t, 0, 255)])
    ),
    'RGBA, opaque': lambda t: pillow(np.dstack([*[levels(t, 0, 255)] * 3, levels(t, 255, 255)])),
    'LA': lambda t: pillow(np.dstack([levels(t, 255, 255), levels(t, 0, 255)])),
    'LA, opaque': lambda t: pillow(np.dstack([levels(t, 0, 255), levels(t, 255, 255)])),
    'LA, TIFF': lambda t: pillow(np.dstack([levels(t, 255, 255), levels(t, 0, 255)]), '.tif'),
    'RGB': lambda t: pillow(coloured(t, 0, 255)),
    'red on black': lambda t: pillow(coloured(t, 0, (255, 0, 0))),
    'green on white': lambda t: pillow(coloured(t, 255, (0, 200, 9))),
    'red on blue': lambda t: pillow(coloured(t, (0, 0, 128), (128, 0, 0))),
    'specks that are nearly white': lambda t: pillow(specks(t, 254)),
    'specks, 16 bits': lambda t: opencv(specks(t, 254).astype(np.uint16) * 257),
    'JPEG': lambda t: pillow(levels(t, 0, 255), '.jpg', quality=90),
    'JPEG, colours': lambda t: pillow(coloured(t, 0, 255), '.jpg', quality=90),
    'PNG of a JPEG': lambda t: opencv(decoded(pillow(levels(t, 0, 255), '.jpg', quality=90))),
    'smooth edges': lambda t: pillow(smooth(t)),
    'smooth edges, 16 bits': lambda t: opencv(smooth(t).astype(np.uint16) * 257),
}  # fmt: skip

REFUSED: dict[str, tuple[Mask, str]] = {
    'instances': (
        lambda t: pillow(second(t, 1, 1, 200)),
        r'3 values: 0 \(\d+ pixels\), 1 \(\d+ pixels\), 200 \(300 pixels\).*--mask-value N',
    ),
    'instances, 16 bits': (lambda t: opencv(second(t, 1001, 1, 1002)), '3 values: .* 1002 '),
    'instances, JPEG': (lambda t: pillow(second(t, 255, 1, 128), '.jpg'), 'values: .* 128 '),
    'instances of a palette': (
        lambda t: pillow(second(t, 1, 1, 2), palette=VOC), '3 palette indices: .* 2 .300 pixels',
    ),
    'instances, clear around them': (
        lambda t: pillow(second(t, 1, 1, 2), palette=VOC, transparency=0),
        'by its alpha, but holds in there 2 palette indices',
    ),
    'a palette whose first is white': (
        lambda t: pillow(levels(t, 0, 1), palette=[255, 255, 255, 0, 0, 0]), 'index 1 black',
    ),
    'colours': (
        lambda t: pillow(np.array(VOC, np.uint8).reshape(4, 3)[second(t, 1, 1, 2)]),
        '3 colours: 0x000000 .* 0x800000 .* 0x008000 ',
    ),
    'colours, clear around them': (
        lambda t: pillow(np.dstack([
            np.array(VOC, np.uint8).reshape(4, 3)[second(t, 1, 1, 2)],
            np.where(second(t, 1, 1, 2) > 0, np.uint8(255), np.uint8(0)),
        ])),
        'holds in there 2 colours: 0x800000',
    ),
    'void': (lambda t: pillow(void(t)), '3 values: .* 15 .* 255 '),
    'specks of another value': (lambda t: pillow(specks(t, 200)), '3 values: .* 200 .3 pixels'),
    'a speck': (lambda t: pillow(spotted(t)), '3 values: .* 2 .4 pixels'),
    'two that share the border': (
        lambda t: pillow(levels(np.arange(WIDTH)[None].repeat(HEIGHT, 0) < 70, 1, 2)),
        'both lie along the border',
    ),
    'an alpha that hardly varies': (
        lambda t: pillow(cut_out(t, background=250)), 'only between 250 and 255',
    ),
    'a photo': (lambda t: pillow(photo(5)), 'as a picture does; a mask has two'),
    'a photo, JPEG': (lambda t: pillow(photo(5), '.jpg'), 'as a picture does'),
    'a grey photo': (lambda t: pillow(photo(5)[..., 0]), 'as a picture does'),
    'a product photo': (
        lambda t: pillow(np.where(t, photo(5)[..., 0] // 2, np.uint8(255))), 'values',
    ),
    'a blur': (
        lambda t: pillow(cv2.GaussianBlur(levels(t, 0, 255), (0, 0), 6)), 'as a picture does',
    ),
    'all black': (lambda t: pillow(levels(t, 0, 0)), 'empty.*every pixel is 0'),
    'floats, NaN': (lambda t: pillow(levels(t, np.nan, 1, np.float32), '.tif'), 'whole numbers'),
    'another size': (
        lambda t: pillow(levels(t, 0, 255)[:, :-1]), '159x120 pixels, but .* 160x120',
    ),
    'half the size': (lambda t: pillow(levels(t, 0, 255)[::2, ::2]), '80x60 pixels, but'),
    'two pages': (
        lambda t: pillow(levels(t, 0, 1), '.tif', save_all=True,
                         append_images=[Image.fromarray(levels(t, 0, 1))]),
        'several pictures',
    ),
    'text': (lambda t: ('.png', b'no picture'), 'not an image'),
    'half a file': (lambda t: ('.png', pillow(photo(1))[1][:9000]), 'truncated'),
}  # fmt: skip


@pytest.mark.parametrize('name', RIGHT)
def test_a_mask_is_read_however_it_is_written(tmp_path: Path, name: str) -> None:
    masks, told = read(folder(tmp_path, RIGHT[name]))
    assert overlap(masks) == 1.0
    assert told == []


@pytest.mark.parametrize('name', REFUSED)
def test_what_may_be_no_mask_is_refused_and_says_why(tmp_path: Path, name: str) -> None:
    mask, message = REFUSED[name]
    with pytest.raises(DataError, match=rf'masks/0.*{message}'):
        read(folder(tmp_path, mask))


@pytest.mark.parametrize(
    ('mask', 'values'),
    [
        (lambda t: pillow(second(t, 1, 1, 200)), [1]),
        (lambda t: opencv(second(t, 1001, 1, 1002)), [1001]),
        (lambda t: pillow(second(t, 1, 1, 2), palette=VOC), [1]),
        (lambda t: pillow(np.array(VOC, np.uint8).reshape(4, 3)[second(t, 1, 1, 2)]), [0x800000]),
        (lambda t: pillow(void(t)), [15, 255]),
        (lambda t: pillow(levels(t, 0, 1), palette=[255, 255, 255, 0, 0, 0]), [1]),
        (lambda t: pillow(levels(t, 255, 0)), [0]),
        (lambda t: pillow(levels(t, 0, 255), mode='1'), [1]),
    ],
)
def test_the_user_may_say_which_values_are_the_object(
    tmp_path: Path, mask: Mask, values: list[int]
) -> None:
    grown = overlap(read(folder(tmp_path, mask), *values)[0])
    assert grown == 1.0 or (values == [15, 255] and grown > 0.75)
    with pytest.raises(DataError, match=r'empty, no pixel has the value .*(77|4d).*there are '):
        read(tmp_path, 77)


def test_masks_that_number_the_object_differently_may_show_different_objects(
    tmp_path: Path,
) -> None:
    numbers = iter((1, 1, 200))
    root = folder(tmp_path, lambda t: pillow(levels(t, 0, next(numbers))))
    with pytest.raises(DataError, match=r'1 in 0\.png and 200 in 2\.png.*--mask-value 1 --mask'):
        read(root)
    assert overlap(read(root, 1, 200)[0]) == 1.0
    assert overlap(read(root, trust=True)[0]) == 1.0
    with pytest.raises(DataError, match=r'2\.png: empty, no pixel has the value 1 '):
        read(root, 1)


def test_white_is_no_number(tmp_path: Path) -> None:
    values = iter((255, 1, 1))
    assert overlap(read(folder(tmp_path, lambda t: pillow(levels(t, 0, next(values)))))[0]) == 1.0


KINDS = {
    'grey': '.png .tif .bmp .webp',
    'grey, 16 bits': '.png .tif',
    'bilevel': '.png .tif .bmp .gif',
    'palette': '.png .tif .bmp',
    'RGB': '.png .tif .bmp .webp',
    'RGBA': '.png .tif .webp',
    'LA': '.png .tif',
    'smooth': '.png .tif .bmp .webp',
    'JPEG': '.jpg',
}


def encoded(shown: Truth, rng: np.random.Generator) -> tuple[str, str, bytes]:
    """Write a truth with random bits, values, palette, alpha and EXIF; also say how."""
    kind = str(rng.choice(list(KINDS)))
    suffix = str(rng.choice(KINDS[kind].split()))
    tag = int(rng.integers(1, 9)) if suffix in ('.png', '.tif', '.webp', '.jpg') else 1
    options: dict[str, Any] = {} if tag == 1 else {'exif': tag}
    if suffix == '.webp':
        options['lossless'] = True
    stored = np.ascontiguousarray(TURNS[tag](shown))
    background, value = sorted(int(own) for own in rng.choice(256, 2, replace=False))
    if background > 0 and rng.random() < 0.5:
        background, value = value, background  # zero is always the background
    noise = rng.integers(0, 256, (*stored.shape, 3), dtype=np.uint8)
    own = levels(stored, background, value)
    array, mode = {
        'grey': lambda: (own, None),
        'grey, 16 bits': lambda: (own.astype(np.uint16) * int(rng.integers(1, 257)), None),
        'bilevel': lambda: (levels(stored, 0, 255), '1'),
        'palette': lambda: (own, 'P'),
        'RGB': lambda: (rng.integers(1, 256, (2, 3), dtype=np.uint8)[stored.astype(int)], None),
        'RGBA': lambda: (np.dstack([noise, levels(stored, 0, max(value, 1))]), None),
        'LA': lambda: (np.dstack([noise[..., 0], levels(stored, 0, max(value, 1))]), None),
        'smooth': lambda: (smooth(stored), None),
        'JPEG': lambda: (levels(stored, 0, 255), None),
    }[kind]()
    if mode == 'P':
        options['palette'] = rng.integers(0, 256, 768).tolist()
    how = f'{kind} {suffix}, {value} on {background}, EXIF {tag}, {shown.shape}'
    return (how, *pillow(array, suffix, mode, **options))


def test_500_random_encodings_are_read_exactly_or_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    refused = []
    for number in range(500):
        height, width = (int(side) for side in rng.integers(100, 220, 2))
        shown = truth(number % 3, height, width)
        how, suffix, content = encoded(shown, rng)
        path = write(tmp_path, f'{number}{suffix}', content=content)
        try:
            mask = read_mask(path) > 0
        except DataError as error:
            refused.append(f'{how}: {error}')
            continue
        assert mask.shape == shown.shape, how
        assert (mask == shown).all(), how
    assert len(refused) < 50, refused
