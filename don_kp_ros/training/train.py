"""Train a descriptor network, from the data set to the model beside its card."""

from __future__ import annotations

import logging
import shutil
import warnings
from dataclasses import replace
from functools import partial

import torch
from rich.console import Console
from torch.utils.data import DataLoader

from don_kp_ros import configuration
from don_kp_ros.configuration import ConfigurationError
from don_kp_ros.data.loader import Batch, PairStream
from don_kp_ros.evaluation.novelty import with_familiar_length
from don_kp_ros.evaluation.results import say
from don_kp_ros.networks.checkpoint import Checkpoint
from don_kp_ros.training.card import card_text
from don_kp_ros.training.dataset import Dataset, read_dataset
from don_kp_ros.training.interrupts import Interrupts
from don_kp_ros.training.job import Job
from don_kp_ros.training.keypoint_choice import with_chosen_keypoints
from don_kp_ros.training.lightning_import import (
    MisconfigurationException,
    TensorBoardLogger,
    lightning,
)
from don_kp_ros.training.module import DescriptorTraining, TrainingError
from don_kp_ros.training.progress import TrainingProgress, saved_step
from don_kp_ros.training.scores import score
from don_kp_ros.training.threshold import Threshold


class Pairs(lightning.LightningDataModule):
    """View pairs for Lightning; each training process takes its share."""

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
    """Train, or continue an interrupted training; write and return the model.

    A card (.md) beside the model says how it was made and what it scores. If several processes
    train together, all but the first return None. overwrite: start again from nothing; an earlier
    model stays until the new one replaces it. A signal ends it with a KeyboardInterrupt that says
    where it would go on. Raises DataError, ConfigurationError or TrainingError.
    """
    interrupts = Interrupts()
    with interrupts.caught():
        try:
            return _train(job, console or Console(quiet=True), overwrite, interrupts)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(_what_follows(job, overwrite)) from None


def _train(
    job: Job, console: Console, overwrite: bool, interrupts: Interrupts
) -> Checkpoint | None:
    _quieten()
    if job.settings.threads:
        torch.set_num_threads(job.settings.threads)
    say_line = partial(say, console)
    dataset = read_dataset(job.folder, job.settings, job.seed, job.sheet_path, say_line)
    console.print(f'Training on {dataset.description}.', highlight=False)
    if job.settings.caution:
        console.print(f'{job.settings.caution}.', style='yellow', highlight=False)
    lightning.seed_everything(job.seed, verbose=False)
    progress = TrainingProgress(job, dataset, console, interrupts)
    resume = None if overwrite else progress.restore()
    # What an interrupted training began with may have changed, or be gone.
    module = DescriptorTraining(
        job.settings,
        progress.fraction,
        job.state_folder,
        dataset.objects,
        progress.initialisation,
    )
    console.print(f'{module.initialisation}.', highlight=False)
    if overwrite:
        for folder in (job.state_folder, job.log_folder):
            shutil.rmtree(folder, ignore_errors=True)
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
        raise TrainingError(f'{error}; {_what_follows(job, overwrite)}') from error
    if not trainer.is_global_zero:
        return None
    progress.measure_end(trainer, module)
    return _finish(job, dataset, module, progress, console)


def _what_follows(job: Job, overwrite: bool) -> str:
    """Say what the command, once interrupted, would do again, by what it saved."""
    step = saved_step(job.resume_path)
    if step is None:
        return 'nothing was saved yet, and the same command starts anew'
    same = 'the same command without --overwrite' if overwrite else 'the same command'
    return f'{same} goes on from here (step {step})'


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
    draft = with_familiar_length(draft, data, job.settings.unfamiliar, module.device)
    if number := job.settings.chosen_keypoints:
        console.print(f'Choosing {number} keypoints of each kind of object.', highlight=False)
        draft = with_chosen_keypoints(
            draft, dataset.sampler, number, job.seed, module.device, partial(say, console)
        )
    scores = score(draft, data, job.settings, job.seed, module.device, console)
    own = scores.measurement
    threshold = Threshold.choose(own.present, own.absent, dataset.drawn)
    card = {
        'command': job.command,
        'data': dataset.description,
        'initialisation': module.initialisation,
        'seed': job.seed,
        'processes': job.hardware.devices * job.hardware.nodes,
        'steps': progress.steps,
        'wall_minutes': round(progress.stopwatch.wall / 60, 2),
        'cpu_minutes': round(progress.stopwatch.cpu / 60, 2),
        'metrics': scores.metrics,
        'kinds': scores.kinds,
        'keypoints': scores.keypoints,
        'match_threshold': threshold.record(),
        'history': progress.history,
        'configuration': configuration.plain(job.settings),
    }
    checkpoint = replace(draft, match_threshold=threshold.value, card=card)
    checkpoint.save(job.output)
    job.output.with_suffix('.md').write_text(card_text(job.output.stem, checkpoint))
    shutil.rmtree(job.state_folder, ignore_errors=True)
    model = own.accuracy
    console.print(
        f'{job.output}: AUC {model.auc:.3f}, median {model.median_px:.1f} px, '
        f'PCK@10 {model.pck_10:.3f}, match threshold {threshold.value:.3f}',
        highlight=False,
    )
    if threshold.doubt:
        console.print(f'The threshold is not sure: {threshold.doubt}.', highlight=False)
    return checkpoint


def _quieten() -> None:
    """Keep Lightning's advice on matters that are decided here off the terminal."""
    for name in ('lightning.pytorch', 'lightning.fabric'):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings('ignore', module='lightning')
