"""Perception with a camera, a database and the robot's transforms that the tests play."""

import itertools

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from geometry_msgs.msg import TransformStamped
from tf2_msgs.msg import TFMessage

from don_kp.msg import Descriptor, Descriptors, Matches
from don_kp.srv import Transform
from don_kp_ros.nodes.kit import conversions
from don_kp_ros.nodes.kit.qos import LATCHED, RESULT, TF


class Stage:
    """A perception node, what it sees and hears, and its audience."""

    def __init__(self, peer, camera, model) -> None:
        self.peer, self.camera, self.model = peer, camera, model
        self._transforms = peer.node.create_publisher(TFMessage, '/tf', TF)
        self._stored = peer.node.create_publisher(Descriptors, '/don_kp/descriptors', LATCHED)
        self._matches = peer.listen(Matches, '/don_kp/matches', RESULT)
        self._seconds = itertools.count(101)

    def at(self, uv) -> np.ndarray:
        """Say what the model makes of pixels."""
        return self.camera.described(self.model, uv)

    def store(self, values: dict[str, np.ndarray], **models: str) -> None:
        """Store descriptors by name; of perception's model, unless another is named."""
        message = Descriptors(
            descriptors=[
                Descriptor(name=name, model=models.get(name, self.model.fingerprint), values=value)
                for name, value in values.items()
            ]
        )
        now = 1e-9 * self.peer.node.get_clock().now().nanoseconds
        message.header.stamp = conversions.stamp_from_seconds(now)
        self._stored.publish(message)

    def show(self, depth_mm: int = 500, **shown) -> int:
        """Show one picture; return the seconds of its stamp."""
        return self.camera.show(next(self._seconds), depth_mm, **shown).sec

    def answer(self, names, wanted=lambda matches: True, **shown):
        """Show pictures until the matches to one are these names and as wanted; return them."""

        def answered():
            seconds = self.show(**shown)
            return self.peer.within(
                1.0,
                lambda: next(
                    (
                        message
                        for message in list(self._matches)
                        if message.header.stamp.sec == seconds
                        and [one.name for one in message.matches if one.instance == 0] == names
                        and wanted(message.matches)
                    ),
                    None,
                ),
            )

        return self.peer.wait_until(answered)

    def see(self, age_s: float = 0.0, depth_mm: int | None = 500) -> Time:
        """Show the picture until it is seen; return its stamp."""
        return self.camera.show_until_seen(age_s, depth_mm)

    def ask(self, kind, **fields):
        return self.peer.call(kind, f'/perception/{kind.__name__.lower()}', **fields)

    def refusal(self, kind, **fields):
        response = self.ask(kind, **fields)
        assert not response.success
        return response.message

    def place(self, T_base_camera: np.ndarray, base: str, stamp: Time) -> None:
        """Tell of the camera's place before and after a time, until perception knows of it."""
        asked = {'target': base, 'source': self.camera.FRAME, 'stamp': stamp}

        def known():
            for late in -0.1, 0.1:
                T = TransformStamped(child_frame_id=self.camera.FRAME)
                T.header.frame_id = base
                seconds = conversions.seconds_from_stamp(stamp) + late
                T.header.stamp = conversions.stamp_from_seconds(seconds)
                T.transform = conversions.transform_from_matrix(T_base_camera)
                self._transforms.publish(TFMessage(transforms=[T]))
            return self.peer.within(1.0, lambda: self.ask(Transform, **asked).success)

        self.peer.wait_until(known)


@pytest.fixture(scope='module')
def stage(peer, camera, random_model, checkpoint, start_node):
    stage = Stage(peer, camera, random_model)
    node = start_node('perception', model=checkpoint, threads=1, max_rate_hz=0, picture_rate_hz=0)
    node.wait_for('waiting for images')
    camera.wait_until_watched()
    yield stage
    assert 'Traceback' not in node.output
