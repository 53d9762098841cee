"""How far poses of objects are off, by the measures of the BOP benchmark and of its forerunners.

ADD and ADD-S: Hinterstoisser et al. 2012, "Model based training, detection and pose estimation of
texture-less 3D objects in heavily cluttered scenes"; MSSD and MSPD: Hodan et al. 2020, "BOP
Challenge 2020". Poses are `T_camera_object` (4, 4), points (N, 3) of the object's model in metres,
symmetries (S, 4, 4) transforms after which the object looks as before, the identity among them.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from don_kp_ros.data.index_file import read_pose
from don_kp_ros.data.picture_file import DataError
from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera

Array = NDArray[np.float64]
Key = TypeVar('Key')

AUC_LIMIT = 0.1  # metres
_ROWS = 256  # of points whose distances are computed at once
_MILLIMETRES = 1000.0  # of a metre: the unit of BOP's files
_COLUMNS = ('scene_id', 'im_id', 'obj_id', 'score', 'R', 't', 'time')


def add(T: Array, true: Array, points: Array) -> float:
    """Return the mean distance of points at a pose from where they truly are, metres."""
    off = rigid.apply(T, points) - rigid.apply(true, points)
    return float(np.linalg.norm(off, axis=1).mean())


def add_s(T: Array, true: Array, points: Array) -> float:
    """Return the mean distance of points at the true pose from the nearest at the other, metres.

    It says little of the rotation: of a can that is turned about its axis it is 0.
    """
    found, expected = rigid.apply(T, points), rigid.apply(true, points)
    nearest = [
        np.linalg.norm(expected[i : i + _ROWS, None] - found, axis=2).min(axis=1)
        for i in range(0, len(expected), _ROWS)
    ]
    return float(np.concatenate(nearest).mean())


def mssd(T: Array, true: Array, points: Array, symmetries: ArrayLike) -> float:
    """Return the distance of the point that is farthest off, for the best symmetry, metres."""
    found = rigid.apply(T, points)
    return min(
        float(np.linalg.norm(found - rigid.apply(true @ one, points), axis=1).max())
        for one in np.asarray(symmetries)
    )


def mspd(T: Array, true: Array, points: Array, symmetries: ArrayLike, camera: Camera) -> float:
    """Return how far the point that is farthest off is so in the picture, pixels.

    Infinite where a point lies behind the camera, or beyond what its lens sees.
    """
    found = camera.project(rigid.apply(T, points))
    distances = (
        np.linalg.norm(found - camera.project(rigid.apply(true @ one, points)), axis=1).max()
        for one in np.asarray(symmetries)
    )
    return min(float(np.nan_to_num(one, nan=np.inf)) for one in distances)


def auc(errors: ArrayLike, limit: float = AUC_LIMIT) -> float:
    """Return the area, 0..1, under the share of errors below a threshold that grows to a limit.

    A pose that was not found has the error infinity.
    """
    return float((1 - np.minimum(np.asarray(errors, np.float64), limit) / limit).mean())


@dataclass(frozen=True)
class Summary:
    """Of one object: how many poses, the areas under the curves, and the share of ADD below 10 %.

    found: ADD less than a tenth of the diameter; found_s: the same of ADD-S.
    """

    number: int
    auc_add: float
    auc_add_s: float
    found: float
    found_s: float


def by_object(
    rows: Iterable[tuple[Key, float, float]], diameters: dict[Key, float]
) -> dict[Key, Summary]:
    """Summarise (object, ADD, ADD-S) of each object by itself; diameters in metres.

    There is no summary of all: objects differ in size, symmetry and number.
    """
    of_objects: dict[Key, list[tuple[float, float]]] = {}
    for name, error, error_s in rows:
        of_objects.setdefault(name, []).append((error, error_s))
    summaries = {}
    for name, pairs in of_objects.items():
        errors, errors_s = np.array(pairs).T
        near = 0.1 * diameters[name]
        summaries[name] = Summary(
            len(errors),
            auc(errors),
            auc(errors_s),
            float((errors < near).mean()),
            float((errors_s < near).mean()),
        )
    return summaries


@dataclass(frozen=True)
class Estimate:
    """A pose as the BOP benchmark's files hold it; seconds: -1 where it was not measured."""

    scene: int
    image: int
    object: int
    score: float
    T_camera_object: Array
    seconds: float = -1.0


def write_bop(path: Path, estimates: Iterable[Estimate]) -> None:
    """Write poses for BOP's toolkit (bop_toolkit, `eval_bop19_pose.py`): translations in mm."""
    with path.open('w', encoding='utf-8', newline='') as file:
        table = csv.writer(file)
        table.writerow(_COLUMNS)
        for one in estimates:
            R, t = one.T_camera_object[:3, :3], one.T_camera_object[:3, 3] * _MILLIMETRES
            texts = (' '.join(f'{x:.9g}' for x in values) for values in (R.ravel(), t))
            table.writerow([one.scene, one.image, one.object, one.score, *texts, one.seconds])


def read_bop(path: Path) -> list[Estimate]:
    """Read what `write_bop` writes; raises ValueError naming the line that is wrong."""
    found = []
    with path.open(encoding='utf-8', newline='') as file:
        for number, row in enumerate(csv.reader(file), start=1):
            if tuple(row) == _COLUMNS:
                continue
            try:
                scene, image, thing, score, R, t, seconds = row
                turn, shift = (np.array(text.split(), np.float64) for text in (R, t))
                T = rigid.transform(turn.reshape(3, 3), shift.reshape(3) / _MILLIMETRES)
                read_pose(path, f'line {number}: the pose R, t', T)
                if not np.isfinite([float(score), float(seconds)]).all():
                    raise ValueError(f'score is {score} and time {seconds}; both must be finite')
                found.append(
                    Estimate(int(scene), int(image), int(thing), float(score), T, float(seconds))
                )
            except DataError as error:
                raise ValueError(str(error)) from error
            except ValueError as error:
                raise ValueError(
                    f'{path}, line {number}: is not {",".join(_COLUMNS)} ({error})'
                ) from error
    return found
