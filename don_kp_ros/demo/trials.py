"""Grasp trials in simulation: teach a point once, move the object, find it, grasp it, lift it.

How it was held is taught then: the object is moved and turned again, and held so by its name.

The whole stack runs in processes of its own; this one is its user and its judge. Success is what
physics says: the object's height after the lift, held for two seconds.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from geometry_msgs.msg import PoseStamped
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape

from don_kp.action import Grasp
from don_kp.srv import GetSceneTruth, TeachGrasp
from don_kp_ros.demo.aims import aimed_at, push_to_free_table, surface_in_view
from don_kp_ros.demo.attempt import LIFTED, Attempt, attempt, turn_between
from don_kp_ros.demo.judge import Judge, StackEndedError, UnansweredError
from don_kp_ros.demo.pictures import Pictures
from don_kp_ros.demo.results import Trial, report, sentence, write
from don_kp_ros.demo.session import judged
from don_kp_ros.geometry import rigid
from don_kp_ros.nodes.kit.conversions import matrix_from_pose, pose_from_matrix
from don_kp_ros.nodes.simulation.parameters import SimulationParameters
from don_kp_ros.resources import shipped_model
from don_kp_ros.simulation.disturbances import ALLOWED
from don_kp_ros.simulation.instances import UNSEEN
from don_kp_ros.simulation.kinds import shape_of
from don_kp_ros.simulation.scene import Layout

Array = NDArray[np.float64]

HOLDABLE = 0.066  # metres: what is wider is not tried, the hand opens 80 mm

_GRASP = 'taught'  # its name
_BASE = 'panda_link0'  # as the simulated robot's frames are named
_USUAL = SimulationParameters()

Say = Callable[[str, str], None]


@dataclass(frozen=True)
class Task:
    """What a trial tries."""

    kind: str = 'cap'
    mode: str = 'both'  # pinch, aligned, or both: pinched, then held as that taught
    others: int = -1  # other objects on the table; negative: one to three
    present: bool = True
    aim: str = 'point'  # of a pinch; one of AIMS
    push: float = 0.0  # metres by which the object is shifted as soon as it was found
    disturbances: Mapping[str, float] = field(default_factory=dict)
    """Parameters of the simulation that come into effect once all is taught."""


@dataclass(frozen=True)
class _Taught:
    """How an object is held, in its true frame, and where that has the frame that was taught."""

    T_object_tcp: Array
    T_object_frame: Array


def run(options: argparse.Namespace) -> int:
    """Run trials, with the options that `don_kp grasp` takes; return the exit status."""
    options.output.mkdir(parents=True, exist_ok=True)
    console = Console(highlight=False)
    console.print('starting simulation, perception, descriptor database and grasp ...')
    trials: list[Trial] = []
    write(trials, options.output)  # in place of what trials before these came to
    model, logs = options.model or shipped_model(), options.output / 'logs'
    try:
        with judged(model, logs, options.real_time_factor, options.domain) as judge:
            console.print(f'on ROS domain {os.environ["ROS_DOMAIN_ID"]} of this machine')
            for i in range(options.trials):
                trials.append(_told(judge, i, options, console))
                write(trials, options.output)
    except (StackEndedError, UnansweredError) as error:
        console.print(f'[red]{escape(str(error))}[/red]\nlogs: {logs}')
    except KeyboardInterrupt:
        if trials:
            report(trials, options, console)
        raise
    return 0 if report(trials, options, console) else 1


def _told(judge: Judge, i: int, options: argparse.Namespace, console: Console) -> Trial:
    """Run one trial, and tell of it on the console."""
    path = options.output / 'grasp'
    if options.trials > 1:
        console.rule(f'trial {i + 1} of {options.trials}')
        path = options.output / 'trials' / f'{i:02d}'
        path.parent.mkdir(exist_ok=True)
    started = time.monotonic()

    def say(phase: str, detail: str) -> None:
        console.print(f'  {time.monotonic() - started:5.1f} s  [bold]{phase:9}[/bold] {detail}')

    once = options.teach == 'once'
    mode = 'pinch' if once else options.mode
    task = Task(options.object, mode, options.others, options.cap == 'present')
    pictures = Pictures(judge, path)
    trial = run_trial(judge, task, 1000 * options.seed + i, pictures, say, i == 0 or not once)
    if options.trials > 1:
        console.print(sentence(trial))
    return trial


def unseen(kind: str, rng: np.random.Generator) -> int:
    """Draw an object that is in no training picture, and that the hand can hold."""
    while True:
        instance = int(rng.choice(UNSEEN))
        if shape_of(kind, instance).grip_width <= HOLDABLE:
            return instance


def run_trial(
    judge: Judge, task: Task, seed: int, pictures: Pictures, say: Say, teach: bool = True
) -> Trial:
    """Run one trial; what does not answer makes it a failed one."""
    started = time.monotonic()
    rng = np.random.default_rng([seed, 0x72A1])
    looks = int(rng.integers(2**62))
    one = _One(judge, task, looks, unseen(task.kind, rng), say)
    pinched, aligned, failure = None, None, ''

    def on_phase(phase: str, detail: str) -> None:
        say(phase, detail)
        if phase == 'plan':
            pictures.save_view()

    try:
        judge.disturb({name: getattr(_USUAL, name) for name in (*ALLOWED, *task.disturbances)})
        taught = one.teach() if teach else None
        judge.disturb(task.disturbances)
        before = one.lay_out(1)
        gone = '' if task.present else 'the object is gone'
        anew = f'{task.kind} {one.instance}, another table'
        say('move', gone or (f'the {task.kind} lies elsewhere, turned' if teach else anew))
        pictures.record()
        if taught is not None:
            aligned = one.hold(taught, before, on_phase)
        else:
            lies = one.look() if task.mode == 'both' and task.present else None
            pinched, result = one.pinch(before, on_phase)
            if lies is not None and pinched.lift >= LIFTED:
                aligned = one.hold_as_pinched(lies, before, result)
    except UnansweredError as error:
        failure = str(error)
    pictures.save()
    return Trial(
        seed=seed,
        kind=task.kind,
        instance=one.instance,
        present=task.present,
        seconds=time.monotonic() - started,
        pinch=pinched,
        aligned=aligned,
        failure=failure,
    )


class _One:
    """The steps of a trial with one object."""

    def __init__(self, judge: Judge, task: Task, looks: int, instance: int, say: Say) -> None:
        self._judge, self._task, self._looks, self._say = judge, task, looks, say
        self.instance = instance
        self._shape = shape_of(task.kind, instance)
        self._target = f'{task.kind}/{next(iter(self._shape.points))}'

    def lay_out(self, placement: int) -> GetSceneTruth.Response:
        """Lay out the table anew; at placement 0 the object is always there."""
        task = self._task
        absent = placement > 0 and not task.present
        self._judge.reset(
            self._looks, placement, self.instance, absent, kind=task.kind, others=task.others
        )
        return self._judge.truth()

    def teach(self) -> _Taught | None:
        """Teach the point, and the object; in mode `aligned`, also how its kind is held."""
        judge, kind = self._judge, self._task.kind
        truth = self.lay_out(0)
        u, v = round(truth.point_u), round(truth.point_v)
        judge.store(self._target, u, v)
        self._say('store', f'{self._target} at pixel ({u}, {v}) of {kind} {self.instance}')
        if self._task.mode == 'pinch' or not self._task.present:
            return None
        judge.teach_object(kind, u, v)
        if self._task.mode == 'both':
            return None
        T_base_tcp = matrix_from_pose(truth.object) @ self._shape.grip
        return self._teach_grasp(self.look(), truth, T_base_tcp, self._shape.grip_width)

    def look(self) -> TeachGrasp.Response:
        """Look where the object lies; the answer says why that is not known."""
        request = TeachGrasp.Request(by=TeachGrasp.Request.LOOK, object=self._task.kind)
        try:
            return self._judge.teach_grasp(request)
        except UnansweredError as failure:
            return TeachGrasp.Response(message=str(failure))

    def pinch(self, before: GetSceneTruth.Response, on_phase: Say) -> tuple[Attempt, Grasp.Result]:
        """Pinch it at the point."""
        goal = self._pinch_goal()

        def point(truth: GetSceneTruth.Response) -> Array:
            return np.array([truth.point.x, truth.point.y, truth.point.z])

        told, result, _ = attempt(self._judge, goal, point, on_phase, self._push(before))
        return told, result

    def _pinch_goal(self) -> Grasp.Goal:
        task, goal = self._task, Grasp.Goal(mode=Grasp.Goal.PINCH)
        if task.aim == 'point':
            goal.target = self._target
        elif task.aim == 'preferred':
            goal.target = f'{task.kind}/*'
        else:
            others = None if task.others < 0 else task.others
            layout = Layout.draw(self._looks, self.instance, 1, True, others, task.kind)
            rng = np.random.default_rng([self._looks, 0xA13])
            place = aimed_at(task.aim, surface_in_view(layout), rng)
            goal.pose.header.frame_id = _BASE
            goal.pose.pose = pose_from_matrix(rigid.transform(translation=place))
        return goal

    def _push(self, before: GetSceneTruth.Response) -> Array | None:
        if not self._task.push:
            return None
        centre, *others = ([one.x, one.y, one.z] for one in (before.centre, *before.others))
        rng = np.random.default_rng([self._looks, 0xB05])
        return push_to_free_table(centre, np.array(others), self._task.push, rng)

    def hold_as_pinched(
        self, lies: TeachGrasp.Response, truth: GetSceneTruth.Response, pinched: Grasp.Result
    ) -> Attempt:
        """Teach how it was pinched where it lay, put it elsewhere, and hold it so."""
        T_base_tcp = matrix_from_pose(pinched.grasp_pose.pose)
        try:
            taught = self._teach_grasp(lies, truth, T_base_tcp, pinched.width)
            self._judge.grasp(Grasp.Goal(mode=Grasp.Goal.RELEASE), self._say)
            before = self.lay_out(2)
            self._say('move', f'the {self._task.kind} lies elsewhere, turned again')
            return self.hold(taught, before, self._say)
        except UnansweredError as failure:
            return Attempt('unanswered', str(failure))

    def hold(self, taught: _Taught, before: GetSceneTruth.Response, on_phase: Say) -> Attempt:
        """Hold it as was taught."""
        goal = Grasp.Goal(target=self._task.kind, mode=Grasp.Goal.ALIGNED)

        def origin(truth: GetSceneTruth.Response) -> Array:
            return np.asarray((matrix_from_pose(truth.object) @ taught.T_object_frame)[:3, 3])

        told, _, truth = attempt(self._judge, goal, origin, on_phase, self._push(before))
        if told.grasp is None:
            return told
        held = matrix_from_pose(truth.object)[:3, :3].T @ np.array(told.grasp)[:3, 1]
        axis = taught.T_object_tcp[:3, 1]
        return replace(told, turn=turn_between(axis, held, self._shape.round))

    def _teach_grasp(
        self,
        lies: TeachGrasp.Response,
        truth: GetSceneTruth.Response,
        T_base_tcp: Array,
        width: float,
    ) -> _Taught:
        """Teach a grasp by numbers; raises UnansweredError, also where it is not known to lie."""
        if not lies.success:
            raise UnansweredError(lies.message)
        where = lies.object_pose
        self._judge.teach_grasp(
            TeachGrasp.Request(
                by=TeachGrasp.Request.POSE,
                object=self._task.kind,
                name=_GRASP,
                replace=True,
                object_pose=where,
                pose=PoseStamped(header=where.header, pose=pose_from_matrix(T_base_tcp)),
                width=width,
            )
        )
        self._say('teach', f'how the {self._task.kind} is held')
        T_object_world = rigid.inverse(matrix_from_pose(truth.object))
        T_object_frame = T_object_world @ matrix_from_pose(where.pose)
        return _Taught(T_object_world @ T_base_tcp, T_object_frame)
