"""Which images are looked at, where more come than are wanted."""

from __future__ import annotations

import math


class Pace:
    """Takes so many images a second of ROS time, evenly, and passes over the rest.

    Neither of the camera's rate nor of jitter is anything lost: an image that comes a little late
    does not make the next one late.
    """

    def __init__(self) -> None:
        self._due = -math.inf

    def takes(self, arrival: float, rate: float) -> bool:
        """Tell whether to take an image that came at a time in seconds; rate: 1/s, 0: all."""
        if rate <= 0:
            return True
        step = 1 / rate
        if 0 < self._due - arrival <= step:  # by more, time was set back
            return False
        late = arrival - self._due
        self._due = (self._due if 0 <= late < step else arrival) + step
        return True
