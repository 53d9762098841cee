"""`don_kp study`: train models to compare them, measure them and write a report to look at."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from don_kp_ros import configuration
from don_kp_ros.arguments import Parser
from don_kp_ros.configuration import ConfigurationError, UnknownKeyError
from don_kp_ros.data.mask_options import MaskOptions
from don_kp_ros.evaluation.request import Request, add_arguments
from don_kp_ros.outputs import check_writable, without_nan
from don_kp_ros.resources import config_path

if TYPE_CHECKING:
    from don_kp_ros.studies.study import Job, Outcome, Study

FORMAT, VERSION = 'don_kp study', 2

_OUTPUT, _TRAININGS = Path('output/studies'), Path('output/trainings')


def main(argv: Sequence[str]) -> int:
    """Run `don_kp study`; return the exit status, 1 where something that it asks for is missed."""
    parser = _parser()
    arguments, overrides = parser.parse_known_args(list(argv))
    # Only now: torch takes seconds to import.
    from rich.console import Console

    from don_kp_ros.data.folder import DataError
    from don_kp_ros.evaluation.results import print_table, refuse_others, say_where, write
    from don_kp_ros.networks.checkpoint import CheckpointError
    from don_kp_ros.studies.registry import read_study
    from don_kp_ros.studies.report import html_text
    from don_kp_ros.studies.study import Job
    from don_kp_ros.studies.trainings import StudyError

    console = Console()
    if not console.is_terminal:
        console = Console(width=140)
    try:
        if arguments.model is not None:
            raise ConfigurationError(
                f'--model is {arguments.model}, but a study trains models of its own; leave '
                '--model out, or measure that model by don_kp evaluate'
            )
        request = Request.read(arguments, parser.prog, argv)
        if arguments.minutes is not None:
            overrides.append(f'--minutes={arguments.minutes}')
        if arguments.seeds is not None:
            overrides.append(f'--seeds=[{arguments.seeds.strip("[]")}]')
        study = _reading(read_study(arguments.study, overrides), request.masks)
        name = f'{request.data.resolve().name}-{arguments.study.stem}'
        job = Job(request, arguments.output or _OUTPUT / name, arguments.trainings, console)
        check_writable(job.output / 'results.json')
        if arguments.output is None:
            data = str(request.data.resolve())
            own = {('study', 'kind'): study.kind, ('run', 'data'): data}
            refuse_others(job.output, own, f'the study {study.kind} on {data}')
        outcome = study.run(job)
        results = _results(study, job, outcome)
        write(job.output, results, html_text(results))
    except UnknownKeyError as error:
        print(f'{parser.prog}: {error}{parser.meant(overrides)}', file=sys.stderr)
        return 1
    except (
        CheckpointError,
        ConfigurationError,
        DataError,
        OSError,
        StudyError,
        ValueError,
    ) as error:
        print(f'{parser.prog}: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f'{parser.prog}: stopped; the same command goes on from here', file=sys.stderr)
        return 130
    print_table(outcome.rows, outcome.title, console)
    for target in outcome.targets:
        job.say(target.text())
    say_where(job.output, console)
    return 0 if all(target.met for target in outcome.targets) else 1


def _parser() -> Parser:
    shipped = ', '.join(sorted(path.stem for path in config_path('studies').glob('*.yaml')))
    parser = Parser(
        prog='don_kp study',
        description=__doc__,
        epilog='Any key of the study can be given as --key=value, for example --measure.pairs=10. '
        'What is interrupted goes on with the same command.',
        overrides=True,
    )
    parser.add_argument(
        'study',
        metavar='STUDY',
        type=Path,
        help=f'YAML file, or the name of one in config/studies: {shipped}',
    )
    add_arguments(parser, f'{_OUTPUT}/DATA-STUDY')
    parser.add_argument('--minutes', help='processor time of each training')
    parser.add_argument('--seeds', help='of the trainings of each case, for example 0,1')
    parser.add_argument(
        '--trainings',
        type=Path,
        default=_TRAININGS,
        help=f'folder of all trainings, which studies share (default: {_TRAININGS})',
    )
    parser.add_argument('--model', help=argparse.SUPPRESS)
    return parser


def _reading(study: Study, masks: MaskOptions) -> Study:
    """Let every training read masks as they are read here."""
    told = MaskOptions(trust=masks.trust) if study.rewrites_masks else masks
    return dataclasses.replace(study, overrides=(*study.overrides, *told.overrides()))


def _results(study: Study, job: Job, outcome: Outcome) -> dict[str, Any]:
    """Put together what results.json holds; all but `run` is the same for the same seeds."""
    from don_kp_ros.evaluation.results import commit, versions

    results = {
        'format': FORMAT,
        'version': VERSION,
        'study': {'kind': study.kind, **configuration.plain(study)},
        'seed': job.request.seed,
        'versions': versions(),
        'title': outcome.title,
        'rows': outcome.rows,
        'targets': [target.record() for target in outcome.targets],
        **outcome.details,
        'data': {'folder': job.request.data.resolve().name, **outcome.details.get('data', {})},
        'run': {
            **job.request.record(),
            'data': str(job.request.data.resolve()),
            'commit': commit(),
        },
    }
    plain: dict[str, Any] = without_nan(results)
    return plain


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
