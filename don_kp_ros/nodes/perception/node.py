"""The perception node: describes the newest image and finds the stored points in it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence

import cv2
import torch
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from don_kp.msg import DescriptorMap, Descriptors, Match, Matches, Model
from don_kp_ros.matching.points import FoundPoint, find_points
from don_kp_ros.networks.checkpoint import CheckpointError
from don_kp_ros.networks.model import DescriptorModel
from don_kp_ros.nodes.kit.buffers import Stamped
from don_kp_ros.nodes.kit.conversions import map_message, point_message, rgb_image
from don_kp_ros.nodes.kit.guard import guarded
from don_kp_ros.nodes.kit.parameters import Parameters
from don_kp_ros.nodes.kit.qos import LATCHED, RESULT
from don_kp_ros.nodes.kit.runner import StartupError, run_node
from don_kp_ros.nodes.kit.transforms import TransformListener
from don_kp_ros.nodes.perception.frames import Frame, Frames
from don_kp_ros.nodes.perception.mount import MountedCamera
from don_kp_ros.nodes.perception.parameters import PerceptionParameters
from don_kp_ros.nodes.perception.pictures import Pictures, Result
from don_kp_ros.nodes.perception.queries import Queries
from don_kp_ros.nodes.perception.services import PerceptionServices
from don_kp_ros.resources import models_path

_DEPTH_DELAY_S = 0.05  # drivers align depth to colour, and publish it after the colours


class Perception(Node):
    """Finds stored points. One thread of its own works on the newest image."""

    def __init__(self) -> None:
        super().__init__('perception', automatically_declare_parameters_from_overrides=True)
        self._settings = Parameters(self, PerceptionParameters)
        settings = self._settings.value
        self._model = _load_model(settings)
        self._queries = Queries.none(self._model)

        self._maps = self.create_publisher(DescriptorMap, 'don_kp/descriptor_map', RESULT)
        self._matches = self.create_publisher(Matches, 'don_kp/matches', RESULT)
        self._running = self.create_publisher(Model, 'don_kp/model', LATCHED)
        self._running.publish(
            Model(
                fingerprint=self._model.fingerprint,
                dimension=self._model.dimension,
                card=json.dumps(self._model.card),
            )
        )
        self.create_subscription(
            Descriptors,
            'don_kp/descriptors',
            self._on_descriptors,
            LATCHED,
            callback_group=MutuallyExclusiveCallbackGroup(),
        )
        self._frames = Frames(self)
        transforms = TransformListener(self)
        if settings.camera_mount == 'hand':
            MountedCamera(self, settings.robot, transforms)
        PerceptionServices(
            self,
            self._frames,
            transforms,
            self._model.fingerprint,
            lambda: self._queries,
            lambda: self._settings.value,
        )
        self._pictures = Pictures(self, lambda: self._settings.value)
        self.get_logger().info(
            f'model {self._model.fingerprint}, D = {self._model.dimension}, on {settings.device}; '
            f'waiting for images on {self._frames.colour_topic}'
        )
        self._ending = threading.Event()
        self._worker = threading.Thread(target=self._work, name='perception')
        self._worker.start()

    def destroy_node(self) -> None:
        """End the threads, then the node."""
        self._ending.set()
        self._worker.join()
        self._pictures.end()
        super().destroy_node()

    @guarded
    def _on_descriptors(self, message: Descriptors) -> None:
        said, self._queries = str(self._queries), Queries.from_message(message, self._model)
        if str(self._queries) != said:
            self.get_logger().info(str(self._queries))

    def _work(self) -> None:
        last: Stamped[Image] | None = None
        while not self._ending.is_set():
            image = self._frames.wait_for_newer(last, patience=0.2)
            if image is None:
                continue
            last, began = image, time.monotonic()
            self._look(image.value)
            rate = self._settings.value.max_rate_hz
            if rate > 0:
                self._ending.wait(began + 1 / rate - time.monotonic())

    @guarded
    def _look(self, image: Image) -> None:
        settings, queries, picture = self._settings.value, self._queries, rgb_image(image)
        frame = Frame(image.header, picture, self._model.describe(picture))
        points = find_points(
            frame.cells,
            queries.names,
            queries.vectors,
            self._frames.view(frame, settings.depth_tolerance_s, _DEPTH_DELAY_S),
            self._threshold(),
            settings.depth_window,
        )
        # Kept before it is told: who hears of an image may ask about it.
        self._frames.keep(frame)
        self._publish_matches(frame.header, points)
        self._pictures.show(Result(frame, queries, points))
        if self._maps.get_subscription_count():
            cells = frame.cells.cpu().numpy()
            self._maps.publish(
                map_message(cells, frame.size, self._model.fingerprint, frame.header)
            )

    def _threshold(self) -> float:
        set_by_user = self._settings.value.match_threshold
        return set_by_user if set_by_user >= 0 else self._model.match_threshold

    def _publish_matches(self, header: Header, points: Sequence[FoundPoint]) -> None:
        message = Matches(header=header, model=self._model.fingerprint)
        for point in points:
            match = Match(name=point.name, found=point.found, reason=point.reason)
            (match.u, match.v), match.score = point.uv, point.score
            match.position = point_message(point.position)
            message.matches.append(match)
        self._matches.publish(message)


def _load_model(settings: PerceptionParameters) -> DescriptorModel:
    if settings.threads:
        torch.set_num_threads(settings.threads)
        cv2.setNumThreads(settings.threads)
    try:
        path = settings.model or models_path('caps.safetensors')
        return DescriptorModel.load(path, settings.device)
    except (CheckpointError, OSError) as error:
        raise StartupError(str(error)) from error
    except (AssertionError, RuntimeError) as error:
        raise StartupError(f'device {settings.device} cannot be used: {error}') from error


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until it is interrupted; return the exit status."""
    # One thread: callbacks keep what comes, or answer within milliseconds, and an executor of
    # several threads costs four times as much for every message.
    return run_node(Perception, args, threads=1)
