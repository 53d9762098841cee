"""What the database fails at, and what it refuses."""

from don_kp_ros.errors import RefusedError


class StoreError(Exception):
    """The database cannot be read or written; the message names it and the remedy."""


class DamagedError(StoreError):
    """One stored descriptor, object or card cannot be read; the message says what to do."""


class DamagedFileError(StoreError):
    """A file that is damaged or is not a database; it was left as it is."""


class SchemaError(StoreError):
    """A database of a newer don_kp, or of something else; it was left as it is."""


class UnavailableError(StoreError):
    """The server does not answer now; the same request may succeed later."""


class InvalidNameError(RefusedError):
    """A name, object, tag, author or fingerprint that is empty, too long, or not printable."""


class InvalidDescriptorError(RefusedError):
    """Values that are not a descriptor, or not one of that model."""


class InvalidObservationError(RefusedError):
    """A pixel, camera, position, patch or time of an observation that is impossible."""


class InvalidObjectError(RefusedError):
    """Points, weights or views that no taught object has, or one that has changed meanwhile."""


class NameTakenError(RefusedError):
    """A name that is already stored, in a request that does not replace it."""


class UnknownNameError(RefusedError):
    """A name that is not stored for that model."""
