"""`don_kp train`: learn a descriptor network from a folder of pictures and masks."""

from __future__ import annotations

import argparse
import json
import logging
import os
import shlex
import shutil
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from don_kp_ros import configuration
from don_kp_ros.configuration import ConfigurationError
from don_kp_ros.data.folder import DataError
from don_kp_ros.data.stream import Batch, PairStream
from don_kp_ros.networks.checkpoint import Checkpoint
from don_kp_ros.networks.descriptor_network import DescriptorNetwork
from don_kp_ros.networks.model import DescriptorModel
from don_kp_ros.training.budget import Budget, Stopwatch
from don_kp_ros.training.dataset import Dataset, read_dataset
from don_kp_ros.training.module import DescriptorTraining, TrainingError
from don_kp_ros.training.settings import TrainingConfiguration
from don_kp_ros.training.validation import (
    ABSENT_QUANTILE,
    PRESENT_QUANTILE,
    Threshold,
    Validation,
    centroid_accuracy,
    validate,
)

_SAVE_EVERY_S = 60
_LINE_EVERY_S = 15  # of progress, where there is no terminal to draw a bar on


@dataclass(frozen=True)
class Job:
    """One training: what, with what, how long, and where to."""

    folder: Path
    output: Path
    settings: TrainingConfiguration
    budget: Budget
    seed: int = 0
    command: str = ''

    @property
    def resume_path(self) -> Path:
        """Where the state of an unfinished training lies."""
        return self.output.with_name(f'{self.output.stem}.training') / 'last.ckpt'

    def identity(self) -> dict[str, Any]:
        """What must be the same for a training to be gone on with."""
        identity = {
            'folder': str(self.folder.resolve()),
            'seed': self.seed,
            'budget': [self.budget.clock, self.budget.amount],
            **configuration.plain(self.settings),
        }
        del identity['minutes']  # the budget says it
        return identity


def main(argv: Sequence[str]) -> int:
    """Run `don_kp train`; return the exit status."""
    console = Console()
    try:
        job, overwrite = _job(argv)
        if overwrite:
            for path in (job.output, job.output.with_suffix('.md')):
                path.unlink(missing_ok=True)
            shutil.rmtree(job.resume_path.parent, ignore_errors=True)
        elif job.output.exists():
            raise ConfigurationError(f'{job.output}: exists; --overwrite trains it anew')
        train(job, console)
    except (ConfigurationError, DataError, TrainingError, ValueError) as error:
        print(f'don_kp train: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('don_kp train: stopped; the same command goes on from here', file=sys.stderr)
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
    parser.add_argument('folder', type=Path, help='folder with rgbs/ and masks/')
    parser.add_argument('--output', type=Path, required=True, help='model to write (.safetensors)')
    parser.add_argument('--config', type=Path, help='YAML file (default: the built-in defaults)')
    length = parser.add_mutually_exclusive_group()
    length.add_argument('--minutes', type=float, help='wall time (default: the key minutes)')
    length.add_argument('--cpu-minutes', type=float, help='processor time, loader included')
    length.add_argument('--steps', type=int, help='number of steps')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--overwrite', action='store_true', help='train anew')
    arguments, overrides = parser.parse_known_args(list(argv))
    mapping = configuration.load(arguments.config) if arguments.config else {}
    settings = configuration.read(
        TrainingConfiguration,
        configuration.override(mapping, overrides),
        str(arguments.config or 'command line'),
    )
    if arguments.steps is not None:
        budget = Budget('steps', arguments.steps)
    elif arguments.cpu_minutes is not None:
        budget = Budget('cpu', arguments.cpu_minutes * 60)
    else:
        minutes = settings.minutes if arguments.minutes is None else arguments.minutes
        budget = Budget('wall', minutes * 60)
    command = shlex.join(['don_kp', 'train', *argv])
    job = Job(arguments.folder, arguments.output, settings, budget, arguments.seed, command)
    return job, arguments.overwrite


def train(job: Job, console: Console | None = None) -> Checkpoint:
    """Train, or go on with a training that was interrupted; write and return the model.

    Beside the model a card (.md) says how it was made and what it scores. Raises DataError,
    ConfigurationError or TrainingError.
    """
    console = console or Console(quiet=True)
    _quieten()
    if job.settings.threads:
        torch.set_num_threads(job.settings.threads)
    dataset = read_dataset(job.folder, job.settings, job.seed)
    console.print(f'Training on {dataset.description}.', highlight=False)
    lightning.seed_everything(job.seed, verbose=False)
    progress = TrainingProgress(job, dataset, console)
    module = DescriptorTraining(job.settings, progress.fraction)
    resume = progress.restore()
    if resume is not None:
        console.print(f'Going on at step {progress.first_step}, {progress.fraction():.0%} done.')
    stream = PairStream(dataset.sampler, job.settings.pairs, job.seed, progress.first_step)
    trainer = lightning.Trainer(
        accelerator='auto',
        devices=1,
        max_epochs=-1,
        callbacks=[progress],
        gradient_clip_val=job.settings.optimiser.clip or None,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    try:
        trainer.fit(
            module,
            stream.loader(job.settings.workers),
            ckpt_path=str(resume) if resume else None,
            weights_only=True,
        )
    except SystemExit:
        raise KeyboardInterrupt from None  # what Lightning makes of it
    except RuntimeError as error:
        if 'DataLoader worker' not in str(error):
            raise
        raise TrainingError(f'{error}; the same command goes on from here') from error
    return _finish(job, dataset, module, progress, console)


class TrainingProgress(lightning.Callback):
    """Watch the budget, show the progress, measure now and then, and save the state."""

    def __init__(self, job: Job, dataset: Dataset, console: Console) -> None:
        self.first_step = 0
        self.stopwatch = Stopwatch()
        self.history: list[dict[str, float]] = []
        self._job = job
        self._data = dataset.validation.some(
            job.settings.validation.pairs, job.settings.validation.queries
        )
        self._console = console
        self._steps = 0
        self._loss = 0.0
        self._saved = self._printed = time.monotonic()
        self._bar = Progress(
            TextColumn('step {task.fields[step]}'),
            BarColumn(),
            TextColumn('{task.percentage:3.0f} %  loss {task.fields[loss]:.3f}'),
            TimeElapsedColumn(),
            TextColumn('{task.fields[left]} left'),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task('', total=1.0, step=0, loss=float('nan'), left='?')

    def fraction(self) -> float:
        """Return how much of the training is over, 0 to 1."""
        used = self.stopwatch.used(self._job.budget.clock, self._steps)
        return min(1.0, used / self._job.budget.amount)

    def restore(self) -> Path | None:
        """Take over the state of an interrupted training, if there is one; return its file."""
        path = self._job.resume_path
        if not path.is_file():
            return None
        state = torch.load(path, map_location='cpu', weights_only=True, mmap=True)['don_kp']
        identity = json.loads(state['identity'])
        current = json.loads(json.dumps(self._job.identity()))
        changed = [key for key in current if current[key] != identity.get(key)]
        if changed:
            raise ConfigurationError(
                f'{path.parent} holds an interrupted training with another '
                f'{", ".join(changed)}; go on with its command, or start anew with --overwrite'
            )
        self.first_step = self._steps = int(state['steps'])
        self.stopwatch = Stopwatch(state['wall'], state['cpu'])
        self.history = json.loads(state['history'])
        return path

    def on_train_start(self, trainer: Any, module: Any) -> None:
        """Start the clock."""
        self.stopwatch.start()
        self._bar.start()

    def on_train_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Count, show, measure, save, and stop when the budget is used."""
        self._steps += 1
        self.stopwatch.worker(int(batch['worker']), float(batch['cpu_seconds']))
        loss = float(outputs['loss'])
        first = self._steps == self.first_step + 1
        self._loss = loss if first else 0.98 * self._loss + 0.02 * loss
        fraction = self.fraction()
        self._show(fraction)
        due = (len(self.history) + 1) / self._job.settings.validation.times
        if due <= fraction < 1:
            self._measure(module, fraction)
        if fraction >= 1:
            trainer.should_stop = True
        elif time.monotonic() - self._saved > _SAVE_EVERY_S:
            self.save(trainer)

    def on_train_end(self, trainer: Any, module: Any) -> None:
        """Stop the clock."""
        self.stopwatch.pause()
        self._bar.stop()
        self.save(trainer)

    def on_exception(self, trainer: Any, module: Any, exception: BaseException) -> None:
        """Keep what was learned when the training is interrupted."""
        self._bar.stop()
        if not isinstance(exception, TrainingError) and self._steps > self.first_step:
            self.save(trainer)

    def on_save_checkpoint(self, trainer: Any, module: Any, checkpoint: dict[str, Any]) -> None:
        """Add what is needed to go on."""
        checkpoint['don_kp'] = {
            'identity': json.dumps(self._job.identity()),
            'steps': self._steps,
            'wall': self.stopwatch.wall,
            'cpu': self.stopwatch.cpu,
            'history': json.dumps(self.history),
        }

    def save(self, trainer: Any) -> None:
        """Write the state; an interrupt while writing leaves the one before."""
        path = self._job.resume_path
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix('.partial')
        trainer.save_checkpoint(partial)
        os.replace(partial, path)
        self._saved = time.monotonic()

    def _show(self, fraction: float) -> None:
        wall = self.stopwatch.wall
        left = f'{wall * (1 - fraction) / max(fraction, 1e-6):.0f} s'
        self._bar.update(
            self._task, completed=fraction, step=self._steps, loss=self._loss, left=left
        )
        now = time.monotonic()
        if not self._console.is_terminal and now - self._printed > _LINE_EVERY_S:
            self._printed = now
            self._console.print(
                f'step {self._steps}  {fraction:.0%}  loss {self._loss:.3f}  {left} left',
                highlight=False,
            )

    def _measure(self, module: DescriptorTraining, fraction: float) -> None:
        self.stopwatch.pause()
        model = DescriptorModel(module.checkpoint(0.0, {}), module.device)
        accuracy = validate(model, self._data).accuracy
        entry = {'fraction': round(fraction, 3), 'step': self._steps, **accuracy.rounded()}
        self.history.append(entry)
        self._console.print(
            f'step {self._steps}: AUC {accuracy.auc:.3f}, median {accuracy.median_px:.1f} px',
            highlight=False,
        )
        self.stopwatch.start()


def _finish(
    job: Job,
    dataset: Dataset,
    module: DescriptorTraining,
    progress: TrainingProgress,
    console: Console,
) -> Checkpoint:
    settings = job.settings.validation
    data = dataset.validation.some(settings.final_pairs, settings.queries)
    draft = module.checkpoint(0.0, {})
    result = validate(DescriptorModel(draft, module.device), data)
    threshold = Threshold.choose(result.present, result.absent)
    card = {
        'command': job.command,
        'data': dataset.description,
        'seed': job.seed,
        'steps': module.global_step,
        'wall_minutes': round(progress.stopwatch.wall / 60, 2),
        'cpu_minutes': round(progress.stopwatch.cpu / 60, 2),
        'metrics': {
            'model': result.accuracy.rounded(),
            'untrained': _untrained(draft, data, module.device).accuracy.rounded(),
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
    checkpoint = module.checkpoint(threshold.value, card)
    checkpoint.save(job.output)
    job.output.with_suffix('.md').write_text(card_text(job.output.stem, checkpoint))
    shutil.rmtree(job.resume_path.parent, ignore_errors=True)
    accuracy = result.accuracy
    console.print(
        f'{job.output}: AUC {accuracy.auc:.3f}, median {accuracy.median_px:.1f} px, '
        f'PCK@10 {accuracy.pck_10:.3f}, match threshold {threshold.value:.3f}',
        highlight=False,
    )
    return checkpoint


def _untrained(draft: Checkpoint, data: Any, device: torch.device) -> Validation:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        weights = DescriptorNetwork(draft.network).state_dict()
    untrained = Checkpoint(draft.network, draft.preprocessing, weights, 0.0)
    return validate(DescriptorModel(untrained, device), data)


def card_text(name: str, checkpoint: Checkpoint) -> str:
    """Write a model's card for people: data, command, and honest metrics."""
    card = checkpoint.card
    threshold = card['match_threshold']
    rows = [
        f'| {row} | {m["auc"]:.3f} | {m["pck_5"]:.3f} | {m["pck_10"]:.3f} | {m["pck_20"]:.3f} '
        f'| {m["median_px"]:.1f} |'
        for row, m in card['metrics'].items()
    ]
    absent = threshold['absent']
    rule = (
        f'the middle between the weakest {PRESENT_QUANTILE:.0%} of matches '
        f'({threshold["present"]:.3f}) and the strongest {1 - ABSENT_QUANTILE:.1%} of peaks in '
        f'pictures without the object ({absent:.3f}), and at least the latter'
        if absent is not None
        else f'the weakest {PRESENT_QUANTILE:.0%} of matches '
        '(no pictures without the object were given)'
    )
    size = sum(tensor.numel() for tensor in checkpoint.weights.values()) / 1e6
    network = checkpoint.network
    return '\n'.join(
        [
            f'# {name}',
            '',
            f'{network.backbone} to {network.last_layer}, stride {network.stride}, '
            f'D = {network.dimension}, {size:.2f} million parameters, '
            f'fingerprint {checkpoint.fingerprint}.',
            '',
            f'- Data: {card["data"]}.',
            f'- Command: `{card["command"]}`',
            f'- Seed {card["seed"]}; {card["steps"]} steps, {card["wall_minutes"]} minutes '
            f'({card["cpu_minutes"]} processor minutes); random initialisation.'
            if card['configuration']['weights'] is None
            else f'- Seed {card["seed"]}; {card["steps"]} steps, {card["wall_minutes"]} minutes '
            f'({card["cpu_minutes"]} processor minutes); ImageNet initialisation.',
            f'- Match threshold {threshold["value"]:.3f}: {rule}.',
            '',
            'Errors in pixels of a 640-pixel-wide picture, on pictures that were not trained on '
            'unless the data line says otherwise.',
            '',
            '| | AUC | PCK@5 | PCK@10 | PCK@20 | median px |',
            '|---|---|---|---|---|---|',
            *rows,
            '',
        ]
    )


def _quieten() -> None:
    """Keep Lightning's advice on matters that are decided here off the terminal."""
    for name in ('lightning.pytorch', 'lightning.fabric'):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings('ignore', module='lightning')


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
