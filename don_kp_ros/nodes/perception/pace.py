"""Which images are looked at, where more come than are wanted, and how long others rest."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

_EARLY = 0.1  # of the time from one to the next: an image that comes so early is not too early
_LONGEST_S = 0.2  # until the rate is looked at again


class Pace:
    """Takes so many images a second of ROS time, evenly, and passes over the rest.

    An image that comes a little late does not make the next one late: the rate is kept on average.
    """

    def __init__(self) -> None:
        self._due = -math.inf

    def takes(self, arrival: float, rate: float) -> bool:
        """Tell whether to take an image that came at a time in seconds; rate: 1/s, 0: all."""
        if rate <= 0:
            return True
        step = 1 / rate
        early = self._due - arrival
        if _EARLY * step < early <= step:  # by more, time was set back
            return False
        self._due = (self._due if abs(early) <= step else arrival) + step
        return True


def rest(began: float, rate: Callable[[], float], ending: threading.Event) -> None:
    """Wait until a period is over that began at a monotonic time, or until the end.

    rate: tells how many periods a second has at present; 0: do not wait.
    """
    while (present := rate()) and (left := began + 1 / present - time.monotonic()) > 0:
        if ending.wait(min(left, _LONGEST_S)):
            return
