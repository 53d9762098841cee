"""What a browser says of the picture: examined before it is believed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from don_kp_ros.errors import RefusedError
from don_kp_ros.page.canvas import Stamp

LONGEST_NAME = 128  # characters, as the database takes them
MOST_TAGS = 32
_MOST_CORNERS = 512
_LARGEST_PX = 1 << 15
_INT32, _SECOND = 1 << 31, 10**9


def stamp(said: Mapping[str, Any]) -> Stamp:
    """Read the stamp of the picture that was pointed at."""
    match said.get('stamp'):
        case [int(sec), int(nanosec)] if 0 <= sec < _INT32 and 0 <= nanosec < _SECOND:
            return Stamp(sec, nanosec)
    raise RefusedError('the browser told no stamp of a picture; load the page again')


def place(said: Mapping[str, Any]) -> tuple[float, float]:
    """Read the pixel that was pointed at."""
    return _pixel(said.get('uv'))


def outline(said: Mapping[str, Any]) -> list[tuple[float, float]]:
    """Read the corners of what was drawn."""
    corners = said.get('corners')
    if not isinstance(corners, list) or not 3 <= len(corners) <= _MOST_CORNERS:
        raise RefusedError(f'an outline has 3 to {_MOST_CORNERS} corners; draw it again')
    return [_pixel(corner) for corner in corners]


def name(said: object) -> str:
    """Read a name that was typed."""
    text = str(said or '').strip()
    if not text:
        raise RefusedError('a name is needed, such as cap/brim')
    if len(text) > LONGEST_NAME or not text.isprintable():
        raise RefusedError(f'a name has at most {LONGEST_NAME} printable characters')
    return text


def tags(said: object) -> tuple[str, ...]:
    """Read tags that were typed, by commas."""
    found = tuple(one.strip() for one in str(said or '').split(',') if one.strip())
    if len(found) > MOST_TAGS or any(len(one) > LONGEST_NAME for one in found):
        raise RefusedError(f'there are at most {MOST_TAGS} tags, of {LONGEST_NAME} characters')
    return found


def _pixel(said: Any) -> tuple[float, float]:
    match said:
        case [int() | float() as u, int() | float() as v]:
            if all(math.isfinite(x) and abs(x) < _LARGEST_PX for x in (u, v)):
                return float(u), float(v)
    raise RefusedError('the browser told no pixel; load the page again')
