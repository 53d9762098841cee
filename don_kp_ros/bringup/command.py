"""`don_kp bringup simulation:=true`: start the stack's nodes without `launch`."""

import argparse
import importlib.util
import signal
import sys
import threading
from pathlib import Path

from don_kp_ros.arguments import Parser
from don_kp_ros.bringup import description
from don_kp_ros.bringup.processes import Bringup
from don_kp_ros.signals import ending_signals


def main(argv: list[str]) -> int:
    """Run the stack until a signal or the end of one of its nodes; return the exit status."""
    lines = []
    for argument in description.ARGUMENTS:
        choices = f' ({"|".join(argument.choices)})' if argument.choices else ''
        lines.append(
            f'  {argument.name}:={argument.default}\n      {argument.description}{choices}'
        )
    parser = Parser(
        'don_kp bringup',
        description='Start the nodes of the stack, as `ros2 launch don_kp grasp.launch.py` does.',
        epilog='arguments and their defaults:\n' + '\n'.join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('arguments', nargs='*', metavar='name:=value', help='launch arguments')
    parser.add_argument('--log-directory', type=Path, help="files for the nodes' output")
    options = parser.parse_args(argv)
    for module in ('rclpy', 'don_kp'):
        if importlib.util.find_spec(module) is None:  # else each node would end by saying so
            raise ModuleNotFoundError(f'the nodes need {module}', name=module)
    try:
        arguments = dict(_assignment(text) for text in options.arguments)
        bringup = Bringup(arguments, options.log_directory)
    except ValueError as error:
        parser.error(str(error))

    stopped = threading.Event()
    for number in ending_signals():
        signal.signal(number, lambda *_: stopped.set())
    print(
        description.hint(bringup.arguments)
        or 'The drivers of camera and arm run elsewhere: see launch/grasp.launch.py.'
    )
    with bringup:
        ended = None
        while not stopped.wait(0.1) and ended is None:
            ended = bringup.poll()
    if ended is None:
        return 0
    print(f'{ended.node} ended with exit code {ended.code}; stopped the rest.', file=sys.stderr)
    if last := bringup.tail(ended.node):
        print(f'The end of {options.log_directory / ended.node}.log:\n{last}', file=sys.stderr)
    return ended.code if 0 < ended.code < 256 else 1


def _assignment(text: str) -> tuple[str, str]:
    name, separator, value = text.partition(':=')
    if not separator:
        raise ValueError(f'{text!r} is not of the form name:=value.')
    return name, value
