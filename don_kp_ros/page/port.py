"""What the page asks of the stack, and what it is told. Every refusal is a RefusedError."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.page.canvas import Stamp

Array = NDArray[np.float64]
Existing = Literal['refuse', 'replace', 'add']  # what a name that is taken means


@dataclass(frozen=True)
class StoredPoint:
    """A stored point, as the database lists it."""

    name: str
    model: str
    object: str
    tags: tuple[str, ...]
    observations: int


@dataclass(frozen=True)
class StoredObject:
    """A taught object, as the database lists it."""

    name: str
    model: str
    views: int
    points: int
    grasps: tuple[str, ...]


@dataclass(frozen=True)
class Proposed:
    """A picture (H, W, 3) RGB, its stamp, and the mask (H, W) of what was pointed at: 0 or 255."""

    stamp: Stamp
    pixels: NDArray[np.uint8]
    mask: NDArray[np.uint8]


@dataclass(frozen=True)
class Scene:
    """Where everything is, metres in the frame that all others hang on."""

    frames: Mapping[str, Array] = field(default_factory=dict)  # (4, 4) by name
    bones: Sequence[tuple[str, str]] = ()  # frames and their parents
    cloud: Array = field(default_factory=lambda: np.zeros((0, 3)))
    grasp: Array | None = None  # (4, 4), of the tool centre point, where one is planned
    path: Array = field(default_factory=lambda: np.zeros((0, 3)))  # that it is about to go
    lacks: str = ''  # why there is no cloud; empty where there is one


class Stack(Protocol):
    """The services and the action of a running stack."""

    async def store(
        self,
        name: str,
        stamp: Stamp,
        uv: tuple[int, int],
        tags: Sequence[str],
        existing: Existing,
    ) -> str:
        """Store the point at a pixel of the picture of a stamp; return what is said of it."""

    async def propose(
        self, stamp: Stamp, uv: tuple[int, int], outline: Sequence[tuple[float, float]]
    ) -> Proposed:
        """Return the mask of the object at a pixel of the picture of a stamp, or of an outline.

        The picture may be taught from for two minutes.
        """

    async def teach(
        self, name: str, stamp: Stamp, mask: NDArray[np.uint8], existing: Existing
    ) -> str:
        """Teach what a mask (H, W) shows of the picture of a stamp; return what is said of it."""

    async def rank(self, uv: tuple[float, float]) -> str:
        """Return which stored points are like a place in the newest picture examined."""

    async def points(self, deleted: bool) -> list[StoredPoint]:
        """List the stored points, or those that can be restored."""

    async def patch(self, point: StoredPoint) -> bytes:
        """Return a stored point's picture as PNG; empty where there is none."""

    async def delete_point(self, point: StoredPoint) -> str:
        """Delete a stored point."""

    async def restore_point(self, point: StoredPoint) -> str:
        """Restore a deleted point."""

    async def change_point(self, point: StoredPoint, name: str, tags: Sequence[str] | None) -> str:
        """Give a stored point a name and tags; return what is said of it."""

    async def objects(self) -> list[StoredObject]:
        """List the taught objects."""

    async def delete_object(self, taught: StoredObject) -> str:
        """Delete a taught object."""

    async def rename_object(self, taught: StoredObject, name: str) -> str:
        """Give a taught object another name; return what is said of it."""

    async def show_heatmap(self, name: str) -> None:
        """Show the heatmap of a stored point in place of the camera's picture; '': no longer."""

    async def grasp(self, target: str, aligned: bool) -> str:
        """Grasp at a stored point, or a taught object as was taught; return how it ended."""

    async def release(self) -> str:
        """Open the hand and move the arm to where it looks from."""

    async def cancel(self) -> None:
        """Stop the goal that this page has sent."""

    async def enable(self, on: bool) -> str:
        """Let the arm move, or stop it and keep it still."""

    async def scene(self) -> Scene:
        """Return where everything is."""
