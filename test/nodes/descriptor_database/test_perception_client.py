"""What the database takes from perception, which the test plays."""

import pytest
import rclpy
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point

from don_kp.srv import Describe
from don_kp_ros.errors import RefusedError
from don_kp_ros.nodes.descriptor_database.perception import PerceptionClient


@pytest.fixture
def look(peer, context, spun):
    """Ask for a pixel; return the answer, or the refusal."""
    node = rclpy.create_node('database', context=context)
    client = PerceptionClient(node, lambda: 1.0)

    async def asked():
        try:
            return await client.look((20, 30), Time(), '')
        except RefusedError as error:
            return error

    with spun(node) as executor:

        def ask():
            task = executor.create_task(asked)
            peer.wait_until(task.done)
            return task.result()

        yield ask


def test_a_description_without_its_picture_is_not_stored(peer, look):
    patches = [b'']

    def describe(_, response):
        response.success, response.model, response.values = True, 'm', [0.6, 0.8]
        response.positions, response.reasons = [Point()], ['']
        response.patch = patches[0]
        return response

    service = peer.node.create_service(Describe, '/perception/describe', describe)
    refused = peer.wait_until(
        lambda: 'no node serves' not in str(answer := look()) and answer  # they have met
    )
    assert str(refused).startswith('perception has no picture of pixel (20, 30); start')
    patches[0] = b'png'
    model, seen, lacks = look()
    assert (model, seen.patch, lacks) == ('m', b'png', '')
    peer.node.destroy_service(service)
