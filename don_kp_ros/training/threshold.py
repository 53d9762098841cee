"""The match threshold, chosen when a training ends, and how far it can be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.floating[Any]]

PRESENT_QUANTILE, ABSENT_QUANTILE, DRAWN_QUANTILE = 0.02, 0.995, 0.95
_FEWEST_FOUND = 0.9


@dataclass(frozen=True)
class Threshold:
    """The similarity below which a peak is no match, and the quantiles that it comes from.

    present: the PRESENT_QUANTILE of matches; absent: the ABSENT_QUANTILE of peaks where there is
    nothing to match, or the DRAWN_QUANTILE where these pictures were drawn; found, false: the
    shares of both that reach the threshold.
    """

    value: float
    present: float
    absent: float
    found: float
    false: float
    drawn: bool

    @classmethod
    def choose(cls, present: Scores, absent: Scores, drawn: bool) -> Threshold:
        """Choose the middle between the weakest matches and the strongest others.

        present: similarity of peaks in pictures with the object; absent: in pictures without it;
        drawn: whether these are only drawn. If the two overlap, `absent` decides: a missed point
        is looked for again, but a wrong one must not be grasped.
        """
        lowest = float(np.quantile(present, PRESENT_QUANTILE))
        highest = float(np.quantile(absent, DRAWN_QUANTILE if drawn else ABSENT_QUANTILE))
        value = max((lowest + highest) / 2, highest)
        found, false = (float(np.mean(scores >= value)) for scores in (present, absent))
        return cls(value, lowest, highest, found, false, drawn)

    @property
    def doubt(self) -> str:
        """Why it is not sure, and what helps; empty where it is."""
        doubts = []
        if self.drawn:
            doubts.append(
                'no pictures without the object were given, and drawn ones took their place; add '
                'some of what lies around it (negatives/)'
            )
        if self.found < _FEWEST_FOUND:
            doubts.append(
                f'it misses {1 - self.found:.0%} of the points, since other things look as '
                'similar; more pictures of both or a longer training help'
            )
        return '; '.join(doubts)

    def record(self) -> dict[str, Any]:
        """Return what the card says of it."""
        names = ('value', 'present', 'absent', 'found', 'false')
        figures = {name: round(float(getattr(self, name)), 4) for name in names}
        return {**figures, 'drawn': self.drawn, 'doubt': self.doubt}
