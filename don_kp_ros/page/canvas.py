"""What a page shows of a picture: the newest one, with marks over it. Thread-safe."""

from __future__ import annotations

import functools
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

_QUALITY = 80  # of JPEG
_KEPT = 20  # pictures that may still be examined


class Stamp(NamedTuple):
    """The time of a picture, as ROS messages have it."""

    sec: int
    nanosec: int


@dataclass(frozen=True)
class Picture:
    """A picture (H, W, 3) uint8 RGB, and its stamp."""

    stamp: Stamp
    pixels: NDArray[np.uint8]

    @functools.cached_property
    def jpeg(self) -> bytes:
        """The picture as JPEG; made once, however many browsers show it."""
        bgr = cv2.cvtColor(self.pixels, cv2.COLOR_RGB2BGR)
        done, data = cv2.imencode('.jpg', bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        assert done
        return data.tobytes()


@dataclass(frozen=True)
class Marker:
    """A place, pixels, with its label; one that is doubted is drawn in another colour."""

    u: float
    v: float
    label: str = ''
    sure: bool = True


@dataclass(frozen=True)
class Line:
    """A line from pixel to pixel, in a colour of CSS, with a label at its end."""

    start: tuple[float, float]
    end: tuple[float, float]
    colour: str
    label: str = ''


Marks = Sequence[Marker] | Sequence[Line] | Sequence[tuple[float, float]]


class Canvas:
    """The newest picture, the newest that was examined, and the newest marks of each layer.

    Perception examines some pictures, some time after they have come, and can be asked about those
    alone: what is pointed at is one of them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pictures: deque[Picture] = deque(maxlen=_KEPT)
        self._examined: Picture | None = None
        self._layers: dict[str, Marks] = {}
        self._listeners: list[Callable[[], None]] = []
        self.lacks = ''
        """Why the newest picture has no marks, as is told beside it; or nothing."""

    def show(self, picture: Picture) -> None:
        """Show a picture in place of the one before."""
        with self._lock:
            self._pictures.append(picture)
        self._changed()

    def examine(self, stamp: Stamp) -> None:
        """Note that the picture of a stamp has been examined."""
        with self._lock:
            found = [one for one in self._pictures if one.stamp == stamp]
            if not found:
                return
            self._examined = found[-1]
        self._changed()

    def mark(self, layer: str, marks: Marks) -> None:
        """Show marks in place of those that a layer had: points, keypoints, axes, taught."""
        with self._lock:
            same = self._layers.get(layer) == marks
            self._layers[layer] = marks
        if not same:
            self._changed()

    def clear(self) -> None:
        """Forget all marks, and why there are none."""
        with self._lock:
            self._layers.clear()
            self.lacks = ''
        self._changed()

    @property
    def picture(self) -> Picture | None:
        """The newest picture."""
        with self._lock:
            return self._pictures[-1] if self._pictures else None

    @property
    def examined(self) -> Picture | None:
        """The newest picture that was examined."""
        with self._lock:
            return self._examined

    def layers(self) -> Mapping[str, Marks]:
        """Return the marks of each layer."""
        with self._lock:
            return dict(self._layers)

    def listen(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Have a function called at each change, by whatever thread; return how to end that."""
        with self._lock:
            self._listeners.append(changed)

        def end() -> None:
            with self._lock:
                self._listeners.remove(changed)

        return end

    def _changed(self) -> None:
        with self._lock:
            listeners = list(self._listeners)
        for changed in listeners:
            changed()


def plain(marks: Marks) -> list[Any]:
    """Return marks as JSON can hold them; what is not finite is left out."""
    return [list(_fields(mark)) for mark in marks if _is_finite(mark)]


def _fields(mark: Any) -> tuple[Any, ...]:
    if isinstance(mark, Marker):
        return mark.u, mark.v, mark.label, mark.sure
    if isinstance(mark, Line):
        return *mark.start, *mark.end, mark.colour, mark.label
    return tuple(mark)


def _is_finite(mark: Any) -> bool:
    return all(np.isfinite(x) for x in _fields(mark) if isinstance(x, float))
