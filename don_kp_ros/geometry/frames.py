"""A tree of named frames over time, like tf2's but without a ROS installation."""

from __future__ import annotations

import bisect
import threading
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from don_kp_ros.geometry import rigid

Array = NDArray[np.float64]


class TransformError(LookupError):
    """A transform that is unknown, or unknown at that time; the message names the frames."""


@dataclass
class _Link:
    parent: str
    static: bool
    stamps: list[float] = field(default_factory=list)
    transforms: list[Array] = field(default_factory=list)


class TransformTree:
    """Transforms between named frames, each kept for some seconds.

    Thread-safe. A frame has one parent; setting another replaces the first and its history.
    """

    def __init__(self, cache_seconds: float = 10.0) -> None:
        """Keep moving transforms for ``cache_seconds``; static ones for ever."""
        self._cache_seconds = cache_seconds
        self._links: dict[str, _Link] = {}
        self._lock = threading.Lock()

    def set(
        self, parent: str, child: str, stamp: float, T: ArrayLike, static: bool = False
    ) -> None:
        """Set ``T_parent_child`` (4, 4) at a time in seconds.

        Raises TransformError where the transform is not finite or would close a loop.
        """
        T = np.array(T, dtype=np.float64)
        if not np.isfinite(T).all():
            raise TransformError(f'the transform from {child} to {parent} is not finite')
        with self._lock:
            link = self._links.get(child)
            if link is None or link.parent != parent or link.static != static:
                if child == parent or child in self._ancestors(parent):
                    raise TransformError(f'{child} as a child of {parent} would close a loop')
                link = self._links[child] = _Link(parent, static)
            if static:
                link.stamps, link.transforms = [stamp], [T]
                return
            at = bisect.bisect_right(link.stamps, stamp)
            if at and link.stamps[at - 1] == stamp:
                link.transforms[at - 1] = T
                return
            link.stamps.insert(at, stamp)
            link.transforms.insert(at, T)
            old = bisect.bisect_left(link.stamps, link.stamps[-1] - self._cache_seconds)
            del link.stamps[:old], link.transforms[:old]

    def lookup(self, target: str, source: str, stamp: float | None = None) -> Array:
        """Return ``T_target_source`` (4, 4) at a time in seconds; None: the newest of each.

        Raises TransformError if the frames are not connected, or if the time is outside of the
        known history: nothing is extrapolated.
        """
        with self._lock:
            T_root_target, root_target = self._to_root(target, stamp)
            T_root_source, root_source = self._to_root(source, stamp)
        if root_target != root_source:
            known = ', '.join(sorted(self._links)) or 'none'
            raise TransformError(
                f'no transform connects {source} to {target}; frames with a parent: {known}'
            )
        return rigid.inverse(T_root_target) @ T_root_source

    def _ancestors(self, frame: str) -> list[str]:
        ancestors = []
        while (link := self._links.get(frame)) is not None:
            frame = link.parent
            ancestors.append(frame)
        return ancestors

    def _to_root(self, frame: str, stamp: float | None) -> tuple[Array, str]:
        T = np.eye(4)
        while (link := self._links.get(frame)) is not None:
            T = _at(link, frame, stamp) @ T
            frame = link.parent
        return T, frame


def _at(link: _Link, child: str, stamp: float | None) -> Array:
    if stamp is None or link.static:
        return link.transforms[-1]
    first, last = link.stamps[0], link.stamps[-1]
    if not first <= stamp <= last:
        raise TransformError(
            f'the transform from {child} to {link.parent} is known from {first:.3f} s to '
            f'{last:.3f} s, not at {stamp:.3f} s'
        )
    after = bisect.bisect_left(link.stamps, stamp)
    if link.stamps[after] == stamp:
        return link.transforms[after]
    t0, t1 = link.stamps[after - 1], link.stamps[after]
    return rigid.interpolate(
        link.transforms[after - 1], link.transforms[after], (stamp - t0) / (t1 - t0)
    )
