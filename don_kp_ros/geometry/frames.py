"""A tree of named frames over time, like tf2's but without a ROS installation."""

from __future__ import annotations

import bisect
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from don_kp_ros.geometry import rigid

Array = NDArray[np.float64]


class TransformError(LookupError):
    """A transform that is unknown, or unknown at that time; the message names the frames."""


class TwoParentsError(TransformError):
    """A frame with two parents, which the message names."""


# So much older than what came before, a message is of a time that was set back, seconds.
SET_BACK_S = 1.0
# Of transforms, over which a robot's way is as good as straight; they come at 10 Hz or more.
LONGEST_GAP_S = 0.25
OBJECTS = 'object/'  # how the frames of taught objects begin: object/cap, or object/cap_2
_SAME = 1e-6  # metres; of static transforms
_STILL = 0.005  # metres, and of a rotation's elements: a third of a degree


@dataclass
class _Link:
    static: bool
    stamps: list[float] = field(default_factory=list)
    transforms: list[Array] = field(default_factory=list)


class TransformTree:
    """Transforms between named frames, each kept for some seconds.

    Thread-safe. A frame has one parent: while two are told, nothing that depends on it is known.
    """

    def __init__(self, cache_seconds: float = 10.0, longest_gap: float = math.inf) -> None:
        """Keep moving transforms for ``cache_seconds``; static ones for ever.

        longest_gap: seconds between two poses that differ, over which is interpolated. It does
        not hold for objects, which are told by picture, however seldom.
        """
        self._cache_seconds, self._longest_gap = cache_seconds, longest_gap
        self._links: dict[str, dict[str, _Link]] = {}  # by child and parent
        self._lock = threading.Lock()

    def clear(self) -> None:
        """Forget the moving transforms, of a time that was set back; the static ones hold."""
        with self._lock:
            for child in list(self._links):
                self._leave(child, lambda link: link.static)

    def set(
        self, parent: str, child: str, stamp: float, T: ArrayLike, static: bool = False
    ) -> str:
        """Set ``T_parent_child`` (4, 4) at a time in seconds; return what is odd about it, if any.

        Where that time was set back, what is known of this frame's past is forgotten. Raises
        TransformError where the transform is not finite or would close a loop.
        """
        T = np.array(T, dtype=np.float64)
        if not np.isfinite(T).all():
            raise TransformError(f'the transform from {child} to {parent} is not finite')
        with self._lock:
            link = self._links.get(child, {}).get(parent)
            if link is None or link.static != static:
                if child in self._ancestors(parent):
                    raise TransformError(f'{child} as a child of {parent} would close a loop')
                link = self._links.setdefault(child, {})[parent] = _Link(static)
            if static:
                before, link.stamps, link.transforms = link.transforms, [stamp], [T]
                if before and not np.allclose(before[0], T, atol=_SAME):
                    return f'{child} is told to be elsewhere on {parent} than before'
                return ''
            set_back = bool(link.stamps) and stamp < link.stamps[-1] - SET_BACK_S
            if set_back:
                link.stamps, link.transforms = [], []
            at = bisect.bisect_right(link.stamps, stamp)
            if at and link.stamps[at - 1] == stamp:
                link.transforms[at - 1] = T
                return ''
            link.stamps.insert(at, stamp)
            link.transforms.insert(at, T)
            oldest = link.stamps[-1] - self._cache_seconds
            old = bisect.bisect_left(link.stamps, oldest)
            del link.stamps[:old], link.transforms[:old]
            # Of a parent that is told no more, nothing is left either.
            self._leave(child, lambda other: other.static or other.stamps[-1] >= oldest)
            if set_back:
                return f'the time of {child} was set back to {stamp:.3f} s; the past is forgotten'
            return ''

    def lookup(self, target: str, source: str, stamp: float | None = None) -> Array:
        """Return ``T_target_source`` (4, 4) at a time in seconds; None: the newest of each.

        Raises TransformError if the frames are not connected, if one has two parents, or if the
        time is outside of the known history or in a gap of it: nothing is extrapolated.
        """
        with self._lock:
            up, down = self._chain(source), self._chain(target)
            common = next((frame for frame in down if frame in up), None)
            if common is None:
                raise self._unconnected(source, target, up[-1], down[-1])
            T_common_target = self._along(down, common, stamp)
            return rigid.inverse(T_common_target) @ self._along(up, common, stamp)

    def chain(self, frame: str) -> list[str]:
        """Return a frame and those above it, up to one that has no parent, or two."""
        with self._lock:
            return self._chain(frame)

    def top(self, frame: str) -> str:
        """Return the topmost frame above one; raises TwoParentsError where it has two parents."""
        with self._lock:
            top = self._chain(frame)[-1]
            if top in self._links:
                raise self._two_parents(top)
            return top

    def newest(self, frame: str) -> float:
        """Return when a frame was last told to be somewhere, seconds; -inf if it never was."""
        with self._lock:
            links = self._links.get(frame, {}).values()
            return max((link.stamps[-1] for link in links), default=-math.inf)

    def parents(self) -> dict[str, str]:
        """Return the parent of each frame that has one, and one alone."""
        with self._lock:
            return {child: next(iter(own)) for child, own in self._links.items() if len(own) == 1}

    def _leave(self, child: str, kept: Callable[[_Link], bool]) -> None:
        links = {parent: link for parent, link in self._links[child].items() if kept(link)}
        if links:
            self._links[child] = links
        else:
            del self._links[child]

    def _ancestors(self, frame: str) -> list[str]:
        ancestors = [frame]
        for one in ancestors:  # which grows meanwhile
            ancestors += [each for each in self._links.get(one, {}) if each not in ancestors]
        return ancestors

    def _chain(self, frame: str) -> list[str]:
        chain = [frame]
        while len(links := self._links.get(chain[-1], {})) == 1:
            chain += links
        return chain

    def _along(self, chain: list[str], end: str, stamp: float | None) -> Array:
        T = np.eye(4)
        for child, parent in zip(chain, chain[1 : chain.index(end) + 1], strict=False):
            link = self._links[child][parent]
            longest_gap = math.inf if child.startswith(OBJECTS) else self._longest_gap
            T = _at(link, child, parent, stamp, longest_gap) @ T
        return T

    def _unconnected(self, source: str, target: str, *ends: str) -> TransformError:
        for end in ends:
            if end in self._links:
                return self._two_parents(end)
        known = ', '.join(sorted(self._links)) or 'none'
        return TransformError(
            f'no transform connects {source} to {target}; frames with a parent: {known}'
        )

    def _two_parents(self, frame: str) -> TwoParentsError:
        parents = ' and '.join(sorted(self._links[frame]))
        return TwoParentsError(
            f'{frame} has two parents, {parents}, and a frame can have one: end what publishes '
            'the wrong one'
        )


def _at(link: _Link, child: str, parent: str, stamp: float | None, longest_gap: float) -> Array:
    if stamp is None or link.static:
        return link.transforms[-1]
    first, last = link.stamps[0], link.stamps[-1]
    if not first <= stamp <= last:
        raise TransformError(
            f'the transform from {child} to {parent} is known from {first:.3f} s to '
            f'{last:.3f} s, not at {stamp:.3f} s'
        )
    after = bisect.bisect_left(link.stamps, stamp)
    if link.stamps[after] == stamp:
        return link.transforms[after]
    t0, t1 = link.stamps[after - 1], link.stamps[after]
    T0, T1 = link.transforms[after - 1], link.transforms[after]
    if t1 - t0 > longest_gap and np.abs(T1 - T0).max() > _STILL:
        raise TransformError(
            f'the transform from {child} to {parent} is not known between {t0:.3f} s and '
            f'{t1:.3f} s, in which it changed'
        )
    return rigid.interpolate(T0, T1, (stamp - t0) / (t1 - t0))
