"""What RViz draws."""

from __future__ import annotations

from collections.abc import Sequence

from builtin_interfaces.msg import Duration
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from don_kp_ros.matching.points import FoundPoint
from don_kp_ros.nodes.kit.conversions import point_message


def point_markers(header: Header, points: Sequence[FoundPoint]) -> MarkerArray:
    """Make a ball and a name for every point that was found; what was drawn before goes."""
    markers = [Marker(header=header, action=Marker.DELETEALL)]
    for index, point in enumerate(points):
        if not point.found:
            continue
        for namespace, kind, size in (
            ('points', Marker.SPHERE, 0.012),
            ('names', Marker.TEXT_VIEW_FACING, 0.02),
        ):
            marker = Marker(header=header, ns=namespace, id=index, type=kind, action=Marker.ADD)
            marker.pose.position = point_message(point.position)
            marker.pose.orientation.w = 1.0
            marker.scale.x = marker.scale.y = marker.scale.z = size
            marker.color = ColorRGBA(r=0.25, g=1.0, b=0.4, a=1.0)
            marker.lifetime = Duration(sec=1)
            marker.text = f'{point.name} {point.score:.2f}'
            markers.append(marker)
    return MarkerArray(markers=markers)
