"""`don_kp render`: pictures to train on."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from don_kp_ros.arguments import Parser
from don_kp_ros.errors import RefusedError
from don_kp_ros.outputs import check_writable

_SCENES, _POOL, _APART = 100, 60, 30.0  # by default
_MOST_OBJECTS = 12  # in a scene
_RANGES = {'tilt': (0.0, 85.0), 'distance': (0.2, 3.0), 'roll': (-360.0, 360.0)}


def main(argv: list[str] | None = None) -> int:
    """Render pictures to train on: views of single objects, or scenes of several."""
    parser = _parser()
    options = parser.parse_args(argv)
    if options.seed < 0:
        parser.error(f'--seed is {options.seed}; it must not be negative')
    # Only now: MuJoCo and OpenCV are slow to import.
    from don_kp_ros.data.folder import DataError

    try:
        check_writable(options.folder / 'rgbs' / '0.png')
        (_render_scenes if options.scene else _render)(parser, options)
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
        action='append',
        help='cap, mug, can, bottle or box; or a mesh, .obj, .glb or .ply (every kind in turn); '
        'with --scene as often as wanted',
    )
    parser.add_argument(
        '--scene', action='store_true', help='several objects that fell onto a table, seen twice'
    )
    parser.add_argument(
        '--scenes', type=int, help=f'number of them, two pictures each ({_SCENES})'
    )
    parser.add_argument(
        '--objects', type=int, nargs=2, metavar=('LOW', 'HIGH'), help='in a scene (2 6)'
    )
    parser.add_argument(
        '--apart', type=float, help=f'degrees between the two views, at most ({_APART:g})'
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

    named = options.object or []
    if len(named) > 1:
        parser.error('--object is given several times; that is for --scene')
    for name in ('scenes', 'objects', 'apart'):
        if getattr(options, name) is not None:
            parser.error(f'--{name} belongs to --scene')
    every = not named
    built_in = every or named[0] in posed.BUILT_IN
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
        what = 'built-in kinds have their own sizes' if every else f'{named[0]} has its own'
        parser.error(f'--size and --up belong to meshes; {what}')
    if not built_in and (instances != 1 or pairs):
        parser.error('--instances and --pairs belong to built-in kinds; of a mesh there is 1')
    kinds = named or list(posed.BUILT_IN)
    if built_in:
        subjects = posed.draw_subjects(kinds, instances, options.seed, TRAINING)
    else:
        subjects = [posed.Subject(named[0], 0, options.size, options.up)]
        print(subjects[0].description)
    how = posed.Viewpoints(**_ranges(parser, options)), options.workers
    validation = options.folder / 'validation'
    posed.refuse_leftovers(validation, 2 * pairs, pairs)
    posed.render(options.folder, subjects, views, negatives, [options.seed], *how)
    if pairs:
        held = posed.draw_subjects(kinds, pairs, options.seed, VALIDATION)
        # Seeds of their own, or they would lie on the tables of the others.
        seed = [options.seed, 7]
        posed.render(validation, held, 2 * pairs, pairs, seed, *how)


def _render_scenes(parser: Parser, options: argparse.Namespace) -> None:
    from don_kp_ros.simulation import posed, scenes
    from don_kp_ros.simulation.instances import TRAINING, VALIDATION

    for name in ('views', 'negatives'):
        if getattr(options, name) is not None:
            parser.error(f'--{name} belongs to single objects; --scenes counts scenes')
    named = options.object or list(posed.BUILT_IN)
    kinds = [name for name in named if name in posed.BUILT_IN]
    meshes = [
        posed.Subject(name, 0, options.size, options.up)
        for name in named
        if name not in posed.BUILT_IN
    ]
    if not meshes and (options.size is not None or options.up is not None):
        parser.error('--size and --up belong to meshes; built-in kinds have their own sizes')
    count = _SCENES if options.scenes is None else options.scenes
    held = options.pairs or 0
    instances = _POOL if options.instances is None else options.instances
    fewest, most = options.objects or (2, 6)
    apart = _APART if options.apart is None else options.apart
    if min(count, instances, options.workers) < 1 or held < 0:
        parser.error('--scenes, --instances and --workers must be at least 1, --pairs at least 0')
    if instances > len(TRAINING):
        parser.error(f'--instances is {instances}; there are {len(TRAINING)}')
    if not 1 <= fewest <= most <= _MOST_OBJECTS:
        parser.error(
            f'--objects is {fewest} {most}; allowed is LOW HIGH within 1 to {_MOST_OBJECTS}'
        )
    there = len(meshes) + (instances if kinds else 0)
    if options.objects and most > there:
        parser.error(
            f'--objects is {fewest} {most}, but there are {there} objects: lower HIGH to {there}, '
            'or give more by --object or --instances'
        )
    if not 0 <= apart <= 90:
        parser.error(f'--apart is {apart:g}; allowed is 0 to 90')
    viewpoints = posed.Viewpoints(**_ranges(parser, options))
    for folder, number, numbers, seed in (
        (options.folder, count, TRAINING, (options.seed,)),
        (options.folder / 'validation', held, VALIDATION, (options.seed, 7)),
    ):
        if not number:
            continue
        built_in = posed.draw_subjects(kinds, instances, options.seed, numbers) if kinds else []
        plan = scenes.Plan((*built_in, *meshes), number, fewest, most, apart, viewpoints, seed)
        scenes.render_scenes(folder, plan, options.workers)


def _ranges(parser: Parser, options: argparse.Namespace) -> dict[str, Any]:
    """Return the ranges of the camera's place that were given."""
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
    return ranges


if __name__ == '__main__':
    raise SystemExit(main())
