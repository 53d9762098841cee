"""What a look at a target shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.nodes.grasp.second_view import View

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Sight:
    """What was found, places (K, 3) or a pose; and what is about it, points (N, 3).

    marks: where each stored point of the object is seen, (M, 3) by its name. Places that are best
    grasped may be others in each image, and marks are not.
    """

    found: Any
    points: Array
    view: View | None = None
    marks: Mapping[str, Array] = field(default_factory=dict)

    def shift(self, after: Sight, place: Array) -> float:
        """Return by how much the marks nearest to a place (3,) have moved since, metres."""
        moved = []
        for name in self.marks.keys() & after.marks.keys():
            away = np.linalg.norm(self.marks[name] - place, axis=1)
            at = self.marks[name][np.argmin(away)]
            moved.append(np.linalg.norm(after.marks[name] - at, axis=1).min())
        return float(np.median(moved)) if moved else 0.0
