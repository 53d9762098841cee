"""Pictures without the object, made of those with it where none are given."""

from __future__ import annotations

import cv2
import numpy as np

from don_kp_ros.data.clutter import clutter
from don_kp_ros.data.picture_file import Image
from don_kp_ros.data.source import prepare_background
from don_kp_ros.evaluation.pairs import SIDE, PairSet

_PICTURES = 24
_MARGIN = 0.02  # of the longer side, around the object: its outline and shadow


def stand_ins(data: PairSet, seed: int) -> list[Image]:
    """Hide the object in pictures B of some pairs by clutter in the colours around it.

    Where B shows several objects all are hidden, since other pairs look for them. The pictures are
    at most SIDE pixels long.
    """
    result = []
    for number in np.unique(np.linspace(0, len(data.pairs) - 1, _PICTURES).astype(int)):
        picture = prepare_background(data.pictures(number)[1], SIDE)
        size = (picture.shape[1], picture.shape[0])
        margin = 2 * round(_MARGIN * max(size)) + 1
        every = data.pairs[number].objects_b
        shown = data.mask_b(number) if every is None else every
        mask = cv2.resize(shown, size, interpolation=cv2.INTER_AREA)
        hidden = cv2.dilate(mask, np.ones((margin, margin), np.uint8)) > 0
        colours = picture[~hidden] if not hidden.all() else picture.reshape(-1, 3)
        drawn = clutter(size, colours, np.random.default_rng((seed, 2, int(number))))
        result.append(np.where(hidden[..., None], drawn, picture))
    return result
