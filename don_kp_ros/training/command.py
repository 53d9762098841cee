"""`don_kp train`: learn a descriptor network from a folder of pictures and masks."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from don_kp_ros import configuration
from don_kp_ros.arguments import Parser
from don_kp_ros.configuration import ConfigurationError, UnknownKeyError
from don_kp_ros.data.mask_options import MaskOptions, add_mask_arguments
from don_kp_ros.outputs import check_writable
from don_kp_ros.resources import config_path
from don_kp_ros.training.budget import Budget

if TYPE_CHECKING:
    from don_kp_ros.training.job import Job

_OUTPUT = Path('output/training')
_HIGHEST_SEED = 2**32 - 1  # that Lightning takes


def main(argv: Sequence[str]) -> int:
    """Run `don_kp train`; return the exit status."""
    parser = _parser()
    arguments, overrides = parser.parse_known_args(list(argv))
    # Only now: torch and Lightning take seconds to import.
    from rich.console import Console

    from don_kp_ros.data.folder import DataError
    from don_kp_ros.training.module import TrainingError
    from don_kp_ros.training.train import train

    rank = os.environ.get('RANK') or os.environ.get('LOCAL_RANK') or '0'
    console = Console(quiet=int(rank) > 0)
    overwrite = arguments.overwrite
    try:
        job = _job(arguments, overrides, argv)
        check_writable(job.output)
        if job.output.suffix != '.safetensors':
            raise ConfigurationError(f'{job.output}: name a file like {job.output}.safetensors')
        if job.output.exists() and not overwrite and not job.resume_path.exists():
            raise ConfigurationError(f'{job.output}: exists; --overwrite trains it anew')
        train(job, console, overwrite)
    except UnknownKeyError as error:
        print(f'{parser.prog}: {error}{parser.meant(overrides)}', file=sys.stderr)
        return 1
    except (ConfigurationError, DataError, TrainingError, ValueError) as error:
        print(f'don_kp train: {error}', file=sys.stderr)
        return 1
    except OSError as error:  # the folder of the model cannot be written, the disk is full
        print(f'don_kp train: {error.filename or job.output}: {error.strerror}', file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        text = str(stop) or 'nothing was done yet'
        print(f'don_kp train: stopped; {text}', file=sys.stderr)
        return 130
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog='don_kp train',
        description=__doc__,
        epilog='Any key of the configuration can be given as --section.key=value, for example '
        '--views.warp.rotation=45. An interrupted training goes on with the same command.',
        overrides=True,
    )
    parser.add_argument(
        'folder', type=Path, nargs='?', help='folder with rgbs/ and masks/ (default: the key data)'
    )
    parser.add_argument(
        '--output',
        type=Path,
        help=f'model to write (default: {_OUTPUT}/NAME.safetensors, by the configuration)',
    )
    parser.add_argument(
        '--config',
        type=Path,
        help='YAML file, or the name of one in config/training (default: the built-in defaults)',
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument('--minutes', type=float, help='wall time (default: the key minutes)')
    length.add_argument('--cpu-minutes', type=float, help='processor time, loader included')
    length.add_argument('--steps', type=int, help='number of steps')
    add_mask_arguments(parser)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--overwrite', action='store_true', help='train anew')
    parser.add_argument('--accelerator', default='auto', help="Lightning's: auto, cpu, gpu, ...")
    parser.add_argument('--devices', type=int, default=1, help='per machine')
    parser.add_argument('--nodes', type=int, default=1, help='machines')
    parser.add_argument('--strategy', default='auto', help="Lightning's: auto, ddp, ...")
    return parser


def _job(arguments: argparse.Namespace, overrides: Sequence[str], argv: Sequence[str]) -> Job:
    from don_kp_ros.training.job import Hardware, Job
    from don_kp_ros.training.settings import TrainingConfiguration

    mapping: dict[str, Any] = {}
    if arguments.config:
        mapping = configuration.load(configuration.find(arguments.config, config_path('training')))
    settings = configuration.read(
        TrainingConfiguration,
        configuration.override(mapping, [*overrides, *MaskOptions.read(arguments).overrides()]),
        str(arguments.config or 'command line'),
    )
    folder = arguments.folder or settings.data
    if not 0 <= arguments.seed <= _HIGHEST_SEED:
        raise ConfigurationError(f'--seed is {arguments.seed}; 0 to {_HIGHEST_SEED} is allowed')
    if folder is None:
        _parser().error('which pictures? Give a folder, or the key data in the configuration')
    name = arguments.config.stem if arguments.config else 'model'
    output = arguments.output or _OUTPUT / f'{name}.safetensors'
    if arguments.steps is not None:
        budget = Budget('steps', arguments.steps)
    elif arguments.cpu_minutes is not None:
        budget = Budget('cpu', arguments.cpu_minutes * 60)
    else:
        minutes = settings.minutes if arguments.minutes is None else arguments.minutes
        budget = Budget('wall', minutes * 60)
    command = shlex.join(['don_kp', 'train', *argv])
    devices, nodes = _launched() or (arguments.devices, arguments.nodes)
    hardware = Hardware(arguments.accelerator, devices, nodes, arguments.strategy)
    return Job(folder, output, settings, budget, arguments.seed, command, hardware)


def _launched() -> tuple[int, int] | None:
    """Return the numbers of processes per machine and of machines that torchrun started."""
    if 'LOCAL_WORLD_SIZE' not in os.environ:
        return None
    here, everywhere = (int(os.environ[name]) for name in ('LOCAL_WORLD_SIZE', 'WORLD_SIZE'))
    return here, everywhere // here


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
