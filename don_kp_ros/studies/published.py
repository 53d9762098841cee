"""What paper 1 prints in its tables 1 to 3, and the metric that it is printed by."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from don_kp_ros.evaluation.pairs import PairSet

Method = Literal['NT-Xent', 'mined']


class Case(NamedTuple):
    """A cell of the tables; N: correspondences of NT-Xent, keypoints of mined."""

    method: Method
    N: int
    D: int


class Published(NamedTuple):
    """What the paper prints for it: AUC, its standard deviation over three models, GB."""

    auc: float
    deviation: float
    gigabytes: float


TABLES_1_AND_2: dict[int, tuple[Published | None, Published]] = {
    3: (Published(0.922, 0.006, 9.377), Published(0.914, 0.009, 4.763)),
    8: (Published(0.933, 0.011, 13.717), Published(0.928, 0.015, 4.785)),
    16: (Published(0.948, 0.012, 20.479), Published(0.945, 0.010, 4.832)),
    32: (Published(0.953, 0.008, 30.067), Published(0.950, 0.009, 4.872)),
    64: (None, Published(0.953, 0.006, 4.913)),
    128: (None, Published(0.957, 0.012, 5.409)),
    256: (None, Published(0.959, 0.008, 6.551)),
    512: (None, Published(0.962, 0.011, 7.915)),
}
_TABLE_3 = {
    64: Published(0.948, 0.009, 3.799),
    128: Published(0.952, 0.010, 4.191),
    256: Published(0.955, 0.013, 5.241),
    512: Published(0.957, 0.006, 7.341),
}
PUBLISHED: dict[Case, Published | None] = {
    **{Case('NT-Xent', 128, D): row[0] for D, row in TABLES_1_AND_2.items()},
    **{Case('mined', 128, D): row[1] for D, row in TABLES_1_AND_2.items()},
    **{Case('mined', 16, D): row for D, row in _TABLE_3.items()},
}


def published_auc(found: ArrayLike, true: ArrayLike) -> float:
    """Compute the AUC of table 1 as the authors' code does, from pixels uv (Q, 2).

    It takes a point for found where the cosine of the angle between the two pixels, seen as
    vectors from the picture's corner, is at least k / 100, and has u and v of one swapped.
    """
    a, b = np.asarray(found, np.float64)[:, ::-1], np.asarray(true, np.float64)
    cosines = (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    shares = (cosines[:, None] >= np.arange(1, 101) / 100).mean(axis=0)
    return float((shares[:-1] + shares[1:]).mean() / 2)  # the trapezoidal rule over [0, 1]


def known_guesses(data: PairSet) -> dict[str, float]:
    """Compute the published AUC of the truth itself, and of the picture's centre for any point."""
    true = np.concatenate([pair.uv_b for pair in data.pairs])
    centres = [np.array(data.images[pair.image_b].shape[1::-1]) / 2 for pair in data.pairs]
    centre = np.concatenate(
        [np.broadcast_to(c, pair.uv_b.shape) for c, pair in zip(centres, data.pairs, strict=True)]
    )
    return {
        'the truth': round(published_auc(true, true), 4),
        "the picture's centre": round(published_auc(centre, true), 4),
    }
