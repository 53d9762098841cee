"""Grasp trials in simulation: teach a point once, move the object, find it, grasp it, lift it.

The whole stack runs in processes of its own; this one is its user and its judge. Success is what
physics says: the cap's height after the lift, held for two seconds.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
import threading
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
from rich.markup import escape
from rich.table import Table

from don_kp.action import Grasp
from don_kp_ros.bringup import description
from don_kp_ros.bringup.domain import free_domain
from don_kp_ros.bringup.processes import Bringup
from don_kp_ros.demo.judge import Judge, StackEndedError, UnansweredError
from don_kp_ros.simulation.instances import UNSEEN

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
        'NOT_ENABLED',
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
    lift: float  # the least over the time of holding; 0 where nothing was held
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


def run(options: argparse.Namespace) -> int:
    """Run trials, with the options that `don_kp grasp` takes; return the exit status."""
    options.output.mkdir(parents=True, exist_ok=True)
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory(prefix='don_kp-') as folder:
        domain = free_domain() if options.domain is None else options.domain
        arguments = {
            'simulation': 'true',
            'simulation_domain': str(domain),
            'real_time_factor': f'{options.real_time_factor:g}',
            'database': f'{folder}/descriptors.sqlite',
        }
        if options.model is not None:
            arguments['model'] = str(options.model)
        stack = Bringup(arguments, options.output / 'logs')
        # For this process too: no real robot must hear of these goals.
        os.environ.update(description.environment(stack.arguments))
        trials = _run(options, stack, console)
    return 0 if _report(trials, options, console) else 1


def _run(options: argparse.Namespace, stack: Bringup, console: Console) -> list[Trial]:
    """Run the trials; return those that came to an end, whatever it was."""

    def check() -> None:
        ended = stack.poll()
        if ended is not None:
            raise StackEndedError(
                f'{ended.node} ended with exit code {ended.code}\n{stack.tail(ended.node)}'
            )

    console.print(
        'starting simulation, perception, descriptor database and grasp '
        f'on ROS domain {os.environ["ROS_DOMAIN_ID"]} of this machine ...'
    )
    trials: list[Trial] = []
    with stack:
        # The signals are this process's: rclpy's handlers would end it under its own feet.
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        judge = Judge(check)
        try:
            judge.wait_until_ready(timeout=120.0)
            for i in range(options.trials):
                path = options.output / 'grasp'
                if options.trials > 1:
                    console.rule(f'trial {i + 1} of {options.trials}')
                    path = options.output / 'trials' / f'{i:02d}'
                    path.parent.mkdir(exist_ok=True)
                seed = 1000 * options.seed + i
                teach = i == 0 or options.teach == 'each'
                trials.append(_trial(judge, seed, teach, options.cap == 'present', path, console))
                if options.trials > 1:
                    console.print(_sentence(trials[-1]))
        except (StackEndedError, UnansweredError) as error:
            console.print(f'[red]{escape(str(error))}[/red]\nlogs: {options.output}/logs')
        finally:
            judge.close()
            rclpy.try_shutdown()
    return trials


def _trial(
    judge: Judge, seed: int, teach: bool, with_cap: bool, path: Path, console: Console
) -> Trial:
    """Run one trial; what does not answer makes it a failed one."""
    rng = np.random.default_rng([seed, 0x72A1])
    looks = int(rng.integers(2**62))
    instance = int(rng.choice(UNSEEN))
    started = time.monotonic()
    outcome, message, lift, error = 'unanswered', '', math.nan, math.nan
    pictures = _Pictures(judge, path)

    def say(phase: str, detail: str) -> None:
        console.print(f'  {time.monotonic() - started:5.1f} s  [bold]{phase:9}[/bold] {detail}')

    def on_phase(phase: str, detail: str) -> None:
        say(phase, detail)
        if phase == 'plan':
            pictures.save_view()

    try:
        if teach:
            judge.reset(looks, 0, instance)
            truth = judge.truth()
            u, v = round(truth.brim_u), round(truth.brim_v)
            judge.store(TARGET, u, v)
            say('store', f'{TARGET} at pixel ({u}, {v}) of cap {instance}')
        judge.reset(looks, 1, instance, without_cap=not with_cap)
        where = 'the cap lies elsewhere, turned' if teach else f'cap {instance}, another table'
        say('move', where if with_cap else 'the cap is gone')
        before = judge.truth()
        pictures.record()
        lowest = before.cap_height

        def watch() -> None:
            nonlocal lowest
            lowest = judge.watch_height(HOLD_SECONDS)

        goal = Grasp.Goal(target=TARGET, mode=Grasp.Goal.PINCH)
        result = judge.grasp(goal, on_phase, while_held=watch)
        outcome, message = CODE_NAMES[result.code], result.message
        if with_cap:
            lift = lowest - before.cap_height
            found, true = result.point.point, before.brim
            error = math.dist((found.x, found.y, found.z), (true.x, true.y, true.z))
    except UnansweredError as failure:
        message = str(failure)
    pictures.save()
    return Trial(
        seed=seed,
        instance=instance,
        cap=with_cap,
        outcome=outcome,
        message=message,
        lift=lift,
        error=error,
        motion=judge.motion,
        seconds=time.monotonic() - started,
    )


class _Pictures:
    """The camera's view before the grasp, and the arm's way as an animation."""

    def __init__(self, judge: Judge, path: Path) -> None:
        self._judge = judge
        self._view, self._animation = path.with_suffix('.png'), path.with_suffix('.gif')
        for file in (self._view, self._animation):
            file.unlink(missing_ok=True)  # an earlier run's must not pass for this one's
        self._scenes: Sequence[NDArray[np.uint8]] = ()

    def record(self) -> None:
        """Record the scene from now on."""
        self._judge.look()
        self._scenes = self._judge.record()

    def save_view(self) -> None:
        """Save the camera's view beside the heatmap with the chosen point."""
        if halves := self._judge.seen():
            Pillow.fromarray(np.concatenate(halves, axis=1)).save(self._view)

    def save(self) -> None:
        """Save what has been recorded."""
        self._judge.scenes = None
        if not self._view.exists():
            self.save_view()
        if not self._scenes:
            return
        # It takes a second, in which the next trial can begin.
        threading.Thread(target=self._animate, args=(self._scenes,)).start()

    def _animate(self, scenes: Sequence[NDArray[np.uint8]]) -> None:
        frames = [Pillow.fromarray(scene).resize((480, 360)) for scene in scenes]
        palette = frames[len(frames) // 2].quantize(255)  # one for all: colours must not flicker
        first, *rest = (frame.quantize(palette=palette) for frame in frames)
        # Milliseconds: twice as fast as the simulation's spectator looks.
        first.save(self._animation, save_all=True, append_images=rest, duration=300, loop=0)


def _sentence(trial: Trial) -> str:
    if not trial.cap:
        verdict = 'nothing to grasp, and the arm stayed' if trial.passed else 'WRONG'
        return f'{verdict}: {trial.outcome}, the arm moved {trial.motion:.3f} rad'
    where = f'found {1000 * trial.error:.1f} mm from the true point'
    if trial.lifted:
        return f'{TARGET} grasped and lifted by {100 * trial.lift:.1f} cm, {where}'
    return f'{TARGET} NOT lifted ({trial.outcome}: {trial.message}), {where}'


def _report(trials: Sequence[Trial], options: argparse.Namespace, console: Console) -> bool:
    """Write the numbers, print the table, and tell whether enough trials passed."""
    with (options.output / 'grasp.json').open('w') as file:
        json.dump([_plain(trial) for trial in trials], file, indent=1)
    if options.trials == 1:
        console.print(f'pictures: {options.output}/grasp.png, {options.output}/grasp.gif')
        console.print(_sentence(trials[0]) if trials else 'the trial did not end')
        return bool(trials) and trials[0].passed
    rows = Table('trial', 'cap', 'outcome', 'lift cm', 'error mm', 'moved rad', 's', 'passed')
    for i, t in enumerate(trials):
        rows.add_row(
            str(i), str(t.instance) if t.cap else 'none', t.outcome, f'{100 * t.lift:.1f}',
            f'{1000 * t.error:.1f}', f'{t.motion:.3f}', f'{t.seconds:.0f}',
            'yes' if t.passed else 'NO',
        )  # fmt: skip
    console.print(rows)
    n = options.trials
    if options.cap == 'absent':
        passed = sum(t.passed for t in trials)
        console.print(f'{passed} of {n} said "not found" and did not move')
        return passed == n
    lifted, found = sum(t.lifted for t in trials), sum(t.found for t in trials)
    errors = [1000 * t.error for t in trials if math.isfinite(t.error)]
    console.print(
        f'{lifted} of {n} lifted by {100 * LIFTED:.0f} cm or more; '
        f'{found} of {n} found within {1000 * FOUND:.0f} mm'
        + (f', median error {np.median(errors):.1f} mm' if errors else '')
    )
    return min(lifted, found) >= REQUIRED_SHARE * n


def _plain(trial: Trial) -> dict[str, object]:
    """Return a trial as JSON can hold it: null for NaN."""
    values = {**asdict(trial), 'passed': trial.passed}
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in values.items()
    }
