"""Names and reasons as they may stand in a message."""

from __future__ import annotations


def shown(name: str) -> str:
    """Quote a name for a message: escape what is not printable, and cut it if it is long."""
    return repr(name if len(name) <= 48 else name[:47] + '…')


def shortened(model: str) -> str:
    """Shorten a fingerprint for a message."""
    quoted = repr(model)[1:-1]
    return quoted if len(quoted) <= 12 else quoted[:12] + '…'


def printable(reason: str) -> str:
    """Return another library's message as one printable line of bounded length."""
    line = ' '.join(reason.split())[:400]
    return ''.join(letter if letter.isprintable() else '?' for letter in line)
