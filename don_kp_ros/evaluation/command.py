"""`don_kp evaluate`: measure a model on a data folder and write a report to look at."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from don_kp_ros.arguments import Parser
from don_kp_ros.configuration import ConfigurationError, UnknownKeyError
from don_kp_ros.evaluation.request import Request, add_arguments
from don_kp_ros.outputs import check_writable

if TYPE_CHECKING:
    from don_kp_ros.networks.checkpoint import Checkpoint

_OUTPUT = Path('output/evaluation')


def main(argv: Sequence[str]) -> int:
    """Run `don_kp evaluate`; return the exit status."""
    parser = _parser()
    arguments, overrides = parser.parse_known_args(list(argv))
    # Only now: torch takes seconds to import.
    from rich.console import Console

    from don_kp_ros.data.folder import DataError
    from don_kp_ros.evaluation.evaluate import evaluate
    from don_kp_ros.evaluation.protocols.registry import read_protocol
    from don_kp_ros.evaluation.report import html_text
    from don_kp_ros.evaluation.results import (
        method_row,
        print_table,
        refuse_others,
        say,
        say_where,
        write,
    )
    from don_kp_ros.networks.checkpoint import CheckpointError

    console = Console()
    try:
        output = arguments.output or _OUTPUT / f'{arguments.model.stem}-{arguments.protocol.stem}'
        check_writable(output / 'results.json')
        request = Request.read(arguments, parser.prog, argv)
        protocol = read_protocol(arguments.protocol, overrides)
        network = _load(arguments.model, arguments.fingerprint, arguments.dimension)
        if arguments.output is None:
            model, data = network.fingerprint, request.data.resolve().name
            own = {('model', 'fingerprint'): model, ('data', 'folder'): data}
            refuse_others(output, own, f'the model {model} on {data}')
        results, drawings = evaluate(network, arguments.model.name, protocol, request, console)
        write(output, results, html_text(results, drawings))
    except UnknownKeyError as error:
        print(f'{parser.prog}: {error}{parser.meant(overrides)}', file=sys.stderr)
        return 1
    except (CheckpointError, ConfigurationError, DataError, OSError, ValueError) as error:
        print(f'{parser.prog}: {error}', file=sys.stderr)
        return 1
    summary = results['summary']
    title = f'{summary["pairs"]} pairs, {summary["queries"]} queries'
    rows = [{'method': name, **method_row(own)} for name, own in summary['methods'].items()]
    blank = dict.fromkeys(rows[0], '')
    rows += [{**blank, 'method': name, 'AUC': 'not measured'} for name in summary['missing']]
    print_table(rows, title, console)
    for why in set(summary['missing'].values()):
        say(console, why)
    say_where(output, console)
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog='don_kp evaluate',
        description=__doc__,
        epilog='Any key of the protocol can be given as --key=value, for example --pairs=10 or '
        '--views.warp.rotation=45.',
        overrides=True,
    )
    add_arguments(parser, f'{_OUTPUT}/MODEL-PROTOCOL')
    parser.add_argument('--model', type=Path, required=True, help='checkpoint')
    parser.add_argument(
        '--protocol',
        type=Path,
        required=True,
        help='YAML file, or the name of one in config/evaluation: held_views, folder, ...',
    )
    parser.add_argument('--fingerprint', help='the model must have it')
    parser.add_argument('--dimension', type=int, help='D, the model must have it')
    return parser


def _load(path: Path, wanted: str | None, dimension: int | None) -> Checkpoint:
    """Load the model if it is the one that is asked for; raises CheckpointError."""
    from don_kp_ros.networks.checkpoint import CheckpointError, load

    network = load(path)
    if wanted is not None and network.fingerprint != wanted:
        raise CheckpointError(
            f'{path}: fingerprint {network.fingerprint}, but --fingerprint asks for {wanted}; '
            'give the model of that fingerprint'
        )
    if dimension is not None and network.network.dimension != dimension:
        raise CheckpointError(
            f'{path}: D is {network.network.dimension}, but --dimension asks for {dimension}; '
            'give a model of that dimension'
        )
    return network


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
