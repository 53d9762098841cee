"""Matches to look at: the pairs, and the single matches, of least, middle and largest error."""

from __future__ import annotations

from dataclasses import dataclass

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
    pairs = [(c, p, slice(None)) for c, own in enumerate(found) for p in range(len(own.errors))]
    matches = [
        (c, p, slice(q, q + 1)) for c, p, _ in pairs for q in range(len(found[c].errors[p]))
    ]
    result = []
    for kind, places in (('pair', pairs), ('match', matches)):
        places.sort(key=lambda place: float(found[place[0]].errors[place[1]][place[2]].mean()))
        for label, place in (('Best', 0), ('Median', len(places) // 2), ('Worst', -1)):
            c, p, rows = places[place]
            data, errors = conditions[c].data, found[c].errors[p][rows]
            uv_a, uv_b = data.pairs[p].uv_a[rows], data.pairs[p].uv_b[rows]
            picture = draw_matches(*data.pictures(p), uv_a, uv_b, found[c].uv[p][rows], errors)
            caption = f'{conditions[c].name}, pair {p}: error {errors.mean():.1f} px'
            if kind == 'pair':
                caption = (
                    f'{conditions[c].name}, pair {p}: {len(errors)} points, error mean '
                    f'{errors.mean():.1f}, median {np.median(errors):.1f}, largest '
                    f'{errors.max():.1f} px'
                )
            result.append(Drawing(f'{label} {kind}', caption, jpeg(picture)))
    return result
