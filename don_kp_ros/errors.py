"""Errors that rooms share, and how they tell what was probably meant."""

import difflib
from collections.abc import Iterable


class RefusedError(ValueError):
    """A request is refused as it stands; the message says what is wrong and what to do."""


def did_you_mean(wrong: str, known: Iterable[str], prefix: str = '', cutoff: float = 0.6) -> str:
    """Return '; did you mean PREFIXname?' for the nearest known name; '' where none is near.

    cutoff: how like it a name has to be, by difflib's ratio, 0 to 1.
    """
    known = list(known)
    swapped = [name for name in known if sorted(name) == sorted(wrong)]
    nearest = swapped or difflib.get_close_matches(wrong, known, n=1, cutoff=cutoff)
    return f'; did you mean {prefix}{nearest[0]}?' if nearest else ''
