"""`don_kp train`: learn a descriptor network from a folder of pictures and masks."""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import shutil
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from rich.console import Console
from torch.utils.data import DataLoader

from don_kp_ros import configuration
from don_kp_ros.configuration import ConfigurationError
from don_kp_ros.data.folder import DataError
from don_kp_ros.data.stream import Batch, PairStream
from don_kp_ros.evaluation.measure import centroid_accuracy, measure
from don_kp_ros.networks.checkpoint import Checkpoint
from don_kp_ros.networks.model import DescriptorModel
from don_kp_ros.resources import config_path
from don_kp_ros.training.budget import Budget
from don_kp_ros.training.card import card_text
from don_kp_ros.training.dataset import Dataset, read_dataset
from don_kp_ros.training.job import Hardware, Job
from don_kp_ros.training.module import DescriptorTraining, TrainingError
from don_kp_ros.training.progress import TrainingProgress
from don_kp_ros.training.settings import TrainingConfiguration
from don_kp_ros.training.threshold import Threshold

_OUTPUT = Path('output/training')


def main(argv: Sequence[str]) -> int:
    """Run `don_kp train`; return the exit status."""
    rank = os.environ.get('RANK') or os.environ.get('LOCAL_RANK') or '0'
    console = Console(quiet=int(rank) > 0)
    overwrite = False
    try:
        job, overwrite = _job(argv)
        if job.output.is_dir():
            raise ConfigurationError(f'{job.output}: is a folder; name the model in it')
        if job.output.exists() and not overwrite and not job.resume_path.exists():
            raise ConfigurationError(f'{job.output}: exists; --overwrite trains it anew')
        train(job, console, overwrite)
    except (ConfigurationError, DataError, TrainingError, ValueError) as error:
        print(f'don_kp train: {error}', file=sys.stderr)
        return 1
    except OSError as error:  # the folder of the model cannot be written, the disk is full
        print(f'don_kp train: {error.filename or job.output}: {error.strerror}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        same = 'the same command without --overwrite' if overwrite else 'the same command'
        print(f'don_kp train: stopped; {same} goes on from here', file=sys.stderr)
        return 130
    return 0


def _job(argv: Sequence[str]) -> tuple[Job, bool]:
    parser = argparse.ArgumentParser(
        prog='don_kp train',
        description=__doc__,
        epilog='Any key of the configuration can be given as --section.key=value, for example '
        '--views.warp.rotation=45. An interrupted training goes on with the same command.',
        allow_abbrev=False,
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
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--overwrite', action='store_true', help='train anew')
    parser.add_argument('--accelerator', default='auto', help="Lightning's: auto, cpu, gpu, ...")
    parser.add_argument('--devices', type=int, default=1, help='per machine')
    parser.add_argument('--nodes', type=int, default=1, help='machines')
    parser.add_argument('--strategy', default='auto', help="Lightning's: auto, ddp, ...")
    arguments, overrides = parser.parse_known_args(list(argv))
    mapping: dict[str, Any] = {}
    if arguments.config:
        mapping = configuration.load(configuration.find(arguments.config, config_path('training')))
    settings = configuration.read(
        TrainingConfiguration,
        configuration.override(mapping, overrides),
        str(arguments.config or 'command line'),
    )
    folder = arguments.folder or settings.data
    if arguments.seed < 0:
        raise ConfigurationError(f'--seed is {arguments.seed}; at least 0 is needed')
    if folder is None:
        parser.error('which pictures? Give a folder, or the key data in the configuration')
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
    job = Job(folder, output, settings, budget, arguments.seed, command, hardware)
    return job, arguments.overwrite


def _launched() -> tuple[int, int] | None:
    """Return the numbers of processes per machine and of machines that torchrun started."""
    if 'LOCAL_WORLD_SIZE' not in os.environ:
        return None
    here, everywhere = (int(os.environ[name]) for name in ('LOCAL_WORLD_SIZE', 'WORLD_SIZE'))
    return here, everywhere // here


class Pairs(lightning.LightningDataModule):
    """View pairs for Lightning: each process that trains takes its share of them."""

    def __init__(self, dataset: Dataset, job: Job, first_step: int) -> None:
        super().__init__()
        self._dataset = dataset
        self._job = job
        self._first_step = first_step

    def train_dataloader(self) -> DataLoader[Batch]:
        """Make this process's batches."""
        trainer = self.trainer
        assert trainer is not None
        settings = self._job.settings
        stream = PairStream(
            self._dataset.sampler,
            settings.pairs,
            self._job.seed,
            self._first_step,
            trainer.global_rank,
            trainer.world_size,
        )
        return stream.loader(settings.workers)


def train(job: Job, console: Console | None = None, overwrite: bool = False) -> Checkpoint | None:
    """Train, or go on with a training that was interrupted; write and return the model.

    Beside the model a card (.md) says how it was made and what it scores. Where several processes
    train together, all but the first return None. overwrite: begin anew; an earlier model stays
    until the new one takes its place. Raises DataError, ConfigurationError or TrainingError.
    """
    console = console or Console(quiet=True)
    _quieten()
    if job.settings.threads:
        torch.set_num_threads(job.settings.threads)
    dataset = read_dataset(job.folder, job.settings, job.seed)
    console.print(f'Training on {dataset.description}.', highlight=False)
    if job.settings.caution:
        console.print(f'{job.settings.caution}.', style='yellow', highlight=False)
    lightning.seed_everything(job.seed, verbose=False)
    progress = TrainingProgress(job, dataset, console)
    module = DescriptorTraining(job.settings, progress.fraction, job.state_folder)
    console.print(f'{module.initialisation}.', highlight=False)
    if overwrite:
        for folder in (job.state_folder, job.log_folder):
            shutil.rmtree(folder, ignore_errors=True)
    resume = progress.restore()
    if resume is not None:
        console.print(f'Going on at step {progress.first_step}, {progress.fraction():.0%} done.')
    trainer = _trainer(job, progress)
    try:
        if resume is not None and progress.over:  # it was stopped between its end and the model
            module.load_state_dict(torch.load(resume, weights_only=True)['state_dict'])
        else:
            trainer.fit(
                module,
                datamodule=Pairs(dataset, job, progress.first_step),
                ckpt_path=str(resume) if resume else None,
                weights_only=True,
            )
    except SystemExit:
        raise KeyboardInterrupt from None  # what Lightning makes of it
    except RuntimeError as error:
        if 'DataLoader worker' not in str(error):
            raise
        raise TrainingError(f'{error}; the same command goes on from here') from error
    if not trainer.is_global_zero:
        return None
    return _finish(job, dataset, module, progress, console)


def _trainer(job: Job, progress: TrainingProgress) -> lightning.Trainer:
    try:
        return lightning.Trainer(
            accelerator=job.hardware.accelerator,
            devices=job.hardware.devices,
            num_nodes=job.hardware.nodes,
            strategy=job.hardware.strategy,
            max_epochs=-1,
            callbacks=[progress],
            gradient_clip_val=job.settings.optimiser.clip or None,
            logger=TensorBoardLogger(job.log_folder, name='', version=''),
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
    except (MisconfigurationException, ModuleNotFoundError) as error:  # no such device here
        hardware = job.hardware
        raise ConfigurationError(
            f'--accelerator {hardware.accelerator}, --devices {hardware.devices}, --strategy '
            f'{hardware.strategy}: {error}'
        ) from error


def _finish(
    job: Job,
    dataset: Dataset,
    module: DescriptorTraining,
    progress: TrainingProgress,
    console: Console,
) -> Checkpoint:
    settings = job.settings.validation
    data = dataset.validation.some(settings.final_pairs, settings.queries)
    draft = module.to_checkpoint(0.0, {}, progress.best)
    result = measure(DescriptorModel(draft, module.device), data)
    threshold = Threshold.choose(result.present, result.absent)
    card = {
        'command': job.command,
        'data': dataset.description,
        'initialisation': module.initialisation,
        'seed': job.seed,
        'processes': job.hardware.devices * job.hardware.nodes,
        'steps': progress.steps,
        'wall_minutes': round(progress.stopwatch.wall / 60, 2),
        'cpu_minutes': round(progress.stopwatch.cpu / 60, 2),
        'metrics': {
            'model': result.accuracy.rounded(),
            'untrained': measure(
                DescriptorModel(draft.untrained(), module.device), data
            ).accuracy.rounded(),
            'centroid': centroid_accuracy(data).rounded(),
        },
        'match_threshold': {
            'value': round(threshold.value, 4),
            'present': round(threshold.present, 4),
            'absent': None if threshold.absent is None else round(threshold.absent, 4),
        },
        'history': progress.history,
        'configuration': configuration.plain(job.settings),
    }
    checkpoint = module.to_checkpoint(threshold.value, card, progress.best)
    checkpoint.save(job.output)
    job.output.with_suffix('.md').write_text(card_text(job.output.stem, checkpoint))
    shutil.rmtree(job.state_folder, ignore_errors=True)
    accuracy = result.accuracy
    console.print(
        f'{job.output}: AUC {accuracy.auc:.3f}, median {accuracy.median_px:.1f} px, '
        f'PCK@10 {accuracy.pck_10:.3f}, match threshold {threshold.value:.3f}',
        highlight=False,
    )
    return checkpoint


def _quieten() -> None:
    """Keep Lightning's advice on matters that are decided here off the terminal."""
    for name in ('lightning.pytorch', 'lightning.fabric'):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings('ignore', module='lightning')


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
