"""Writes a board to be printed: a PDF of true size, or a picture."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from don_kp_ros.calibration.board import Board
from don_kp_ros.calibration.options import PAPERS
from don_kp_ros.errors import RefusedError

BORDER_MM = 6.0  # that printers leave white
PICTURE_DPI = 300

_POINT_MM = 25.4 / 72  # PDF's unit
_FOOT_MM = 12.0  # below the board, for the ruler and what the board is
_RULER_MM = 100


def write_board(path: Path, board: Board, square_mm: float, paper: str) -> None:
    """Write a board with squares of so many millimetres, as the file's suffix says.

    A PDF has the paper's size, and a ruler. Raises RefusedError for another suffix, and for a
    board that is larger than the paper.
    """
    suffix = path.suffix.lower()
    if suffix == '.pdf':
        path.write_bytes(_pdf(board, square_mm, paper))
    elif suffix == '.png':
        _write_picture(path, board, square_mm)
    else:
        raise RefusedError(f'{path}: a board is written as .pdf, of true size, or as .png')


def _write_picture(path: Path, board: Board, square_mm: float) -> None:
    import PIL.Image  # slow to import

    side = round(square_mm / 25.4 * PICTURE_DPI)
    size = board.columns * side, board.rows * side
    picture = board.aruco().generateImage(size, marginSize=0, borderBits=1)
    dpi = side / square_mm * 25.4
    PIL.Image.fromarray(np.asarray(picture)).save(path, dpi=(dpi, dpi))


def _pdf(board: Board, square_mm: float, paper: str) -> bytes:
    width, height = PAPERS[paper]
    across, down = board.columns * square_mm, board.rows * square_mm
    if across > width - 2 * BORDER_MM or down > height - 2 * BORDER_MM - _FOOT_MM:
        most = math.floor(
            min(
                (width - 2 * BORDER_MM) / board.columns,
                (height - 2 * BORDER_MM - _FOOT_MM) / board.rows,
            )
        )
        raise RefusedError(
            f'a board of {board.columns} by {board.rows} squares of {square_mm:g} mm does not fit '
            f'on {paper}; squares of {most} mm do: --square {most}'
        )
    left, top = (width - across) / 2, (height - _FOOT_MM + down) / 2 + _FOOT_MM / 2
    drawn = ['0 g']
    for x, y, w, h in board.black() * square_mm:
        drawn.append(_rectangle(left + x, top - y - h, w, h))
    foot = BORDER_MM
    drawn += [_rectangle(left, foot, _RULER_MM, 0.3)]
    drawn += [
        _rectangle(left + mark - 0.1, foot, 0.2, 3.0 if mark % 50 == 0 else 1.5)
        for mark in range(0, _RULER_MM + 1, 10)
    ]
    text = (
        f'100 mm. {board.columns} x {board.rows}, {board.dictionary}, marker {board.marker:g}, '
        f'squares {square_mm:g} mm: print at 100 %, then measure ten of them'
    )
    x, y = (left + _RULER_MM + 4) / _POINT_MM, foot / _POINT_MM
    drawn.append(f'BT /F1 7 Tf {x:.3f} {y:.3f} Td ({text}) Tj ET')
    return _document(width / _POINT_MM, height / _POINT_MM, '\n'.join(drawn))


def _rectangle(x: float, y: float, width: float, height: float) -> str:
    values = ' '.join(f'{value / _POINT_MM:.4f}' for value in (x, y, width, height))
    return f'{values} re f'


def _document(width: float, height: float, content: str) -> bytes:
    """Make a PDF of one page, with its size in points (ISO 32000-1, 7.5)."""
    objects = [
        '<< /Type /Catalog /Pages 2 0 R >>',
        '<< /Type /Pages /Kids [3 0 R] /Count 1 >>',
        f'<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {width:.4f} {height:.4f}] '
        '/Resources << /Font << /F1 5 0 R >> >> /Contents 4 0 R >>',
        f'<< /Length {len(content)} >>\nstream\n{content}\nendstream',
        '<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>',
    ]
    body, places = '%PDF-1.4\n', []
    for number, one in enumerate(objects, start=1):
        places.append(len(body))
        body += f'{number} 0 obj\n{one}\nendobj\n'
    table = ''.join(f'{place:010d} 00000 n \n' for place in places)
    count = len(objects) + 1
    return (
        f'{body}xref\n0 {count}\n0000000000 65535 f \n{table}'
        f'trailer\n<< /Size {count} /Root 1 0 R >>\nstartxref\n{len(body)}\n%%EOF\n'
    ).encode('ascii')
