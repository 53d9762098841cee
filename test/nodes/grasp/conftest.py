"""The grasp node on an arm that only waits."""

import contextlib
import os
from collections.abc import Iterator

import pytest
import rclpy
from waiting_arm import Arm, Stage

from don_kp_ros.nodes.grasp import node as grasp


@pytest.fixture
def stage(
    ros_environment: None, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Stage]:
    """Give a grasp node whose arm only waits."""
    monkeypatch.setitem(grasp.MOTIONS, 'embedded', Arm)
    rclpy.init(domain_id=int(os.environ['ROS_DOMAIN_ID']))
    try:
        with contextlib.closing(Stage(getattr(request, 'param', True))) as made:
            yield made
    finally:
        rclpy.try_shutdown()
