"""Where the grasp node takes taught objects to be; observers of these tests say what is seen."""

from __future__ import annotations

from array import array
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import Vector3

from don_kp.action import Grasp
from don_kp.msg import ObjectPose, ObjectPoses, TaughtObject
from don_kp_ros.geometry import rigid
from don_kp_ros.nodes.grasp.objects import TaughtObjects, round_axes
from don_kp_ros.nodes.grasp.observer import GoalRefusedError, LookParameters
from don_kp_ros.nodes.grasp.targets import ObjectTarget
from don_kp_ros.nodes.kit.conversions import pose_from_matrix

LOOK = LookParameters(1.0, 5.0, 3, 0.015, 0.15)
MODEL = 'a model'
SURE = np.diag([1e-6] * 3 + [1e-4] * 3)


def wall(handle: bool) -> np.ndarray:
    """Points of the wall of a can, upright, and three of a handle."""
    height, angle = np.meshgrid(np.linspace(-0.04, 0.04, 6), np.arange(10) * np.pi / 5)
    radius = np.full(height.size, 0.03)
    points = np.column_stack(
        [radius * np.cos(angle.ravel()), radius * np.sin(angle.ravel()), height.ravel()]
    )
    out = [[0.052, 0.0, z] for z in (-0.01, 0.0, 0.01)]
    return np.concatenate([points, out]) if handle else points


class Observer:
    """Stands for what asks the database and perception; says what a test tells it to."""

    def __init__(self, points: np.ndarray, *poses: ObjectPose) -> None:
        self.taught = TaughtObject(name='can', model=MODEL, points=array('f', points.ravel()))
        self.shown = [[one] for one in poses]  # in each image

    def answer(self, *_: Any) -> Any:
        return SimpleNamespace(objects=[self.taught])

    def hear(self, *_: Any) -> Any:
        return [ObjectPoses(model=MODEL, objects=some) for some in self.shown], 0.0

    def pose_of(self, *_: Any) -> np.ndarray:
        return np.eye(4)

    def points_of(self, *_: Any) -> np.ndarray:
        return np.zeros((0, 3))


def seen(yaw: float = 0.0, **fields: Any) -> ObjectPose:
    pose = ObjectPose(name='can', **fields)
    pose.pose.pose = pose_from_matrix(rigid.transform(rigid.rotation_about([0, 0, 1], yaw)))
    pose.pose.covariance = SURE.ravel()
    return pose


def turned(*axis: float) -> ObjectPose:
    """Make a pose that is told to fit as well if it is turned about an axis."""
    return seen(ambiguous=True, symmetry=Vector3(**dict(zip('xyz', axis, strict=True))))


def look(peer: Any, handle: bool, *poses: ObjectPose) -> Any:
    objects = TaughtObjects(peer.node, Observer(wall(handle), *poses), LOOK)  # type: ignore[arg-type]
    return objects.look_for('can', round_about=round_axes(objects.known('can'))).located


def test_a_round_object_is_known_well_enough_whatever_its_print_tells(peer: Any) -> None:
    about = turned(0.0, 0.02, 0.9998)
    located = look(peer, False, about, about, about)
    assert not located.ambiguous
    assert located.symmetry.order == 0  # any turn will do
    sure = look(peer, False, seen(0.0), seen(0.5), about)
    assert sure.symmetry is None  # the one in their middle tells its turn


@pytest.mark.parametrize(
    ('handle', 'axis'),
    [(True, (0.0, 0.0, 1.0)), (False, (1.0, 0.0, 0.0)), (False, (0.0, 0.0, 0.0))],
)
def test_what_may_be_turned_otherwise_than_it_is_round_is_refused(
    peer: Any, handle: bool, axis: tuple[float, float, float]
) -> None:
    """A mug whose handle is not seen, or a can that may lie on its head."""
    with pytest.raises(GoalRefusedError, match='can is ambiguous') as caught:
        look(peer, handle, *[turned(*axis)] * 3)
    assert caught.value.code == Grasp.Result.UNCERTAIN


def test_of_two_such_objects_the_one_that_was_seen_is_looked_at_whichever_is_surer(
    peer: Any,
) -> None:
    one, other = seen(), seen()
    other.pose.pose.position.x = 0.3
    observer = Observer(wall(False), one)
    objects: Any = TaughtObjects(peer.node, observer, LOOK)  # type: ignore[arg-type]
    can = ObjectTarget('can', objects, {}, None, LOOK)  # type: ignore[arg-type]
    observer.shown = [[one, other], [one, other], [other, one]]
    first = can.look()
    observer.shown = [[other, one]]
    second = can.look(1)
    assert not can.moved(first, np.eye(4), second)
    assert can.combined(first, second).found.T_base_object[0, 3] < 0.01
    observer.shown = [[other]]  # alone, it has moved
    assert can.moved(first, np.eye(4), can.look(1)) == 'can moved by 300 mm'


def test_turns_from_image_to_image_count_for_what_is_not_round(peer: Any) -> None:
    turns = [seen(0.0), seen(0.5), seen(1.0)]
    assert look(peer, False, *turns).symmetry is None
    with pytest.raises(GoalRefusedError, match='from image to image'):
        look(peer, True, *turns)


def test_what_is_not_to_be_held_is_known_with_its_turn(peer: Any) -> None:
    """At a round tray something is put down as the tray is turned."""
    objects = TaughtObjects(peer.node, Observer(wall(False), *[turned(0.0, 0.0, 1.0)] * 3), LOOK)  # type: ignore[arg-type]
    look(peer, False, turned(0.0, 0.0, 1.0))
    with pytest.raises(GoalRefusedError, match='can is ambiguous'):
        objects.look_for('can')
