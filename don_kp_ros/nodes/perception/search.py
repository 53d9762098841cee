"""Looks at the newest image, again and again, while perception is active."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import torch
from rclpy.node import Node
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from torch import Tensor

from don_kp.msg import DescriptorMap, Keypoint, Match, Matches
from don_kp.msg import Keypoints as KeypointsMessage
from don_kp_ros.errors import RefusedError
from don_kp_ros.matching.candidates import Candidates, find_candidates
from don_kp_ros.matching.detection import Detection, Nearest
from don_kp_ros.matching.maps import interpolated
from don_kp_ros.matching.points import FoundPoint, named_points
from don_kp_ros.matching.view import View, lift
from don_kp_ros.networks.model import Keypoints
from don_kp_ros.nodes.kit.buffers import Stamped
from don_kp_ros.nodes.kit.conversions import map_message, point_message
from don_kp_ros.nodes.kit.guard import guarded
from don_kp_ros.nodes.kit.qos import RESULT
from don_kp_ros.nodes.kit.transforms import TransformListener
from don_kp_ros.nodes.perception.detections import DetectionTopic, find_regions
from don_kp_ros.nodes.perception.diagnostics import Diagnostics
from don_kp_ros.nodes.perception.frames import Frame, Frames
from don_kp_ros.nodes.perception.meshes import Meshes
from don_kp_ros.nodes.perception.objects import ObjectTopics, find_objects
from don_kp_ros.nodes.perception.pace import Pace
from don_kp_ros.nodes.perception.parameters import PerceptionParameters
from don_kp_ros.nodes.perception.pictures import Pictures, Result
from don_kp_ros.nodes.perception.refining import Refining
from don_kp_ros.nodes.perception.running import Running
from don_kp_ros.pose.instances import SIMILAR

_LEAST = 1e-3  # similarity of a further place of a point; a threshold may be below 0
_DEPTH_DELAY_S = 0.05  # drivers align depth to colour, and publish it after the colours


class Search:
    """Subscribes to the camera, and publishes what is found. One thread of its own works."""

    def __init__(
        self,
        node: Node,
        running: Callable[[], Running],
        settings: Callable[[], PerceptionParameters],
        transforms: TransformListener,
        meshes: Meshes,
    ) -> None:
        """Begin, on a node that others spin; ``running`` and ``settings`` tell what is present."""
        self._node, self._running, self._settings = node, running, settings
        self._maps = node.create_publisher(DescriptorMap, 'don_kp/descriptor_map', RESULT)
        self._matches = node.create_publisher(Matches, 'don_kp/matches', RESULT)
        self._keypoints = node.create_publisher(KeypointsMessage, 'don_kp/keypoints', RESULT)
        publishers = self._maps, self._matches, self._keypoints
        # Where a part fails to begin, those before it end.
        with ExitStack() as begun:
            for publisher in publishers:
                begun.callback(node.destroy_publisher, publisher)
            self.frames = Frames(node, settings)
            begun.callback(self.frames.close)
            self._diagnostics = Diagnostics(node, self.frames)
            begun.callback(self._diagnostics.close)
            self._objects = ObjectTopics(node, settings)
            begun.callback(self._objects.close)
            self._detections = DetectionTopic(node)
            begun.callback(self._detections.close)
            self._pictures = Pictures(node, settings, meshes)
            begun.callback(self._pictures.close)
            self._refining = Refining(node, settings, transforms, meshes)
            begun.callback(self._refining.close)
            self._ending = threading.Event()
            self._worker = threading.Thread(target=self._work, name='perception')
            self._worker.start()
            self._parts = begun.pop_all()

    def close(self) -> None:
        """End the threads, and leave the camera alone."""
        self._ending.set()
        self.frames.wake()  # the worker may wait for a depth image
        self._worker.join()
        self._parts.close()

    def _work(self) -> None:
        last: Stamped[Image] | None = None
        passed: Stamped[Image] | None = None  # over, and nothing came since
        pace, era = Pace(), self.frames.era
        while not self._ending.is_set():
            image, present = self.frames.wait_for_newer(last, patience=0.2)
            if era != present:
                era, passed = present, None
            if image is None:
                image, passed = passed, None
            elif not pace.takes(image.arrival, self._settings().max_rate_hz):
                last = passed = image
                continue
            if image is not None:
                last, passed = image, None
                self._look(image.value, era)

    @guarded
    def _look(self, image: Image, era: int) -> None:
        running = self._running()
        try:
            self._search(image, running, era)
        except RefusedError as error:
            self._refuse(image.header, running, str(error), era)
        except Exception as error:
            told = f'internal error: {error!r}; the log has the details'
            self._refuse(image.header, running, told, era)
            raise

    def _search(self, image: Image, running: Running, era: int) -> None:
        settings, model, queries = self._settings(), running.model, running.queries
        picture = self.frames.picture(image)
        described = model.look(picture)
        frame = Frame(image.header, picture, described.cells, model.fingerprint)
        view = self.frames.view(frame, _DEPTH_DELAY_S)
        threshold = settings.match_threshold
        threshold = threshold if threshold >= 0 else model.match_threshold
        least = torch.full((len(queries.everything),), SIMILAR)
        least[: len(queries.names)] = max(threshold, _LEAST)
        detecting = self._detections.wanted
        nearest = None
        if detecting or self._pictures.outline_regions:
            nearest = Nearest(queries.owners)
        found = find_candidates(
            frame.cells, queries.everything, view, least, settings.depth_window, nearest
        )
        of_points = found.of(0, len(queries.names))
        confidence = _confidence(described.confidence, of_points, frame.size)
        points = named_points(queries.names, of_points, threshold, confidence)
        objects = find_objects(queries.objects, frame.cells, found, view)
        objects = self._refining.applied(frame, view, model, objects)
        # Kept before it is told: who hears of an image may ask about it.
        if not self.frames.keep(frame, view, era):
            return  # time was set back meanwhile
        self._publish_matches(frame, points)
        self._objects.publish(frame.header, frame.model, objects)
        regions: list[Detection] = []
        if nearest is not None:
            regions = find_regions(frame, described.confidence, model, queries, nearest, threshold)
        if detecting:
            self._detections.publish(frame, queries.stored, regions)
        if described.keypoints is not None and self._keypoints.get_subscription_count():
            self._publish_keypoints(frame, described.keypoints, model.keypoint_kinds, view)
        self._diagnostics.looked(frame.header.stamp, view.depth is not None)
        self._pictures.show(Result(frame, queries, points, objects, view, regions))
        if self._maps.get_subscription_count():
            values = frame.cells.cpu().numpy()
            self._maps.publish(map_message(values, frame.size, frame.model, frame.header))

    def _publish_keypoints(
        self, frame: Frame, found: Keypoints, kinds: Sequence[str], view: View
    ) -> None:
        uv = found.uv.cpu().numpy()
        positions, _ = lift(view, uv, self._settings().depth_window)
        message = KeypointsMessage(header=frame.header, model=frame.model)
        for number, (place, mass, position) in enumerate(
            zip(uv.tolist(), found.mass.tolist(), positions, strict=True)
        ):
            keypoint = Keypoint(id=number, kind=kinds[number], position=point_message(position))
            keypoint.score = min(mass, 1.0)
            keypoint.u, keypoint.v = place
            message.keypoints.append(keypoint)
        self._keypoints.publish(message)

    def _refuse(self, header: Header, running: Running, reason: str, era: int) -> None:
        """Say why an image is not searched, to all who wait for what is in it."""
        if not self.frames.refuse(reason, era):
            return  # time was set back meanwhile
        self._diagnostics.refused()
        fingerprint = running.model.fingerprint
        self._matches.publish(Matches(header=header, model=fingerprint, reason=reason))

    def _publish_matches(self, frame: Frame, points: Sequence[FoundPoint]) -> None:
        message = Matches(header=frame.header, model=frame.model)
        for point in points:
            match = Match(name=point.name, found=point.found, reason=point.reason)
            (match.u, match.v), match.score = point.uv, point.score
            match.instance, match.ambiguity = point.instance, point.ambiguity
            match.confidence = point.confidence
            match.position = point_message(point.position)
            message.matches.append(match)
        self._matches.publish(message)


def _confidence(
    cells: Tensor | None, found: Candidates, size: tuple[int, int]
) -> list[float] | None:
    """Read the network's confidence (h, w), where it has one, in places (K) of an image (H, W)."""
    if cells is None:
        return None
    uv = torch.from_numpy(found.uv).to(cells)
    return [float(value) for value in interpolated(cells[None, None], uv[None], size).flatten()]
