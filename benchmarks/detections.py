"""Detect taught objects in other views, and say what limiting poses to the regions would lose.

`python -m benchmarks.detections`: VIEWS=24 views of caps, mugs, boxes and bottles in turn, as of
object_pose, each of an unseen instance that was taught from one view by a click. Stored beside it
is one object of each other kind. Seen: a region of its name lies on the object by more than half.
IoU: of all regions of its name with the object's pixels; alone: of all cells past the match
threshold, were they the regions. Wrong names: regions of other names on the object. Elsewhere:
regions of its name off the object. Then the views in which its pose is found, and wrong, without
and with its points looked for only in the regions of its name, and a cell about them. What could
not be taught is not seen. MODEL=FILE takes another checkpoint; SEED=1 draws other objects.

Every view is kept in output/bench/detections/, for this commit and model.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.object_pose import KINDS, Shot, compared, is_right, shoot
from benchmarks.report import done, given, kept, number_given, report
from don_kp_ros.errors import RefusedError
from don_kp_ros.geometry import rigid
from don_kp_ros.matching.candidates import find_candidates
from don_kp_ros.matching.detection import detect, nearest
from don_kp_ros.networks.model import DescriptorModel
from don_kp_ros.pose.instances import SIMILAR, find_instances
from don_kp_ros.pose.symmetry import form_of
from don_kp_ros.pose.teaching import Taught
from don_kp_ros.resources import shipped_model
from don_kp_ros.simulation.instances import UNSEEN
from don_kp_ros.simulation.posed import Subject

Mask = NDArray[np.bool_]
Row = dict[str, Any]

_OTHERS = 900  # of the unseen instances, the first that is stored beside
_GROWN = np.ones((3, 3), np.uint8)
_SHARES, _COUNTS = ('seen', 'IoU', 'alone'), ('wrong names', 'elsewhere')


def others(model: DescriptorModel, seed: int) -> dict[str, Taught]:
    """Teach an object of each kind."""
    taught = {}
    for number, kind in enumerate(KINDS):
        rng = np.random.default_rng([seed, number])
        subject = Subject(kind, UNSEEN.start + _OTHERS + number)
        while kind not in taught:
            try:
                taught[kind] = shoot(subject, 1, rng).taught(model)
            except RefusedError:
                continue
    return taught


def trial(index: int, seed: int, model: DescriptorModel, beside: dict[str, Taught]) -> list[Row]:
    """Teach an object, and detect it in another view."""
    rng = np.random.default_rng([seed, 1, index])
    kind = KINDS[index % len(KINDS)]
    subject = Subject(kind, UNSEEN.start + 1000 * seed + index)
    first, shot = (shoot(subject, 1, rng) for _ in range(2))
    try:
        taught = first.taught(model)
    except RefusedError:
        figures = dict.fromkeys((*_SHARES, *_COUNTS), 0)
        return [{'kind': kind, **figures, 'found': [], 'limited': []}]
    cells = model.describe(shot.colour)
    stored = [taught, *(other for name, other in beside.items() if name != kind)]
    descriptors = [torch.tensor(one.constellation.descriptors) for one in stored]
    owner = np.repeat(np.arange(len(stored)), [len(some) for some in descriptors])
    which = model.which_object(cells.movedim(0, -1)).movedim(-1, 0)
    queries, threshold = model.which_object(torch.cat(descriptors)), model.match_threshold
    similarity = nearest(which, queries, owner).similarity()
    found = detect(which, queries, owner, similarity, threshold)
    truth = _cells(shot.mask, cells)
    on = [one for one in found if (one.mask & truth).sum() > 0.5 * one.mask.sum()]
    own = [one.mask for one in found if one.owner == 0]
    union = np.any(own, axis=0) if own else np.zeros_like(truth)
    past = similarity[0] >= threshold
    T_true_taught = rigid.inverse(first.T_camera_objects[0]) @ taught.T_camera_object
    poses = [_found(taught, shot, cells, limit, T_true_taught) for limit in (None, union)]
    row = {
        'kind': kind,
        'seen': any(one.owner == 0 for one in on),
        'IoU': _iou(union, truth),
        'alone': _iou(past, truth),
        'wrong names': sum(one.owner > 0 for one in on),
        'elsewhere': sum(one.owner == 0 for one in found if one not in on),
        **dict(zip(('found', 'limited'), poses, strict=True)),
    }
    return [row]


def _cells(mask: Mask, cells: torch.Tensor) -> Mask:
    """Shrink a mask (H, W) to the cells (h, w) that it fills by more than half."""
    share = cv2.resize(
        mask.astype(np.float32), tuple(cells.shape[:0:-1]), interpolation=cv2.INTER_AREA
    )
    return np.asarray(share > 0.5)


def _iou(mask: Mask, truth: Mask) -> float:
    return float((mask & truth).sum() / (mask | truth).sum())


def _found(
    taught: Taught, shot: Shot, cells: torch.Tensor, limit: Mask | None, T_true_taught: Any
) -> list[bool]:
    """Tell of each pose that would be published whether it is right."""
    known = taught.constellation
    queries = torch.tensor(known.descriptors)
    candidates = find_candidates(cells, queries, shot.view, SIMILAR)
    if limit is not None:
        near = cv2.dilate(limit.astype(np.uint8), _GROWN)
        scale = np.divide(limit.shape[::-1], shot.view.size[::-1])
        u, v = ((candidates.uv + 0.5) * scale).astype(np.intp).T
        candidates = candidates.some(np.flatnonzero(near[v, u]))
    poses = find_instances(known, cells, candidates, shot.view, form=form_of(known))
    truths = [T @ T_true_taught for T in shot.T_camera_objects]
    told = [compared(pose, truths) for pose in poses if pose.refused is None]
    return [is_right(one) for one in told if not one['ambiguous']]


def summary(kind: str, rows: list[Row]) -> Row:
    """Make the figures of some views."""
    shares = {name: round(float(np.mean([row[name] for row in rows])), 3) for name in _SHARES}
    counts = {name: sum(row[name] for row in rows) for name in _COUNTS}
    poses = {name: sum(any(row[name]) for row in rows) for name in ('found', 'limited')}
    wrong = {f'{name}, wrong': sum(not all(row[name]) for row in rows) for name in poses}
    return {'kind': kind, 'views': len(rows), **shares, **counts, **poses, **wrong}


def main() -> int:
    """Run, print, write."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    views, seed = number_given('VIEWS', 24), int(os.environ.get('SEED') or 0)
    model = DescriptorModel.load(Path(os.environ.get('MODEL') or shipped_model()))
    beside = others(model, seed)
    folder, rows = kept('detections', model.fingerprint, seed), []
    for index in tqdm(range(views), desc='views', unit='view'):
        rows += done(folder, f'{index:04d}', partial(trial, index, seed, model, beside))
    of_kinds = ((kind, [row for row in rows if row['kind'] == kind]) for kind in KINDS)
    table = [summary(kind, some) for kind, some in of_kinds if some]
    report(
        'detections',
        f'Objects taught from one view, {views} other views, model {model.fingerprint}',
        [*table, summary('all', rows)],
        seed=seed,
        variables=given('VIEWS', 'MODEL', 'SEED'),
    )
    return 0


if __name__ == '__main__':
    sys.exit(main())
