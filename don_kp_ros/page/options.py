"""The options of commands that serve a page."""

from __future__ import annotations

import argparse

_LAST_PORT = 65535


def add_page_options(parser: argparse.ArgumentParser) -> None:
    """Add --host and --port."""
    parser.add_argument(
        '--host',
        default='127.0.0.1',
        help='address to serve at, %(default)s: for this machine alone; at another one, such as '
        '0.0.0.0, the page is for whoever has the address that is printed, with its token',
    )
    parser.add_argument(
        '--port', type=_port, default=8080, help='%(default)s; 0: any that is free'
    )


def _port(text: str) -> int:
    if not (text.isdecimal() and int(text) <= _LAST_PORT):
        raise argparse.ArgumentTypeError(f'{text!r}; a port is a whole number up to {_LAST_PORT}')
    return int(text)
