"""Refine poses against descriptors as a good network would give them, and measure the time.

`python -m benchmarks.refinement`: SCENES=48 scenes of one object from several starts, with the
refinement as it is, the optimiser as published (AdaGrad), and point-to-plane alignment with depth
alone; and CLUTTERED=30 scenes of five objects that hide each other, refined together and one by
one. DATA=FOLDER takes the meshes FOLDER/NAME/textured.obj, else objects are made. SEED=1 draws
other scenes. Beside what is found stands what was found at the start already (of the starts), how
often the start was kept, and how many starts that were right were spoilt.

Every scene is kept in output/bench/refinement/ as it is done, for this commit and these
meshes: a run that is interrupted goes on where it stopped.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.oracle import Seen, Thing, built_in, files, from_files, look, off
from benchmarks.report import Row, Target, done, given, kept, number_given, report
from don_kp_ros.pose.close_up import aligned_by_depth
from don_kp_ros.pose.comparison import NETWORK_BLUR, Comparer
from don_kp_ros.pose.refinement import stepped
from don_kp_ros.pose.render_and_compare import refine

Array = NDArray[np.float64]

STARTS = ((5, 0.01), (10, 0.01), (20, 0.01), (30, 0.01), (45, 0.01), (60, 0.01), (5, 0.03))
CLUTTERED_STARTS = ((10, 0.01), (20, 0.02))
VISIBLE = ((0.2, 0.6), (0.6, 0.9), (0.9, 1.01))
GOOD_START = (2, 0.003)
_RATE, _DECAY, _STEPS = 1e-2, 0.99, 50  # of AdaGrad, as published


def levenberg_marquardt(seen: Seen, starts: Sequence[Array]) -> list[Array]:
    """Refine as the package does, without depth."""
    live = replace(seen.live, depth=None)
    return [one.T_camera_object for one in refine(seen.surfaces, starts, live)]


def with_depth(seen: Seen, starts: Sequence[Array]) -> list[Array]:
    """Refine as the package does, with depth."""
    return [one.T_camera_object for one in refine(seen.surfaces, starts, seen.live)]


def adagrad(seen: Seen, starts: Sequence[Array], blur: float = NETWORK_BLUR) -> list[Array]:
    """Descend as Periyasamy, Schwarz and Behnke do: 50 steps of AdaGrad, in metres and radians.

    blur: as of `refine`.
    """
    comparer = Comparer(seen.surfaces, replace(seen.live, depth=None), blur=blur)
    T, sums = list(starts), [np.zeros(6)] * len(starts)
    for number in range(_STEPS):
        for k, one in enumerate(comparer.compare(T)):
            sums[k] = sums[k] + one.gradient**2
            step = -_RATE * _DECAY**number * one.gradient / (np.sqrt(sums[k]) + 1e-10)
            T[k] = stepped(T[k], step)
    return T


def icp(seen: Seen, starts: Sequence[Array]) -> list[Array]:
    """Align each with the measured depth alone, point to plane, as often as refinement steps."""
    return [
        aligned_by_depth(one.vertices, one.faces, start, seen.live)
        for one, start in zip(seen.surfaces, starts, strict=True)
    ]


METHODS: dict[str, Callable[[Seen, Sequence[Array]], list[Array]]] = {
    'descriptors': levenberg_marquardt,
    'with depth': with_depth,
    'AdaGrad': adagrad,
    'depth alone': icp,
}


def outcome(thing: Thing, start: Array, T: Array, true: Array) -> dict[str, Any]:
    """Say what a start and the pose that came of it are worth."""
    before, after = thing.add(start, true), thing.add(T, true)
    return {
        'add': after,
        'worse': after > before + 0.002,
        'start found': thing.found(start, true),
        'found': thing.found(T, true),
        'kept': bool(np.array_equal(T, start)),
    }


def one_object(things: Sequence[Thing], index: int, seed: int) -> list[dict[str, Any]]:
    """Refine one object from all starts by all methods."""
    rows = []
    rng = np.random.default_rng([seed, 1, index])
    seen = look([things[index % len(things)]], rng, with_depth=True)
    for degrees, metres in (GOOD_START, *STARTS):
        start = off(seen.T[0], degrees, metres, rng)
        for name, method in METHODS.items():
            begin = time.process_time()
            (T,) = method(seen, [start])
            rows.append(
                {
                    'method': name,
                    'start': f'{degrees} degrees, {100 * metres:g} cm',
                    'thing': seen.things[0].name,
                    'seconds': time.process_time() - begin,
                    **outcome(seen.things[0], start, T, seen.T[0]),
                }
            )
    return rows


def five_objects(things: Sequence[Thing], index: int, seed: int) -> list[dict[str, Any]]:
    """Refine five objects together and one by one."""
    rng = np.random.default_rng([seed, 2, index])
    chosen = [things[i] for i in rng.permutation(len(things))[:5]]
    seen = look(chosen, rng, wide=0.16)
    rows = []
    for degrees, metres in CLUTTERED_STARTS:
        starts = [off(T, degrees, metres, rng) for T in seen.T]
        begin = time.process_time()
        together = levenberg_marquardt(seen, starts)
        seconds = time.process_time() - begin
        for k, thing in enumerate(chosen):
            alone = refine([thing.surface], [starts[k]], seen.live)[0].T_camera_object
            for name, T in (('together', together[k]), ('alone', alone)):
                rows.append(
                    {
                        'start': f'{degrees} degrees, {100 * metres:g} cm',
                        'method': name,
                        'visible': seen.visible(k),
                        'seconds': seconds,
                        **outcome(thing, starts[k], T, seen.T[k]),
                    }
                )
    return rows


def line(start: str, method: str, rows: Sequence[Row]) -> Row:
    """Make the figures of some rows."""

    def share(name: str) -> float:
        return float(np.mean([row[name] for row in rows])) if rows else float('nan')

    def median(name: str) -> float:
        return 1e3 * float(np.median([row[name] for row in rows])) if rows else float('nan')

    return {
        'start': start,
        'method': method,
        'number': len(rows),
        'found': share('found'),
        'of the starts': share('start found'),
        'start kept': share('kept'),
        'right starts spoilt': sum(row['start found'] and not row['found'] for row in rows),
        'median mm': median('add'),
        'worse by 2 mm': share('worse'),
        'CPU ms': median('seconds'),
    }


def table_of(single: Sequence[Row], many: Sequence[Row]) -> list[Row]:
    """Make the table of methods by starts, of one object and of five."""
    table = []
    for start in dict.fromkeys(row['start'] for row in single):
        for method in METHODS:
            own = [row for row in single if (row['start'], row['method']) == (start, method)]
            table.append(line(start, method, own))
    for start in dict.fromkeys(row['start'] for row in many):
        for low, high in VISIBLE:
            for name in ('together', 'alone'):
                own = [
                    row
                    for row in many
                    if (row['start'], row['method']) == (start, name)
                    and low <= row['visible'] < high
                ]
                label = f'five objects, {low:.0%} to {min(high, 1):.0%} seen, {name}'
                table.append(line(start, label, own))
    return table


def targets(table: Sequence[Row]) -> list[Target]:
    """Say what is to be reached: what is to be found is not found at the start."""

    def of(start: str, method: str, column: str) -> float:
        (row,) = [r for r in table if (r['start'], r['method']) == (start, method)]
        return float(row[column])

    far = '30 degrees, 1 cm'
    near, away = (f'{degrees} degrees, {100 * m:g} cm' for degrees, m in CLUTTERED_STARTS)
    half, part = (f'five objects, {share} seen,' for share in ('20% to 60%', '60% to 90%'))
    together, alone = (of(away, f'{part} {name}', 'found') for name in ('together', 'alone'))
    return [
        Target('found from 30 degrees', of(far, 'descriptors', 'found'), 0.95, True),
        Target('found from 45 degrees', of('45 degrees, 1 cm', 'descriptors', 'found'), 0.9, True),
        Target('median mm from 30 degrees', of(far, 'descriptors', 'median mm'), 2.5),
        Target('CPU ms', of(far, 'descriptors', 'CPU ms'), 60),
        Target(
            'good starts made worse', of('2 degrees, 0.3 cm', 'descriptors', 'worse by 2 mm'), 0.03
        ),
        Target('AdaGrad from 30 degrees', of(far, 'AdaGrad', 'found'), 0.2),
        Target('half hidden, together', of(away, f'{half} together', 'found'), 0.55, True),
        Target('partly hidden, together', together, 0.85, True),
        Target('and more than alone', together - alone, 0.3, True),
        Target('CPU ms of five', of(near, f'{part} together', 'CPU ms'), 200),
    ]


def main() -> int:
    """Run the benchmark; 1 where a target is missed."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    seed = int(os.environ.get('SEED') or 0)
    meshes = files() if os.environ.get('DATA') else []
    things = from_files(meshes) if meshes else built_in()
    scenes, cluttered = number_given('SCENES', 48), number_given('CLUTTERED', 30)
    folder = kept('refinement', seed, data=meshes)
    single: list[dict[str, Any]] = []
    for i in tqdm(range(scenes), desc='one object', unit='scene'):
        single += done(folder, f'one-{i:04d}', lambda i=i: one_object(things, i, seed))  # type: ignore[misc]
    many: list[dict[str, Any]] = []
    for i in tqdm(range(cluttered), desc='five objects', unit='scene'):
        many += done(folder, f'five-{i:04d}', lambda i=i: five_objects(things, i, seed))  # type: ignore[misc]
    table = table_of(single, many)
    ok = report(
        'refinement',
        f'Poses refined by descriptors as a good network gives them, {scenes} scenes',
        table,
        targets(table),
        seed=seed,
        details={'things': [thing.name for thing in things]},
        variables=given('SCENES', 'CLUTTERED', 'DATA', 'SEED'),
    )
    return 0 if ok else 1


if __name__ == '__main__':
    sys.exit(main())
