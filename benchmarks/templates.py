"""Find objects with meshes by 96 views of each, without a start, and refine what is found.

`DATA=FOLDER python -m benchmarks.templates`: FOLDER holds the meshes NAME/textured.obj; without
DATA printed boxes and cans take their place. SCENES=96 scenes show one of them in turn, upright
on a table among things of the built-in kinds, from 0.4 to 0.8 m and up to 60 degrees off the
vertical, drawn by the simulation with the faults of a D435. The network was trained on none of
the meshes. In each picture the object that is there is looked for, and one that is not, with the
measured depth and without. A pose that is refused has the error infinity. MODEL=FILE takes
another checkpoint than the shipped one; SEED=1 draws other scenes.

Every scene is kept in output/bench/templates/ as it is done, for this commit, model and DATA: a
run that is interrupted goes on where it stopped.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import trimesh
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from benchmarks.oracle import files, some_of
from benchmarks.report import OUTPUT, Row, Target, done, given, kept, number_given, report
from don_kp_ros.evaluation.poses import add, add_s, auc
from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.depth import DepthImage
from don_kp_ros.matching.view import View
from don_kp_ros.networks.model import DescriptorModel
from don_kp_ros.pose.comparison import Live
from don_kp_ros.pose.constellation import Constellation
from don_kp_ros.pose.mesh_descriptors import Subject, refine_rendering
from don_kp_ros.pose.templates import find_by_templates, views_of
from don_kp_ros.resources import shipped_model
from don_kp_ros.simulation import meshes, posed, textures
from don_kp_ros.simulation.camera import D435, with_faults

Array = NDArray[np.float64]

SIZE = (D435.height, D435.width)
VIEWPOINTS = posed.Viewpoints(tilt=(0.0, 60.0), distance=(0.4, 0.8))
MODALITIES = ('RGB', 'RGB-D')
_NEAR = 0.1  # of the diameter


@dataclass(frozen=True)
class Thing:
    """A mesh file, with its views."""

    path: Path
    model: DescriptorModel

    @property
    def name(self) -> str:
        """That of the folder."""
        return self.path.parent.name

    @cached_property
    def subject(self) -> Subject:
        """The mesh in the frame that the scenes use."""
        return Subject.of(meshes.load(self.path))

    @cached_property
    def views(self) -> list[Constellation]:
        """The views of it, drawn once."""
        return views_of(self.subject.mesh, D435, self.model)

    @cached_property
    def points(self) -> Array:
        """Points (N, 3) to measure by."""
        return some_of(self.subject.vertices)


def made(folder: Path) -> Path:
    """Write boxes and cans with prints, once."""
    shapes: dict[str, Any] = {
        'box': trimesh.creation.box([0.12, 0.07, 0.18]),
        'packet': trimesh.creation.box([0.16, 0.1, 0.05]),
        'can': trimesh.creation.cylinder(0.035, 0.11, sections=48),
        'tin': trimesh.creation.cylinder(0.05, 0.06, sections=48),
    }
    for number, (name, shape) in enumerate(shapes.items()):
        file = folder / name / 'textured.obj'
        if file.is_file():
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        corners = np.asarray(shape.vertices)[shape.faces].reshape(-1, 3)
        x, y, z = (corners / np.ptp(corners, axis=0)).T
        uv = np.stack([x + 0.31 * y + 0.5, z + 0.47 * y + 0.5], axis=1)  # every side has its part
        printed = textures.label(np.random.default_rng([number, 96]), (256, 256))
        material = trimesh.visual.material.SimpleMaterial(image=Image.fromarray(printed))
        visual = trimesh.visual.TextureVisuals(uv, material)
        faces = np.arange(len(corners)).reshape(-1, 3)
        trimesh.Trimesh(corners, faces, visual=visual, process=False).export(file)
    return folder


def scene(
    things: Sequence[Thing], index: int, seed: int, model: DescriptorModel
) -> list[dict[str, Any]]:
    """Look for the object of a scene, and for one that is not in it."""
    rng = np.random.default_rng([seed, 9, index])
    thing = things[index % len(things)]
    absent = things[(index + 1 + int(rng.integers(len(things) - 1))) % len(things)]
    shot = posed.take(posed.Subject(str(thing.path)), VIEWPOINTS, rng)
    frame, true = with_faults(shot.frame, rng), rigid.inverse(shot.T_object_camera)
    cells = model.describe(frame.colour).cpu()
    rows = []
    for modality in MODALITIES:
        depth = frame.depth if modality == 'RGB-D' else None
        view = View(SIZE, None if depth is None else DepthImage(depth), D435, 'no depth')
        _ = thing.views, absent.views
        begin = time.process_time()
        pose = find_by_templates(thing.views, cells, view, model.match_threshold)
        row: dict[str, Any] = {
            'modality': modality,
            'thing': thing.name,
            'metres': float(true[2, 3]),
            'refused': pose.refused.why.value if pose.refused else '',
            'ambiguous': pose.ambiguous,
            'share': pose.share,
            'seconds': time.process_time() - begin,
            **measured(thing, None if pose.refused else pose.T_camera_object, true, 'found'),
        }
        T = None
        if not pose.refused:
            live = Live.of(cells.numpy(), D435, depth, model.nothing)
            start = pose.T_camera_object
            refined = refine_rendering(thing.subject, start, frame.colour, D435, live, model)
            T = refined.T_camera_object
            row['stays'] = refined.refused.why.value if refined.refused else ''
        row |= measured(thing, T, true, 'refined')
        other = find_by_templates(absent.views, cells, view, model.match_threshold)
        rows.append({**row, 'absent': absent.name, 'false': other.refused is None})
    return rows


def measured(thing: Thing, T: Array | None, true: Array, name: str) -> dict[str, float]:
    """Measure a pose (4, 4); none: it was not found."""
    errors = (
        (1e3, 1e3) if T is None else (add(T, true, thing.points), add_s(T, true, thing.points))
    )
    near = _NEAR * thing.subject.mesh.diameter
    return {
        f'{name} add': errors[0],
        f'{name} add_s': errors[1],
        f'{name} within': float(errors[0] < near),
        f'{name} within_s': float(errors[1] < near),
    }


def summary(rows: Sequence[Row], modality: str, name: str) -> Row:
    """Put the scenes of one object, or of all, into a row."""
    own = [row for row in rows if row['modality'] == modality and name in (row['thing'], 'all')]

    def of(column: str) -> list[float]:
        return [float(row[column]) for row in own]

    return {
        'modality': modality,
        'thing': name,
        'scenes': len(own),
        'told': float(np.mean([not row['refused'] for row in own])),
        'AUC ADD': auc(of('found add')),
        'AUC ADD-S': auc(of('found add_s')),
        'ADD < 10%': float(np.mean(of('found within'))),
        'refined AUC ADD': auc(of('refined add')),
        'refined AUC ADD-S': auc(of('refined add_s')),
        'refined ADD < 10%': float(np.mean(of('refined within'))),
        'refined ADD-S < 10%': float(np.mean(of('refined within_s'))),
        'false finds': float(np.mean(of('false'))),
        'CPU s': float(np.median(of('seconds'))),
    }


def main() -> int:
    """Run the benchmark; 1 where a target is missed."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    seed, scenes = int(os.environ.get('SEED') or 0), number_given('SCENES', 96)
    data = os.environ.get('DATA') or made(OUTPUT / 'templates' / 'made')
    model = DescriptorModel.load(os.environ.get('MODEL') or shipped_model())
    paths = files(data)
    if len(paths) < 2:
        print(f'{data}: holds one NAME/textured.obj; 2 are needed', file=sys.stderr)
        return 2
    things = [Thing(path, model) for path in paths]
    folder = kept('templates', model.fingerprint, seed, data=paths)
    rows: list[dict[str, Any]] = []
    for i in tqdm(range(scenes), unit='scene'):
        rows += done(folder, f'{i:04d}', lambda i=i: scene(things, i, seed, model))  # type: ignore[misc]
    names = [*dict.fromkeys(row['thing'] for row in rows), 'all']
    table = [summary(rows, modality, name) for modality in MODALITIES for name in names]
    targets = []
    for row in table:
        if row['thing'] == 'all':
            targets += [
                Target(f'{row["modality"]}: AUC ADD', row['AUC ADD'], 0.42, True),
                Target(f'{row["modality"]}: AUC ADD-S', row['AUC ADD-S'], 0.62, True),
                Target(f'{row["modality"]}: refined', row['refined ADD < 10%'], 0.6, True),
                Target(f'{row["modality"]}: CPU s', row['CPU s'], 1.0),
            ]
    ok = report(
        'templates',
        f'Objects found by views of their meshes, {scenes} scenes',
        table,
        targets,
        seed=seed,
        details={'scenes': rows},
        variables=given('DATA', 'SCENES', 'MODEL', 'SEED'),
        variant='' if os.environ.get('DATA') else 'made',
    )
    return 0 if ok else 1


if __name__ == '__main__':
    sys.exit(main())
