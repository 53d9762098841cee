"""Teach objects that were never seen from one view, and find their poses in others.

`python -m benchmarks.object_pose`: VIEWS=200 views of caps, mugs, boxes and bottles in turn, each
of another instance, which is taught from one view by a click. The camera is 0.35 to 0.8 m away and
up to 30 degrees off the vertical, the object is turned anyhow, and has up to three others beside
it; colours and depth have a D435's faults. Then the same after a second taught view, from the
other side, and PAIRS=60 views of two instances (0: none). What is published counts as found, and
as wrong where it is more than 20 mm or 20 degrees off. Turns about an axis of symmetry do not
count. A pose that is told to be ambiguous is not found; it is wrong if no turn about its axis
makes it right. MODEL=FILE takes another checkpoint; SEED=1 draws other objects.

Every view is kept in output/bench/object_pose/ as it is done, for this commit and model: a run
that is interrupted goes on where it stopped.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import mujoco
import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.report import COMMIT, OUTPUT, Target, done, given, number_given, report
from don_kp_ros.errors import RefusedError
from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.depth import DepthImage
from don_kp_ros.matching.candidates import find_candidates
from don_kp_ros.matching.view import View
from don_kp_ros.networks.model import DescriptorModel
from don_kp_ros.pose.constellation import Constellation
from don_kp_ros.pose.estimate import Pose
from don_kp_ros.pose.instances import SIMILAR, find_instances
from don_kp_ros.pose.segmentation import object_mask, table_plane
from don_kp_ros.pose.symmetry import form_of
from don_kp_ros.pose.teaching import Taught, extend, teach
from don_kp_ros.resources import shipped_model
from don_kp_ros.simulation import objects
from don_kp_ros.simulation.camera import D435, is_whole, with_faults
from don_kp_ros.simulation.instances import UNSEEN
from don_kp_ros.simulation.kinds import BUILT_IN
from don_kp_ros.simulation.posed import Subject, Viewpoints
from don_kp_ros.simulation.renderer import StillScene
from don_kp_ros.simulation.scene import SUBJECT, Layout, Placement, add_body, build

Array = NDArray[np.float64]
Row = dict[str, Any]

KINDS = ('cap', 'mug', 'box', 'bottle')
SIZE = (D435.height, D435.width)
WRONG_M, WRONG_DEG = 0.02, 20.0
_VIEWPOINTS = Viewpoints(tilt=(0.0, 30.0), distance=(0.35, 0.8))
_SHOTS, _SCENES, _SMALLEST = 30, 6, 400  # attempts; pixels of an object
_TURNS = 72  # about an axis of symmetry
_APART = (0.13, 0.2)  # metres between two instances


class Table(StillScene):
    """Instances of one object, the first named `SUBJECT`, among things of other kinds."""

    def __init__(self, subject: Subject, number: int, rng: np.random.Generator) -> None:
        layout = Layout.draw(int(rng.integers(2**62)), 0, distractors=int(rng.integers(0, 4)))
        assert layout.subject is not None
        place, away = layout.subject, rng.uniform(*_APART)
        angle = rng.uniform(-np.pi, np.pi)
        beside = Placement(
            place.x + away * np.cos(angle),
            place.y + away * np.sin(angle),
            rng.uniform(-np.pi, np.pi),
        )
        self.poses = [one.pose for one in (place, beside)[:number]]
        spec = mujoco.MjSpec()
        self.names = [SUBJECT, f'{SUBJECT}_2'][:number]
        for name, T in zip(self.names, self.poses, strict=True):
            subject.add(spec, add_body(spec, name, T))
        adders = [add for add in objects.DISTRACTORS if add is not BUILT_IN.get(subject.kind)]
        clear = [other for other in layout.distractors if _far(other, (place, beside)[:number])]
        for index, other in enumerate(clear):
            adder = adders[int(rng.integers(len(adders)))]
            adder(spec, add_body(spec, f'other_{index}', other.pose), rng)
        model, _ = build(replace(layout, subject=None, distractors=()), spec)
        super().__init__(model, SUBJECT)

    def shot(self, rng: np.random.Generator, towards: Array | None = None) -> Shot | None:
        """Take a view that shows all instances, from the object's side ``towards`` (2,)."""
        middle = np.mean([T[:3, 3] for T in self.poses], axis=0) + [0, 0, 0.04]
        for _ in range(_SHOTS):
            T_world_optical = _VIEWPOINTS.draw(middle, rng)
            eye = (rigid.inverse(self.poses[0]) @ T_world_optical)[:2, 3]
            lengths = np.linalg.norm(eye) * np.linalg.norm(eye if towards is None else towards)
            if towards is not None and eye @ towards < 0.5 * lengths:
                continue
            masks = [self._renderer.mask(self.data, T_world_optical, name) for name in self.names]
            if all(is_whole(mask) and mask.sum() >= _SMALLEST for mask in masks):
                frame = with_faults(self.render(T_world_optical), rng)
                T_optical_world = rigid.inverse(T_world_optical)
                view = View(SIZE, DepthImage(frame.depth), D435)
                poses = [T_optical_world @ T for T in self.poses]
                return Shot(frame.colour, view, masks[0], poses, T_optical_world, eye)
        return None


@dataclass(frozen=True)
class Shot:
    """A view: colours, depth, the first instance's mask, and the true poses (4, 4) in it."""

    colour: NDArray[np.uint8]
    view: View
    mask: NDArray[np.bool_]
    T_camera_objects: list[Array]
    T_camera_world: Array
    eye: Array  # (2,), the camera's place in the first one's frame, metres

    def click(self) -> tuple[float, float]:
        """The pixel that is deepest in the object."""
        depth = cv2.distanceTransform(self.mask.astype(np.uint8), cv2.DIST_L2, 5)
        v, u = np.unravel_index(int(depth.argmax()), depth.shape)
        return float(u), float(v)

    def clicked(self) -> NDArray[np.bool_]:
        """The object as a click shows it, whatever the true mask."""
        assert self.view.depth is not None
        plane = table_plane(self.view.points())
        return object_mask(self.view.depth.metres(), D435, plane, self.click())

    def taught(self, model: DescriptorModel) -> Taught:
        """Teach the object by one click; raises RefusedError."""
        cells, turn = model.describe(self.colour), self.T_camera_world[:3, :3]
        return teach(cells, self.view, self.clicked(), model.fingerprint, turn)


def _far(other: Placement, places: Sequence[Placement]) -> bool:
    return all(np.hypot(other.x - one.x, other.y - one.y) > _APART[0] for one in places)


def shoot(
    subject: Subject, number: int, rng: np.random.Generator, towards: Array | None = None
) -> Shot:
    """Draw scenes until one has a view that shows all instances."""
    for _ in range(_SCENES):
        with Table(subject, number, rng) as table:
            shot = table.shot(rng, towards)
        if shot is not None:
            return shot
    raise RuntimeError(f'no view shows {number} of {subject.name} whole')


def trial(index: int, number: int, seed: int, model: DescriptorModel) -> list[Row]:
    """Teach an object and find it, or two; with one, again after a second taught view."""
    rng = np.random.default_rng([seed, number, index])
    kind = KINDS[index % len(KINDS)]
    subject = Subject(kind, UNSEEN.start + 1000 * seed + index)
    first = shoot(subject, 1, rng)
    in_test = shoot(subject, number, rng)
    conditions = ['one view', 'two views'] if number == 1 else ['two in view']
    row: Row = {'index': index, 'kind': kind, 'condition': conditions[0]}
    try:
        taught = first.taught(model)
    except RefusedError as error:
        failed = {'poses': [], 'refused': f'not taught: {error}'}
        return [{**row, 'condition': condition, **failed} for condition in conditions]
    T_true_taught = rigid.inverse(first.T_camera_objects[0]) @ taught.T_camera_object
    cells = model.describe(in_test.colour)
    rows = [{**row, **_found(taught.constellation, in_test, cells, T_true_taught)}]
    if number == 1:
        second = shoot(subject, 1, rng, towards=-first.eye)
        row['condition'] = conditions[1]
        rows.append({**row, **_extended(taught, second, in_test, cells, T_true_taught, model)})
    return rows


def _extended(
    taught: Taught,
    second: Shot,
    in_test: Shot,
    cells: torch.Tensor,
    T_true_taught: Array,
    model: DescriptorModel,
) -> Row:
    described = model.describe(second.colour)
    try:
        both = extend(
            taught.constellation,
            described,
            second.view,
            second.clicked(),
            model.fingerprint,
        )
    except RefusedError as error:
        # As a user would be: the object stays as the first view taught it.
        found = _found(taught.constellation, in_test, cells, T_true_taught)
        return {**found, 'second': f'refused: {error}'}
    return {**_found(both.constellation, in_test, cells, T_true_taught), 'second': 'taught'}


def look_for(constellation: Constellation, shot: Shot, cells: torch.Tensor) -> list[Pose]:
    """Find all instances in a view and its map (D, h, w)."""
    queries = torch.from_numpy(constellation.descriptors.copy())
    candidates = find_candidates(cells, queries, shot.view, SIMILAR)
    form = form_of(constellation)
    return find_instances(constellation, cells, candidates, shot.view, form=form)


def _found(
    constellation: Constellation, shot: Shot, cells: torch.Tensor, T_true_taught: Array
) -> Row:
    """Find all instances; compare each pose with the nearest true one."""
    poses = look_for(constellation, shot, cells)
    truths = [T @ T_true_taught for T in shot.T_camera_objects]
    refused = str(poses[0].refused or '')
    told = [] if refused else [compared(pose, truths) for pose in poses]
    return {'poses': told, 'refused': refused}


def compared(pose: Pose, truths: list[Array]) -> Row:
    errors = [_error(pose, T) for T in truths]
    nearest = int(np.argmin([metres for metres, _ in errors]))
    metres, degrees = errors[nearest]
    return {
        'of': nearest,
        'mm': 1000 * metres,
        'degrees': degrees,
        'fit': pose.fit,
        'axis': pose.symmetry is not None,
        'ambiguous': pose.ambiguous,
        'squared': _squared(pose, truths[nearest]),
    }


def _error(pose: Pose, T: Array) -> tuple[float, float]:
    """Metres and degrees off; a turn about an axis of symmetry is taken out of both."""
    found = pose.T_camera_object
    if pose.symmetry is not None:
        angles = np.arange(pose.symmetry.order or _TURNS) * 2 * np.pi
        turns = [
            found @ pose.symmetry.turn(angle / (pose.symmetry.order or _TURNS)) for angle in angles
        ]
        found = min(turns, key=lambda one: _angle(one, T))
    return float(np.linalg.norm(found[:3, 3] - T[:3, 3])), float(np.rad2deg(_angle(found, T)))


def _angle(T: Array, other: Array) -> float:
    return float(np.linalg.norm(cv2.Rodrigues(T[:3, :3] @ other[:3, :3].T)[0]))


def _squared(pose: Pose, T: Array) -> float:
    """The squared Mahalanobis distance of the true pose: 6 on average if the covariance is it."""
    turn = cv2.Rodrigues(T[:3, :3] @ pose.T_camera_object[:3, :3].T)[0].ravel()
    off = np.concatenate([T[:3, 3] - pose.T_camera_object[:3, 3], turn])
    return float(off @ np.linalg.solve(pose.covariance, off))


def is_right(pose: Row) -> bool:
    """Tell whether a published pose is near the truth."""
    return bool(pose['mm'] <= 1000 * WRONG_M and pose['degrees'] <= WRONG_DEG)


def summary(kind: str, condition: str, rows: Sequence[Row]) -> Row:
    """Make the figures of some views."""
    told = [pose for row in rows for pose in row['poses']]
    right = [pose for pose in told if is_right(pose) and not pose['ambiguous']]
    sure = [pose for pose in right if not pose['axis']]
    instances = 2 if condition == 'two in view' else 1

    def median(name: str, poses: Sequence[Row]) -> float:
        return float(np.median([pose[name] for pose in poses])) if poses else float('nan')

    def whole(row: Row) -> bool:
        right = [pose for pose in row['poses'] if is_right(pose) and not pose['ambiguous']]
        found = sorted(pose['of'] for pose in right)
        return found == list(range(instances)) and len(row['poses']) == instances

    return {
        'condition': condition,
        'kind': kind,
        'views': len(rows),
        'found': round(float(np.mean([whole(row) for row in rows])), 3),
        'wrong': round(sum(not is_right(pose) for pose in told) / len(rows), 3),
        'median mm': round(median('mm', sure), 1),
        'median deg': round(median('degrees', sure), 1),
        'ambiguous': sum(pose['ambiguous'] for pose in told),
        'axis': sum(pose['axis'] for pose in told),
        'squared': round(median('squared', sure), 1),
    }


def main() -> int:
    """Run the benchmark; 1 where a target is missed."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    views = number_given('VIEWS', 200)
    pairs = 0 if os.environ.get('PAIRS') == '0' else number_given('PAIRS', 60)
    seed = int(os.environ.get('SEED') or 0)
    model = DescriptorModel.load(Path(os.environ.get('MODEL') or shipped_model()))
    kept = OUTPUT / 'object_pose' / f'{COMMIT}-{model.fingerprint}-{seed}'
    rows: list[Row] = []
    jobs = [(index, 1) for index in range(views)] + [(index, 2) for index in range(pairs)]
    for index, number in tqdm(jobs, desc='objects', unit='object'):
        name = f'{number}-{index:04d}'
        rows += done(kept, name, lambda i=index, n=number: trial(i, n, seed, model))  # type: ignore[misc]
    table = []
    for condition in ('one view', 'two views', 'two in view'):
        own = [row for row in rows if row['condition'] == condition]
        of_kinds = ((kind, [row for row in own if row['kind'] == kind]) for kind in KINDS)
        table += [summary(kind, condition, some) for kind, some in of_kinds if some]
        table += [summary('all', condition, own)] if own else []
    one, two, *both = (row for row in table if row['kind'] == 'all')
    ok = report(
        'object_pose',
        f'Objects taught from one view, {views} views; squared: the median squared Mahalanobis '
        'distance, 5.3 expected',
        table,
        [
            Target('median mm', one['median mm'], 4.0),
            Target('median degrees', one['median deg'], 4.0),
            Target('wrong and yet published', one['wrong'], 0.01),
            Target('found', one['found'], 0.9, at_least=True),
            Target('found after a second view', two['found'], 0.97, at_least=True),
            *(
                Target('two in view: both found, each once', row['found'], 0.95, at_least=True)
                for row in both
            ),
        ],
        seed=seed,
        details={'model': model.fingerprint, 'rows_of_views': rows},
        variables=given('VIEWS', 'PAIRS', 'MODEL', 'SEED'),
    )
    return 0 if ok else 1


if __name__ == '__main__':
    sys.exit(main())
