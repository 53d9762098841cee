"""Rendered scenes of several objects: `don_kp render FOLDER --scene` (docs/data.md).

Every scene is a drop of its own (`don_kp_ros.simulation.drop`), on a new table in new light. What
is done of an interrupted rendering is kept, and the same command goes on with the rest.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from don_kp_ros.data.folder import UNFINISHED, DataError, write_image
from don_kp_ros.data.index_file import read_json, write_json
from don_kp_ros.data.posed import write_depth
from don_kp_ros.data.scenes import FORMAT, SCENES, Entry, entry_of, plain, write_scenes
from don_kp_ros.meshes import packing
from don_kp_ros.outputs import replacing
from don_kp_ros.simulation.camera import D435, with_faults
from don_kp_ros.simulation.drop import drop
from don_kp_ros.simulation.posed import SMALLEST, Subject, Viewpoints
from don_kp_ros.simulation.rendering import render_all

_COMMAND = 'command.json'


@dataclass(frozen=True)
class Plan:
    """The scenes to render: equal plans make equal folders.

    Each scene has between fewest and most of the subjects; apart: degrees between its two views.
    """

    subjects: tuple[Subject, ...]
    scenes: int
    fewest: int
    most: int
    apart: float
    viewpoints: Viewpoints
    seed: tuple[int, ...]


def render_scenes(folder: Path, plan: Plan, workers: int) -> None:
    """Render scenes, or go on where it was interrupted; raises DataError.

    A folder that holds these scenes already stays as it is.
    """
    name, times = Counter(subject.name for subject in plan.subjects).most_common(1)[0]
    if times > 1:
        raise DataError(f'{name}: {times} objects have this name; rename the file of one')
    meshes = _packed(folder, plan.subjects)  # now, to fail before anything is written
    made = json.loads(json.dumps(asdict(plan)))
    if (folder / SCENES).exists():
        if read_json(folder / SCENES, FORMAT, 'scenes').get('made') == made:
            return
        raise DataError(f'{folder / SCENES}: holds other scenes; give an empty folder')
    state = folder / UNFINISHED
    _begin(state, made)
    for name in ('rgbs', 'masks', 'depths', 'lone'):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for path, content in meshes.items():
        path.parent.mkdir(exist_ok=True)
        with replacing(path) as partial:
            partial.write_bytes(content)
    names = [f'{number:06d}' for number in range(plan.scenes)]
    left = [number for number, name in enumerate(names) if not (state / f'{name}.json').exists()]
    render_all([(_render, (folder, names[number], plan, number)) for number in left], workers)
    records = [state / f'{name}.json' for name in names]
    entries = [entry_of(file, _read(file, 'remove it')) for file in records]
    write_scenes(folder, D435, entries, made)
    shutil.rmtree(state)


def _begin(state: Path, made: dict[str, Any]) -> None:
    """Note what is rendered, or find that it is what was begun; raises DataError."""
    file = state / _COMMAND
    if file.exists():
        begun = _read(file, f'remove {state.parent}')
        if changed := [key for key in made if begun.get(key) != made[key]]:
            raise DataError(
                f'{state.parent}: holds an interrupted rendering with other {", ".join(changed)}; '
                'go on with its command, or give an empty folder'
            )
    elif (state.parent / 'rgbs').exists():
        raise DataError(
            f'{state.parent / "rgbs"}: exists, and would not be written over; give an empty folder'
        )
    else:
        state.mkdir(parents=True, exist_ok=True)
        write_json(file, made)


def _packed(folder: Path, subjects: Sequence[Subject]) -> dict[Path, bytes]:
    """Return the meshes to keep, in the frame of their poses; raises DataError for other ones."""
    meshes = {}
    for subject in subjects:
        if (mesh := subject.mesh) is None:
            continue
        path = folder / 'meshes' / f'{subject.name}.{packing.FORMAT}'
        meshes[path] = packing.packed(mesh)
        if path.exists() and path.read_bytes() != meshes[path]:
            raise DataError(
                f'{subject.kind}: is not the mesh of the scenes in {folder}, which {path} keeps; '
                'give that one, or an empty folder'
            )
    return meshes


def _render(folder: Path, name: str, plan: Plan, number: int) -> None:
    rng = np.random.default_rng([*plan.seed, 8, number])
    most = min(plan.most, len(plan.subjects))
    count = int(rng.integers(min(plan.fewest, most), most + 1))
    chosen = rng.choice(len(plan.subjects), count, replace=False)
    subjects = [plan.subjects[i] for i in chosen]
    scene, a, b = drop(subjects, plan.viewpoints, plan.apart, rng)
    views = f'{name}_a', f'{name}_b'
    with scene:
        for view, look in zip(views, (a, b), strict=True):
            write_image(folder / 'rgbs' / f'{view}.jpg', with_faults(look.frame, rng).colour)
            write_image(folder / 'masks' / f'{view}.png', look.numbers)
            write_depth(folder / 'depths' / f'{view}.png', look.frame.depth)
        for which in range(1, count + 1):
            if np.count_nonzero(a.numbers == which) >= SMALLEST:
                lone = scene.alone(a.T_scene_camera, which)
                write_image(folder / 'lone' / f'{views[0]}_{which}.jpg', lone)
        entry = Entry(
            name,
            tuple(subject.name for subject in subjects),
            scene.T_scene_object,
            views,
            (a.T_scene_camera, b.T_scene_camera),
        )
    write_json(folder / UNFINISHED / f'{name}.json', plain(entry))  # last: now the scene is there


def _read(path: Path, remedy: str) -> dict[str, Any]:
    """Read what an interrupted rendering noted; raises DataError."""
    try:
        content: dict[str, Any] = dict(json.loads(path.read_text(encoding='utf-8')))
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f'{path}: cannot be read ({error}); {remedy}, and render again') from error
    return content
