"""Grasp trials in simulation: teach a point once, move the object, find it, grasp it, lift it.

The whole stack runs in processes of its own; this one is its user and its judge. Success is what
physics says: the cap's height after the lift, held for two seconds.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import rclpy
from numpy.typing import NDArray
from PIL import Image as Pillow
from rclpy.signals import SignalHandlerOptions
from rich.console import Console
from rich.table import Table

from don_kp.action import Grasp
from don_kp_ros.nodes.bringup import Bringup
from don_kp_ros.nodes.simulation.judge import Judge, UnansweredError
from don_kp_ros.simulation.dataset import UNSEEN_CAPS

TARGET = 'cap/brim'
LIFTED = 0.10  # metres that count as lifted
FOUND = 0.010  # metres that count as found
STILL = 0.01  # radians by which no joint may move where there is nothing to grasp
HOLD_SECONDS = 2.0
REQUIRED_SHARE = 0.9
CODE_NAMES = {
    getattr(Grasp.Result, name): name.lower().replace('_', ' ')
    for name in (
        'SUCCEEDED', 'INVALID_GOAL', 'UNKNOWN_TARGET', 'NOT_FOUND', 'STALE_DATA', 'NO_GRASP',
        'UNREACHABLE', 'MOTION_FAILED', 'EMPTY_GRIPPER', 'CANCELLED', 'FAULT',
    )
}  # fmt: skip


@dataclass(frozen=True)
class Trial:
    """What came of one trial; metres, radians, seconds, NaN where there is nothing to measure."""

    seed: int
    instance: int
    cap: bool
    outcome: str  # the action's code in words
    message: str
    lift: float  # the least over the time of holding
    error: float  # from the found point to the true one
    motion: float  # the largest of any joint between the goal and its result
    seconds: float

    @property
    def lifted(self) -> bool:
        """Whether physics says that the cap was lifted."""
        return self.lift >= LIFTED

    @property
    def found(self) -> bool:
        """Whether the point was found where it is."""
        return self.error <= FOUND

    @property
    def passed(self) -> bool:
        """Whether all went as it should: without a cap, nothing found and nothing moved."""
        if self.cap:
            return self.lifted and self.found
        return self.outcome == 'not found' and self.motion <= STILL


def main(argv: list[str] | None = None) -> int:
    """Run grasp trials in simulation."""
    parser = argparse.ArgumentParser(prog='don_kp grasp', description=main.__doc__)
    parser.add_argument('--trials', type=int, default=1)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--cap', choices=('present', 'absent'), default='present')
    parser.add_argument('--model', default='', help='checkpoint; default: the shipped one')
    parser.add_argument('--output', type=Path, default=Path('output'))
    options = parser.parse_args(argv)
    if options.trials < 1:
        parser.error(f'--trials is {options.trials}; it must be at least 1')
    console = Console(highlight=False)
    options.output.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix='don_kp-') as folder:
        arguments = {'simulation': 'true', 'database': f'{folder}/descriptors.sqlite'}
        if options.model:
            arguments['model'] = options.model
        logs = options.output / 'logs'
        try:
            with Bringup(arguments, logs) as stack:
                # The signals are this process's: rclpy's handlers would end it under its own feet.
                rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
                try:
                    trials = _run(options, console, stack)
                finally:
                    rclpy.try_shutdown()
        except UnansweredError as error:
            console.print(f'[red]{error}[/red]; the logs are in {logs}')
            return 1
    console.print(f'{time.monotonic() - started:.0f} s in all')
    return 0 if _report(trials, options.output, console) else 1


def _run(options: argparse.Namespace, console: Console, stack: Bringup) -> list[Trial]:
    console.print('starting simulation, perception, descriptor database and grasp ...')

    def check() -> None:
        ended = stack.poll()
        if ended is not None:
            raise UnansweredError(f'{ended.node} ended with exit code {ended.code}')

    judge = Judge(check)
    try:
        judge.wait_until_ready(timeout=60.0)
        trials = []
        for i in range(options.trials):
            name = 'grasp' if options.trials == 1 else f'trials/{i:02d}'
            if options.trials > 1:
                console.rule(f'trial {i + 1} of {options.trials}')
            path = options.output / name
            path.parent.mkdir(exist_ok=True)
            seed = 1000 * options.seed + i
            trial = _trial(judge, seed, options.cap == 'present', path, console)
            trials.append(trial)
            console.print(_sentence(trial))
        return trials
    finally:
        judge.close()


def _trial(judge: Judge, seed: int, with_cap: bool, path: Path, console: Console) -> Trial:
    rng = np.random.default_rng([seed, 0x72A1])
    looks = int(rng.integers(2**62))
    instance = int(rng.choice(UNSEEN_CAPS))
    started = time.monotonic()

    def say(phase: str, detail: str) -> None:
        console.print(f'  {time.monotonic() - started:5.1f} s  [bold]{phase:9}[/bold] {detail}')

    judge.reset(looks, 0, instance)
    truth = judge.truth()
    u, v = round(truth.brim_u), round(truth.brim_v)
    response = judge.store(TARGET, u, v)
    if not response.success:
        raise UnansweredError(f'/store_descriptor: {response.message}')
    say('store', f'{TARGET} at pixel ({u}, {v}) of cap {instance}')

    judge.reset(looks, 1, instance, without_cap=not with_cap)
    before = judge.truth()
    say('move', 'the cap lies elsewhere, turned' if with_cap else 'the cap is gone')
    scenes = judge.record()
    shown = False

    def on_phase(phase: str, detail: str) -> None:
        nonlocal shown
        say(phase, detail)
        if phase == 'plan' and not shown:
            shown = True
            _save_picture(judge, path.with_suffix('.png'))

    result = judge.grasp(TARGET, on_phase)
    lift = error = math.nan
    if with_cap:
        heights = [judge.truth().cap_height]
        if result.success:
            time.sleep(HOLD_SECONDS)
            heights.append(judge.truth().cap_height)
        lift = min(heights) - before.cap_height
        error = math.dist(
            (result.point.point.x, result.point.point.y, result.point.point.z),
            (before.brim.x, before.brim.y, before.brim.z),
        )
    judge.scenes = None
    _save_animation(scenes, path.with_suffix('.gif'))
    if not shown:
        _save_picture(judge, path.with_suffix('.png'))
    return Trial(
        seed=seed,
        instance=instance,
        cap=with_cap,
        outcome=CODE_NAMES[result.code],
        message=result.message,
        lift=lift,
        error=error,
        motion=judge.motion,
        seconds=time.monotonic() - started,
    )


def _save_picture(judge: Judge, path: Path) -> None:
    """Save the camera's view beside the heatmap with the chosen point."""
    halves = [half for half in (judge.colour, judge.heatmap) if half is not None]
    if halves:
        Pillow.fromarray(np.concatenate(halves, axis=1)).save(path)


def _save_animation(scenes: Sequence[NDArray[np.uint8]], path: Path) -> None:
    if not scenes:
        return
    frames = [Pillow.fromarray(scene).resize((480, 360)) for scene in scenes]
    palette = frames[len(frames) // 2].quantize(255)  # one for all: colours must not flicker
    first, *rest = (frame.quantize(palette=palette) for frame in frames)
    first.save(path, save_all=True, append_images=rest, duration=200, loop=0)


def _sentence(trial: Trial) -> str:
    if not trial.cap:
        verdict = 'nothing to grasp, and the arm stayed' if trial.passed else 'WRONG'
        return f'{verdict}: {trial.outcome}, the arm moved {trial.motion:.3f} rad'
    where = f'found {1000 * trial.error:.1f} mm from the true point'
    if trial.lifted:
        return f'{TARGET} grasped and lifted by {100 * trial.lift:.1f} cm, {where}'
    return f'{TARGET} NOT lifted ({trial.outcome}: {trial.message}), {where}'


def _report(trials: Sequence[Trial], output: Path, console: Console) -> bool:
    """Print the table, write the numbers, and tell whether enough trials passed."""
    with (output / 'grasp.json').open('w') as file:
        json.dump([asdict(trial) | {'passed': trial.passed} for trial in trials], file, indent=1)
    if len(trials) == 1:
        console.print(f'pictures: {output}/grasp.png, {output}/grasp.gif')
        return trials[0].passed
    table = Table('trial', 'cap', 'outcome', 'lift cm', 'error mm', 'moved rad', 's', 'passed')
    for i, t in enumerate(trials):
        table.add_row(
            str(i), str(t.instance) if t.cap else 'none', t.outcome, f'{100 * t.lift:.1f}',
            f'{1000 * t.error:.1f}', f'{t.motion:.3f}', f'{t.seconds:.0f}',
            'yes' if t.passed else 'NO',
        )  # fmt: skip
    console.print(table)
    n = len(trials)
    if trials[0].cap:
        lifted, found = sum(t.lifted for t in trials), sum(t.found for t in trials)
        median = float(np.median([1000 * t.error for t in trials]))
        console.print(
            f'{lifted} of {n} lifted by {100 * LIFTED:.0f} cm or more; '
            f'{found} of {n} found within {1000 * FOUND:.0f} mm, median error {median:.1f} mm'
        )
        return min(lifted, found) >= REQUIRED_SHARE * n
    passed = sum(t.passed for t in trials)
    console.print(f'{passed} of {n} said "not found" and did not move')
    return passed == n


if __name__ == '__main__':
    sys.exit(main())
