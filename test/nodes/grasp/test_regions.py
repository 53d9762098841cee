"""Where the grasp node takes what looks like a target to be; the test plays perception."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sensor_msgs.msg import RegionOfInterest
from std_msgs.msg import Header

from don_kp.action import Grasp
from don_kp.msg import Detection, Detections
from don_kp.srv import Describe
from don_kp_ros.errors import RefusedError
from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera
from don_kp_ros.motion.port import MotionCode, MotionError
from don_kp_ros.nodes.grasp.observer import GoalRefusedError
from don_kp_ros.nodes.grasp.regions import Regions
from don_kp_ros.nodes.kit.client import UnansweredError
from don_kp_ros.nodes.kit.conversions import image_message, point_message, stamp_from_seconds

CAMERA = Camera(640, 480, 600.0, 600.0, 319.5, 239.5)
T_BASE_CAMERA = rigid.transform(np.diag([1.0, -1.0, -1.0]), [0.5, 0.0, 0.6])
HEADER = Header(stamp=stamp_from_seconds(3.0), frame_id='camera')


class Observer:
    """Stands for what asks perception: all that it sees is 0.55 m away, where it has depth."""

    def __init__(self, *detections: Detection) -> None:
        self.message = Detections(header=HEADER, detections=list(detections))
        self.blind = 0.0  # pixels to the left of which there is no depth
        self.asked: Describe.Request | None = None
        self.refuses: Exception | None = None
        self.silent: Exception | None = None

    def hear(self, kind: Any, topic: str, *_: Any) -> Any:
        assert (kind, topic) == (Detections, 'don_kp/detections')
        if self.silent:
            raise self.silent
        return [self.message], 0.0

    def describe(self, request: Describe.Request) -> Any:
        if self.refuses:
            raise self.refuses
        self.asked = request
        uv = np.stack([request.u, request.v], axis=1)
        depth = np.where(uv[:, 0] < self.blind, np.nan, 0.55)
        return SimpleNamespace(positions=list(map(point_message, CAMERA.deproject(uv, depth))))

    def pose_of(self, frame: str, stamp: Any, _: float) -> np.ndarray:
        assert (frame, stamp) == (HEADER.frame_id, HEADER.stamp)
        return T_BASE_CAMERA


def region(name: str, u: int, v: int, width: int = 40, height: int = 30) -> Detection:
    """A disc, as large as its box."""
    y, x = np.mgrid[:height, :width]
    disc = ((x - (width - 1) / 2) / width) ** 2 + ((y - (height - 1) / 2) / height) ** 2 < 0.25
    box = RegionOfInterest(x_offset=u, y_offset=v, width=width, height=height)
    mask = image_message(np.uint8(255) * disc, 'mono8', HEADER)
    return Detection(name=name, box=box, mask=mask)


def place_of(observer: Observer, name: str) -> np.ndarray | None:
    return Regions(observer).place_of(name)  # type: ignore[arg-type]


@pytest.mark.parametrize('name', ['mug', 'mug/handle', 'mug/*'])
def test_the_middle_of_the_surest_region_is_the_place(name: str) -> None:
    observer = Observer(region('cap', 10, 10), region('mug', 300, 100), region('mug', 500, 400))
    place = place_of(observer, name)
    middle = rigid.apply(T_BASE_CAMERA, CAMERA.deproject(np.array([[319.5, 114.5]]), [0.55]))[0]
    np.testing.assert_allclose(place, middle, atol=0.002)
    assert observer.asked is not None and observer.asked.stamp == HEADER.stamp
    assert 20 < len(observer.asked.u) < 60  # not every pixel


def test_the_smallest_region_has_a_place() -> None:
    place = place_of(Observer(region('mug', 320, 240, 1, 1)), 'mug')
    truth = rigid.apply(T_BASE_CAMERA, CAMERA.deproject(np.array([[320.0, 240.0]]), [0.55]))[0]
    np.testing.assert_allclose(place, truth)


def test_a_part_of_a_region_with_depth_is_enough() -> None:
    observer = Observer(region('mug', 300, 100))
    observer.blind = 325.0
    place = place_of(observer, 'mug')
    assert place is not None and np.isfinite(place).all()
    observer.blind = 1000.0
    assert place_of(observer, 'mug') is None


def test_what_looks_like_something_else_is_no_place() -> None:
    assert place_of(Observer(), 'mug') is None
    assert place_of(Observer(region('cap', 10, 10)), 'mug') is None
    assert place_of(Observer(region('mug/handle', 10, 10)), 'mug') is None


def test_where_no_further_image_comes_there_is_no_place() -> None:
    observer = Observer(region('mug', 300, 100))
    observer.silent = GoalRefusedError(Grasp.Result.STALE_DATA, '0 of 1 images were searched')
    assert place_of(observer, 'mug') is None
    observer.silent = MotionError(MotionCode.CANCELLED, 'cancelled')
    with pytest.raises(MotionError):
        place_of(observer, 'mug')


def test_what_perception_does_not_answer_is_no_place() -> None:
    observer = Observer(region('mug', 300, 100))
    observer.refuses = RefusedError('the image is older than 2 s')
    assert place_of(observer, 'mug') is None
    observer.refuses = UnansweredError('no node serves /perception/describe')
    assert place_of(observer, 'mug') is None
    observer.refuses = GoalRefusedError(4, 'cancelled meanwhile')
    with pytest.raises(GoalRefusedError):
        place_of(observer, 'mug')
