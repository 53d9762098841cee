"""Masks of a folder's pictures, one after the other, by what somebody points at."""

from __future__ import annotations

import threading

from don_kp_ros.annotation.making import Task
from don_kp_ros.data.folder import DataError
from don_kp_ros.errors import RefusedError
from don_kp_ros.page.cutting import Cutting, Shown


class Outlining:
    """The pictures of a folder that lack a mask, and what was pointed at in the present one.

    Thread-safe: what looks, saves or goes on has the present picture for itself.
    Raises RefusedError for pictures that cannot be read.
    """

    def __init__(self, task: Task) -> None:
        """Begin with the first picture of a task, which has one at least."""
        self._task = task
        self._present = threading.Lock()
        self.written = 0
        self._number = 0
        self._open()

    @property
    def place(self) -> str:
        """Say which picture it is, of how many."""
        pictures = self._task.pictures
        return f'{self.picture.name}, {pictures.index(self.picture) + 1} of {len(pictures)}'

    def look(self) -> tuple[str, Shown]:
        """Return which picture is shown, and how."""
        with self._present:
            return self.place, self.cutting.look()

    def move(self, by: int) -> None:
        """Go on to another picture, or back."""
        with self._present:
            self._move(by)

    def save(self) -> str:
        """Write the mask that is shown, go on to the next picture, and say what was written."""
        with self._present:
            picture, proposal = self.picture, self.cutting.look().proposal
            if proposal is None:
                raise RefusedError(
                    'there is no mask to save: click on the object, or draw around it'
                )
            self._task.write(picture, proposal.mask)
            self.written += 1
            self._move(1)
        return f'{picture.name} has its mask'

    def _move(self, by: int) -> None:
        self._number = (self._number + by) % len(self._task.pictures)
        self._open()

    def _open(self) -> None:
        """Open the picture whose turn it is; where it cannot be read, the one before stays."""
        picture = self._task.pictures[self._number]
        try:
            cutting = Cutting(self._task.read(picture))
        except DataError as error:
            raise RefusedError(str(error)) from error
        self.picture, self.cutting = picture, cutting
