"""What perception keeps of an image for as long as somebody corrects a mask of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from rclpy.node import Node

from don_kp_ros.matching.view import View
from don_kp_ros.nodes.kit.buffers import Latest
from don_kp_ros.nodes.kit.clock import RosTime, when_set_back
from don_kp_ros.nodes.kit.conversions import seconds_from_stamp
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
        self._kept = Latest[Look](self._time, _MOST_HELD)
        self._jumps = when_set_back(node, self._kept.clear, 'images held for teaching')

    def hold(self, look: Look) -> None:
        """Hold a look from now on, for as many as point at its image."""
        if self.of(look.frame.header.stamp) is None:
            self._kept.put(look, seconds_from_stamp(look.frame.header.stamp))

    def of(self, stamp: Time) -> Look | None:
        """Return the look at the image of a stamp, if it is held."""
        oldest = self._time.now() - HELD_S
        for kept in self._kept.all():
            if kept.value.frame.header.stamp == stamp and kept.arrival >= oldest:
                return kept.value
        return None
