"""`don_kp render`: pictures to train on."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from don_kp_ros.arguments import Parser
from don_kp_ros.errors import RefusedError
from don_kp_ros.outputs import check_writable

_POSED_RANGES = {'tilt': (0.0, 85.0), 'distance': (0.2, 3.0), 'roll': (-360.0, 360.0)}
_POSED_OPTIONS = ('views', 'instances', *_POSED_RANGES, 'size', 'up')


def main(argv: list[str] | None = None) -> int:
    """Render pictures to train on: caps on tables, or with --object posed views of an object."""
    parser = _parser()
    options = parser.parse_args(argv)
    # Only now: MuJoCo and OpenCV are slow to import.
    from don_kp_ros.data.folder import DataError

    try:
        check_writable(options.folder / 'rgbs' / '0.png')
        if options.object is None:
            _render_caps(parser, options)
        else:
            _render_posed(parser, options)
    except (DataError, RefusedError) as error:
        print(f'don_kp render: {error}', file=sys.stderr)
        return 1
    return 0


def _parser() -> Parser:
    parser = Parser(prog='don_kp render', description=main.__doc__)
    parser.add_argument('folder', type=Path)
    parser.add_argument(
        '--negatives', type=int, help='pictures without the object (a quarter of the others)'
    )
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--workers', type=int, default=2, help='processes')
    caps = parser.add_argument_group('caps on tables')
    caps.add_argument('--images', type=int, help='pictures with a cap (1000)')
    caps.add_argument('--pairs', type=int, help='pairs of views for validation (40)')
    views = parser.add_argument_group('posed views, with depth and views.json (docs/data.md)')
    views.add_argument(
        '--object',
        metavar='KIND|FILE',
        help='cap, mug, can, bottle or box; or a mesh, .obj, .glb or .ply',
    )
    views.add_argument('--views', type=int, help='pictures with the object (100)')
    views.add_argument('--instances', type=int, help='different ones of the kind (1)')
    for name, text in (
        ('tilt', 'degrees of the line of sight off the vertical (0 60)'),
        ('distance', "metres from the object's middle (0.4 0.8)"),
        ('roll', 'degrees about the line of sight (-180 180)'),
    ):
        views.add_argument(f'--{name}', type=float, nargs=2, metavar=('LOW', 'HIGH'), help=text)
    views.add_argument('--size', type=float, help="metres of a mesh's largest extent")
    views.add_argument('--up', choices=('y', 'z'), help='axis of a mesh (.glb: y, others: z)')
    return parser


def _render_caps(parser: Parser, options: argparse.Namespace) -> None:
    given = [f'--{name}' for name in _POSED_OPTIONS if getattr(options, name) is not None]
    if given:
        parser.error(f'{given[0]} belongs to posed views: give --object, too')
    images = 1000 if options.images is None else options.images
    pairs = 40 if options.pairs is None else options.pairs
    if images < 1 or pairs < 0 or options.workers < 1:
        parser.error('--images and --workers must be at least 1, --pairs at least 0')
    from don_kp_ros.simulation import dataset

    negatives = images // 4 if options.negatives is None else options.negatives
    dataset.render(options.folder, images, negatives, pairs, options.seed, options.workers)


def _render_posed(parser: Parser, options: argparse.Namespace) -> None:
    from don_kp_ros.simulation import posed

    for name in ('images', 'pairs'):
        if getattr(options, name) is not None:
            parser.error(f'--{name} belongs to caps on tables; with --object give --views')
    views = 100 if options.views is None else options.views
    instances = 1 if options.instances is None else options.instances
    negatives = views // 4 if options.negatives is None else options.negatives
    if instances < 1 or negatives < 0 or options.workers < 1:
        parser.error('--instances and --workers must be at least 1, --negatives at least 0')
    if views < 2 * instances:
        parser.error(f'--views is {views}; two of every instance are needed: {2 * instances}')
    if instances > len(posed.INSTANCES):
        parser.error(f'--instances is {instances}; there are {len(posed.INSTANCES)}')
    ranges: dict[str, Any] = {}
    for name, (lowest, highest) in _POSED_RANGES.items():
        bounds = getattr(options, name)
        if bounds is None:
            continue
        if not lowest <= bounds[0] <= bounds[1] <= highest:
            parser.error(
                f'--{name} is {bounds[0]:g} {bounds[1]:g}; '
                f'allowed is LOW HIGH within {lowest:g} to {highest:g}'
            )
        ranges[name] = (bounds[0], bounds[1])
    built_in = options.object in posed.BUILT_IN
    if built_in and (options.size is not None or options.up is not None):
        parser.error(f'--size and --up belong to meshes; {options.object} has its own size')
    if not built_in and instances != 1:
        parser.error(f'--instances is {instances}; of a mesh there is 1')
    if built_in:
        numbers = posed.draw_instances(instances, options.seed)
        subjects = [posed.Subject(options.object, number) for number in numbers]
    else:
        subjects = [posed.Subject(options.object, 0, options.size, options.up)]
        print(subjects[0].description)
    viewpoints = posed.Viewpoints(**ranges)
    posed.render(
        options.folder, subjects, views, negatives, viewpoints, options.seed, options.workers
    )


if __name__ == '__main__':
    raise SystemExit(main())
