"""Matches to look at: the pairs, and the single matches, of least, middle and largest error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from don_kp_ros.evaluation.drawings import draw_matches, jpeg
from don_kp_ros.evaluation.matchers import Found
from don_kp_ros.evaluation.protocols.protocol import Condition


@dataclass(frozen=True)
class Drawing:
    """A picture as a data URI, its title, and what it shows."""

    title: str
    caption: str
    uri: str


def drawings(conditions: list[Condition], found: list[Found]) -> list[Drawing]:
    """Draw the pairs and the single matches with the least, the middle and the largest error."""
    places = [(c, p) for c, own in enumerate(found) for p in range(len(own.errors))]
    by_error = sorted(places, key=lambda place: float(found[place[0]].errors[place[1]].mean()))
    result = []
    for label, (c, p) in _best_median_worst(by_error):
        errors = found[c].errors[p]
        caption = (
            f'{conditions[c].name}, pair {p}: {len(errors)} points, error mean '
            f'{errors.mean():.1f}, median {np.median(errors):.1f}, largest {errors.max():.1f} px'
        )
        result.append(_drawing(f'{label} pair', caption, conditions[c], found[c], p, None))
    single = [(c, p, q) for c, p in places for q in range(len(found[c].errors[p]))]
    single.sort(key=lambda place: float(found[place[0]].errors[place[1]][place[2]]))
    for label, (c, p, q) in _best_median_worst(single):
        caption = f'{conditions[c].name}, pair {p}: error {found[c].errors[p][q]:.1f} px'
        result.append(_drawing(f'{label} match', caption, conditions[c], found[c], p, q))
    return result


def _best_median_worst(ordered: list[Any]) -> list[tuple[str, Any]]:
    places = {'Best': 0, 'Median': len(ordered) // 2, 'Worst': len(ordered) - 1}
    return [(label, ordered[place]) for label, place in places.items()]


def _drawing(
    title: str, caption: str, condition: Condition, found: Found, number: int, query: int | None
) -> Drawing:
    pair = condition.data.pairs[number]
    rows = slice(None) if query is None else slice(query, query + 1)
    picture = draw_matches(
        *condition.data.pictures(number),
        pair.uv_a[rows],
        pair.uv_b[rows],
        found.uv[number][rows],
        found.errors[number][rows],
    )
    return Drawing(title, caption, jpeg(picture))
