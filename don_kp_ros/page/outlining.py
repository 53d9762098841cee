"""Masks of a folder's pictures, one after the other, by what somebody points at."""

from __future__ import annotations

import threading
from pathlib import Path

from don_kp_ros.annotation.making import Task
from don_kp_ros.data.folder import DataError
from don_kp_ros.errors import RefusedError
from don_kp_ros.page.cutting import Cutting, Shown


class Outlining:
    """The pictures of a folder that lack a mask, and what was pointed at in the present one.

    Thread-safe: what looks, saves or goes on has the present picture for itself.
    Pictures that cannot be read are passed over; left_out: what was wrong with those before the
    first. Raises RefusedError where no other can be read.
    """

    def __init__(self, task: Task) -> None:
        """Begin with the first picture of a task, which has one at least."""
        self._task = task
        self._present = threading.Lock()
        self._written = set[Path]()
        self._number = -1
        self._number, self.cutting, self.left_out = self._next(1)

    @property
    def written(self) -> int:
        """Of how many pictures the mask was written."""
        return len(self._written)

    @property
    def place(self) -> str:
        """Say which picture it is, of how many."""
        pictures = self._task.pictures
        return f'{pictures[self._number].name}, {self._number + 1} of {len(pictures)}'

    def look(self) -> tuple[str, Shown]:
        """Return which picture is shown, and how."""
        with self._present:
            return self.place, self.cutting.look()

    def move(self, by: int) -> str:
        """Go on to the next picture (by: 1), or back (-1), and say which were left out."""
        with self._present:
            number, cutting, left_out = self._next(by)
            if left_out and number == self._number:
                raise RefusedError('; '.join(left_out))
            self._number, self.cutting = number, cutting
        return '; '.join(left_out)

    def save(self) -> str:
        """Write the mask that is shown, go on to the next picture, and say what was done."""
        with self._present:
            picture = self._task.pictures[self._number]
            proposal = self.cutting.look().proposal
            if proposal is None:
                raise RefusedError(
                    'there is no mask to save: click on the object, or draw around it'
                )
            try:
                self._task.write(picture, proposal.mask)
            except DataError as error:
                raise RefusedError(str(error)) from error
            self._written.add(picture)
            self._number, self.cutting, left_out = self._next(1)
        return '; '.join([f'{picture.name} has its mask', *left_out])

    def _next(self, by: int) -> tuple[int, Cutting, list[str]]:
        """Open the next picture that can be read, this one last; say what is wrong with others."""
        pictures, left_out = self._task.pictures, list[str]()
        for step in range(1, len(pictures) + 1):
            number = (self._number + by * step) % len(pictures)
            try:
                return number, Cutting(self._task.read(pictures[number])), left_out
            except DataError as error:
                left_out.append(f'left out: {error}')
        raise RefusedError('; '.join(left_out))
