"""What the grasp node sees, of a perception that the test plays."""

from __future__ import annotations

import re
import threading
from array import array
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from rclpy.node import Node
from waiting import wait_until

from don_kp.action import Grasp
from don_kp.msg import Match, Matches
from don_kp.srv import Describe, Preference, Scene, Transform
from don_kp_ros.geometry import rigid
from don_kp_ros.motion.port import MotionCode, MotionError
from don_kp_ros.nodes.grasp import observer as observing
from don_kp_ros.nodes.grasp.observer import GoalRefusedError, LookParameters, Observer
from don_kp_ros.nodes.grasp.points import StoredPoints
from don_kp_ros.nodes.kit.conversions import (
    cloud_message,
    point_message,
    seconds_from_stamp,
    transform_from_matrix,
)
from don_kp_ros.nodes.kit.graph import two_publishers

T_BASE_CAMERA = rigid.transform(np.diag([1.0, -1.0, -1.0]), [0.5, 0.0, 0.6])
SEEN = np.array([0.1, 0.05, 0.5])  # in the camera's frame
LOOK = LookParameters(1.0, 5.0, 3, 0.015)
CLOUD = np.array([[0.5, 0.0, 0.1], [0.6, 0.1, 0.0]])


class Perception(Node):
    """Plays perception: publishes matches, and answers for scenes and transforms."""

    def __init__(self, context: object) -> None:
        super().__init__('perception', context=context)
        self.position: Callable[[int], np.ndarray] = lambda _: SEEN
        self.found: Callable[[int], bool] = lambda _: True
        self.name, self.silent = 'cap/brim', False
        self.lost: Callable[[float], bool] = lambda _: False
        self.number = 0
        self.second: Callable[[int], np.ndarray] | None = None  # where such a point is, too
        self.scenes: list[float] = []
        self.connected, self.refused = True, 0  # whether transforms are known; answers that refuse
        self._matches = self.create_publisher(Matches, 'don_kp/matches', 10)
        self.preferred: list[tuple[np.ndarray, float]] = []
        self.preference = self.create_service(
            Preference, 'perception/preference', self._on_preference
        )
        self.create_service(Scene, 'perception/scene', self._on_scene)
        self.create_service(Transform, 'perception/transform', self._on_transform)
        self.create_timer(0.05, self._look)

    def _look(self) -> None:
        if self.silent:
            return
        self.number += 1
        # Who changes what is seen meanwhile gets it with a stamp before the change.
        stamp = self.get_clock().now().to_msg()
        match = Match(name=self.name, found=self.found(self.number), reason='best score 0.4')
        match.position = point_message(self.position(self.number))
        message = Matches(matches=[match])
        if self.second is not None:
            match = Match(name=self.name, found=True, instance=1)
            match.position = point_message(self.second(self.number))
            message.matches.append(match)
        message.header.frame_id = 'camera'
        message.header.stamp = stamp
        self._matches.publish(message)

    def _on_scene(self, request: Scene.Request, response: Scene.Response) -> Scene.Response:
        stamp = seconds_from_stamp(request.stamp)
        self.scenes.append(stamp)
        response.success = not self.lost(stamp)
        response.message = '' if response.success else 'no depth image of that moment has come'
        self.refused += not response.success
        response.cloud = cloud_message(CLOUD, request.stamp, request.frame)
        return response

    def _on_preference(
        self, request: Preference.Request, response: Preference.Response
    ) -> Preference.Response:
        assert request.object == 'cap'
        response.header.stamp, response.header.frame_id = request.stamp, 'camera'
        response.positions = [point_message(place) for place, _ in self.preferred]
        response.values = array('f', [value for _, value in self.preferred])
        response.success, response.message = bool(self.preferred), 'fingers fit nowhere'
        return response

    def on_describe(self, _: Describe.Request, response: Describe.Response) -> Describe.Response:
        response.success = True
        return response

    def _on_transform(
        self, request: Transform.Request, response: Transform.Response
    ) -> Transform.Response:
        assert (request.target, request.source) == ('base', 'camera')
        response.transform, response.success = transform_from_matrix(T_BASE_CAMERA), self.connected
        response.message = '' if self.connected else 'no transform connects camera to base'
        self.refused += not self.connected
        return response


@pytest.fixture
def perception(context: object, spun: Callable) -> Iterator[Perception]:
    """Give what the observer asks."""
    made = Perception(context)
    with spun(made):
        yield made


@pytest.fixture
def cancelled() -> threading.Event:
    """Give what a cancellation sets."""
    return threading.Event()


@pytest.fixture
def observer(
    context: object, spun: Callable, perception: Perception, cancelled: threading.Event
) -> Iterator[Observer]:
    """Give an observer that has met perception."""
    node = Node('grasp', context=context)
    made = Observer(node, 'base', LOOK, cancelled)
    with spun(node):
        for client in (made._scene, made._transform):
            assert client._client.wait_for_service(60.0)
        yield made


@pytest.fixture
def points(observer: Observer) -> StoredPoints:
    """Give what looks for stored points by an observer that has met perception."""
    made = StoredPoints(observer._node, observer, LOOK)
    assert made._preference._client.wait_for_service(60.0)
    return made


def refusal(call: Callable[[], object]) -> GoalRefusedError:
    with pytest.raises(GoalRefusedError) as caught:
        call()
    return caught.value


def test_a_point_is_the_median_of_several_looks_in_the_base_frame(
    points: StoredPoints, perception: Perception
) -> None:
    perception.position = lambda k: SEEN + [0.003 * (k % 3), 0.0, 0.0]
    target, about = points.look_for('cap/brim')
    assert target == pytest.approx(rigid.apply(T_BASE_CAMERA, SEEN + [0.003, 0.0, 0.0]))
    assert about == pytest.approx(CLOUD)


def test_of_two_such_points_one_is_meant_whichever_looks_better_from_image_to_image(
    points: StoredPoints, perception: Perception
) -> None:
    places = [SEEN, SEEN + [0.3, 0.0, 0.0]]
    perception.position = lambda k: places[k % 2]
    perception.second = lambda k: places[1 - k % 2]
    for place in rigid.apply(T_BASE_CAMERA, places):
        for images in (1, 2, 3):
            target, _ = points.look_for('cap/brim', images, place + [0.1, 0.0, 0.0])
            assert target == pytest.approx(place)
    target, _ = points.look_for('cap/brim')
    assert np.abs(rigid.apply(T_BASE_CAMERA, places) - target).sum(axis=1).min() < 1e-9


def test_of_a_lost_depth_image_the_one_before_serves(
    points: StoredPoints, perception: Perception
) -> None:
    perception.lost = lambda stamp: stamp == max(perception.scenes)
    target, about = points.look_for('cap/brim')
    assert target == pytest.approx(rigid.apply(T_BASE_CAMERA, SEEN))
    assert about == pytest.approx(CLOUD)
    assert perception.scenes == sorted(perception.scenes, reverse=True)
    assert len(set(perception.scenes)) == 2


def test_what_is_not_there_is_refused_with_its_reason(
    points: StoredPoints, perception: Perception, cancelled: threading.Event
) -> None:
    unknown = refusal(lambda: points.look_for('cup/rim'))
    assert unknown.code == Grasp.Result.UNKNOWN_TARGET
    assert "'cup/rim'" in str(unknown) and 'stored are: cap/brim' in str(unknown)

    perception.found = lambda k: k % 3 == 0
    missed = refusal(lambda: points.look_for('cap/brim'))
    assert missed.code == Grasp.Result.NOT_FOUND
    assert 'not found in 2 of 3 images: best score 0.4' in str(missed)

    perception.found = lambda _: True
    perception.position = lambda k: SEEN + [0.03 * (k % 3), 0.0, 0.0]
    moving = refusal(lambda: points.look_for('cap/brim'))
    assert moving.code == Grasp.Result.NOT_FOUND
    assert 'moves by 30 mm' in str(moving)

    perception.position, perception.lost = (lambda _: SEEN), (lambda _: True)
    blind = refusal(lambda: points.look_for('cap/brim'))
    assert blind.code == Grasp.Result.STALE_DATA
    assert 'no depth image of that moment' in str(blind)

    perception.silent = True
    silent = refusal(lambda: points.look_for('cap/brim'))
    assert silent.code == Grasp.Result.STALE_DATA
    assert '0 of 3 images' in str(silent) and 'is the camera running' in str(silent)

    cancelled.set()
    with pytest.raises(MotionError) as caught:
        points.look_for('cap/brim')
    assert caught.value.code is MotionCode.CANCELLED


def test_pictures_that_come_too_slowly_are_told_with_the_parameters(
    observer: Observer, points: StoredPoints, perception: Perception
) -> None:
    perception.create_service(Describe, 'perception/describe', perception.on_describe)
    assert observer._describe._client.wait_for_service(60.0)
    observer._parameters = LookParameters(1.0, 0.5, 1000, 0.015)
    slow = refusal(lambda: points.look_for('cap/brim'))
    assert slow.code == Grasp.Result.STALE_DATA
    assert re.search('of 1000 images .* too slowly: raise look_timeout and max_age', str(slow))
    assert 'is the camera running' not in str(slow)


def test_a_look_during_which_time_is_set_back_is_refused_as_such(
    observer: Observer, points: StoredPoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, calls = observer._time.now, iter([0.0])
    monkeypatch.setattr(observer._time, 'now', lambda: now() - next(calls, 100.0))
    refused = refusal(lambda: points.look_for('cap/brim'))
    assert refused.code == Grasp.Result.STALE_DATA
    assert 'time was set back by' in str(refused) and 'send the goal again' in str(refused)


@pytest.mark.parametrize(
    'ask',
    [
        lambda observer: observer.pose_of('camera', Time(), observer.now() + LOOK.timeout),
        lambda observer: observer.newest_points(),
    ],
    ids=['transform', 'depth'],
)
def test_a_wait_during_which_time_is_set_back_is_refused_as_such(
    observer: Observer,
    perception: Perception,
    monkeypatch: pytest.MonkeyPatch,
    ask: Callable[[Observer], object],
) -> None:
    perception.connected, perception.lost = False, lambda _: True
    now = observer._time.now
    monkeypatch.setattr(observer._time, 'now', lambda: now() - 20.0 * (perception.refused > 1))
    refused = refusal(lambda: ask(observer))
    assert refused.code == Grasp.Result.STALE_DATA
    assert 'time was set back by' in str(refused) and 'send the goal again' in str(refused)


def test_matches_of_two_perceptions_are_refused_by_their_names(
    points: StoredPoints, perception: Perception
) -> None:
    other = Node('perception', context=perception.context, namespace='robot2')
    other.create_publisher(Matches, '/don_kp/matches', 10)
    refused = refusal(lambda: points.look_for('cap/brim'))
    assert refused.code == Grasp.Result.STALE_DATA
    assert 'publish /don_kp/matches: /perception and /robot2/perception;' in str(refused)
    assert '(namespace:=robot1)' in str(refused)
    other.destroy_node()
    assert len(points.look_for('cap/brim')) == 2


@pytest.fixture
def namesake(observer: Observer, context: object) -> Iterator[Node]:
    """Give what another node of perception's name has left on the graph."""
    made = Node('perception', context=context)
    made.create_publisher(Matches, 'don_kp/matches', 10)
    made.create_service(Scene, 'perception/scene', lambda _, answer: answer)
    wait_until(
        lambda: observer._scene.several and two_publishers(observer._node, 'don_kp/matches')
    )
    yield made
    made.destroy_node()


def test_a_perception_that_was_started_again_is_heard_once_the_dead_one_counts_no_more(
    observer: Observer, points: StoredPoints, namesake: Node
) -> None:
    timer = threading.Timer(1.0, namesake.destroy_node)
    timer.start()
    try:
        assert len(points.look_for('cap/brim')) == 2
        assert timer.finished.is_set()
    finally:
        timer.join()


def test_two_perceptions_of_one_name_that_both_stay_are_refused(
    points: StoredPoints, namesake: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observing, 'LEASE_S', 0.5)
    refused = refusal(lambda: points.look_for('cap/brim'))
    assert 'publish /don_kp/matches: /perception and /perception;' in str(refused)


def test_an_object_is_best_grasped_at_places_apart_that_are_nearly_as_good_as_the_best(
    points: StoredPoints, perception: Perception
) -> None:
    best, near, other, bad = SEEN + [[0, 0, 0], [0.01, 0, 0], [0.03, 0, 0], [0.06, 0, 0]]
    perception.preferred = [(best, 0.6), (near, 0.55), (other, 0.4), (bad, 0.2)]
    perception.second = lambda _: other
    seen = points.preferred('cap')
    assert seen.found == pytest.approx(rigid.apply(T_BASE_CAMERA, np.stack([best, other])))
    assert seen.points == pytest.approx(CLOUD)
    marks = rigid.apply(T_BASE_CAMERA, np.stack([SEEN, other]))
    assert list(seen.marks) == ['cap/brim'] and seen.marks['cap/brim'] == pytest.approx(marks)


def test_where_nothing_is_to_be_preferred_is_refused_with_its_reason(
    points: StoredPoints, perception: Perception
) -> None:
    unknown = refusal(lambda: points.preferred('cup'))
    assert unknown.code == Grasp.Result.UNKNOWN_TARGET
    assert "'cup/*'" in str(unknown) and 'stored are: cap/brim' in str(unknown)

    nowhere = refusal(lambda: points.preferred('cap'))
    assert nowhere.code == Grasp.Result.NO_GRASP and str(nowhere) == 'fingers fit nowhere'

    perception.found = lambda _: False
    missed = refusal(lambda: points.preferred('cap'))
    assert missed.code == Grasp.Result.NOT_FOUND
    assert 'not found in 3 of 3 images: best score 0.4' in str(missed)


def test_a_perception_that_is_gone_is_no_place_where_no_grasp_is(
    points: StoredPoints, perception: Perception
) -> None:
    perception.destroy_service(perception.preference)
    gone = refusal(lambda: points.preferred('cap'))
    assert gone.code == Grasp.Result.STALE_DATA
    assert '/perception/preference' in str(gone) and 'is the perception node running' in str(gone)
