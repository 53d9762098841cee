"""ROS domains of this machine."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import tempfile
from pathlib import Path
from typing import IO

# RTPS: the first port of domain 0, and how many a domain has for all its participants.
_FIRST_PORT, _PORTS = 7400, 250
_locks: dict[int, IO[str]] = {}


def free_domain() -> int:
    """Find a ROS domain from 1 to 100 that nobody on this machine is in, and keep it.

    Nobody else who asks gets it before this process ends or leaves it, also while nobody is in it.
    """
    for candidate in range(os.getpid(), os.getpid() + 100):
        domain = 1 + candidate % 100
        with contextlib.ExitStack() as undo, contextlib.suppress(OSError):
            _bind_each_port(domain)
            lock = (Path(tempfile.gettempdir()) / f'don_kp-domain-{domain}.lock').open('w')
            undo.callback(lock.close)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            undo.pop_all()
            _locks[domain] = lock
            return domain
    raise RuntimeError('all ROS domains from 1 to 100 are in use')


def leave_domain(domain: int) -> None:
    """Give a domain back that `free_domain` has found."""
    _locks.pop(domain).close()


def _bind_each_port(domain: int) -> None:
    """Raise OSError where somebody has a port of a domain; the first participant may be gone."""
    first = _FIRST_PORT + _PORTS * domain
    for port in range(first, first + _PORTS):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(('', port))
