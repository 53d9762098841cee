"""Measures of Franka's hand, which the Panda and the FR3 share, with a D435 on it; metres."""

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.geometry import rigid

FINGER_BREADTH = 0.024  # across the closing axis
FINGER_THICKNESS = 0.03  # along it
TIP_LENGTH = 0.009  # from the tool centre point to the fingers' ends
# The palm, then the wider housing above it: half-breadth across the closing axis, half-length
# along it, and height of the underside over the tool centre point.
BODY = ((0.0215, 0.104, 0.0374), (0.0315, 0.104, 0.0734))
# Half-lengths of the camera's housing in the hand's frame, with its plug and bracket.
CAMERA_HALF_SIZE = (0.015, 0.047, 0.0125)
MAX_FINGER_FORCE = 70.0  # newtons
# Fingers that are nearer to either end of their range are closed, or open.
_CLOSED, _OPEN = 0.002, 0.004
# Of a D435: the colour imager sits 15 mm to the left of camera_link, which is the left infrared
# imager's place; the optical frame has z forward where the ROS one has x.
T_LINK_COLOUR = rigid.transform(translation=[0.0, 0.015, 0.0])
T_COLOUR_OPTICAL = rigid.from_quaternion([-0.5, 0.5, -0.5, 0.5])
T_LINK_OPTICAL = T_LINK_COLOUR @ T_COLOUR_OPTICAL


def may_hold(width: float, open_width: float, closed: float = _CLOSED) -> bool:
    """Tell whether fingers at a width may hold something, being neither closed nor open."""
    return closed < width < open_width - _OPEN


def lowest_of_fingers(T_base_tcp: NDArray[np.float64], width: float) -> float:
    """Return the height of the lowest end of the fingers, at a width, of a tool's pose (4, 4)."""
    across, closing, along = T_base_tcp[2, :3]
    sideways = width / 2 + FINGER_THICKNESS
    spread = abs(across) * FINGER_BREADTH / 2 + abs(closing) * sideways
    return float(T_base_tcp[2, 3] + along * TIP_LENGTH - spread)
