"""The match threshold, chosen when a training ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.floating[Any]]

PRESENT_QUANTILE, ABSENT_QUANTILE = 0.02, 0.995


@dataclass(frozen=True)
class Threshold:
    """The similarity below which a peak is no match, and the quantiles that it comes from."""

    value: float
    present: float  # the PRESENT_QUANTILE of matches
    absent: float | None  # the ABSENT_QUANTILE of peaks where there is nothing to match

    @classmethod
    def choose(cls, present: Scores, absent: Scores) -> Threshold:
        """Choose the middle between the weakest 2 % of matches and the strongest .5 % of others.

        present: similarity of peaks in pictures with the object; absent: in pictures without it.
        If the two overlap, `absent` decides: a missed point is looked for again, but a wrong one
        must not be grasped. If `absent` is empty, the weakest matches decide.
        """
        lowest = float(np.quantile(present, PRESENT_QUANTILE))
        if np.size(absent) == 0:
            return cls(lowest, lowest, None)
        highest = float(np.quantile(absent, ABSENT_QUANTILE))
        return cls(max((lowest + highest) / 2, highest), lowest, highest)
