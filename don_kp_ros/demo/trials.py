"""Grasp trials in simulation: teach a point once, move the object, find it, grasp it, lift it.

How it was held is taught then: the object is moved and turned again, and held so by its name.

The whole stack runs in processes of its own; this one is its user and its judge. Success is what
physics says: the cap's height after the lift, held for two seconds.
"""

from __future__ import annotations

import argparse
import math
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import rclpy
from rclpy.signals import SignalHandlerOptions
from rich.console import Console
from rich.markup import escape

from don_kp.action import Grasp
from don_kp.srv import GetSceneTruth, TeachGrasp
from don_kp_ros.bringup import description
from don_kp_ros.bringup.domain import free_domain
from don_kp_ros.bringup.processes import Bringup
from don_kp_ros.demo.judge import Judge, StackEndedError, UnansweredError
from don_kp_ros.demo.pictures import Pictures
from don_kp_ros.demo.results import LIFTED, OBJECT, TARGET, Aligned, Trial, report, sentence
from don_kp_ros.nodes.kit.conversions import matrix_from_pose
from don_kp_ros.simulation.instances import UNSEEN

HOLD_SECONDS = 2.0
CODE_NAMES = {
    getattr(Grasp.Result, name): name.lower().replace('_', ' ')
    for name in (
        'SUCCEEDED', 'INVALID_GOAL', 'UNKNOWN_TARGET', 'NOT_FOUND', 'STALE_DATA', 'NO_GRASP',
        'UNREACHABLE', 'MOTION_FAILED', 'EMPTY_GRIPPER', 'CANCELLED', 'FAULT',
        'NOT_ENABLED', 'NOT_TAUGHT', 'UNCERTAIN', 'OUTSIDE', 'MOVED', 'NEEDS_RECOVERY',
        'OCCUPIED', 'NOTHING_HELD',
    )
}  # fmt: skip


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
    return 0 if report(trials, options, console) else 1


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
                trial = _trial(judge, seed, teach, options, path, console)
                trials.append(trial)
                if options.trials > 1:
                    console.print(sentence(trial))
        except (StackEndedError, UnansweredError) as error:
            console.print(f'[red]{escape(str(error))}[/red]\nlogs: {options.output}/logs')
        finally:
            judge.close()
            rclpy.try_shutdown()
    return trials


def _trial(
    judge: Judge,
    seed: int,
    teach: bool,
    options: argparse.Namespace,
    path: Path,
    console: Console,
) -> Trial:
    """Run one trial; what does not answer makes it a failed one."""
    rng = np.random.default_rng([seed, 0x72A1])
    looks = int(rng.integers(2**62))
    instance = int(rng.choice(UNSEEN))
    started = time.monotonic()
    outcome, message, lift, error, motion = 'unanswered', '', math.nan, math.nan, math.nan
    with_cap, aligned = options.cap == 'present', None
    both = options.mode == 'both' and with_cap and options.teach == 'each'
    pictures = Pictures(judge, path)

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
            if both:
                judge.teach_object(OBJECT, u, v)
            say('store', f'{TARGET} at pixel ({u}, {v}) of cap {instance}')
        judge.reset(looks, 1, instance, without_cap=not with_cap)
        where = 'the cap lies elsewhere, turned' if teach else f'cap {instance}, another table'
        say('move', where if with_cap else 'the cap is gone')
        before = judge.truth()
        pictures.record()
        lies = _where(judge) if both else None
        goal = Grasp.Goal(target=TARGET, mode=Grasp.Goal.PINCH)
        result, lift = _judged(judge, goal, on_phase)
        outcome, message = CODE_NAMES[result.code], result.message
        if with_cap:
            found, true = result.point.point, before.brim
            error = math.dist((found.x, found.y, found.z), (true.x, true.y, true.z))
        motion = judge.motion
        if lies is not None and lift >= LIFTED:
            aligned = _as_taught(judge, (looks, 2, instance), lies, before, result, say, on_phase)
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
        motion=motion,
        seconds=time.monotonic() - started,
        aligned=aligned,
    )


def _judged(
    judge: Judge, goal: Grasp.Goal, on_phase: Callable[[str, str], None]
) -> tuple[Grasp.Result, float]:
    """Send a goal; return its result, and the least height over what it was while it is held."""
    before = judge.truth()
    lowest = before.cap_height

    def watch() -> None:
        nonlocal lowest
        lowest = judge.watch_height(HOLD_SECONDS)

    result = judge.grasp(goal, on_phase, while_held=watch)
    return result, lowest - before.cap_height if before.has_cap else math.nan


def _where(judge: Judge) -> TeachGrasp.Response:
    """Look where the cap lies; the answer says why that is not known."""
    try:
        return judge.teach_grasp(TeachGrasp.Request(by=TeachGrasp.Request.LOOK, object=OBJECT))
    except UnansweredError as failure:
        return TeachGrasp.Response(message=str(failure))


def _as_taught(
    judge: Judge,
    layout: tuple[int, int, int],
    lies: TeachGrasp.Response,
    truth: GetSceneTruth.Response,
    pinched: Grasp.Result,
    say: Callable[[str, str], None],
    on_phase: Callable[[str, str], None],
) -> Aligned:
    """Teach how the cap was pinched where it lay, move it to a layout, and hold it so."""
    if not lies.success:
        return Aligned('unanswered', lies.message)
    try:
        judge.teach_grasp(
            TeachGrasp.Request(
                by=TeachGrasp.Request.POSE,
                object=OBJECT,
                name='brim',
                object_pose=lies.object_pose,
                pose=pinched.grasp_pose,
                width=pinched.width,
            )
        )
        say('teach', f'how the {OBJECT} was held')
        judge.grasp(Grasp.Goal(mode=Grasp.Goal.RELEASE), on_phase)
        judge.reset(*layout)
        say('move', 'the cap lies elsewhere, turned again')
        before = judge.truth()
        goal = Grasp.Goal(target=OBJECT, mode=Grasp.Goal.ALIGNED)
        result, lift = _judged(judge, goal, on_phase)
    except UnansweredError as failure:
        return Aligned('unanswered', str(failure))
    taught, held = (
        matrix_from_pose(where.cap)[:3, :3].T @ matrix_from_pose(grasp.grasp_pose.pose)[:3, 1]
        for where, grasp in ((truth, pinched), (before, result))
    )
    turn = math.acos(min(1.0, abs(float(taught @ held))))
    planned = result.grasp_pose.header.frame_id
    return Aligned(CODE_NAMES[result.code], result.message, lift, turn if planned else math.nan)
