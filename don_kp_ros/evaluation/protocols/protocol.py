"""The settings that all protocols share, and the conditions that they make.

A protocol makes conditions from a data folder: named sets of picture pairs with their truth. The
conditions of a curve differ in one thing only, such as the angle by which a camera was turned
(paper 2, fig. 5).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from don_kp_ros.configuration import within
from don_kp_ros.data.depth_view import TOLERANCE
from don_kp_ros.data.posed import PosedSample
from don_kp_ros.evaluation.pairs import PairSet
from don_kp_ros.evaluation.reading import Reader


@dataclass(frozen=True)
class Condition:
    """Pairs that are measured together, and their place on a curve.

    value: of the quantity that `curve` names; views: of the pictures of `data`, in order, if their
    depth is known.
    """

    name: str
    data: PairSet
    curve: str = ''
    value: float | None = None
    views: Sequence[PosedSample] = ()


@dataclass(frozen=True)
class Protocol(ABC):
    """The settings that all protocols share.

    pairs: most picture pairs for each point of a curve; queries: points of the object in each;
    step: pixels between neighbours of the grid on which the descriptors that are not learned are
    compared; resamples: of the bootstrap intervals; peers: measure other networks, too.
    """

    kind: ClassVar[str]

    description: str = ''
    pairs: int = 50
    queries: int = 100
    step: int = 2
    resamples: int = 2000
    peers: bool = False

    def __post_init__(self) -> None:
        for name, most in (('pairs', 1e5), ('queries', 1e5), ('step', 64), ('resamples', 1e6)):
            within(name, getattr(self, name), 1, most)

    @abstractmethod
    def conditions(self, root: Path, seed: int, reader: Reader) -> list[Condition]:
        """Make the conditions of a data folder; the same seed makes the same ones.

        Raises DataError naming what is missing or wrong.
        """


@dataclass(frozen=True)
class DepthProtocol(Protocol):
    """The settings that protocols share whose truth is of depth and poses.

    tolerance: metres by which a seen point may miss the depth of its view.
    """

    tolerance: float = TOLERANCE

    def __post_init__(self) -> None:
        super().__post_init__()
        within('tolerance', self.tolerance, 1e-6, 1)
