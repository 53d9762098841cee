"""What is said of a camera whose topics have other names: what can be given."""

import re

import pytest
import rclpy
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image

from don_kp_ros.bringup import description
from don_kp_ros.nodes.kit import camera_topics
from don_kp_ros.nodes.perception.stream import Stream


@pytest.fixture
def remedy(context):
    """Say what is told of one of perception's topics where others are published."""
    node = rclpy.create_node('perception', context=context)

    def told(topic, *others):
        drivers = [node.create_publisher(Image, one, qos_profile_sensor_data) for one in others]
        stream = Stream(node, Image, topic, 'image', 'start it', lambda *_: None, lambda: None)
        for _ in range(2):
            stream.watch()
        stream.close()
        for driver in drivers:
            node.destroy_publisher(driver)
        return stream.silence

    yield told
    node.destroy_node()


@pytest.mark.parametrize(
    ('topic', 'others', 'remapped'),
    [
        (camera_topics.COLOUR, ['/left/cam/color/image_raw'], ''),
        (camera_topics.COLOUR, ['/color/image_raw', '/cam/color/image_raw'], ''),
        (camera_topics.COLOUR, ['/color/image_raw'], '/color/image_raw'),
        (camera_topics.COLOUR, ['/image_raw'], '/image_raw'),
        (
            camera_topics.DEPTH,
            ['/camera/color/image_raw', '/camera/depth/image_raw'],
            '/camera/depth/image_raw',
        ),
    ],
)
def test_what_is_to_be_given_is_accepted(remedy, topic, others, remapped):
    told = remedy(topic, *others)
    namespaces = re.findall(r'camera_namespace:=(\S*)', told)
    for namespace in namespaces:
        description.checked({'camera_namespace': namespace})
    assert bool(namespaces) != bool(remapped)
    if remapped:
        assert told.endswith(f'--ros-args -r /{topic}:={remapped}')
        assert '`ros2 run don_kp perception`' in told
        (nodes,) = re.findall(r'nodes:=([\w,]+)', told)
        rest = description.selected(description.checked({'nodes': nodes}))
        assert {one.name for one in description.NODES} - {one.name for one in rest} == {
            'simulation',
            'perception',
        }
