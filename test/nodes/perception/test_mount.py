"""Where the camera sits on the hand, as everyone is told."""

import contextlib

import numpy as np
import pytest
import yaml
from builtin_interfaces.msg import Time
from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from tf2_msgs.msg import TFMessage

from don_kp_ros.bringup import description
from don_kp_ros.errors import RefusedError
from don_kp_ros.geometry import rigid
from don_kp_ros.nodes.kit.conversions import matrix_from_transform, transform_from_matrix
from don_kp_ros.nodes.kit.qos import TF_STATIC
from don_kp_ros.nodes.kit.runner import StartupError
from don_kp_ros.nodes.kit.transforms import TransformListener
from don_kp_ros.nodes.perception.mount import MountedCamera
from don_kp_ros.robots.preset import load_preset

TURNED = rigid.rotation_about([0.2, 1.0, 0.1], 0.02)


@pytest.fixture
def mounted(context, spun):
    """Mount a robot's camera in a namespace of its own; give what knows its frames."""
    with contextlib.ExitStack() as ended:

        def mount(namespace, robot, camera='camera/camera'):
            arguments = ['--ros-args']
            for old, new in description.remappings(
                description.checked({'camera_namespace': camera})
            ):
                arguments += ['-r', f'{old}:={new}']
            node = Node('perception', context=context, namespace=namespace, cli_args=arguments)
            transforms = TransformListener(node)
            MountedCamera(node, str(robot), transforms)
            ended.enter_context(spun(node))
            return transforms

        yield mount


def told(peer, namespace):
    heard = peer.listen(TFMessage, f'/{namespace}/tf_static', TF_STATIC)
    (message,) = peer.wait_until(lambda: heard[:1])
    (mount,) = message.transforms
    T = matrix_from_transform(mount.transform)
    return mount.header.frame_id, mount.child_frame_id, mount.header.stamp, T


@pytest.mark.parametrize(
    ('namespace', 'camera', 'frame'),
    [
        ('robot1', 'camera/camera', 'camera_link'),
        ('robot2', '/left/D455_1', 'D455_1_link'),
        ('robot3', 'cam', 'cam_link'),
    ],
)
def test_the_camera_sits_on_the_hand_by_the_name_of_its_frames(
    peer, mounted, namespace, camera, frame
):
    mounted(namespace, 'fr3', camera)
    parent, child, stamp, T = told(peer, namespace)
    assert (parent, child, stamp) == ('fr3_hand', frame, Time())
    assert np.allclose(T, load_preset('fr3').T_hand_camera_link)


def test_of_the_optical_frame_s_pose_the_driver_s_own_transform_makes_the_mount(
    peer, mounted, tmp_path
):
    T_hand_optical = load_preset('panda').T_hand_camera_link @ rigid.transform(TURNED)
    camera = {
        'frame': 'camera_color_optical_frame',
        'translation': [0.07, -0.015, 0.02],
        'quaternion': rigid.to_quaternion(T_hand_optical).tolist(),
    }
    T_hand_optical = rigid.from_quaternion(camera['quaternion'], camera['translation'])
    file = tmp_path / 'calibrated.yaml'
    file.write_text(yaml.safe_dump({'base': 'panda', 'camera': camera}))
    transforms = mounted('robot4', file, 'camera/left')
    driver = peer.node.create_publisher(TFMessage, '/robot4/tf_static', TF_STATIC)
    # No two devices are the same.
    T_link_colour = rigid.transform(TURNED, [0.0003, 0.0147, 0.0001])
    T_colour_optical = rigid.from_quaternion([-0.5, 0.5, -0.5, 0.5])
    frames = TFMessage()
    for parent, child, T in (
        ('left_link', 'left_color_frame', T_link_colour),
        ('left_color_frame', 'left_color_optical_frame', T_colour_optical),
    ):
        frames.transforms.append(message := TransformStamped())
        message.header.frame_id, message.child_frame_id = parent, child
        message.transform = transform_from_matrix(T)
    driver.publish(frames)

    def known():
        try:
            return [transforms.lookup('panda_hand', 'left_color_optical_frame')]
        except RefusedError:
            return []

    assert np.allclose(peer.wait_until(known), [T_hand_optical], atol=1e-9)


def test_a_topic_that_does_not_tell_the_cameras_name_is_refused(context):
    remapped = ['--ros-args', '-r', 'camera/camera/color/image_raw:=/usb_cam/image_raw']
    node = Node('perception', context=context, cli_args=remapped)
    try:
        with pytest.raises(StartupError, match=r'/usb_cam/image_raw .* camera_mount to none'):
            MountedCamera(node, 'panda', TransformListener(node))
    finally:
        node.destroy_node()
