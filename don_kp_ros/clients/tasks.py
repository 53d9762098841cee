"""What the commands ask the running stack, and how they tell the answer."""

from __future__ import annotations

import argparse
import math
import select
import sys
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from rich.console import Console
from rich.text import Text

from don_kp.action import Grasp
from don_kp.msg import Match, Matches
from don_kp.srv import ListDescriptors, StoreDescriptor, StoreMesh, TeachGrasp, TeachObject
from don_kp_ros.clients.goals import Goals
from don_kp_ros.clients.stack import PATIENCE_S, TEACHING_S, Stack
from don_kp_ros.database.display import grid
from don_kp_ros.database.text import shortened
from don_kp_ros.errors import RefusedError, did_you_mean
from don_kp_ros.meshes.units import UNITS
from don_kp_ros.nodes.kit.graph import two_publishers

_MATCHES = 'don_kp/matches'
_PLACING_S = 90.0  # a mesh is placed within seconds, on a machine that is not busy
_LOOKS_S = 2.0  # one image may lack depth, or be older than what was stored just now


def run(arguments: argparse.Namespace, stack: Stack) -> int:
    """Run a command, with the arguments that `command` reads; return the exit status.

    Raises RefusedError.
    """
    return _TASKS[arguments.command](arguments, stack)


def _store(arguments: argparse.Namespace, stack: Stack) -> int:
    request = StoreDescriptor.Request(
        name=arguments.name,
        u=arguments.u,
        v=arguments.v,
        replace=arguments.replace,
        add=arguments.add,
    )
    print(stack.ask(StoreDescriptor, 'store_descriptor', request).message)
    return 0


def _teach(arguments: argparse.Namespace, stack: Stack) -> int:
    return _TEACH[arguments.kind](arguments, stack)


def _teach_object(arguments: argparse.Namespace, stack: Stack) -> int:
    given = {name: getattr(arguments, name) for name in ('name', 'u', 'v', 'replace', 'add')}
    request = TeachObject.Request(**given)
    print(stack.ask(TeachObject, 'teach_object', request, TEACHING_S).message)
    return 0


def _teach_grasp(arguments: argparse.Namespace, stack: Stack) -> int:
    request = TeachGrasp.Request(
        object=arguments.object, name=arguments.name, replace=arguments.replace
    )
    if arguments.pixels:
        request.by = request.PIXELS
        request.u, request.v = arguments.pixels[::2], arguments.pixels[1::2]
    elif arguments.pose:
        request.by = request.POSE
        position, orientation = request.pose.pose.position, request.pose.pose.orientation
        position.x, position.y, position.z = arguments.pose[:3]
        orientation.x, orientation.y, orientation.z, orientation.w = arguments.pose[3:7]
        request.width = arguments.pose[7]
    else:
        request.by = request.LOOK
        seen = stack.ask(TeachGrasp, 'teach_grasp', request, TEACHING_S)
        print(f'{seen.message}. Leave it there, bring the hand to the grasp, close the fingers,')
        print('then press Enter.', flush=True)
        stack.wait(lambda: select.select([sys.stdin], [], [], 0)[0], math.inf)
        if not sys.stdin.readline():
            raise RefusedError('the input has ended; nothing was taught')
        request.by, request.object_pose = request.HAND, seen.object_pose
    print(stack.ask(TeachGrasp, 'teach_grasp', request, TEACHING_S).message)
    return 0


def _teach_mesh(arguments: argparse.Namespace, stack: Stack) -> int:
    # Only now: trimesh takes a second to import.
    from don_kp_ros.meshes.packing import FORMAT, packed
    from don_kp_ros.meshes.reading import read

    mesh = read(arguments.file).in_metres(UNITS[arguments.unit])
    request = StoreMesh.Request(
        object=arguments.object, replace=arguments.replace, format=FORMAT, data=packed(mesh)
    )
    if arguments.pose:
        request.placed = True
        position, orientation = request.pose.position, request.pose.orientation
        position.x, position.y, position.z = arguments.pose[:3]
        orientation.x, orientation.y, orientation.z, orientation.w = arguments.pose[3:]
    print(stack.ask(StoreMesh, 'store_mesh', request, _PLACING_S).message)
    return 0


def _list(arguments: argparse.Namespace, stack: Stack) -> int:
    laid = grid('name', 'object', 'tags', 'observations', 'updated, UTC', 'model')
    request = ListDescriptors.Request(prefix=arguments.prefix, limit=1000)
    while True:
        page = stack.ask(ListDescriptors, 'list_descriptors', request)
        for one, known in zip(page.descriptors, page.details, strict=True):
            updated = datetime.fromtimestamp(known.updated.sec, timezone.utc)
            texts = one.name, known.object, ', '.join(known.tags), str(known.observations)
            # As Text, because names may look like markup.
            laid.add_row(*map(Text, texts), f'{updated:%Y-%m-%d %H:%M}', shortened(one.model))
        request.after = page.next
        if not page.next:
            break
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=160)
    console.print(laid)
    if laid.row_count < page.total:
        print(f'{page.total - laid.row_count} are damaged and left out: see don_kp db doctor')
    return 0


def _where(arguments: argparse.Namespace, stack: Stack) -> int:
    heard: list[Matches] = []
    topic = stack.node.create_subscription(Matches, _MATCHES, heard.append, 10).topic_name
    if not stack.wait(lambda: heard):
        if stack.node.count_publishers(topic) == 0:
            raise stack.missing(topic)
        raise RefusedError(f'nothing came on {topic} for {PATIENCE_S:g} s; does the camera run?')
    if several := two_publishers(stack.node, topic):
        raise RefusedError(str(several))

    def sought() -> list[Match]:
        return [match for match in heard[-1].matches if match.name == arguments.name]

    stack.wait(lambda: any(match.found for match in sought()), _LOOKS_S)
    last = heard[-1]
    if last.reason:
        raise RefusedError(f'the image cannot be searched: {last.reason}')
    if not sought():
        raise RefusedError(
            f'{arguments.name} is not stored for the model that runs; don_kp list shows what is'
            f'{did_you_mean(arguments.name, [match.name for match in last.matches])}'
        )
    match = sought()[0]  # its best place
    p = match.position
    print(
        f'{match.name}: pixel ({match.u:.0f}, {match.v:.0f}), score {match.score:.3f}, '
        f'({p.x:.3f}, {p.y:.3f}, {p.z:.3f}) m in {last.header.frame_id}'
    )
    if not match.found:
        raise RefusedError(f'not found: {match.reason}')
    return 0


def _pick(arguments: argparse.Namespace, stack: Stack) -> int:
    mode = Grasp.Goal.ALIGNED if arguments.aligned else Grasp.Goal.PINCH
    goal = Grasp.Goal(target=arguments.name, mode=mode)
    if arguments.place:
        goal.next = Grasp.Goal.PLACE
        position, turn = goal.place.pose.position, goal.place.pose.orientation
        position.x, position.y, position.z, degrees = [*arguments.place, 0.0][:4]
        turn.z, turn.w = math.sin(math.radians(degrees) / 2), math.cos(math.radians(degrees) / 2)
    elif arguments.place_at is not None:
        goal.next, goal.place_at = Grasp.Goal.PLACE, arguments.place_at
    elif arguments.release:
        goal.next = Grasp.Goal.RELEASE
    return _grasp(goal, stack)


def _release(arguments: argparse.Namespace, stack: Stack) -> int:
    return _grasp(Grasp.Goal(mode=Grasp.Goal.RELEASE), stack)


def _grasp(goal: Grasp.Goal, stack: Stack) -> int:
    """Send a goal; return the exit status once it has ended."""
    result, interrupted = Goals(stack).run(goal, _tell)
    if not result.success:
        print(f'not done: {result.message}', file=sys.stderr)
        return 130 if interrupted else 1
    print(result.message)
    return 0


def _tell(message: Any) -> None:
    print(f'{message.feedback.phase:9} {message.feedback.detail}', flush=True)


_TEACH: dict[str, Callable[[argparse.Namespace, Stack], int]] = {
    'object': _teach_object,
    'mesh': _teach_mesh,
    'grasp': _teach_grasp,
}
_TASKS: dict[str, Callable[[argparse.Namespace, Stack], int]] = {
    'store': _store,
    'teach': _teach,
    'list': _list,
    'where': _where,
    'pick': _pick,
    'release': _release,
}
