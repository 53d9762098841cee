"""What perception keeps of an image for as long as somebody corrects a mask of it."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass

import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from rclpy.node import Node

from don_kp_ros.matching.view import View
from don_kp_ros.nodes.kit.clock import RosTime, when_set_back
from don_kp_ros.nodes.perception.frames import Frame
from don_kp_ros.pose.segmentation import Mask, object_mask, table_plane

HELD_S = 120.0
_MOST_HELD = 8


@dataclass(frozen=True)
class Look:
    """All that is taught from an image: frames, too, are forgotten meanwhile."""

    frame: Frame
    view: View  # with depth and camera
    axes: NDArray[np.float64]  # (3, 3), of the object's frame, in the optical frame
    told: str  # what these are

    def object_at(self, uv: tuple[float, float]) -> Mask:
        """Return the pixels (H, W) of what stands at a click. Raises RefusedError."""
        depth, camera = self.view.depth, self.view.camera
        assert depth is not None and camera is not None
        return object_mask(depth.metres(), camera, table_plane(self.view.points()), uv)


class HeldLooks:
    """The newest looks that were held less than `HELD_S` ago, by the stamps of their images."""

    def __init__(self, node: Node) -> None:
        """Hold them in the time of a node."""
        self._time = RosTime(node)
        self._kept: dict[tuple[int, int], tuple[float, Look]] = {}  # the newest last
        self._lock = threading.Lock()
        self._jumps = when_set_back(node, self._forget, 'images held for teaching')

    def hold(self, look: Look) -> None:
        """Hold a look from now on, instead of an earlier one at the same image."""
        key = _key(look.frame.header.stamp)
        with self._lock:
            self._kept.pop(key, None)
            self._kept[key] = self._time.now(), look
            while len(self._kept) > _MOST_HELD:
                del self._kept[next(iter(self._kept))]

    def of(self, stamp: Time) -> Look | None:
        """Return the look at the image of a stamp, if it is held."""
        with self._lock:
            since, look = self._kept.get(_key(stamp), (-math.inf, None))
        return look if since >= self._time.now() - HELD_S else None

    def _forget(self) -> None:
        with self._lock:
            self._kept.clear()


def _key(stamp: Time) -> tuple[int, int]:
    return stamp.sec, stamp.nanosec
