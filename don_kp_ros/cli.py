"""The command line: `don_kp <command> ...`."""

import importlib
import signal
import sys
from typing import NamedTuple

from don_kp_ros.errors import did_you_mean
from don_kp_ros.signals import ending_signals


class Command(NamedTuple):
    """A command: a module with main(argv) -> exit status, imported only when it is called.

    extra: of the package, with which everything is installed that the command needs beside ROS;
    shared: the module has several commands, and its argv begins with the name of one.
    """

    module: str
    help: str
    extra: str = 'train'
    shared: bool = False


_CLIENTS = 'don_kp_ros.clients.command'
_RECORDINGS = 'don_kp_ros.clients.recordings_command'


COMMANDS = {
    'bringup': Command('don_kp_ros.bringup.command', 'start the nodes of the stack', 'ros'),
    'store': Command(_CLIENTS, 'store a point that the camera sees', 'ros', shared=True),
    'teach': Command(_CLIENTS, 'teach an object, or how to hold it', 'ros', shared=True),
    'list': Command(_CLIENTS, 'list the stored points', 'ros', shared=True),
    'where': Command(_CLIENTS, 'tell where the camera sees a stored point', 'ros', shared=True),
    'pick': Command(_CLIENTS, 'grasp at a stored point and lift it', 'ros', shared=True),
    'release': Command(_CLIENTS, 'open the hand', 'ros', shared=True),
    'camera': Command(
        'don_kp_ros.clients.camera_command', 'tell whether the camera is fit for grasping', 'ros'
    ),
    'view': Command(
        'don_kp_ros.clients.view_command', 'show the stack in the browser, and ask it', 'ros'
    ),
    'calibrate': Command(
        'don_kp_ros.clients.calibrate_command', 'tell where the camera is on the hand, by a board'
    ),
    'record': Command(_RECORDINGS, 'record what camera, robot and stack say', 'ros', shared=True),
    'replay': Command(_RECORDINGS, 'publish what was recorded', 'ros', shared=True),
    'grasp': Command(
        'don_kp_ros.demo.command', 'teach a point and grasp there, in simulation', 'ros'
    ),
    'demo': Command('don_kp_ros.demo.page', 'start the simulation and its page', 'ros'),
    'render': Command(
        'don_kp_ros.simulation.command', 'render pictures to train on', 'simulation'
    ),
    'data': Command(
        'don_kp_ros.annotation.command', 'examine, import or extract pictures to train on'
    ),
    'mask': Command('don_kp_ros.annotation.mask_command', 'make masks for pictures'),
    'outline': Command(
        'don_kp_ros.page.outline_command',
        'make masks for pictures by clicks, in a browser',
        'page',
    ),
    'train': Command('don_kp_ros.training.command', 'train a descriptor network'),
    'evaluate': Command('don_kp_ros.evaluation.command', 'measure a model and write a report'),
    'study': Command('don_kp_ros.studies.command', 'train models to compare them'),
    'match': Command('don_kp_ros.matching.command', 'find a point of one picture in another'),
    'inspect': Command(
        'don_kp_ros.page.inspect_command', 'point at one picture, see it found in another', 'page'
    ),
    'refine': Command(
        'don_kp_ros.pose.command', 'refine the pose of an object with a mesh', 'meshes'
    ),
    'db': Command(
        'don_kp_ros.database.command', 'look at and care for stored descriptors', 'server'
    ),
    'export': Command('don_kp_ros.networks.command', 'write a model as ONNX', 'export'),
}

_OF_ROS = ('don_kp', 'rclpy', 'std_srvs')  # and all of messages


def main(argv: list[str] | None = None) -> int:
    """Run a command and return its exit status."""
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or arguments[0] in ('-h', '--help'):
        print(usage())
        return 0 if arguments else 2
    if arguments[0] == '--version':
        from importlib.metadata import version  # slow to import

        print('don_kp', version('don_kp'))
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        print(
            f'don_kp: unknown command {name!r}; the commands are {", ".join(COMMANDS)}'
            f'{did_you_mean(name, COMMANDS) or "."}',
            file=sys.stderr,
        )
        return 2
    # However a command is told to end, it ends as by Ctrl-C and takes its processes along.
    for number in ending_signals():
        signal.signal(number, signal.default_int_handler)
    try:
        command = COMMANDS[name]
        given = arguments if command.shared else rest
        status: int = importlib.import_module(command.module).main(given)
    except KeyboardInterrupt:
        return 130
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition('.')[0] == 'don_kp_ros':
            raise
        print(_missing(name, error.name), file=sys.stderr)
        return 1
    return status


def _missing(name: str, module: str) -> str:
    """Say what to install for a command that lacks a module."""
    top = module.partition('.')[0]
    if top in _OF_ROS or top.endswith(('_msgs', '_interfaces')):
        # Interfaces are built with the package: no extra brings them.
        return (
            f'don_kp {name} needs ROS 2 and the interfaces: pip install . in the checkout, with '
            f'DON_KP_WITHOUT_ROS unset ({module} is missing)'
        )
    extra = 'recordings' if module == 'rosbags' else COMMANDS[name].extra
    return (
        f"don_kp {name} needs the extra {extra!r}: pip install '.[{extra}]' in the checkout "
        f'({module} is missing)'
    )


def usage() -> str:
    """Return the text that lists the commands."""
    lines = [f'  {name:10} {command.help}' for name, command in COMMANDS.items()]
    return '\n'.join(
        [
            'usage: don_kp <command> ...',
            '',
            'commands:',
            *lines,
            '',
            '`don_kp <command> --help` tells more; `don_kp --version` tells the version.',
        ]
    )


if __name__ == '__main__':
    sys.exit(main())
