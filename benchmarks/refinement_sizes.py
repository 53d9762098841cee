"""Whether refinement with depth tells a focal length, or a mesh, that is wrong by a factor.

`DATA=FOLDER python -m benchmarks.refinement_sizes`: FOLDER holds the meshes NAME/textured.obj;
without DATA printed boxes and cans take their place. SCENES=24 pictures of three objects among
each other, drawn by the simulation with the faults of a D435. Each object is refined from 5
degrees and 3 mm off where its pixels and its depth put it, with the camera's focal lengths and
with such as are too short or too long by a factor. MODEL=FILE takes another checkpoint than the
shipped one; SEED=1 draws other scenes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import torch
from tqdm import tqdm

from benchmarks.oracle import files, off
from benchmarks.pictured import Model, from_files, look
from benchmarks.report import OUTPUT, Row, Target, done, given, kept, number_given, report
from benchmarks.templates import made
from don_kp_ros.networks.model import DescriptorModel
from don_kp_ros.pose.close_up import refine_close_up
from don_kp_ros.pose.estimate import Why
from don_kp_ros.resources import shipped_model

_FACTORS = (1.0, 0.8, 0.87, 1.15, 1.25)
_OBJECTS = 3  # in a picture


def scene(
    models: Sequence[Model], index: int, seed: int, model: DescriptorModel
) -> list[dict[str, Any]]:
    """Refine the objects of a picture with right and wrong focal lengths."""
    rng = np.random.default_rng([seed, 13, index])
    chosen = [models[i] for i in rng.permutation(len(models))[:_OBJECTS]]
    picture = look(chosen, rng)
    rows: list[dict[str, Any]] = []
    for number, (one, true) in enumerate(zip(chosen, picture.T, strict=True)):
        begun = off(true, 5, 0.003, rng)
        for factor in _FACTORS:
            fx, fy = factor * picture.camera.fx, factor * picture.camera.fy
            camera, start = replace(picture.camera, fx=fx, fy=fy), begun.copy()
            start[:2, 3] /= factor
            found = refine_close_up(
                one.subject, start, picture.image, camera, picture.depth, model
            )
            why = '' if found.refused is None else found.refused.why.value
            rows.append({'thing': one.name, 'factor': factor, 'why': why, 'number': number})
    return rows


def summary(rows: Sequence[Row], factor: float) -> Row:
    """Put what became of the objects under one factor into a row."""
    whys = [row['why'] for row in rows if row['factor'] == factor]

    def share(*wanted: str) -> float:
        return float(np.mean([why in wanted for why in whys]))

    known = '', Why.NO_BETTER.value
    return {
        'focal length': f'{factor:g} times',
        'objects': len(whys),
        'told as right': share(*known),
        'another size': share(Why.SIZE.value),
        'refused otherwise': 1 - share(*known, Why.SIZE.value),
    }


def main() -> int:
    """Run the benchmark; 1 where a target is missed."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    seed, scenes = int(os.environ.get('SEED') or 0), number_given('SCENES', 24)
    data = os.environ.get('DATA') or made(OUTPUT / 'templates' / 'made')
    model = DescriptorModel.load(os.environ.get('MODEL') or shipped_model())
    paths = files(data)
    models = from_files(paths)
    folder = kept('refinement_sizes', model.fingerprint, seed, data=paths)
    rows: list[dict[str, Any]] = []
    for i in tqdm(range(scenes), unit='picture'):
        rows += done(folder, f'{i:04d}', lambda i=i: scene(models, i, seed, model))  # type: ignore[misc]
    right, *wrong = table = [summary(rows, factor) for factor in _FACTORS]
    ok = report(
        'refinement_sizes',
        f'Objects refined with depth under wrong focal lengths, {scenes} pictures',
        table,
        [
            Target('right focal lengths said to be wrong', right['another size'], 0.01),
            *(
                Target(f'told as right, {row["focal length"]}', row['told as right'], 0.1)
                for row in wrong
            ),
        ],
        seed=seed,
        details={'objects': rows},
        variables=given('DATA', 'SCENES', 'MODEL', 'SEED'),
        variant='' if os.environ.get('DATA') else 'made',
    )
    return 0 if ok else 1


if __name__ == '__main__':
    sys.exit(main())
