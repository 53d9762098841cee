"""`don_kp calibrate`: where the camera is on the hand, or beside the robot."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from don_kp_ros.arguments import Parser
from don_kp_ros.calibration.options import MOUNTS, PAPERS, SQUARE_MM, add_board, add_square
from don_kp_ros.errors import RefusedError
from don_kp_ros.outputs import check_writable

if TYPE_CHECKING:
    from don_kp_ros.calibration.folder import Recording
    from don_kp_ros.calibration.solving import Array, Calibration
    from don_kp_ros.robots.preset import RobotPreset


def main(argv: list[str]) -> int:
    """Run `don_kp calibrate`; the exit status is 1 where something is refused."""
    from don_kp_ros.configuration import within

    options = _parser().parse_args(argv)
    try:
        if options.square is not None:
            within('--square (mm)', options.square, 2, 1000)
        return {'board': _board, 'record': _record, 'solve': _solve, 'check': _check}[
            options.command
        ](options)
    except (ValueError, OSError) as error:  # RefusedError, ConfigurationError and DataError, too
        print(f'don_kp calibrate {options.command}: {error}', file=sys.stderr)
        return 1


def _board(options: argparse.Namespace) -> int:
    from don_kp_ros.calibration.board import Board
    from don_kp_ros.calibration.printing import write_board

    board = Board(options.columns, options.rows, None, options.marker, options.dictionary)
    check_writable(options.file)
    options.file.parent.mkdir(parents=True, exist_ok=True)
    write_board(options.file, board, options.square, options.paper)
    print(
        f'{options.file}: print it at 100 %, glue it onto something flat, and measure ten '
        'squares; a tenth of that is --square of `don_kp calibrate record` and `solve`'
    )
    return 0


def _solve(options: argparse.Namespace) -> int:
    from don_kp_ros.calibration import report
    from don_kp_ros.robots.own_file import with_camera
    from don_kp_ros.robots.preset import load_preset

    preset = load_preset(options.robot)
    recording, found = _solved(options)
    if recording.mount == 'stand':
        print(report.stand_told(found, recording, preset))
        return 0
    print(*report.corners_told(found, preset), sep='\n')
    change = with_camera(options.robot, *_mounted(options, recording, found, preset))
    print(*report.change_told(change, preset), sep='\n')
    if not (options.yes or _agreed(f'write {change.path}? [y/N] ')):
        print('nothing is written')
        return 0
    change.write()
    print(f'{change.path} is written; start the nodes anew')
    return 0


def _mounted(
    options: argparse.Namespace, recording: Recording, found: Calibration, preset: RobotPreset
) -> tuple[Array, str]:
    """Return the pose (4, 4) of a frame on the hand, and which: the nodes have to meet it."""
    from don_kp_ros.geometry import rigid
    from don_kp_ros.robots.preset import OPTICAL

    T_hand_optical, root = found.poses.T_a_camera, preset.camera.frame
    if recording.frame.endswith(OPTICAL):
        if root in ('camera_link', f'camera{OPTICAL}', recording.link):
            return T_hand_optical, f'camera{OPTICAL}'
        raise RefusedError(
            f'{preset.name} has the pose of {root}, and the views are of {recording.frame}: if '
            f'they are of the same camera, write frame, link and T_link_camera into the index of '
            f"{options.folder}; if not, remove camera.frame from the robot's file"
        )
    if recording.T_link_camera is None:
        raise RefusedError(
            f'{options.folder}: where {recording.frame} is in {recording.link} is not told: write '
            'T_link_camera into its index'
        )
    return T_hand_optical @ rigid.inverse(recording.T_link_camera), recording.link


def _solved(options: argparse.Namespace) -> tuple[Recording, Calibration]:
    """Solve a folder and tell what came of it."""
    from don_kp_ros.calibration import report
    from don_kp_ros.calibration.folder import read_index
    from don_kp_ros.calibration.reading import read_views
    from don_kp_ros.calibration.solving import calibrate
    from don_kp_ros.robots.preset import load_preset

    preset = load_preset(options.robot)
    recording = read_index(options.folder).with_square(_metres(options))
    if recording.hand_frame not in ('', preset.hand_frame):
        raise RefusedError(
            f'{options.folder}: has poses of {recording.hand_frame}, and the hand of '
            f'{preset.name} is {preset.hand_frame}: give the --robot that they were recorded with'
        )
    views, unread = read_views(options.folder, recording)
    found = calibrate(views)
    print(*report.told(found, recording, unread, preset), sep='\n')
    return recording, found


def _record(options: argparse.Namespace) -> int:
    from don_kp_ros.calibration.board import Board
    from don_kp_ros.calibration.folder import INDEX
    from don_kp_ros.configuration import within

    board = Board(
        options.columns, options.rows, _metres(options), options.marker, options.dictionary
    )
    within('views', options.views, 1, 100)
    if (options.folder / INDEX).exists():
        raise RefusedError(f'{options.folder}: has views already; name another folder')
    check_writable(options.folder / INDEX)
    if not options.drive:
        _enter(options)
        from don_kp_ros.clients.calibration import record

        return record(options, board)
    board.side()  # else the poses are not known
    _enter(options)
    from don_kp_ros.clients.calibration_drive import drive

    return drive(options, board)


def _check(options: argparse.Namespace) -> int:
    recording, found = _solved(options)
    if recording.mount == 'stand':
        raise RefusedError('the board was on the hand: there is no corner that the hand can touch')
    _enter(options)
    from don_kp_ros.clients.calibration import touch

    return touch(options, found)


def _metres(options: argparse.Namespace) -> float | None:
    """Return the side of the squares, if it is given."""
    return None if options.square is None else 1e-3 * float(options.square)


def _enter(options: argparse.Namespace) -> None:
    """Set the environment in which ROS meets the stack, before it is imported."""
    from don_kp_ros.bringup import description
    from don_kp_ros.clients.graph_arguments import enter_graph

    asked, _ = enter_graph(options, 'namespace', 'camera_namespace')
    options.namespace = description.namespace(asked)
    options.camera_namespace = asked['camera_namespace']


def _agreed(question: str) -> bool:
    try:
        return input(question).strip().lower() in ('y', 'yes')
    except EOFError:
        print()
        return False


def _parser() -> Parser:
    parser = Parser('don_kp calibrate', description=__doc__)
    commands = parser.add_subparsers(dest='command', required=True, metavar='COMMAND')

    told = 'write a board to be printed: a PDF of true size, or a PNG'
    board = commands.add_parser('board', help=told, description=told)
    board.add_argument('file', metavar='FILE', type=Path)
    add_board(board)
    board.add_argument('--square', type=float, default=SQUARE_MM, metavar='MM', help='%(default)g')
    board.add_argument('--paper', choices=PAPERS, default='a4', help='%(default)s')

    told = 'take pictures of the board and poses of the hand, on a running stack'
    record = commands.add_parser(
        'record',
        help=told,
        description=f'{told}. You guide the hand, and press Enter for each view; the end of input '
        'ends it, and nothing is moved by this command. Or, with --drive, the arm goes from pose '
        'to pose, once you agree.',
    )
    record.add_argument('folder', metavar='FOLDER', type=Path, help='that is made')
    add_board(record)
    add_square(record)
    record.add_argument(
        '--mount',
        choices=MOUNTS,
        default='hand',
        help='where the camera is, %(default)s; on a stand, the board is on the hand',
    )
    record.add_argument(
        '--drive', action='store_true', help='move the arm to poses from which it takes the views'
    )
    record.add_argument(
        '--views', type=int, default=15, metavar='N', help='that --drive takes, %(default)s'
    )
    record.add_argument('--yes', action='store_true', help='--drive moves the arm without asking')

    told = "solve a folder of views, and put the camera's pose into the robot's own file"
    solve = commands.add_parser('solve', help=told, description=told)
    solve.add_argument('--yes', action='store_true', help='write without asking')

    told = 'tell how far the tool tip is from the corner of the board that it touches'
    check = commands.add_parser('check', help=told, description=told)
    for command in (solve, check):
        command.add_argument('folder', metavar='FOLDER', type=Path)
        add_square(command)
    for command in (record, solve, check):
        command.add_argument('--robot', default='panda', help='preset or file, %(default)s')
    for command in (record, check):
        command.add_argument('--namespace', default='', help="the stack's, such as robot1")
        command.add_argument(
            '--camera-namespace', default='camera/camera', help="the camera's, %(default)s"
        )
        command.add_argument(
            '--simulation', action='store_true', help='a simulation of this machine'
        )
    return parser
