"""Errors that rooms share."""


class RefusedError(ValueError):
    """A request is refused as it stands; the message says what is wrong and what to do."""
