"""`don_kp evaluate` where its protocol trains models of its own: a study.

Every other protocol measures a model that is given, and is handed on.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from don_kp_ros import configuration
from don_kp_ros.configuration import ConfigurationError
from don_kp_ros.data.folder import DataError
from don_kp_ros.evaluation import command
from don_kp_ros.evaluation.comparison import MODEL
from don_kp_ros.evaluation.protocols.registry import FOLDER
from don_kp_ros.evaluation.results import check_device, say_where, write
from don_kp_ros.networks.checkpoint import CheckpointError
from don_kp_ros.resources import config_path
from don_kp_ros.studies.comparison import Job, study
from don_kp_ros.studies.registry import STUDIES, read_study
from don_kp_ros.studies.report import html_text
from don_kp_ros.studies.trainings import StudyError

_OUTPUT = Path('output/evaluation')


def main(argv: Sequence[str]) -> int:
    """Run `don_kp evaluate`; return the exit status."""
    if not _is_study(argv):
        return command.main(argv)
    console = Console()
    try:
        job = _job(argv)
        results = study(job, console)
        write(job.output, results, html_text(results))
    except (
        CheckpointError,
        ConfigurationError,
        DataError,
        OSError,
        StudyError,
        ValueError,
    ) as error:
        print(f'don_kp evaluate: {error}', file=sys.stderr)
        return 1
    _print(results, console)
    say_where(job.output, console)
    return 0


def _is_study(argv: Sequence[str]) -> bool:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument('--protocol', type=Path, nargs='?')
    path = parser.parse_known_args(list(argv))[0].protocol
    if path is None:
        return False
    try:
        mapping = configuration.load(configuration.find(path, config_path(FOLDER)))
    except ConfigurationError:
        return False  # whoever reads it next says what is wrong
    return mapping.get('kind') in STUDIES


def _job(argv: Sequence[str]) -> Job:
    parser = argparse.ArgumentParser(
        prog='don_kp evaluate',
        description='Train models of its own, measure them and write a report.',
        epilog='Any key of the protocol can be given as --key=value, for example '
        '--measure.pairs=10. What is interrupted goes on with the same command.',
        allow_abbrev=False,
    )
    parser.add_argument('data', metavar='DATA', type=Path, help='folder (docs/data.md)')
    parser.add_argument('--protocol', type=Path, required=True, help=', '.join(STUDIES))
    parser.add_argument('--minutes', help='processor time of each training')
    parser.add_argument('--seeds', help='of the trainings of each case, for example 0,1')
    parser.add_argument(
        '--output',
        type=Path,
        help=f'folder of results and trainings (default: {_OUTPUT}/DATA-PROTOCOL)',
    )
    parser.add_argument('--seed', type=int, default=0, help='of views, points and intervals')
    parser.add_argument(
        '--skip-broken', action='store_true', help='measure without pictures that are broken'
    )
    parser.add_argument('--device', default='cpu', help='of the measuring: cpu, cuda, ...')
    parser.add_argument('--model', help=argparse.SUPPRESS)
    arguments, overrides = parser.parse_known_args(list(argv))
    if arguments.model is not None:
        raise ConfigurationError(
            f'--model is {arguments.model}, but {arguments.protocol} trains models of its own; '
            'leave --model out'
        )
    if arguments.seed < 0:
        raise ConfigurationError(f'--seed is {arguments.seed}; it must not be negative')
    check_device(arguments.device)
    if arguments.minutes is not None:
        overrides.append(f'--minutes={arguments.minutes}')
    if arguments.seeds is not None:
        overrides.append(f'--seeds=[{arguments.seeds.strip("[]")}]')
    name = f'{arguments.data.resolve().name}-{arguments.protocol.stem}'
    return Job(
        read_study(arguments.protocol, overrides),
        arguments.data,
        arguments.output or _OUTPUT / name,
        arguments.seed,
        arguments.skip_broken,
        arguments.device,
        shlex.join(['don_kp', 'evaluate', *argv]),
    )


def _print(results: dict[str, Any], console: Console) -> None:
    rows = [*results['cases'], *([results['summary']] if results['summary'] else [])]
    table = Table('', 'AUC', '95 %', 'PCK@5', 'median px', 'best other')
    for row in rows:
        own = row['methods'][MODEL]
        sigma, interval = own['over_seeds']['auc']['sigma'], own['interval_95']
        others = {name: m['auc'] for name, m in row['methods'].items() if name != MODEL}
        best = max(others, key=lambda name: others[name])
        table.add_row(
            row['name'],
            f'{own["auc"]:.3f}' + ('' if sigma is None else f' ± {sigma:.3f}'),
            ' to '.join(f'{end:.3f}' for end in interval['auc']) if interval else '',
            f'{own["pck_5"]:.3f}',
            f'{own["median_px"]:.1f}',
            f'{best} {others[best]:.3f}',
        )
    console.print(table)


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
