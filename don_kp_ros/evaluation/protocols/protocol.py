"""What all protocols say, and what they make.

A protocol makes conditions from a data folder: named sets of pairs of pictures with truth. Those
of a curve differ in one thing alone, as the angle by which a camera was turned (paper 2, fig. 5).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from don_kp_ros.configuration import within
from don_kp_ros.data.posed import PosedSample
from don_kp_ros.evaluation.pairs import PairSet
from don_kp_ros.evaluation.reading import Reader


@dataclass(frozen=True)
class Condition:
    """Pairs that are measured together, and the place on a curve that they are for.

    value: of what the curve changes, in the words of `curve`; views: of the pictures of `data`, in
    order, where their depth is known.
    """

    name: str
    data: PairSet
    curve: str = ''
    value: float | None = None
    views: Sequence[PosedSample] = ()


@dataclass(frozen=True)
class Protocol(ABC):
    """What all protocols say.

    pairs: of pictures, at most, of every point of a curve; queries: points of the object in each;
    step: pixels between neighbours of the grid on which descriptors not learned are compared;
    resamples: of the bootstrap intervals.
    """

    kind: ClassVar[str]

    description: str = ''
    pairs: int = 50
    queries: int = 100
    step: int = 2
    resamples: int = 2000

    def __post_init__(self) -> None:
        for name, most in (('pairs', 1e5), ('queries', 1e5), ('step', 64), ('resamples', 1e6)):
            within(name, getattr(self, name), 1, most)

    @abstractmethod
    def conditions(self, root: Path, seed: int, reader: Reader) -> list[Condition]:
        """Make the conditions of a data folder; the same seed makes the same ones.

        Raises DataError naming what is missing or wrong.
        """
