"""`don_kp render`: pictures to train on."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from don_kp_ros.arguments import Parser
from don_kp_ros.errors import RefusedError
from don_kp_ros.outputs import check_writable

_RANGES = {'tilt': (0.0, 85.0), 'distance': (0.2, 3.0), 'roll': (-360.0, 360.0)}


def main(argv: list[str] | None = None) -> int:
    """Render posed views to train on, of objects of all built-in kinds or of one."""
    parser = _parser()
    options = parser.parse_args(argv)
    # Only now: MuJoCo and OpenCV are slow to import.
    from don_kp_ros.data.folder import DataError

    try:
        check_writable(options.folder / 'rgbs' / '0.png')
        _render(parser, options)
    except (DataError, RefusedError) as error:
        print(f'don_kp render: {error}', file=sys.stderr)
        return 1
    return 0


def _parser() -> Parser:
    parser = Parser(prog='don_kp render', description=main.__doc__)
    parser.add_argument('folder', type=Path)
    parser.add_argument(
        '--object',
        metavar='KIND|FILE',
        help='cap, mug, can, bottle or box; or a mesh, .obj, .glb or .ply (every kind in turn)',
    )
    every = 'of every kind'
    parser.add_argument('--views', type=int, help=f'pictures with an object (100; {every} 2000)')
    parser.add_argument('--instances', type=int, help=f'different objects (1; {every} 660)')
    parser.add_argument(
        '--pairs', type=int, help=f'pairs of views of others, in FOLDER/validation (0; {every} 60)'
    )
    parser.add_argument(
        '--negatives', type=int, help='pictures without such objects (a quarter of the views)'
    )
    for name, text in (
        ('tilt', 'degrees of the line of sight off the vertical (0 60)'),
        ('distance', "metres from the object's middle (0.4 0.8)"),
        ('roll', 'degrees about the line of sight (-180 180)'),
    ):
        parser.add_argument(f'--{name}', type=float, nargs=2, metavar=('LOW', 'HIGH'), help=text)
    parser.add_argument('--size', type=float, help="metres of a mesh's largest extent")
    parser.add_argument('--up', choices=('y', 'z'), help='axis of a mesh (.glb: y, others: z)')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--workers', type=int, default=2, help='processes')
    return parser


def _render(parser: Parser, options: argparse.Namespace) -> None:
    from don_kp_ros.simulation import posed
    from don_kp_ros.simulation.instances import TRAINING, VALIDATION

    def given(name: str, otherwise: int) -> int:
        value: int | None = getattr(options, name)
        return otherwise if value is None else value

    every = options.object is None
    built_in = every or options.object in posed.BUILT_IN
    views = given('views', 2000 if every else 100)
    instances = given('instances', 660 if every else 1)
    pairs = given('pairs', 60 if every else 0)
    negatives = given('negatives', views // 4)
    if instances < 1 or min(negatives, pairs) < 0 or options.workers < 1:
        parser.error(
            '--instances and --workers must be at least 1, --negatives and --pairs at least 0'
        )
    if views < 2 * instances:
        parser.error(f'--views is {views}; two of every instance are needed: {2 * instances}')
    if instances > len(TRAINING):
        parser.error(f'--instances is {instances}; there are {len(TRAINING)}')
    if built_in and (options.size is not None or options.up is not None):
        what = 'built-in kinds have their own sizes' if every else f'{options.object} has its own'
        parser.error(f'--size and --up belong to meshes; {what}')
    if not built_in and (instances != 1 or pairs):
        parser.error('--instances and --pairs belong to built-in kinds; of a mesh there is 1')
    ranges: dict[str, Any] = {}
    for name, (lowest, highest) in _RANGES.items():
        bounds = getattr(options, name)
        if bounds is None:
            continue
        if not lowest <= bounds[0] <= bounds[1] <= highest:
            parser.error(
                f'--{name} is {bounds[0]:g} {bounds[1]:g}; '
                f'allowed is LOW HIGH within {lowest:g} to {highest:g}'
            )
        ranges[name] = (bounds[0], bounds[1])
    kinds = list(posed.BUILT_IN) if every else [options.object]
    if built_in:
        subjects = posed.draw_subjects(kinds, instances, options.seed, TRAINING)
    else:
        subjects = [posed.Subject(options.object, 0, options.size, options.up)]
        print(subjects[0].description)
    how = posed.Viewpoints(**ranges), options.workers
    posed.render(options.folder, subjects, views, negatives, [options.seed], *how)
    if pairs:
        held = posed.draw_subjects(kinds, pairs, options.seed, VALIDATION)
        # Seeds of their own, or they would lie on the tables of the others.
        seed = [options.seed, 7]
        posed.render(options.folder / 'validation', held, 2 * pairs, pairs, seed, *how)


if __name__ == '__main__':
    raise SystemExit(main())
