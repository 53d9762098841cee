"""What can be chosen on the command line; nothing here is slow to import."""

from __future__ import annotations

import argparse

COLUMNS, ROWS, MARKER, DICTIONARY = 8, 5, 0.75, 'DICT_4X4_50'
SQUARE_MM = 32.0  # as printed; such a board fits on both A4 and letter
PAPERS = {'a4': (297.0, 210.0), 'letter': (279.4, 215.9), 'a3': (420.0, 297.0)}  # mm, lying
MOUNTS = ('hand', 'stand')


def add_board(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose a board."""
    parser.add_argument('--columns', type=int, default=COLUMNS, metavar='N', help='%(default)s')
    parser.add_argument('--rows', type=int, default=ROWS, metavar='N', help='%(default)s')
    parser.add_argument(
        '--marker', type=float, default=MARKER, metavar='SHARE', help='of a square, %(default)s'
    )
    parser.add_argument('--dictionary', default=DICTIONARY, help="OpenCV's, %(default)s")


def add_square(parser: argparse.ArgumentParser) -> None:
    """Add the side of the squares, which is measured."""
    parser.add_argument(
        '--square', type=float, metavar='MM', help='side of the squares as you measured it'
    )
