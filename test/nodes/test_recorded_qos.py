"""Qualities of service of recordings, without a graph."""

from rclpy.qos import QoSCompatibility, qos_check_compatible

from don_kp_ros.clients.recorded_qos import to_publish
from don_kp_ros.nodes.kit.qos import TF, TF_STATIC


def test_static_transforms_of_a_recording_that_tells_no_qualities_are_heard():
    compatible, reason = qos_check_compatible(to_publish('/robot1/tf_static', []), TF_STATIC)
    assert compatible != QoSCompatibility.ERROR, reason
    assert to_publish('/tf', []).durability == TF.durability
