"""Wait for what other threads and processes do, however busy the machine is."""

import time

PATIENCE_S = 60.0  # for what takes a second on an idle machine


def within(seconds: float, condition):
    """Wait for a true value; return it, or None when the time is over."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            return None
        time.sleep(0.005)
    return value


def wait_until(condition, seconds: float = PATIENCE_S):
    """Wait for a true value; return it, or fail."""
    value = within(seconds, condition)
    assert value, 'waited in vain'
    return value
