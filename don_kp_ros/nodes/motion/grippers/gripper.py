"""What MoveIt's adapter asks of a gripper."""

from typing import Protocol


class Gripper(Protocol):
    """Moves the fingers; calls block, and raise MotionError when they fail."""

    def move(self, width: float, force: float, closing: bool) -> None:
        """Bring the fingers to a width in metres, or until they press with a force in newtons."""
