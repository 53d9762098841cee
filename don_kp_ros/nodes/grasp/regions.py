"""Where perception sees something that looks like a target, though it does not find the target."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from don_kp.action import Grasp
from don_kp.msg import Detections
from don_kp.srv import Describe
from don_kp_ros.database.records import object_of
from don_kp_ros.errors import RefusedError
from don_kp_ros.geometry import rigid
from don_kp_ros.nodes.grasp.observer import GoalRefusedError, Observer
from don_kp_ros.nodes.kit.conversions import image_array

Array = NDArray[np.float64]

_DETECTIONS = 'don_kp/detections'
_PATIENCE_S = 2.0  # for an image: perception tells no regions of those that it refuses
_PIXELS = 25  # of a region, whose places are asked for


class Regions:
    """Asks perception for regions of an image that look like stored objects.

    Its calls block, and raise what those of the observer do.
    """

    def __init__(self, observer: Observer) -> None:
        """Ask by an observer."""
        self._observer = observer

    def place_of(self, name: str) -> Array | None:
        """Return the middle (3,), in the base frame, of the surest region like a target.

        name: of a taught object, or of a stored point, whose object is meant. None: no region
        looks like it, its depth is not known, or no further image comes.
        """
        try:
            (message,), deadline = self._observer.hear(
                Detections, _DETECTIONS, name, 1, _PATIENCE_S
            )
        except GoalRefusedError as error:
            if error.code != Grasp.Result.STALE_DATA:
                raise
            return None
        found = (one for one in message.detections if one.name in (name, object_of(name)))
        surest = next(found, None)
        if surest is None:
            return None
        v, u = np.nonzero(image_array(surest.mask))
        some = slice(None, None, max(1, len(u) // _PIXELS))
        asked = Describe.Request(
            stamp=message.header.stamp,
            u=(u[some] + float(surest.box.x_offset)).tolist(),
            v=(v[some] + float(surest.box.y_offset)).tolist(),
        )
        try:
            told = self._observer.describe(asked).positions
        except GoalRefusedError:
            raise
        except RefusedError:
            return None
        places = np.array([[p.x, p.y, p.z] for p in told]).reshape(-1, 3)
        places = places[np.isfinite(places[:, 2])]
        if not len(places):
            return None
        T = self._observer.pose_of(message.header.frame_id, message.header.stamp, deadline)
        return np.asarray(rigid.apply(T, np.median(places, axis=0)))
