"""A gripper that MoveIt plans for, as in its Panda demo."""

from collections.abc import Callable


class GroupGripper:
    """Moves the fingers by planning their group; the force is the controller's own."""

    def __init__(self, move_fingers: Callable[[float], None]) -> None:
        """Move by a function that plans and runs a motion to a width in metres."""
        self._move_fingers = move_fingers

    def move(self, width: float, force: float, closing: bool) -> None:
        """Bring the fingers to a width in metres."""
        self._move_fingers(width)
