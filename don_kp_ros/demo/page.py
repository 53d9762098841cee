"""`don_kp demo`: the simulated stack, and its page in the browser."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from don_kp_ros.arguments import Parser
from don_kp_ros.bringup import description
from don_kp_ros.bringup.processes import Bringup, Exit
from don_kp_ros.page.options import add_page_options


def main(argv: list[str]) -> int:
    """Simulate robot, camera and objects, and serve the page to teach points and grasp them.

    Ctrl-C ends both.
    """
    parser = Parser('don_kp demo', description=main.__doc__)
    parser.add_argument(
        '--domain', default='', help="ROS domain; default: that of the simulation, as bringup's"
    )
    parser.add_argument(
        '--folder',
        type=Path,
        default=Path('output/demo'),
        help='of what is stored and the logs of the nodes, %(default)s',
    )
    add_page_options(parser)
    options = parser.parse_args(argv)
    # Only now: rclpy, the messages and the page's libraries are slow to import.
    from don_kp_ros.clients.view import view

    arguments = {'simulation': 'true', 'database': str(options.folder / 'descriptors.sqlite')}
    if options.domain:
        arguments['simulation_domain'] = options.domain
    ended: list[Exit] = []

    def has_ended() -> bool:
        if not ended and (found := stack.poll()) is not None:
            ended.append(found)
        return bool(ended)

    try:
        options.folder.mkdir(parents=True, exist_ok=True)
        stack = Bringup(arguments, options.folder / 'logs')
        os.environ.update(description.environment(stack.arguments))
        with stack:
            name, camera = (stack.arguments[key] for key in ('namespace', 'camera_namespace'))
            view(f'/{name}', camera, options.host, options.port, has_ended)
    except (OSError, ValueError) as error:  # RefusedError, too
        print(f'don_kp demo: {error}', file=sys.stderr)
        if not ended:
            return 1
    if not ended:
        return 0
    node, code = ended[0]
    print(
        f'don_kp demo: {node} ended with exit code {code}; the end of its log, '
        f'{options.folder / "logs" / node}.log:\n{stack.tail(node)}',
        file=sys.stderr,
    )
    return 1
