"""The records, checks and errors of the descriptor database, for any engine."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from don_kp_ros.database.errors import (
    InvalidDescriptorError,
    InvalidNameError,
    InvalidObservationError,
)
from don_kp_ros.database.text import printable, shown

LONGEST_NAME = 128  # characters of a name, object, tag, author or fingerprint
MOST_TAGS = 32
MOST_OBSERVATIONS = 4096  # of one descriptor
LARGEST_DIMENSION = 4096
LARGEST_PATCH = 256  # pixels along a side
MOST_PATCH_BYTES = 64 * 1024
CAMERA, CARD = 'camera', "model's card"
MOST_JSON_BYTES = {CAMERA: 4 * 1024, CARD: 256 * 1024}
_LARGEST_IMAGE = 65535  # pixels along a side
_UNIT_TOLERANCE = 1e-4
_SHORTEST_MEAN = 1e-6
_FIRST_TIME = datetime(1970, 1, 1, tzinfo=timezone.utc)


def now() -> datetime:
    """Return the time, in UTC."""
    return datetime.now(timezone.utc)


@dataclass(frozen=True)
class Observation:
    """One observation of a point, from one click or one set of values."""

    values: NDArray[np.float32]  # (D,), unit length
    pixel: tuple[float, float] | None = None  # (u, v) in the source image
    image_size: tuple[int, int] | None = None  # (W, H) of it
    camera: Mapping[str, Any] | None = None  # {'frame': ..., 'fx', 'fy', 'cx', 'cy'} as known
    position: tuple[float, float, float] | None = None  # metres, in the optical frame
    patch: bytes | None = None  # PNG about the pixel
    author: str = ''  # who, '' if not said
    created: datetime = field(default_factory=now)  # UTC; of the image where there is one


@dataclass(frozen=True)
class StoredDescriptor:
    """A named point as a model describes it."""

    name: str
    model: str  # fingerprint
    object: str
    values: NDArray[np.float32]  # (D,), the mean of its observations, unit length, read-only
    tags: tuple[str, ...]  # sorted
    observations: int
    created: datetime  # UTC
    updated: datetime  # UTC
    deleted: datetime | None  # UTC


@dataclass(frozen=True)
class StoredModel:
    """A model that descriptors belong to."""

    fingerprint: str
    dimension: int
    card: Mapping[str, Any]  # what is known about it; empty if nothing is
    descriptors: int  # not counting deleted ones


@dataclass(frozen=True)
class Filter:
    """Which descriptors are meant; None means any model, object or tag."""

    prefix: str = ''  # of names
    model: str | None = None  # fingerprint
    object: str | None = None
    tag: str | None = None
    deleted: bool = False  # instead those that can be restored: of every name the last


ALL = Filter()


def checked(observation: Observation | ArrayLike) -> Observation:
    """Return an observation, or one made of values (D,) alone, checked and in normal form.

    Values are scaled to unit length if need be. Raises InvalidDescriptorError for the values,
    InvalidNameError for the author, InvalidObservationError for the rest.
    """
    if not isinstance(observation, Observation):
        return Observation(unit_vector(observation))
    if observation.author:
        check_name(observation.author, 'author')
    if observation.patch is not None:
        check_patch(observation.patch)
    size = _image_size(observation.image_size)
    camera = observation.camera
    return dataclasses.replace(
        observation,
        values=unit_vector(observation.values),
        pixel=_pixel(observation.pixel, size),
        image_size=size,
        camera=None if camera is None else loaded(json_text(camera, CAMERA)),
        position=_numbers(observation.position, 3, 'position'),
        created=checked_time(observation.created),
    )


def checked_descriptor(descriptor: StoredDescriptor) -> StoredDescriptor:
    """Return a descriptor with everything but its values in its proper form.

    Raises InvalidNameError, InvalidDescriptorError, InvalidObservationError.
    """
    for what in 'name', 'model', 'object':
        check_name(getattr(descriptor, what), what)
    if not 1 <= descriptor.observations <= MOST_OBSERVATIONS:
        raise InvalidDescriptorError(
            f'it has {descriptor.observations} observations; allowed are 1 to {MOST_OBSERVATIONS}'
        )
    return dataclasses.replace(
        descriptor,
        tags=checked_tags(descriptor.tags),
        created=checked_time(descriptor.created),
        updated=checked_time(descriptor.updated),
    )


def check_model(fingerprint: str, dimension: int) -> None:
    """Raise InvalidNameError, InvalidDescriptorError unless a model can be stored."""
    check_name(fingerprint, 'model')
    if not 1 <= dimension <= LARGEST_DIMENSION:
        raise InvalidDescriptorError(
            f'the dimension is {dimension}; allowed are 1 to {LARGEST_DIMENSION}'
        )


def object_of(name: str) -> str:
    """Return the object in a name: cap for cap/brim, and the whole name if it has no slash."""
    return name.rpartition('/')[0].strip() or name


def check_name(name: str, what: str) -> None:
    """Raise InvalidNameError unless a text can be a name; `what` names it in the message."""
    if not isinstance(name, str):
        raise InvalidNameError(f'the {what} is of type {type(name).__name__}; give a text')
    if not name.strip():
        raise InvalidNameError(f'the {what} is empty; give 1 to {LONGEST_NAME} characters')
    if len(name) > LONGEST_NAME:
        raise InvalidNameError(
            f'the {what} {shown(name)} has {len(name)} characters; allowed are {LONGEST_NAME}'
        )
    if not name.isprintable() or name != name.strip():
        raise InvalidNameError(
            f'the {what} {shown(name)} has characters that cannot be printed, or begins or ends '
            'with a space; use letters, digits, signs and spaces, such as cap/brim'
        )


def could_be_name(name: str) -> bool:
    """Tell whether anything can be stored under a name."""
    try:
        check_name(name, 'name')
    except InvalidNameError:
        return False
    return True


def checked_tags(tags: Sequence[str]) -> tuple[str, ...]:
    """Return tags sorted, each once. Raises InvalidNameError."""
    if isinstance(tags, str):
        raise InvalidNameError(f'the tags are one text, {shown(tags)}; give a list of texts')
    for tag in tags:
        check_name(tag, 'tag')
    unique = tuple(sorted(set(tags)))
    if len(unique) > MOST_TAGS:
        raise InvalidNameError(f'{len(unique)} tags were given; allowed are {MOST_TAGS}')
    return unique


def unit_vector(values: ArrayLike) -> NDArray[np.float32]:
    """Return a descriptor (D,) scaled to unit length, unchanged if it has that length already.

    Raises InvalidDescriptorError.
    """
    try:
        with np.errstate(over='ignore'):
            vector = np.array(values, dtype=np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidDescriptorError(
            f'the values are not numbers: {printable(str(error))}'
        ) from error
    if vector.ndim != 1 or vector.size == 0:
        raise InvalidDescriptorError(
            f'the values have shape {vector.shape}; give the D numbers of one descriptor'
        )
    if vector.size > LARGEST_DIMENSION:
        raise InvalidDescriptorError(
            f'{vector.size} values were given; allowed are {LARGEST_DIMENSION}'
        )
    if wrong := np.flatnonzero(~np.isfinite(vector)).tolist():
        raise InvalidDescriptorError(
            f'value {wrong[0]} of {vector.size} is {vector[wrong[0]]}; all must be finite'
        )
    length = float(np.linalg.norm(vector.astype(np.float64)))
    if length < _SHORTEST_MEAN:
        raise InvalidDescriptorError(
            f'the {vector.size} values have length {length:.3g}; a descriptor has a direction'
        )
    if abs(length - 1) <= _UNIT_TOLERANCE:
        return vector
    return (vector / np.float64(length)).astype(np.float32)


def unit_mean(observed: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean direction (D,) of observations (N, D); one alone is kept bit for bit.

    Raises InvalidDescriptorError if they cancel each other.
    """
    if len(observed) == 1:
        return observed[0]
    mean = observed.mean(axis=0, dtype=np.float64)
    length = float(np.linalg.norm(mean))
    if length < _SHORTEST_MEAN:
        raise InvalidDescriptorError(
            f'the {len(observed)} observations cancel each other: their mean has length '
            f'{length:.3g}; look at the same point each time, or replace them'
        )
    return (mean / length).astype(np.float32)


def check_patch(patch: bytes) -> None:
    """Raise InvalidObservationError unless a patch is a PNG of a size that may be kept.

    Its size is read from the header before anything is decoded.
    """
    limits = f'give a PNG of at most {LARGEST_PATCH}x{LARGEST_PATCH} pixels'
    if not isinstance(patch, bytes):
        raise InvalidObservationError(f'the patch is of type {type(patch).__name__}; {limits}')
    if len(patch) > MOST_PATCH_BYTES:
        raise InvalidObservationError(
            f'the patch has {len(patch)} bytes; allowed are {MOST_PATCH_BYTES}'
        )
    if patch[:8] != b'\x89PNG\r\n\x1a\n' or patch[12:16] != b'IHDR' or len(patch) < 24:
        raise InvalidObservationError(f'the patch is no PNG; {limits}')
    width, height = struct.unpack('>II', patch[16:24])
    if not (0 < width <= LARGEST_PATCH and 0 < height <= LARGEST_PATCH):
        raise InvalidObservationError(f'the patch has {width}x{height} pixels; {limits}')
    try:
        with Image.open(io.BytesIO(patch), formats=['PNG']) as image:
            image.load()
    # What Pillow raises on broken files.
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error) as error:
        raise InvalidObservationError(
            f'the patch cannot be decoded ({printable(str(error))}); {limits}'
        ) from error


def checked_time(time: datetime) -> datetime:
    """Return a time in UTC. Raises InvalidObservationError without a time zone or before 1970."""
    if not isinstance(time, datetime) or time.tzinfo is None:
        raise InvalidObservationError(
            f'the time {printable(repr(time))} has no time zone; give it in UTC'
        )
    try:
        utc = time.astimezone(timezone.utc)
    except OverflowError as error:
        raise InvalidObservationError(f'the time {time} is no time in UTC') from error
    if utc < _FIRST_TIME:
        raise InvalidObservationError(f'the time {utc} is before 1970; set the clock')
    return utc


def json_text(content: Mapping[str, Any], what: str) -> str:
    """Write a camera's known facts, or a model's card, as JSON. Raises InvalidObservationError."""
    advice = 'give names with texts, finite numbers and lists of them'
    if not isinstance(content, Mapping) or not all(isinstance(key, str) for key in content):
        raise InvalidObservationError(f'the {what} is no mapping of names; {advice}')
    try:
        text = json.dumps(dict(content), allow_nan=False, sort_keys=True)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidObservationError(
            f'the {what} cannot be kept ({printable(str(error))}); {advice}'
        ) from error
    most = MOST_JSON_BYTES[what]
    if len(text) > most:
        raise InvalidObservationError(f'the {what} has {len(text)} bytes; allowed are {most}')
    return text


def loaded(text: str) -> dict[str, Any]:
    """Read what `json_text` wrote. Raises TypeError, ValueError."""
    str.encode(text)  # fails where damage made it no text: readers escape such bytes
    content = json.loads(text)
    if not isinstance(content, dict):
        raise ValueError(f'it holds {type(content).__name__}, not names and values')
    return content


def _image_size(size: Sequence[float] | None) -> tuple[int, int] | None:
    numbers = _numbers(size, 2, 'image size')
    if numbers is None:
        return None
    if not all(number == int(number) and 0 < number <= _LARGEST_IMAGE for number in numbers):
        raise InvalidObservationError(
            f'the image size is {numbers}; width and height are 1 to {_LARGEST_IMAGE} pixels'
        )
    return int(numbers[0]), int(numbers[1])


def _pixel(pixel: Sequence[float] | None, size: tuple[int, int] | None) -> Any:
    numbers = _numbers(pixel, 2, 'pixel')
    sides = size or (_LARGEST_IMAGE, _LARGEST_IMAGE)
    if numbers and not all(
        -0.5 <= at <= side - 0.5 for at, side in zip(numbers, sides, strict=True)
    ):
        raise InvalidObservationError(
            f'the pixel {numbers} is outside of the picture, which is {sides[0]}x{sides[1]}'
        )
    return numbers


def _numbers(values: Sequence[float] | None, count: int, what: str) -> Any:
    if values is None:
        return None
    try:
        numbers = tuple(map(float, values))
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidObservationError(
            f'the {what} is not {count} numbers: {printable(str(error))}'
        ) from error
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise InvalidObservationError(f'the {what} is {numbers[:8]}; give {count} finite numbers')
    return numbers
