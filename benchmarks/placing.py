"""Places in simulation: where the object stands in the end, by physics.

`python -m benchmarks.placing`: COUNT=10 caps never seen before, on tables never seen before, from
SEED=0. Each is taught at its brim, moved and turned, then picked by name and put down at a random
place, turned by up to 90 degrees. A place where something stands must be refused; the next is
drawn then. With LATER=1 it is picked first, and placed by a goal of its own, when what is held
hides a part of the table. JOBS=2 runs so many simulations at a time. Some minutes.

Every trial is a line of output/bench/placing/trials.jsonl, kept with its model and commit: a run
that is interrupted goes on where it stopped.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks import kept_trials
from benchmarks.kept_trials import Row
from benchmarks.report import COMMIT, OUTPUT, Target, given, report
from don_kp.action import Grasp
from don_kp_ros.bringup.processes import NodeParameters
from don_kp_ros.demo.judge import Judge
from don_kp_ros.geometry import rigid
from don_kp_ros.networks import checkpoint
from don_kp_ros.nodes.kit.conversions import matrix_from_pose, pose_from_matrix
from don_kp_ros.resources import shipped_model
from don_kp_ros.simulation.instances import UNSEEN

Array = NDArray[np.float64]

_TRIALS = OUTPUT / 'placing' / 'trials.jsonl'
_REGION = ((0.36, 0.58), (-0.2, 0.2))  # metres, x and y of a place
_MOST_TURN = np.deg2rad(90.0)
_TRIES = 6  # of places, where they are refused
_NEAR, _TURNED = 0.010, np.deg2rad(5.0)


@dataclass(frozen=True)
class Settings:
    """All that the trials of a run have in common, and that their results depend on."""

    later: bool  # placed by a goal of its own
    model: str  # fingerprint
    commit: str
    parameters: NodeParameters = field(default_factory=dict)  # of the stack's nodes

    @property
    def name(self) -> str:
        """A name for files."""
        return 'later' if self.later else 'next'


def _place(judge: Judge, seed: int, later: bool) -> Row:
    """Pick a cap and put it down; return how far it is from where it was to be."""
    rng = np.random.default_rng([seed, 0x91AC])
    looks, instance = int(rng.integers(2**62)), int(rng.choice(UNSEEN))
    judge.reset(looks, 0, instance)
    truth = judge.truth()
    judge.store('cap/brim', round(truth.point_u), round(truth.point_v))
    judge.reset(looks, 1, instance)
    before = judge.truth()
    row: Row = {'seed': seed, 'refused': 0, 'placed': 0}
    goal = Grasp.Goal(target='cap/brim', next=Grasp.Goal.PLACE)
    if later:
        picked = judge.grasp(Grasp.Goal(target='cap/brim'), lambda *_: None)
        if not picked.success:
            return {**row, 'told': picked.message, 'code': picked.code}
        goal = Grasp.Goal(mode=Grasp.Goal.PLACE)
    for _ in range(_TRIES):
        (x, y), turn = rng.uniform(*np.transpose(_REGION)), rng.uniform(-_MOST_TURN, _MOST_TURN)
        rotation = rigid.rotation_about([0.0, 0.0, 1.0], float(turn))
        goal.place.pose = pose_from_matrix(rigid.transform(rotation, [x, y, 0.0]))
        result = judge.grasp(goal, lambda *_: None)
        if result.code not in (Grasp.Result.OCCUPIED, Grasp.Result.UNREACHABLE):
            break
        row['refused'] += 1
        if not later and judge.motion > 0.1:  # not before it was picked
            break
    row['told'] = result.message
    after = judge.truth()
    off = np.array([after.point.x - x, after.point.y - y])
    T_was, T_is = matrix_from_pose(before.object), matrix_from_pose(after.object)
    turned = (rotation @ T_was[:3, :3]).T @ T_is[:3, :3]
    angle = float(np.arccos(np.clip((np.trace(turned) - 1) / 2, -1, 1)))
    row |= {
        'off [mm]': 1000 * float(np.linalg.norm(off)),
        'turned by [deg]': float(np.rad2deg(angle)),
        'code': result.code,
    }
    good = np.linalg.norm(off) <= _NEAR and angle <= _TURNED
    row['placed'] = int(result.success and bool(good))
    if not result.success:
        judge.grasp(Grasp.Goal(mode=Grasp.Goal.RELEASE), lambda *_: None)
    return row


def _failed(_: Settings, seed: int, why: str) -> Row:
    return {'seed': seed, 'refused': 0, 'placed': 0, 'told': why}


def _run(job: tuple[Settings, Path, Sequence[int]]) -> str:
    settings, model, seeds = job

    def place(judge: Judge, seed: int) -> Row:
        return _place(judge, seed, settings.later)

    return kept_trials.run(_TRIALS, settings, model, seeds, place, _failed)


def main() -> int:
    """Measure, print, write; 1 where the target is missed."""
    variables = given('COUNT', 'SEED', 'LATER', 'JOBS')
    count, seed, jobs = (
        int(variables.get(name, usual))
        for name, usual in (('COUNT', '10'), ('SEED', '0'), ('JOBS', '2'))
    )
    model = shipped_model()
    fingerprint = checkpoint.load(model).fingerprint
    settings = Settings(variables.get('LATER') == '1', fingerprint, COMMIT)
    seeds = [1000 * seed + i for i in range(count)]
    (rows,) = kept_trials.measured(_TRIALS, [(settings, model)], seeds, jobs, jobs, _run)
    if not rows:
        print(f'no trial came to an end; see {_TRIALS.parent / "logs"}', file=sys.stderr)
        return 1
    placed = sum(row['placed'] for row in rows)
    columns = dict.fromkeys(name for row in rows for name in row if name != 'key')
    ok = report(
        'placing',
        f'{placed} of {count} stand within 10 mm and 5 degrees',
        [{name: row.get(name, '') for name in columns} for row in rows],
        [Target('placed', placed, 0.9 * count, at_least=True)],
        seed=seed,
        variables=variables,
        variant='later' if settings.later else '',
    )
    return 0 if ok else 1


if __name__ == '__main__':
    sys.exit(main())
