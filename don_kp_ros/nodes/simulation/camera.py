"""What realsense2_camera would publish, and a spectator's view."""

from __future__ import annotations

import numpy as np
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from don_kp_ros.nodes.kit import camera_topics, qos
from don_kp_ros.nodes.kit.conversions import image_message, info_from_camera, stamp_from_seconds
from don_kp_ros.nodes.simulation.frames import OPTICAL_FRAME
from don_kp_ros.simulation.camera import D435, Faults, Frame, look_at
from don_kp_ros.simulation.disturbances import Disturbances
from don_kp_ros.simulation.renderer import Renderer
from don_kp_ros.simulation.world import World

SPECTATOR = look_at(np.array([1.15, -0.80, 0.60]), np.array([0.30, 0.03, 0.27]))
SPECTATOR_SECONDS = 0.6  # between two of its pictures
SPECTATOR_SHARE = 0.75  # of the camera's width and height, of its pictures
FAULTS = 8


class SimulatedCamera:
    """The camera on the hand. All but the making is for the one thread that owns the world."""

    def __init__(self, node: Node, seed: int) -> None:
        """Publish on a node; ``seed`` is of the camera's faults."""
        self._seed = seed
        self._renderer: Renderer | None = None
        self._faults: list[Faults] = []
        self._faulty: tuple[float, float] | None = None  # the noise and holes that they have
        self._pictures = 0  # taken of this world
        default = QoSProfile(depth=10)
        self._colour = node.create_publisher(Image, camera_topics.COLOUR, default)
        self._colour_info = node.create_publisher(CameraInfo, camera_topics.COLOUR_INFO, default)
        self._depth = node.create_publisher(Image, camera_topics.DEPTH, default)
        self._depth_info = node.create_publisher(CameraInfo, camera_topics.DEPTH_INFO, default)
        self._spectator = node.create_publisher(Image, '~/spectator', qos.RESULT)

    def forget(self) -> None:
        """Begin with another world."""
        self.close()
        self._pictures = 0

    def close(self) -> None:
        """Free the graphics memory."""
        if self._renderer is not None:
            self._renderer.close()
        self._renderer = None

    def take(self, world: World, disturbances: Disturbances) -> Frame:
        """Take a picture."""
        if self._renderer is None:
            self._renderer = Renderer(world.model)
        faulty = disturbances.depth_noise, disturbances.depth_holes
        if faulty != self._faulty:
            # To draw them costs as much as to draw a picture: a few serve in turn.
            self._faults = [
                disturbances.faults(
                    np.random.default_rng([self._seed, i]), (D435.height, D435.width)
                )
                for i in range(FAULTS)
            ]
            self._faulty = faulty
        frame = self._renderer.render(world.data, world.camera_pose())
        # By the picture's number in this world: a scene looks the same each time.
        faults = self._faults[self._pictures % FAULTS]
        self._pictures += 1
        return faults.applied(Frame(disturbances.lit(frame.colour), frame.depth))

    def publish(self, frame: Frame, world: World, now: float, rate: float) -> None:
        """Publish a picture of now, one of ``rate`` a second, and the spectator's if it is due."""
        header = Header(stamp=stamp_from_seconds(now), frame_id=OPTICAL_FRAME)
        millimetres = np.round(np.nan_to_num(frame.depth) * 1000).astype(np.uint16)
        info = info_from_camera(D435, header)
        self._colour_info.publish(info)
        self._depth_info.publish(info)
        self._colour.publish(image_message(frame.colour, 'rgb8', header))
        self._depth.publish(image_message(millimetres, '16UC1', header))
        every = max(1, round(SPECTATOR_SECONDS * rate))
        due = self._spectator.get_subscription_count() and self._pictures % every == 0
        if due and self._renderer is not None:
            view = self._renderer.render_colour(world.data, SPECTATOR, SPECTATOR_SHARE)
            header = Header(stamp=header.stamp, frame_id='world')
            self._spectator.publish(image_message(view, 'rgb8', header))
