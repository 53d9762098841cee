"""`don_kp export`: write the descriptor network of a model as ONNX."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from don_kp_ros.arguments import Parser


def main(argv: list[str]) -> int:
    """Write the descriptor network of MODEL as ONNX, and check it against torch."""
    arguments = _parser().parse_args(argv)
    # Only now: torch takes seconds to import.
    from don_kp_ros.networks.checkpoint import CheckpointError
    from don_kp_ros.networks.export import ExportError

    try:
        return _export(arguments)
    except (CheckpointError, ExportError, OSError, ValueError) as error:
        print(f'don_kp export: {error}', file=sys.stderr)
        return 1


def _parser() -> Parser:
    parser = Parser(prog='don_kp export', description=main.__doc__)
    parser.add_argument('model', metavar='MODEL', type=Path, help='checkpoint (.safetensors)')
    parser.add_argument('--onnx', metavar='OUT', type=Path, required=True, help='file to write')
    parser.add_argument(
        '--height', type=int, help='fix the height, pixels; any height if left out'
    )
    parser.add_argument('--width', type=int, help='fix the width, pixels; any width if left out')
    parser.add_argument('--overwrite', action='store_true', help='replace OUT where it exists')
    return parser


def _export(arguments: argparse.Namespace) -> int:
    from don_kp_ros.networks.checkpoint import load
    from don_kp_ros.networks.export import ExportError, export_onnx, longer_side

    height, width = arguments.height, arguments.width
    if (height is None) != (width is None):
        raise ExportError(
            'give --height and --width both to fix the size, or neither for a graph of any size'
        )
    checkpoint = load(arguments.model)
    size = None if height is None else (height, width)
    differences = export_onnx(checkpoint, arguments.onnx, size, overwrite=arguments.overwrite)

    network, input_size = checkpoint.network, checkpoint.preprocessing.input_size
    multiple = network.coarsest_stride
    sides = 'height, width' if size is None else f'{height}, {width}'
    print(f'image: (1, 3, {sides}) float32 RGB, 0 to 255')
    if size is None:
        print(f'       sides multiples of {multiple}; trained at a longer side of {input_size}')
    elif max(size) != longer_side(checkpoint):
        print(f'       trained at a longer side of {input_size}, another size than this')
    cells = f'height/{network.stride}, width/{network.stride}'
    if size is not None:
        cells = f'{height // network.stride}, {width // network.stride}'
    print(f'descriptors: (1, {network.dimension}, {cells}) float32, unit length')
    if network.keypoints is not None and size is not None:
        number = network.keypoints.number
        print(f'keypoints: (1, {number}, 3) float32: u, v and standard deviation, pixels')
    elif network.keypoints is not None:
        print('left out: the keypoints, which need a fixed size (--height and --width)')
    found = ', '.join(f'{name} {difference:.1e}' for name, difference in differences.items())
    print(f'largest difference from torch: {found}')
    print(f'written: {arguments.onnx}')
    return 0
