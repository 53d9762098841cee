"""Random draws that configurations describe."""

from __future__ import annotations

import numpy as np

from don_kp_ros.configuration import Range


def log_uniform(rng: np.random.Generator, bounds: Range) -> float:
    """Draw a factor with a logarithm uniform between those of the bounds."""
    return float(np.exp(rng.uniform(np.log(bounds[0]), np.log(bounds[1]))))


def weighted(rng: np.random.Generator, **weights: float) -> str:
    """Draw one of some names with probabilities relative to their weights."""
    values = np.array(list(weights.values()))
    return str(rng.choice(list(weights), p=values / values.sum()))


def check_weights(**weights: float) -> None:
    """Raise ValueError naming relative weights of which none can be drawn."""
    if min(weights.values()) < 0 or sum(weights.values()) <= 0:
        raise ValueError(
            f'{", ".join(weights)} are {tuple(weights.values())}; none may be negative, one must '
            'be more'
        )
