"""What benchmarks of the running nodes share: the nodes, and the processes beside them.

`python -m benchmarks.running_nodes camera` plays a camera of 640x480 pixels at 30 Hz and a robot
that tells its joints and frames at 50 Hz. Others take messages and do nothing with them:
`picture_subscriber` the camera's, `state_subscriber` the robot's, `viewer` all that perception
draws.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from geometry_msgs.msg import TransformStamped
from rclpy._rclpy_pybind11 import RCLError
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import MarkerArray

from benchmarks.database_node import Caller, wait_until
from don_kp.msg import Matches
from don_kp.srv import StoreDescriptor
from don_kp_ros.bringup.processes import Bringup
from don_kp_ros.geometry.camera import Camera
from don_kp_ros.nodes.kit import conversions
from don_kp_ros.nodes.kit.qos import SENSOR, TF
from don_kp_ros.robots.preset import load_preset

NODES = ('perception', 'descriptor_database', 'grasp')
VIEWED = {
    '/don_kp/heatmap': Image,
    '/don_kp/descriptor_image': Image,
    '/don_kp/markers': MarkerArray,
}
_COLOUR = '/camera/camera/color/image_raw'
_INFO = '/camera/camera/color/camera_info'
_DEPTH = '/camera/camera/aligned_depth_to_color/image_raw'
_CAMERA = Camera(640, 480, 600.0, 600.0, 319.5, 239.5)
SIZE = (_CAMERA.height, _CAMERA.width)
_CAMERA_HZ, _STATE_HZ = 30.0, 50.0


@contextlib.contextmanager
def running_nodes(folder: Path) -> Iterator[Bringup]:
    """Have the nodes of the stack, in this process's ROS domain, and the camera they look at.

    Raises RuntimeError, with the end of its log, where a node has ended by itself.
    """
    arguments = {'nodes': ','.join(NODES), 'database': str(folder / 'descriptors.sqlite')}
    with Bringup(arguments, folder / 'logs') as nodes, beside('camera'):
        yield nodes
        ended = nodes.poll()
        if ended is not None:
            raise RuntimeError(f'{ended.node} ended:\n{nodes.tail(ended.node)}')


@contextlib.contextmanager
def beside(role: str) -> Iterator[subprocess.Popen[bytes]]:
    """Have one of the processes of this file beside the nodes."""
    process = subprocess.Popen([sys.executable, '-m', 'benchmarks.running_nodes', role])
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def store_points(caller: Caller, number: int) -> None:
    """Store points of the camera's picture, at most ten; wait until perception finds all."""
    found: set[str] = set()

    def on_matches(message: Matches) -> None:
        found.update(match.name for match in message.matches if match.found)

    def stored(name: str, u: int, v: int) -> bool:
        response = caller.call(
            StoreDescriptor, '/store_descriptor', name=name, u=u, v=v, replace=True
        )
        return response is not None and response.success

    subscription = caller.node.create_subscription(Matches, '/don_kp/matches', on_matches, 10)
    for i in range(number):
        name, u, v = f'point/{i}', 60 + 50 * i, 40 + 40 * i
        wait_until(lambda: stored(name, u, v))  # noqa: B023  done before the next begins
    wait_until(lambda: len(found) == number)
    caller.node.destroy_subscription(subscription)


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used so far, user and system, all threads."""
    # proc(5): fields 14 and 15; the second, the command in brackets, may hold anything.
    fields = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def _camera(node: Node) -> None:
    header = Header(frame_id='camera_color_optical_frame')
    colour = np.random.default_rng(0).integers(0, 255, (*SIZE, 3), dtype=np.uint8)
    depth = np.full(SIZE, 600, dtype=np.uint16)
    _repeat(
        node,
        _CAMERA_HZ,
        {
            _INFO: conversions.info_from_camera(_CAMERA, header),
            _COLOUR: conversions.image_message(colour, 'rgb8', header),
            _DEPTH: conversions.image_message(depth, '16UC1', header),
        },
    )
    preset = load_preset('panda')
    names = [*preset.arm_joints, preset.finger_joint]
    state = JointState(name=names, position=[*preset.position('observe'), 0.04])
    _repeat(node, _STATE_HZ, {'/joint_states': state})

    links = [TransformStamped(child_frame_id=f'link{i + 1}') for i in range(11)]
    for i, link in enumerate(links):
        link.header.frame_id = f'link{i}'
    frames = node.create_publisher(TFMessage, '/tf', TF)

    def tell() -> None:
        stamp = node.get_clock().now().to_msg()
        for link in links:
            link.header.stamp = stamp
        frames.publish(TFMessage(transforms=links))

    node.create_timer(1 / _STATE_HZ, tell)


def _repeat(node: Node, rate: float, messages: dict[str, Any]) -> None:
    """Publish messages at a rate, all of one moment: that of their publication."""
    publishers = {
        topic: node.create_publisher(type(m), topic, 10) for topic, m in messages.items()
    }

    def publish() -> None:
        stamp = node.get_clock().now().to_msg()
        for topic, message in messages.items():
            message.header.stamp = stamp
            publishers[topic].publish(message)

    node.create_timer(1 / rate, publish)


def _subscriber(*topics: tuple[str, Any, QoSProfile | int]) -> Callable[[Node], None]:
    def subscribe(node: Node) -> None:
        for topic, kind, qos in topics:
            node.create_subscription(kind, topic, lambda _: None, qos)

    return subscribe


_ROLES = {
    'camera': _camera,
    'picture_subscriber': _subscriber((_COLOUR, Image, SENSOR), (_DEPTH, Image, SENSOR)),
    'state_subscriber': _subscriber(('/joint_states', JointState, SENSOR), ('/tf', TFMessage, TF)),
    'viewer': _subscriber(*((topic, kind, 10) for topic, kind in VIEWED.items())),
}


def main() -> None:
    """Be one of the processes beside the nodes, until a signal comes."""
    role = sys.argv[1]
    rclpy.init()
    node = rclpy.create_node(role)
    _ROLES[role](node)
    # The signal may come while a message is being published.
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException, RCLError):
        rclpy.spin(node)


if __name__ == '__main__':
    main()
