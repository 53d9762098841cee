"""ROS domains of this machine."""

from __future__ import annotations

import contextlib
import os
import socket

# RTPS: where the first participant of domain 0 listens, and from there to the next domain's.
_FIRST_PORT, _PORTS = 7410, 250


def free_domain() -> int:
    """Find a ROS domain from 1 to 100 that nobody on this machine is in."""
    for candidate in range(os.getpid(), os.getpid() + 100):
        domain = 1 + candidate % 100
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe,
            contextlib.suppress(OSError),
        ):
            probe.bind(('', _FIRST_PORT + _PORTS * domain))
            return domain
    raise RuntimeError('all ROS domains from 1 to 100 are in use')
