"""Refine poses by the descriptors of a trained network, in simulated pictures of meshes.

`DATA=FOLDER python -m benchmarks.refinement_trained`: SCENES=48 pictures of one object of
FOLDER/NAME/textured.obj each, refined from several starts by colours alone and with depth, beside
alignment with depth alone, photometric alignment, and the optimiser as published (AdaGrad), with
descriptors rendered at the start or fused from fifty views. Then CLUTTERED=24 pictures of five
objects that hide each other, from starts as far off as PoseCNN's: the areas under the curves of
ADD and ADD-S to 10 cm before and after, of each object. Beside what is found stands what was found
at the start already (of the starts), how often the start was kept, and how many starts that were
right were spoilt. MODEL=FILE takes another checkpoint than the shipped one; SEED=1 draws other
scenes.

Every picture is kept in output/bench/refinement_trained/ as it is done, for this commit, model
and DATA: a run that is interrupted goes on where it stopped.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from tqdm import tqdm

from benchmarks.oracle import files, off
from benchmarks.pictured import Model, Picture, from_files, look
from benchmarks.refinement_baselines import (
    adagrad,
    adagrad_fused,
    by_depth,
    fused_views,
    photometric,
)
from benchmarks.report import Row, Target, done, given, kept, number_given, report
from don_kp_ros.evaluation.poses import add, add_s, by_object
from don_kp_ros.evaluation.results import print_table
from don_kp_ros.geometry import rigid
from don_kp_ros.networks.model import DescriptorModel
from don_kp_ros.pose.close_up import refine_close_up
from don_kp_ros.resources import shipped_model

Array = NDArray[np.float64]
Method = Callable[[Picture, int, Array, DescriptorModel], Array]

CURVES = ('descriptors', 'with depth', 'AdaGrad, fused')
STARTS = ((2, 0.003), (10, 0.01), (20, 0.01), (30, 0.01))
VISIBLE = ((0.0, 0.6), (0.6, 0.9), (0.9, 1.01))


def by_descriptors(picture: Picture, number: int, start: Array, model: DescriptorModel) -> Array:
    """Refine as the package does, without depth."""
    subject = picture.models[number].subject
    found = refine_close_up(subject, start, picture.image, picture.camera, None, model)
    return found.T_camera_object


def with_depth(picture: Picture, number: int, start: Array, model: DescriptorModel) -> Array:
    """Refine as the package does, with depth."""
    subject = picture.models[number].subject
    found = refine_close_up(subject, start, picture.image, picture.camera, picture.depth, model)
    return found.T_camera_object


METHODS: dict[str, Method] = {
    'descriptors': by_descriptors,
    'with depth': with_depth,
    'depth alone': by_depth,
    'photometric': photometric,
    'AdaGrad': adagrad,
    'AdaGrad, fused': adagrad_fused,
}


def posecnn_like(T: Array, rng: np.random.Generator) -> Array:
    """Draw a start about as far off as PoseCNN's poses of the YCB-Video objects.

    Of PoseCNN are published the areas under the curves of ADD and ADD-S, 53.7 and 75.8. So are,
    with the meshes at hand, poses that are off by 13 mm sideways and 44 mm along the line of sight
    (standard deviations), and turned by 12 degrees about each axis, but one in eight anyhow.
    """
    turn = rng.normal(0, np.deg2rad(12), 3)
    R = rigid.rotation_about(turn, float(np.linalg.norm(turn)))
    if rng.random() < 1 / 8:
        R = rigid.from_quaternion(rng.normal(size=4))[:3, :3]
    sight = T[:3, 3] / np.linalg.norm(T[:3, 3])
    shift = rng.normal(0, 0.013, 3)
    shift += sight * (rng.normal(0, 0.044) - sight @ shift)
    return rigid.transform(R @ T[:3, :3], T[:3, 3] + shift)


def measured(picture: Picture, number: int, name: str, T: Array) -> dict[str, float]:
    """Say how far a pose is off."""
    true, points = picture.T[number], picture.models[number].points
    return {name: add(T, true, points), f'{name}_s': add_s(T, true, points)}


def refined(
    picture: Picture, number: int, start: Array, methods: Sequence[str], model: DescriptorModel
) -> list[dict[str, Any]]:
    """Refine an object by each method."""
    rows = []
    one = picture.models[number]
    for name in methods:
        begin = time.process_time()
        T = METHODS[name](picture, number, start, model)
        seconds = time.process_time() - begin
        row = {'method': name, 'thing': one.name, 'diameter': one.diameter, 'seconds': seconds}
        row |= measured(picture, number, 'before', start) | measured(picture, number, 'after', T)
        kept = bool(np.array_equal(T, start))
        rows.append({**row, 'visible': picture.visible[number], 'kept': kept})
    return rows


def one_object(
    models: Sequence[Model], index: int, seed: int, model: DescriptorModel
) -> list[dict[str, Any]]:
    """Refine one object from all starts by all methods."""
    rng = np.random.default_rng([seed, 3, index])
    picture = look([models[index % len(models)]], rng)
    fused_views(picture.models[0].subject, model)  # once, which is not a part of refining
    rows = []
    for degrees, metres in STARTS:
        start = off(picture.T[0], degrees, metres, rng)
        label = f'{degrees} degrees, {100 * metres:g} cm'
        rows += [{**row, 'start': label} for row in refined(picture, 0, start, [*METHODS], model)]
    return rows


def five_objects(
    models: Sequence[Model], index: int, seed: int, model: DescriptorModel
) -> list[dict[str, Any]]:
    """Refine five objects that hide each other from starts as a pose network gives them."""
    rng = np.random.default_rng([seed, 4, index])
    picture = look([models[i] for i in rng.permutation(len(models))[:5]], rng)
    rows = []
    for number, T in enumerate(picture.T):
        start = posecnn_like(T, rng)
        for row in refined(picture, number, start, CURVES, model):
            rows.append({**row, 'start': 'as PoseCNN'})
    return rows


def of_starts(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Make the table of methods by starts: shares within a tenth of the diameter, and medians."""
    table = []
    for start in dict.fromkeys(row['start'] for row in rows):
        for method in METHODS:
            own = [row for row in rows if (row['start'], row['method']) == (start, method)]
            after, after_s, before, diameter = (
                np.array([row[name] for row in own])
                for name in ('after', 'after_s', 'before', 'diameter')
            )
            tenth = 0.1 * diameter
            table.append(
                {
                    'start': start,
                    'method': method,
                    'number': len(own),
                    'found': float((after < tenth).mean()),
                    'of the starts': float((before < tenth).mean()),
                    'found by ADD-S': float((after_s < np.minimum(tenth, 0.01)).mean()),
                    'start kept': float(np.mean([row['kept'] for row in own])),
                    'right starts spoilt': int(((before < tenth) & (after >= tenth)).sum()),
                    'median mm': 1e3 * float(np.median(after)),
                    'worse by 2 mm': float((after > before + 0.002).mean()),
                    'CPU ms': 1e3 * float(np.median([row['seconds'] for row in own])),
                }
            )
    return table


def areas(rows: Sequence[Row], method: str) -> list[dict[str, Any]]:
    """Make the table of the areas under the curves, 0 to 100, before and after."""
    own = [row for row in rows if row['method'] == method]
    groups: dict[str, list[Row]] = {}
    for row in own:
        groups.setdefault(row['thing'], []).append(row)
    for low, high in VISIBLE:
        some = [row for row in own if low <= row['visible'] < high]
        if some:
            groups[f'all, {low:.0%} to {min(high, 1):.0%} seen'] = some
    groups['all'] = own
    table = []
    for name, some in groups.items():
        line: dict[str, Any] = {'thing': name, 'method': method, 'number': len(some)}
        for when in ('before', 'after'):
            errors = [(0, row[when], row[f'{when}_s']) for row in some]
            summary = by_object(errors, {0: 1.0})[0]
            line[f'ADD {when}'] = round(100 * summary.auc_add, 1)
            line[f'ADD-S {when}'] = round(100 * summary.auc_add_s, 1)
        table.append(line)
    return table


def main() -> int:
    """Run the benchmark; 1 where a target is missed."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    seed = int(os.environ.get('SEED') or 0)
    scenes, cluttered = number_given('SCENES', 48), number_given('CLUTTERED', 24)
    model = DescriptorModel.load(Path(os.environ.get('MODEL') or shipped_model()))
    meshes = files()
    models = from_files(meshes)
    folder = kept('refinement_trained', model.fingerprint, seed, data=meshes)
    single: list[dict[str, Any]] = []
    many: list[dict[str, Any]] = []
    for i in tqdm(range(scenes), desc='one object', unit='picture'):
        single += done(folder, f'one-{i:04d}', lambda i=i: one_object(models, i, seed, model))  # type: ignore[misc]
    for i in tqdm(range(cluttered), desc='five objects', unit='picture'):
        many += done(folder, f'five-{i:04d}', lambda i=i: five_objects(models, i, seed, model))  # type: ignore[misc]
    table = of_starts(single)
    curves = [line for method in CURVES for line in areas(many, method)]

    def of(start: int, method: str, column: str) -> float:
        label = f'{start} degrees, 1 cm' if start > 2 else '2 degrees, 0.3 cm'
        (row,) = [r for r in table if (r['start'], r['method']) == (label, method)]
        return float(row[column])

    def gain(name: str) -> float:
        (row,) = [r for r in curves if (r['thing'], r['method']) == ('all', 'descriptors')]
        return float(row[f'{name} after'] - row[f'{name} before'])

    alone = of(30, 'depth alone', 'median mm')
    targets = [
        Target('found from 20 degrees', of(20, 'descriptors', 'found'), 0.85, True),
        Target('found from 30 degrees', of(30, 'descriptors', 'found'), 0.75, True),
        Target('median mm from 20 degrees', of(20, 'descriptors', 'median mm'), 4.5),
        Target('with depth, by ADD-S from 30', of(30, 'with depth', 'found by ADD-S'), 0.98, True),
        Target('with depth, median mm from 30', of(30, 'with depth', 'median mm'), 3.5),
        Target('and of depth alone', of(30, 'with depth', 'median mm'), alone),
        Target('good starts made worse', of(2, 'descriptors', 'worse by 2 mm'), 0.03),
        Target('the same with depth', of(2, 'with depth', 'worse by 2 mm'), 0.03),
    ]
    if curves:
        targets += [
            Target('gain of the area of ADD', gain('ADD'), 9.0, True),
            Target('gain of the area of ADD-S', gain('ADD-S'), 6.6, True),
        ]
    if curves:
        print_table(curves, 'Areas under the curves to 10 cm, %', Console())
    ok = report(
        'refinement_trained',
        f'Poses refined by the descriptors of {model.fingerprint}, {scenes} pictures',
        table,
        targets,
        seed=seed,
        details={
            'areas': curves,
            'model': model.fingerprint,
            'meshes': [one.name for one in models],
            'fused': {
                one.name: {'consistency': own.consistency, 'known': own.known}
                for one in models[:scenes]
                for own in [fused_views(one.subject, model)]
            },
        },
        variables=given('SCENES', 'CLUTTERED', 'DATA', 'MODEL', 'SEED'),
    )
    return 0 if ok else 1


if __name__ == '__main__':
    sys.exit(main())
