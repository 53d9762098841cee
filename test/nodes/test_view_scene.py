"""Where the page's scene has the objects, once the hand moves on."""

from __future__ import annotations

from collections.abc import Iterator

import asynchrony
import numpy as np
import pytest
from geometry_msgs.msg import TransformStamped
from tf2_msgs.msg import TFMessage

from don_kp_ros.clients.stack import Stack
from don_kp_ros.clients.view_stack import ViewedStack
from don_kp_ros.geometry import rigid
from don_kp_ros.nodes.kit.conversions import stamp_from_seconds, transform_from_matrix
from don_kp_ros.nodes.kit.transforms import TransformListener
from don_kp_ros.page.activity import Activity
from don_kp_ros.page.canvas import Canvas

CAMERA, CAP = 'camera_color_optical_frame', 'object/cap'


class Shown:
    """A page's stack, before which a test plays the camera and its transforms."""

    def __init__(self, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
        self._viewed = ViewedStack(stack, Canvas(), Activity(), 'camera/camera')
        self._listener = self._viewed._frames = TransformListener(stack.node)
        self._viewed.sight.frame = CAMERA

        async def cloud(_: str) -> np.ndarray:
            return np.zeros((0, 3))

        monkeypatch.setattr(self._viewed, '_cloud', cloud)

    def tell(self, parent: str, child: str, seconds: float, x: float, z: float) -> None:
        transform = TransformStamped(child_frame_id=child)
        transform.header.frame_id, transform.header.stamp = parent, stamp_from_seconds(seconds)
        transform.transform = transform_from_matrix(rigid.transform(None, [x, 0.0, z]))
        self._listener._on_moving(TFMessage(transforms=[transform]))

    def frames(self, picture_s: float) -> dict[str, np.ndarray]:
        """Give what is shown beside a picture of a stamp: frames and where they are."""
        self._viewed.sight.shown_s = picture_s
        scene = asynchrony.run(self._viewed.scene())
        assert all({*bone} <= {*scene.frames} for bone in scene.bones)
        return {name: T[:3, 3] for name, T in scene.frames.items()}


@pytest.fixture
def shown(peer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shown]:
    with Stack('/') as stack:
        yield Shown(stack, monkeypatch)


def test_an_object_stays_where_it_was_seen_while_the_hand_moves_and_is_gone_once_unseen(
    shown: Shown,
) -> None:
    shown.tell('panda_link0', CAMERA, 10.0, 0.4, 0.6)
    shown.tell(CAMERA, CAP, 10.0, 0.1, -0.6)
    assert shown.frames(10.0)[CAP] == pytest.approx([0.5, 0.0, 0.0])
    for seconds in np.arange(101, 119) / 10:  # the hand goes down
        shown.tell('panda_link0', CAMERA, seconds, 0.4, 0.6 - 0.2 * (seconds - 10.0))
    assert shown.frames(11.8)[CAP] == pytest.approx([0.5, 0.0, 0.0])
    assert shown.frames(11.8)[CAMERA] == pytest.approx([0.4, 0.0, 0.24])
    for seconds in np.arange(11.9, 610.0, 0.2):
        shown.tell('panda_link0', CAMERA, seconds, 0.4, 0.2)
    frames = shown.frames(610.0)
    assert CAP not in frames and frames[CAMERA] == pytest.approx([0.4, 0.0, 0.2])
