"""The perception node: describes the newest image and finds the stored points in it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from torch import Tensor
from visualization_msgs.msg import MarkerArray

from don_kp.msg import DescriptorMap, Descriptors, Match, Matches, Model
from don_kp_ros.geometry.camera import Camera
from don_kp_ros.matching.heatmap import heatmaps
from don_kp_ros.matching.pictures import (
    DescriptorColours,
    draw_caption,
    draw_legend,
    heatmap_overlay,
)
from don_kp_ros.matching.points import FoundPoint, find_points
from don_kp_ros.matching.view import View
from don_kp_ros.networks.checkpoint import CheckpointError
from don_kp_ros.networks.model import DescriptorModel
from don_kp_ros.nodes.kit.buffers import Latest, Stamped
from don_kp_ros.nodes.kit.conversions import (
    camera_from_info,
    depth_image,
    image_message,
    map_message,
    point_message,
    rgb_image,
    seconds_from_stamp,
)
from don_kp_ros.nodes.kit.guard import guarded
from don_kp_ros.nodes.kit.parameters import Parameters, parameter
from don_kp_ros.nodes.kit.qos import LATCHED, RESULT, SENSOR
from don_kp_ros.nodes.kit.runner import StartupError, run_node
from don_kp_ros.nodes.perception.markers import point_markers
from don_kp_ros.resources import models_path

_CAMERA = '/camera/camera'
_DEPTHS_KEPT = 30  # one second, in which the network must have described the colours
_MOST_SAID = 20  # names in a line of the log
_NAMED = 5  # of the stored points, those that fit best, on the heatmap
_DEPTH_DELAY_S = 0.05  # drivers align depth to colour, and publish it after the colours


@dataclass(frozen=True)
class PerceptionParameters:
    """What can be set; units in the descriptions."""

    model: str = parameter('', 'checkpoint file; empty: models/caps.safetensors of the package')
    device: str = parameter('cpu', 'where the network runs: cpu, cuda, cuda:1')
    threads: int = parameter(1, 'CPU threads of the network; 0: as torch chooses')
    match_threshold: float = parameter(
        -1.0, 'cosine similarity from which a point is found; negative: as the model says', True
    )
    depth_window: int = parameter(
        5, 'odd side, in pixels, of the window of the median depth', True
    )
    depth_tolerance_s: float = parameter(
        0.015,
        'greatest difference of the stamps of colour and depth, seconds; less than half the time '
        'from image to image, or the depth may be of another one',
        True,
    )
    max_rate_hz: float = parameter(10.0, 'most images a second; 0: as many as can be', True)
    heatmap_of: str = parameter('', 'name whose heatmap is drawn; empty: the first', True)
    color_topic: str = parameter(f'{_CAMERA}/color/image_raw', 'sensor_msgs/Image, colours')
    depth_topic: str = parameter(
        f'{_CAMERA}/aligned_depth_to_color/image_raw', 'sensor_msgs/Image, 16UC1 or 32FC1'
    )
    camera_info_topic: str = parameter(
        f'{_CAMERA}/color/camera_info', 'sensor_msgs/CameraInfo of the colours'
    )

    def __post_init__(self) -> None:
        if self.threads < 0:
            raise ValueError(f'threads is {self.threads}; 0 or more are allowed')
        if self.match_threshold > 1:
            raise ValueError(f'match_threshold is {self.match_threshold}; at most 1 is allowed')
        if self.depth_window < 1 or self.depth_window % 2 == 0:
            raise ValueError(f'depth_window is {self.depth_window}; odd numbers are allowed')
        for name in ('depth_tolerance_s', 'max_rate_hz'):
            if not 0 <= getattr(self, name) < float('inf'):
                raise ValueError(f'{name} is {getattr(self, name)}; 0 or more is allowed')


@dataclass(frozen=True)
class _Queries:
    """The stored descriptors of the running model, in order of name."""

    names: tuple[str, ...]
    vectors: Tensor  # (N, D), on the CPU; matching moves them to the map's device


class Perception(Node):
    """Finds stored points. One thread of its own works on the newest image."""

    def __init__(self) -> None:
        super().__init__('perception', automatically_declare_parameters_from_overrides=True)
        self._settings = Parameters(self, PerceptionParameters)
        settings = self._settings.value
        self._model = _load_model(settings)
        self._queries = _Queries((), torch.zeros(0, self._model.dimension))
        self._colours = Latest[Image]()
        self._depths = Latest[Image](kept=_DEPTHS_KEPT)
        self._camera: Camera | None = None
        self._colouring = DescriptorColours()
        self._said = ''

        self._maps = self.create_publisher(DescriptorMap, '/don_kp/descriptor_map', RESULT)
        self._pictures = self.create_publisher(Image, '/don_kp/descriptor_image', RESULT)
        self._heatmaps = self.create_publisher(Image, '/don_kp/heatmap', RESULT)
        self._matches = self.create_publisher(Matches, '/don_kp/matches', RESULT)
        self._markers = self.create_publisher(MarkerArray, '/don_kp/markers', RESULT)
        self._running = self.create_publisher(Model, '/don_kp/model', LATCHED)
        self._running.publish(
            Model(
                fingerprint=self._model.fingerprint,
                dimension=self._model.dimension,
                card=json.dumps(self._model.card),
            )
        )

        group = ReentrantCallbackGroup()
        for kind, topic, callback, qos in (
            (Image, settings.color_topic, self._on_colour, SENSOR),
            (Image, settings.depth_topic, self._on_depth, SENSOR),
            (CameraInfo, settings.camera_info_topic, self._on_info, SENSOR),
            (Descriptors, '/don_kp/descriptors', self._on_descriptors, LATCHED),
        ):
            self.create_subscription(kind, topic, callback, qos, callback_group=group)
        self.get_logger().info(
            f'model {self._model.fingerprint}, D = {self._model.dimension}, on {settings.device}; '
            f'waiting for images on {settings.color_topic}'
        )
        self._ending = threading.Event()
        self._worker = threading.Thread(target=self._work, name='perception')
        self._worker.start()

    def destroy_node(self) -> None:
        """End the working thread, then the node."""
        self._ending.set()
        self._worker.join()
        super().destroy_node()

    @guarded
    def _on_colour(self, message: Image) -> None:
        self._colours.put(message, seconds_from_stamp(message.header.stamp))

    @guarded
    def _on_depth(self, message: Image) -> None:
        self._depths.put(message, seconds_from_stamp(message.header.stamp))

    @guarded
    def _on_info(self, message: CameraInfo) -> None:
        self._camera = camera_from_info(message)

    @guarded
    def _on_descriptors(self, message: Descriptors) -> None:
        fingerprint, dimension = self._model.fingerprint, self._model.dimension
        stored = {d.name: d.values for d in message.descriptors if d.model == fingerprint}
        usable = sorted(
            name
            for name, values in stored.items()
            if len(values) == dimension and np.isfinite(values).all()
        )
        vectors = np.array([stored[name] for name in usable], dtype=np.float32)
        queries = torch.from_numpy(vectors.reshape(-1, dimension))
        self._queries = _Queries(tuple(usable), torch.nn.functional.normalize(queries, dim=1))
        self._tell_once(len(message.descriptors) - len(usable), usable)

    def _tell_once(self, ignored: int, usable: Sequence[str]) -> None:
        few = [*usable[:_MOST_SAID], *(['...'] if len(usable) > _MOST_SAID else [])]
        said = f'looking for {len(usable)} stored points: {", ".join(few) or "none"}'
        if ignored:
            said += f'; {ignored} of other models are ignored'
        if said != self._said:
            self._said = said
            self.get_logger().info(said)

    def _work(self) -> None:
        last: Stamped[Image] | None = None
        while not self._ending.is_set():
            image = self._colours.wait_for_newer(last, timeout=0.2)
            if image is None:
                continue
            last, began = image, time.monotonic()
            self._look(image)
            rate = self._settings.value.max_rate_hz
            if rate > 0:
                self._ending.wait(began + 1 / rate - time.monotonic())

    @guarded
    def _look(self, image: Stamped[Image]) -> None:
        header, settings, queries = image.value.header, self._settings.value, self._queries
        picture = rgb_image(image.value)
        descriptor_map = self._model.describe(picture)
        points = find_points(
            descriptor_map,
            queries.names,
            queries.vectors,
            self._view(image.stamp, picture),
            self._threshold(),
            settings.depth_window,
        )
        self._publish_matches(header, points)
        size = picture.shape[:2]
        if self._maps.get_subscription_count():
            cells = descriptor_map.cpu().numpy()
            self._maps.publish(map_message(cells, size, self._model.fingerprint, header))
        if self._markers.get_subscription_count():
            self._markers.publish(point_markers(header, points))
        if self._pictures.get_subscription_count():
            colours = self._colouring(descriptor_map.cpu().numpy(), size)
            self._pictures.publish(image_message(colours, 'rgb8', header))
        if self._heatmaps.get_subscription_count():
            drawn = self._draw(picture, descriptor_map, queries, points)
            self._heatmaps.publish(image_message(drawn, 'rgb8', header))

    def _threshold(self) -> float:
        set_by_user = self._settings.value.match_threshold
        return set_by_user if set_by_user >= 0 else self._model.match_threshold

    def _view(self, stamp: float, picture: NDArray[np.uint8]) -> View:
        """Gather depth and camera of a picture, or what is missing; depth may yet come."""
        size, settings = (picture.shape[0], picture.shape[1]), self._settings.value
        tolerance, camera = settings.depth_tolerance_s, self._camera
        depth = self._depths.nearest(stamp, tolerance, _DEPTH_DELAY_S)
        try:
            if camera is None:
                return View(size, lacks=f'no camera info on {settings.camera_info_topic} yet')
            if depth is None:
                lacks = f'no depth image within {tolerance:g} s of the colour image'
                return View(size, camera=camera, lacks=f'{lacks} on {settings.depth_topic}')
            return View(size, depth_image(depth.value), camera)
        except ValueError as error:
            return View(size, lacks=str(error))

    def _publish_matches(self, header: Header, points: Sequence[FoundPoint]) -> None:
        message = Matches(header=header, model=self._model.fingerprint)
        for point in points:
            match = Match(name=point.name, found=point.found, reason=point.reason)
            (match.u, match.v), match.score = point.uv, point.score
            match.position = point_message(point.position)
            message.matches.append(match)
        self._matches.publish(message)

    def _draw(
        self,
        picture: NDArray[np.uint8],
        descriptor_map: Tensor,
        queries: _Queries,
        points: Sequence[FoundPoint],
    ) -> NDArray[np.uint8]:
        wanted = self._settings.value.heatmap_of
        if not points or (wanted and wanted not in queries.names):
            plain = picture.copy()
            draw_caption(plain, f'{wanted} is not stored' if wanted else 'nothing is stored')
            return plain
        index = queries.names.index(wanted) if wanted else 0
        point, query = points[index], queries.vectors[index : index + 1]
        heatmap = heatmaps(descriptor_map, query, picture.shape[:2])[0].cpu().numpy()
        caption = f'{point.name} {point.score:.3f}' + ('' if point.found else ' not found')
        drawn = heatmap_overlay(picture, heatmap, point.uv, caption, point.found)
        best = sorted(points, key=lambda one: one.score, reverse=True)[:_NAMED]
        draw_legend(drawn, [f'{one.score:.3f} {one.name}' for one in best])
        return drawn


def _load_model(settings: PerceptionParameters) -> DescriptorModel:
    if settings.threads:
        torch.set_num_threads(settings.threads)
    try:
        path = settings.model or models_path('caps.safetensors')
        return DescriptorModel.load(path, settings.device)
    except (CheckpointError, OSError) as error:
        raise StartupError(str(error)) from error
    except (AssertionError, RuntimeError) as error:
        raise StartupError(f'device {settings.device} cannot be used: {error}') from error


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until it is interrupted; return the exit status."""
    return run_node(Perception, args, threads=2)
