"""What may be stored: checked without a database."""

import struct
import zlib
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import png

from don_kp_ros.database import records
from don_kp_ros.database.errors import InvalidObservationError
from don_kp_ros.database.records import Observation

VALUES = np.array([1, 0], np.float32)


def chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack('>I', len(content))
        + kind
        + content
        + struct.pack('>I', zlib.crc32(kind + content))
    )


def header(width: int, height: int) -> bytes:
    return b'\x89PNG\r\n\x1a\n' + chunk(
        b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    )


@pytest.mark.parametrize(
    ('name', 'object_'),
    [('cap/brim', 'cap'), ('a/b/c', 'a/b'), ('brim', 'brim'), ('/x', '/x'), ('cap /x', 'cap')],
)
def test_the_object_is_the_name_up_to_its_last_slash(name, object_):
    assert records.object_of(name) == object_
    records.check_name(records.object_of(name), 'object')


@given(st.text(min_size=1, max_size=200))
def test_every_name_that_is_stored_has_an_object_that_can_be(name):
    if records.could_be_name(name):
        records.check_name(records.object_of(name), 'object')


def test_a_patch_may_be_a_small_png():
    for width, height in (1, 1), (256, 256), (64, 48):
        records.check_patch(png(width, height))


@pytest.mark.parametrize(
    ('patch', 'reason'),
    [
        (b'', 'is no PNG'),
        (b'\xff\xd8\xff\xe0 a JPEG', 'is no PNG'),
        ('text', 'of type str'),
        (png(257, 1), '257x1 pixels'),
        (png() + bytes(65536), r'bytes; allowed are 65536'),
        # A header alone, of a picture that would fill the memory.
        (header(2**31 - 1, 2**31 - 1), '2147483647x2147483647 pixels'),
        (header(0, 4), '0x4 pixels'),
        (header(64, 64), 'cannot be decoded'),
        (png(64, 64)[:-40], 'cannot be decoded'),
        (
            header(8, 8) + chunk(b'IDAT', zlib.compress(b'\0' * 10)) + chunk(b'IEND', b''),
            'decoded',
        ),
        (header(8, 8) + chunk(b'IDAT', b'no zlib') + chunk(b'IEND', b''), 'decoded'),
    ],
)
def test_any_other_patch_is_refused(patch, reason):
    with pytest.raises(InvalidObservationError, match=reason) as refusal:
        records.checked(Observation(VALUES, patch=patch))
    assert str(refusal.value).isprintable()


@given(st.data())
def test_a_broken_patch_is_kept_or_refused(data):
    patch = bytearray(png(8, 8))
    for _ in range(data.draw(st.integers(1, 4))):
        patch[data.draw(st.integers(0, len(patch) - 1))] = data.draw(st.integers(0, 255))
    refusal = ''
    try:
        records.check_patch(bytes(patch))
    except InvalidObservationError as error:
        refusal = str(error)
    assert refusal.isprintable()


@pytest.mark.parametrize(
    ('field', 'value', 'reason'),
    [
        ('pixel', (-1, 0), 'outside of the picture, which is 640x480'),
        ('pixel', (0, 480), 'outside'),
        ('pixel', (10**400, 0), 'not 2 numbers'),
        ('pixel', (float('nan'), 0), '2 finite numbers'),
        ('pixel', (1, 2, 3), '2 finite numbers'),
        ('pixel', 'xy', 'not 2 numbers'),
        ('image_size', (0, 480), '1 to 65535'),
        ('image_size', (640.5, 480), '1 to 65535'),
        ('image_size', (1e9, 480), '1 to 65535'),
        ('position', (0, 0, float('inf')), '3 finite numbers'),
        ('camera', {'fx': float('nan')}, 'the camera cannot be kept'),
        ('camera', {1: 2}, 'no mapping of names'),
        ('camera', {'frame': 'x' * 5000}, 'allowed are 4096'),
        ('created', datetime(2026, 1, 1), 'no time zone'),
        ('created', datetime(1969, 1, 1, tzinfo=timezone.utc), 'before 1970'),
        ('created', datetime.max.replace(tzinfo=timezone(-timedelta(hours=1))), 'no time in UTC'),
    ],
)
def test_what_cannot_be_is_refused(field, value, reason):
    fields = {'pixel': (3, 4), 'image_size': (640, 480), field: value}
    with pytest.raises(InvalidObservationError, match=reason):
        records.checked(Observation(VALUES, **fields))


def test_pixels_reach_to_the_borders_of_the_outermost_ones():
    for pixel in (-0.5, -0.5), (639.5, 479.5):
        seen = records.checked(Observation(VALUES, pixel=pixel, image_size=(640, 480)))
        assert seen.pixel == pixel


def test_times_are_kept_in_utc():
    east = datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    seen = records.checked(Observation(VALUES, created=east))
    assert seen.created == datetime(2026, 1, 1, tzinfo=timezone.utc)
    assert seen.created.tzinfo == timezone.utc
