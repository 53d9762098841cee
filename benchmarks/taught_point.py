"""Find a taught point on caps never seen: how near, how sure, and how often where there is none.

`python -m benchmarks.taught_point`: for each of CAPS=60 caps the brim's middle is taught in one
view from the robot's observation position, and looked for in others: the cap elsewhere on the same
table; on another table in other light; the same point of another cap, on the first table; and on
both tables without any cap. MODEL=FILE takes another checkpoint than the shipped one; SEED=1 draws
other caps and scenes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import mujoco
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.report import Target, given, report
from don_kp_ros.evaluation.matchers import Transfer, transfer
from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.depth import DepthImage
from don_kp_ros.networks import checkpoint
from don_kp_ros.networks.model import DescriptorModel
from don_kp_ros.resources import shipped_model
from don_kp_ros.robots.preset import load_preset
from don_kp_ros.simulation.camera import D435, Frame, with_faults
from don_kp_ros.simulation.instances import UNSEEN
from don_kp_ros.simulation.renderer import Renderer
from don_kp_ros.simulation.scene import Layout, build
from don_kp_ros.simulation.world import World

Array = NDArray[np.float64]
SIZE = (D435.height, D435.width)
WITHIN = 0.010  # metres


def main() -> int:
    """Measure, print, write; 1 where a target is missed."""
    caps, seed = int(os.environ.get('CAPS') or 60), int(os.environ.get('SEED') or 0)
    path = Path(os.environ.get('MODEL') or shipped_model())
    trained = checkpoint.load(path)
    model = DescriptorModel(trained)
    models = {
        'trained': model,
        'untrained': DescriptorModel(trained.untrained(seed)),
    }
    rng = np.random.default_rng([seed, 0x7EA])
    instances = rng.choice(UNSEEN, size=(caps, 2), replace=False)
    T_world_optical = World(Layout.draw(0, 0), load_preset('panda')).camera_pose()

    without = ('no cap', 'no cap, other table')
    views = ('same table', 'other table', 'another cap', *without)
    errors: dict[tuple[str, str], list[float]] = {(m, v): [] for m in models for v in views}
    scores: dict[tuple[str, str], list[float]] = {(m, v): [] for m in models for v in views}
    for i, (instance, other) in enumerate(tqdm(instances, desc='caps', unit='cap')):
        table, table_2 = 2 * i, 2 * i + 1
        scenes = (
            Layout.draw(table, int(instance), placement=0),
            Layout.draw(table, int(instance), placement=1),
            Layout.draw(table_2, int(instance), placement=2),
            Layout.draw(table, int(other), placement=3),
            Layout.draw(table, int(instance), placement=4, with_subject=False),
            Layout.draw(table_2, int(instance), placement=5, with_subject=False),
        )
        shots = [_shoot(scene, T_world_optical, rng) for scene in scenes]
        for name, described in models.items():
            maps = [described.describe(frame.colour) for frame, _ in shots]
            taught = D435.project(shots[0][1])
            for view, descriptor_map, (frame, truth) in zip(
                views, maps[1:], shots[1:], strict=True
            ):
                found = transfer(maps[0], descriptor_map, taught[None], SIZE, SIZE)
                errors[name, view].append(_distance(found, frame, truth))
                scores[name, view].append(float(found.score[0]))

    rows = [
        {
            'descriptors': name,
            'view': view,
            **_distances(np.array(errors[name, view])),
            **_similarities(np.array(scores[name, view]), model.match_threshold),
        }
        for name in models
        for view in views
    ]
    same = np.array(errors['trained', views[0]])
    absent = np.concatenate([scores['trained', view] for view in without])
    targets = (
        Target('same table: share within 10 mm', float((same < WITHIN).mean()), 0.9, True),
        Target('no cap: share found', float((absent >= model.match_threshold).mean()), 0),
    )
    details = {'model': model.fingerprint, 'caps': caps, 'match_threshold': model.match_threshold}
    variables = given('CAPS', 'MODEL', 'SEED')
    title = f'A taught point on {caps} caps never seen (threshold {model.match_threshold:.3f})'
    met = report('taught_point', title, rows, targets, seed, details, variables)
    return 0 if met else 1


def _distances(errors: Array) -> dict[str, float | str]:
    """Summarise distances in metres; those without depth count as far."""
    if np.isnan(errors).all():
        return dict.fromkeys(('median mm', '95 % mm', '<10 mm'), '')
    errors = np.nan_to_num(errors, nan=np.inf)
    return {
        'median mm': 1000 * float(np.median(errors)),
        '95 % mm': 1000 * float(np.quantile(errors, 0.95, method='higher')),
        '<10 mm': float((errors < WITHIN).mean()),
    }


def _similarities(scores: Array, threshold: float) -> dict[str, float]:
    quantiles = {f'cos {q} %': float(np.quantile(scores, q / 100)) for q in (5, 50, 95)}
    return {'found': float((scores >= threshold).mean()), **quantiles}


def _shoot(
    layout: Layout, T_world_optical: Array, rng: np.random.Generator
) -> tuple[Frame, Array]:
    """Return what the camera sees, and the true point (3,) in its optical frame."""
    model, taught = build(layout)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    renderer = Renderer(model)
    try:
        frame = with_faults(renderer.render(data, T_world_optical), rng)
    finally:
        renderer.close()
    if layout.subject is None:
        return frame, np.full(3, np.nan)
    return frame, rigid.apply(rigid.inverse(T_world_optical) @ layout.subject.pose, taught)


def _distance(found: Transfer, frame: Frame, truth: Array) -> float:
    """Return the distance from the found point to the true one, metres."""
    pixel: Sequence[float] = found.uv[0].tolist()
    point = D435.deproject(pixel, DepthImage(frame.depth).median(pixel))
    return float(np.linalg.norm(point - truth))


if __name__ == '__main__':
    sys.exit(main())
