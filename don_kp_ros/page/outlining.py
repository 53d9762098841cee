"""Masks of a folder's pictures, one after the other, by what somebody points at."""

from __future__ import annotations

from pathlib import Path

from don_kp_ros.annotation.making import Task
from don_kp_ros.errors import RefusedError
from don_kp_ros.page.cutting import Cutting


class Outlining:
    """The pictures of a folder that lack a mask, and what was pointed at in the present one.

    Raises DataError for pictures that cannot be read.
    """

    def __init__(self, task: Task) -> None:
        """Begin with the first picture of a task, which has one at least."""
        self._task = task
        self.written = 0
        self._open(0)

    @property
    def picture(self) -> Path:
        """The present picture."""
        return self._task.pictures[self._number]

    @property
    def place(self) -> str:
        """Say which picture it is, of how many."""
        return f'{self.picture.name}, {self._number + 1} of {len(self._task.pictures)}'

    def move(self, by: int) -> None:
        """Go on to another picture, or back."""
        self._open((self._number + by) % len(self._task.pictures))

    def save(self) -> str:
        """Write the mask that is shown, go on to the next picture, and say what was written."""
        proposal = self.cutting.look().proposal
        if proposal is None:
            raise RefusedError('there is no mask to save: click on the object, or draw around it')
        self._task.write(self.picture, proposal.mask)
        told = f'{self.picture.name} has its mask'
        self.written += 1
        self.move(1)
        return told

    def _open(self, number: int) -> None:
        self._number = number
        self.cutting = Cutting(self._task.read(self.picture))
