"""`don_kp view`: a page in the browser that shows a running stack and asks it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from don_kp_ros.arguments import Parser
from don_kp_ros.bringup import description
from don_kp_ros.clients.graph_arguments import enter_graph
from don_kp_ros.page.options import add_page_options


def main(argv: Sequence[str]) -> int:
    """Show a page with the camera's picture, what is stored and taught, and the arm's buttons."""
    parser = _parser()
    options = parser.parse_args(argv)
    try:
        stack, _ = enter_graph(options, 'namespace', 'camera_namespace')
        # Only now: rclpy, the messages and the page's libraries are slow to import.
        from don_kp_ros.clients.view import view

        view(description.namespace(stack), stack['camera_namespace'], options.host, options.port)
    except ValueError as error:  # RefusedError, too
        print(f'don_kp view: {error}', file=sys.stderr)
        return 1
    return 0


def _parser() -> Parser:
    parser = Parser('don_kp view', description=main.__doc__)
    parser.add_argument('--namespace', default='', help="the stack's, such as robot1")
    parser.add_argument(
        '--camera-namespace', default='camera/camera', help="the camera's, %(default)s"
    )
    parser.add_argument(
        '--simulation',
        action='store_true',
        help='ask a simulation of this machine, in its ROS domain, not that of ROS_DOMAIN_ID',
    )
    add_page_options(parser)
    return parser
