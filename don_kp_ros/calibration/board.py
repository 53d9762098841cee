"""The ChArUco board: a chessboard with a marker in every white square (Garrido-Jurado 2014)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.calibration.options import COLUMNS, DICTIONARY, MARKER, ROWS
from don_kp_ros.configuration import within

if TYPE_CHECKING:
    import cv2

Array = NDArray[np.float64]

# Bits along a marker's side: as many markers as OpenCV has of each.
DICTIONARIES = {
    f'DICT_{bits}X{bits}_{count}': count for bits in (4, 5, 6) for count in (50, 100, 250, 1000)
}


@dataclass(frozen=True)
class Board:
    """A board of so many squares, whose first corner is the origin of its frame.

    square: their side, metres, as it was measured on the paper; None: not known yet. marker: the
    markers' side as a share of it. x runs along the columns, y along the rows, z into the board,
    as OpenCV has them.
    """

    columns: int = COLUMNS
    rows: int = ROWS
    square: float | None = None
    marker: float = MARKER
    dictionary: str = DICTIONARY

    def __post_init__(self) -> None:
        """Check the numbers."""
        within('columns', self.columns, 3, 50)
        within('rows', self.rows, 3, 50)
        within('marker', self.marker, 0.3, 0.9)
        if self.square is not None:
            within('square', self.square, 0.002, 1.0)
        if self.dictionary not in DICTIONARIES:
            raise ValueError(
                f'dictionary is {self.dictionary!r}; allowed are {", ".join(DICTIONARIES)}'
            )
        if self.markers > DICTIONARIES[self.dictionary]:
            raise ValueError(
                f'a board of {self.columns} by {self.rows} squares has {self.markers} markers, '
                f'and {self.dictionary} {DICTIONARIES[self.dictionary]}; choose a larger one'
            )

    @property
    def markers(self) -> int:
        """How many markers it has."""
        return self.columns * self.rows // 2

    def side(self) -> float:
        """Return the squares' side in metres; raises ValueError where it is not known."""
        if self.square is None:
            raise ValueError(
                "the squares' side is not known; measure ten of them on the paper, and give a "
                'tenth: --square MM'
            )
        return self.square

    def corners(self) -> Array:
        """Return the inner corners (N, 3) in the board's frame, metres, by their numbers."""
        y, x = np.mgrid[1 : self.rows, 1 : self.columns]
        return self.side() * np.stack([x, y, np.zeros_like(x)], axis=-1).reshape(-1, 3)

    def outer(self) -> tuple[int, int, int, int]:
        """Return the numbers of the inner corners nearest to the board's four corners."""
        across, last = self.columns - 1, (self.columns - 1) * (self.rows - 1) - 1
        return 0, across - 1, last - across + 1, last

    def aruco(self) -> cv2.aruco.CharucoBoard:
        """Return OpenCV's board; lengths in squares."""
        import cv2  # slow to import

        number = getattr(cv2.aruco, self.dictionary)
        dictionary = cv2.aruco.getPredefinedDictionary(number)
        return cv2.aruco.CharucoBoard((self.columns, self.rows), 1.0, self.marker, dictionary)

    def black(self) -> Array:
        """Return its black rectangles (N, 4): x, y, width and height in squares, y downwards."""
        import cv2

        board = self.aruco()
        dictionary = board.getDictionary()
        bits = dictionary.markerSize + 2  # with its border
        cell = self.marker / bits
        rows, columns = np.indices((self.rows, self.columns))
        squares = [
            (column, row, 1.0, 1.0) for row, column in np.argwhere((rows + columns) % 2 == 0)
        ]
        cells = [
            (corners[0, 0] + column * cell, corners[0, 1] + row * cell, cell, cell)
            for number, corners in zip(
                np.ravel(board.getIds()), np.array(board.getObjPoints()), strict=True
            )
            for row, column in np.argwhere(
                cv2.aruco.generateImageMarker(dictionary, int(number), bits) == 0
            )
        ]
        return np.array([*squares, *cells])
