"""Which stored objects are in view: regions of the image, told while somebody listens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import RegionOfInterest
from torch import Tensor

from don_kp.msg import Detection as DetectionMessage
from don_kp.msg import Detections
from don_kp_ros.matching.detection import Detection, Nearest, detect, nearest
from don_kp_ros.networks.model import DescriptorModel
from don_kp_ros.nodes.kit.conversions import image_message
from don_kp_ros.nodes.kit.qos import RESULT
from don_kp_ros.nodes.perception.frames import Frame
from don_kp_ros.nodes.perception.queries import Queries

_OBJECT = 255  # of a mask


class DetectionTopic:
    """Publishes the regions of images that look like stored objects."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._publisher = node.create_publisher(Detections, 'don_kp/detections', RESULT)

    def close(self) -> None:
        """End the topic."""
        self._node.destroy_publisher(self._publisher)

    @property
    def wanted(self) -> bool:
        """Whether somebody listens."""
        return self._publisher.get_subscription_count() > 0

    def publish(self, frame: Frame, stored: Sequence[str], found: Sequence[Detection]) -> None:
        """Tell of the regions of an image, by the names of all stored objects."""
        self._publisher.publish(_message(frame, stored, found))


def find_regions(
    frame: Frame,
    confidence: Tensor | None,
    model: DescriptorModel,
    queries: Queries,
    whole: Nearest,
    threshold: float,
) -> list[Detection]:
    """Find the regions of an image that look like stored objects (`detect`).

    whole: has been told of the whole descriptors, which stand for the part that says which object
    it is where there is no such part.
    """
    cells, described = frame.cells, queries.everything
    if model.has_parts:
        cells = model.which_object(cells.movedim(0, -1)).movedim(-1, 0)
        described = model.which_object(described)
        whole = nearest(cells, described, queries.owners)
    similarity = whole.similarity()
    return detect(cells, described, queries.owners, similarity, threshold, confidence)


def _message(frame: Frame, stored: Sequence[str], found: Sequence[Detection]) -> Detections:
    message = Detections(header=frame.header, model=frame.model)
    seen = Counter[str]()
    for one in found:
        (u, v), mask = one.pixels(frame.size)
        if not mask.size:
            continue
        box = RegionOfInterest(x_offset=u, y_offset=v, height=mask.shape[0], width=mask.shape[1])
        name = stored[one.owner]
        told = DetectionMessage(name=name, instance=seen[name], confidence=one.confidence, box=box)
        seen[name] += 1
        told.mask = image_message(np.uint8(_OBJECT) * mask, 'mono8', frame.header)
        message.detections.append(told)
    message.missing = [name for name in stored if name not in seen]
    return message
