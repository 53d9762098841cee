"""What the tests of motions wait for, ask for and look at."""

import time

import numpy as np
import pytest

from don_kp_ros.geometry import rigid
from don_kp_ros.motion.port import MotionError

PATIENCE_S = 60.0  # for what takes a moment on an idle machine


def until(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not (value := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.002)
    return value


def down(x, y, z):
    return rigid.transform(np.diag([1.0, -1.0, -1.0]), [x, y, z])


def failure(call):
    with pytest.raises(MotionError) as caught:
        call()
    return caught.value
