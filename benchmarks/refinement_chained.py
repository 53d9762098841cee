"""Teach an object by one click, find it in another view, and refine its pose with its mesh.

`DATA=FOLDER python -m benchmarks.refinement_chained`: VIEWS=200 views of the meshes
FOLDER/NAME/textured.obj in turn, taught and looked for as `benchmarks.object_pose` does, whose
pose is then refined with depth. How the mesh lies in the taught object's frame is known exactly.
MODEL=FILE takes another checkpoint than the shipped one; SEED=1 draws other views.

Every view is kept in output/bench/refinement_chained/ as it is done, for this commit, model
and DATA: a run that is interrupted goes on where it stopped.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.object_pose import look_for, shoot
from benchmarks.oracle import files
from benchmarks.report import Row, Target, done, given, kept, number_given, report
from don_kp_ros.errors import RefusedError
from don_kp_ros.geometry import rigid
from don_kp_ros.networks.model import DescriptorModel
from don_kp_ros.pose import mesh_descriptors
from don_kp_ros.pose.close_up import refine_close_up
from don_kp_ros.resources import shipped_model
from don_kp_ros.simulation.posed import Subject

Array = NDArray[np.float64]

_RIGHT = 0.05  # metres, beyond which another thing was found


def trial(file: Path, index: int, seed: int, model: DescriptorModel) -> list[dict[str, Any]]:
    """Teach an object, find it in another view, and refine that."""
    rng = np.random.default_rng([seed, 5, index])
    subject = Subject(str(file), index)
    mesh = subject.mesh
    assert mesh is not None
    first, then = shoot(subject, 1, rng), shoot(subject, 1, rng)
    row: dict[str, Any] = {'thing': file.parent.name, 'refused': '', 'stays': ''}
    try:
        taught = first.taught(model)
    except RefusedError as error:
        return [{**row, 'refused': f'not taught: {error}'}]
    (pose, *_) = look_for(taught.constellation, then, model.describe(then.colour))
    if pose.refused:
        return [{**row, 'refused': str(pose.refused)}]
    T_taught_mesh = rigid.inverse(taught.T_camera_object) @ first.T_camera_objects[0]
    start, true = pose.T_camera_object @ T_taught_mesh, then.T_camera_objects[0]
    assert then.view.depth is not None and then.view.camera is not None
    small = mesh_descriptors.Subject.of(mesh)
    depth = then.view.depth.metres()
    found = refine_close_up(small, start, then.colour, then.view.camera, depth, model)
    middle = mesh.size[2] / 2 * np.array([0.0, 0.0, 1.0])  # errors are told at the object's middle
    for name, T in (('before', start), ('after', found.T_camera_object)):
        off = rigid.apply(T, middle) - rigid.apply(true, middle)
        turn = cv2.Rodrigues(T[:3, :3] @ true[:3, :3].T)[0]
        row[f'{name} mm'] = 1e3 * float(np.linalg.norm(off))
        row[f'{name} degrees'] = float(np.rad2deg(np.linalg.norm(turn)))
    return [{**row, 'stays': str(found.refused or '')}]


def summary(thing: str, rows: Sequence[Row]) -> Row:
    """Make the figures of some views; medians are of all poses that were found."""
    told = [row for row in rows if not row['refused']]
    figures: dict[str, Any] = {'thing': thing, 'views': len(rows), 'found': len(told)}
    for when in ('before', 'after'):
        for unit in ('mm', 'degrees'):
            name = f'{when} {unit}'
            figures[name] = float(np.median([row[name] for row in told])) if told else np.nan
        wrong = [row for row in told if row[f'{when} mm'] > 1e3 * _RIGHT]
        figures[f'{when} lost'] = len(wrong)
    figures['stays'] = sum(bool(row['stays']) for row in told)
    return figures


def main() -> int:
    """Run the benchmark; 1 where a target is missed."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    seed, views = int(os.environ.get('SEED') or 0), number_given('VIEWS', 200)
    model = DescriptorModel.load(Path(os.environ.get('MODEL') or shipped_model()))
    meshes = files()
    folder = kept('refinement_chained', model.fingerprint, seed, data=meshes)
    rows: list[dict[str, Any]] = []
    for i in tqdm(range(views), desc='objects', unit='view'):
        file = meshes[i % len(meshes)]
        rows += done(folder, f'{i:04d}', lambda i=i, f=file: trial(f, i, seed, model))  # type: ignore[misc]
    names = sorted({row['thing'] for row in rows})
    table = [summary(name, [row for row in rows if row['thing'] == name]) for name in names]
    table.append(summary('all', rows))
    ok = report(
        'refinement_chained',
        f'Objects taught by one click, found and refined with their meshes, {views} views',
        table,
        [
            Target('median mm', table[-1]['after mm'], 2.0),
            Target('median degrees', table[-1]['after degrees'], 1.5),
        ],
        seed=seed,
        details={'model': model.fingerprint, 'rows_of_views': rows},
        variables=given('VIEWS', 'DATA', 'MODEL', 'SEED'),
    )
    return 0 if ok else 1


if __name__ == '__main__':
    sys.exit(main())
