"""Takes views for a hand-eye calibration from poses that the arm is driven to."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import sys
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
from geometry_msgs.msg import PoseStamped
from numpy.typing import NDArray

from don_kp.action import Grasp
from don_kp_ros.calibration.board import Board
from don_kp_ros.calibration.detection import UnseenError, pose_of_board
from don_kp_ros.calibration.viewpoints import around_board, around_tool
from don_kp_ros.clients.calibration import RestlessError, StillThereError, Taking, line
from don_kp_ros.clients.goals import Goals
from don_kp_ros.clients.stack import Stack
from don_kp_ros.errors import RefusedError
from don_kp_ros.nodes.kit.conversions import pose_from_matrix

Array = NDArray[np.float64]
Taken = TypeVar('Taken')

_TRIES = 2  # times as many poses as views: some cannot be reached, or do not show the board
_LOOKS = 150  # pictures by which the hand rests: five seconds of a common camera
_ELSEWHERE_MAY_DO = (Grasp.Result.UNREACHABLE, Grasp.Result.OUTSIDE)


def drive(options: argparse.Namespace, board: Board) -> int:
    """Drive the hand from pose to pose, once the user agrees; return the exit status.

    A view is written as it is taken, and stays where the arm may not go on. Raises RefusedError
    where the board is not in view at first, or no view could be taken.
    """
    with Stack(options.namespace) as stack:
        taking, goals = Taking(stack, options, board), Goals(stack)
        _, T_base_hand, corners, _ = _at_rest(taking.seen)
        if options.mount == 'hand':
            camera = taking.watch.camera()
            T_camera_board = pose_of_board(corners, board, camera)
            T_hand_camera = taking.preset.camera.T_hand_optical
            poses = around_board(board, camera, T_camera_board, T_base_hand, T_hand_camera)
        else:
            poses = around_tool(T_base_hand, taking.preset.T_hand_tcp)
        print(_foretold(options))
        typed = 'y' if options.yes else line(stack, 'move the arm? [y/N] ')
        if typed.strip().lower() not in ('y', 'yes'):
            print('nothing is moved')
            return 0
        try:
            status = _drive(options, taking, goals, poses)
        except KeyboardInterrupt:  # while the arm rests
            status = 130
        except RefusedError as error:
            print(f'it ends here: {error}', file=sys.stderr)
            status = 1
    print(taking.end())
    return status


def _drive(
    options: argparse.Namespace, taking: Taking, goals: Goals, poses: Iterator[Array]
) -> int:
    for number, T_base_hand in enumerate(itertools.islice(poses, _TRIES * options.views)):
        T_base_tcp = T_base_hand @ taking.preset.T_hand_tcp
        x, y, z = 1e3 * T_base_tcp[:3, 3]
        print(f'pose {number}: the tool to ({x:.0f}, {y:.0f}, {z:.0f}) mm', flush=True)
        goal = Grasp.Goal(mode=Grasp.Goal.MOVE, blind=options.mount == 'stand')
        goal.pose = PoseStamped(pose=pose_from_matrix(T_base_tcp))
        goal.pose.header.frame_id = taking.preset.base_frame
        result, interrupted = goals.run(goal)
        if interrupted:
            return 130
        if result.code in _ELSEWHERE_MAY_DO:
            print(f'pose {number}: skipped: {result.message}', flush=True)
            continue
        if not result.success:
            raise RefusedError(result.message)
        try:
            print(_at_rest(taking.take), flush=True)
        except (UnseenError, RestlessError, StillThereError) as error:
            print(f'pose {number}: skipped: {error}', flush=True)
        if len(taking.views) == options.views:
            return 0
    raise RefusedError(
        f'{len(taking.views)} of {options.views} views were taken, and there are no more poses to '
        'try; begin anew with the board in the middle of what the arm reaches, or ask for fewer '
        '(--views)'
    )


def _at_rest(take: Callable[[], Taken]) -> Taken:
    """Try until the hand rests, and pictures of before have passed."""
    for _ in range(_LOOKS - 1):
        with contextlib.suppress(RestlessError, StillThereError):
            return take()
    return take()


def _foretold(options: argparse.Namespace) -> str:
    if options.mount == 'hand':
        way = (
            f'The arm goes to {options.views} poses around the board, one after the other, and '
            'avoids what the camera sees, and the table.'
        )
    else:
        way = (
            f'The arm turns the hand to {options.views} poses about where it is, one after the '
            'other. It knows the table alone, and nothing of the board on the hand or of what '
            'stands about: clear half a metre about the hand.'
        )
    return f'{way} The safety limits hold. Ctrl-C stops it at once; keep the stop button at hand.'
