"""Every encoding of an image, against its definition."""

import cv2
import numpy as np
import pytest
from std_msgs.msg import Header

from don_kp_ros.data import encodings
from don_kp_ros.nodes.kit import conversions

# Smooth, for encodings that share colours between pixels; no colour is at an end of its range.
V, U = np.indices((24, 32))
RGB = np.stack([40 + 5 * U, 60 + 6 * V, 200 - 3 * U - 2 * V], axis=-1).astype(np.uint8)


def yuv(rgb):
    """Return Y, U and V (ITU-R BT.601, of limited range)."""
    r, g, b = np.moveaxis(rgb.astype(float), -1, 0)
    return (
        16 + 0.257 * r + 0.504 * g + 0.098 * b,
        128 - 0.148 * r - 0.291 * g + 0.439 * b,
        128 + 0.439 * r - 0.368 * g - 0.071 * b,
    )


def packed(order):
    """Write two pixels as four bytes, in an order such as YUYV."""
    y, u, v = yuv(RGB)
    pairs = {'U': (u[:, ::2] + u[:, 1::2]) / 2, 'V': (v[:, ::2] + v[:, 1::2]) / 2}
    of_y = iter([y[:, ::2], y[:, 1::2]])
    written = np.stack([next(of_y) if c == 'Y' else pairs[c] for c in order], axis=-1)
    return np.rint(written).astype(np.uint8).reshape(24, 32, 2)


def planes(first, second):
    y, *colours = yuv(RGB)
    quarters = [c.reshape(12, 2, 16, 2).mean(axis=(1, 3)) for c in colours]
    mixed = np.stack([quarters['UV'.index(c)] for c in (first, second)], axis=-1)
    return np.rint(np.vstack([y, mixed.reshape(12, 32)])).astype(np.uint8)


def mosaic(order, rgb):
    """Keep of each pixel the colour that its filter lets through."""
    kept = np.empty(rgb.shape[:2], rgb.dtype)
    for i, colour in enumerate(order):
        kept[i // 2 :: 2, i % 2 :: 2] = rgb[i // 2 :: 2, i % 2 :: 2, 'rgb'.index(colour)]
    return kept


GREY = RGB[..., 0].copy()
ALPHA = np.full((24, 32, 1), 9, np.uint8)
EXACT = {
    'rgb8': (RGB, RGB),
    'bgr8': (RGB[..., ::-1], RGB),
    'rgba8': (np.dstack([RGB, ALPHA]), RGB),
    'bgra8': (np.dstack([RGB[..., ::-1], ALPHA]), RGB),
    '8UC3': (RGB[..., ::-1], RGB),
    '8UC4': (np.dstack([RGB[..., ::-1], ALPHA]), RGB),
    'mono8': (GREY, np.dstack([GREY] * 3)),
    '8UC1': (GREY, np.dstack([GREY] * 3)),
    'mono16': (GREY.astype(np.uint16) * 256 + 77, np.dstack([GREY] * 3)),
}
SHARED = {
    'yuv422': packed('UYVY'),
    'uyvy': packed('UYVY'),
    'yuv422_yuy2': packed('YUYV'),
    'yuyv': packed('YUYV'),
    'nv12': planes('U', 'V'),
    'nv21': planes('V', 'U'),
}
BAYER = [name for name in encodings.COLOURS if name.startswith('bayer')]


def rgb_of(pixels, encoding):
    message = conversions.image_message(np.ascontiguousarray(pixels), encoding, Header())
    assert (message.width, message.height) == (32, 24)
    return conversions.rgb_image(message)


def test_every_encoding_of_colours_is_tried_here():
    assert {*EXACT, *SHARED, *BAYER} == set(encodings.COLOURS)
    assert len(BAYER) == 8


@pytest.mark.parametrize('encoding', EXACT)
def test_what_a_pixel_holds_is_read_exactly(encoding):
    pixels, expected = EXACT[encoding]
    np.testing.assert_array_equal(rgb_of(pixels, encoding), expected)


@pytest.mark.parametrize('encoding', SHARED)
def test_what_pixels_share_is_read_as_it_was(encoding):
    off = np.abs(rgb_of(SHARED[encoding], encoding).astype(int) - RGB)
    assert off.max() <= 8, off.max()  # one colour for two pixels or four
    assert off.mean() < 2.5


@pytest.mark.parametrize('encoding', BAYER)
def test_mosaics_are_filled_in(encoding):
    rgb = np.empty((24, 32, 3), np.uint8)
    rgb[:] = (200, 120, 30)
    wide = encoding.endswith('16')
    values = rgb.astype(np.uint16) * 256 + 9 if wide else rgb
    order = encoding.removeprefix('bayer_')[:4]
    np.testing.assert_array_equal(rgb_of(mosaic(order, values), encoding), rgb)


def test_padded_rows_of_planes_are_read():
    message = conversions.image_message(SHARED['nv12'], 'nv12', Header())
    padded = np.hstack([SHARED['nv12'], np.full((36, 16), 99, np.uint8)])
    message.step, message.data = 48, padded.tobytes()
    expected = cv2.cvtColor(SHARED['nv12'], cv2.COLOR_YUV2RGB_NV12)
    np.testing.assert_array_equal(conversions.rgb_image(message), expected)
    message.data = message.data[: 24 * 48]
    with pytest.raises(ValueError, match='step 48 and 1152 bytes; that is too little'):
        conversions.rgb_image(message)


@pytest.mark.parametrize(
    ('encoding', 'width', 'height'), [('yuyv', 31, 24), ('nv12', 32, 23), ('nv21', 31, 24)]
)
def test_odd_sizes_that_cannot_be_are_refused(encoding, width, height):
    message = conversions.image_message(SHARED[encoding], encoding, Header())
    message.width, message.height = width, height
    with pytest.raises(ValueError, match=f'{width}x{height} pixels; even sizes'):
        conversions.rgb_image(message)


def test_what_is_not_known_is_refused_with_what_is_and_the_remedy():
    message = conversions.image_message(RGB, 'rgb8', Header())
    for encoding in 'yuv444', '16UC1', '32FC1', '':
        message.encoding = encoding
        with pytest.raises(
            ValueError,
            match=rf"encoding is '{encoding}'; known are rgb8, .*rgb_camera.color_format",
        ):
            conversions.rgb_image(message)
