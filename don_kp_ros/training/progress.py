"""Watches a training: its budget, figures, pictures, and state on disk."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from torch import Tensor

from don_kp_ros.configuration import ConfigurationError
from don_kp_ros.data.loader import Batch
from don_kp_ros.data.picture_file import DataError
from don_kp_ros.evaluation.counting import LINE_EVERY_S
from don_kp_ros.evaluation.measure import measure
from don_kp_ros.evaluation.pck import BRIEF
from don_kp_ros.networks.model import DescriptorModel
from don_kp_ros.training.budget import Stopwatch
from don_kp_ros.training.dataset import Dataset
from don_kp_ros.training.interrupts import Interrupts
from don_kp_ros.training.job import Job
from don_kp_ros.training.lightning_import import lightning
from don_kp_ros.training.module import DescriptorTraining, TrainingError
from don_kp_ros.training.pictures import debug_pictures

_LOG_EVERY = 10  # steps
_NAMED = 3  # files that have changed

Weights = dict[str, Tensor]


def saved_step(path: Path) -> int | None:
    """Read how far the saved state of a training is; None where nothing was saved."""
    return int(_state(path)['steps']) if path.is_file() else None


def _state(path: Path) -> dict[str, Any]:
    """Read what `on_save_checkpoint` added; raises DataError."""
    try:
        state: dict[str, Any] = torch.load(path, map_location='cpu', weights_only=True, mmap=True)
        return dict(state['don_kp'])
    except (OSError, RuntimeError, EOFError, UnpicklingError, KeyError, TypeError) as error:
        raise DataError(
            f'{path}: the state of an interrupted training is damaged; start anew with --overwrite'
        ) from error


class TrainingProgress(lightning.Callback):
    """Watch the budget, show the progress, measure now and then, and save the state.

    If several processes train together, the first one decides, and the others are silent.
    """

    def __init__(
        self, job: Job, dataset: Dataset, console: Console, interrupts: Interrupts
    ) -> None:
        self.first_step = 0
        self._interrupts = interrupts
        self.steps = 0  # taken so far, across restarts
        self.stopwatch = Stopwatch()
        self.history: list[dict[str, float]] = []
        self.best: Weights | None = None
        self.initialisation: str | None = None  # of a training that goes on
        self._job = job
        self._files = dataset.files
        settings = job.settings.validation
        data = dataset.validation.some(settings.pairs, settings.queries)
        self._data = replace(data, negatives=[])
        self._console = console
        self._fraction = 0.0
        self._loss = 0.0
        self._printed = time.monotonic()
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
        """Return the completed part of the training, 0 to 1, the same in all its processes."""
        return self._fraction

    @property
    def over(self) -> bool:
        """Tell whether the budget or the patience is used up."""
        return self._fraction >= 1 or self._stale()

    def restore(self) -> Path | None:
        """Take over the state of an interrupted training, if there is one; return its file."""
        path = self._job.resume_path
        if not path.is_file():
            return None
        state = _state(path)
        identity = json.loads(state['identity'])
        current = json.loads(json.dumps(self._job.identity()))
        changed = [key for key in {**identity, **current} if current.get(key) != identity.get(key)]
        if changed:
            raise ConfigurationError(
                f'{path.parent} holds an interrupted training with another '
                f'{", ".join(changed)}; go on with its command, or start anew with --overwrite'
            )
        # A state from before files were told of is taken as it is.
        learned = json.loads(state['files']) if 'files' in state else self._files
        changed = [n for n in {**learned, **self._files} if learned.get(n) != self._files.get(n)]
        if changed:
            more = f' and {len(changed) - _NAMED} more' if len(changed) > _NAMED else ''
            raise ConfigurationError(
                f'{path.parent} holds an interrupted training, and since then the pictures have '
                f'changed ({", ".join(sorted(changed)[:_NAMED])}{more}); put them back, or start '
                'anew with --overwrite'
            )
        self.first_step = self.steps = int(state['steps'])
        self.stopwatch = Stopwatch(state['wall'], state['cpu'])
        self.history = json.loads(state['history'])
        self.best = state['best']
        self.initialisation = state.get('initialisation')  # not in a state from before it was told
        self._fraction = self._used()
        return path

    def on_train_start(self, trainer: Any, module: Any) -> None:
        """Start the clock."""
        self.stopwatch.start()
        if trainer.is_global_zero:
            self._bar.start()

    def on_train_batch_start(
        self, trainer: Any, module: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Seed a step's random numbers by its number, so that a resumed training is the same."""
        self._interrupts.begin_step()
        torch.manual_seed(hash((self._job.seed, self.steps, trainer.global_rank)) % 2**63)

    def on_train_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Count, show, measure, save, and stop when the budget is used."""
        self.steps += 1
        self.stopwatch.worker(int(batch['worker']), float(batch['cpu_seconds']))
        loss = float(outputs['loss'])
        first = self.steps == self.first_step + 1
        self._loss = loss if first else 0.98 * self._loss + 0.02 * loss
        self._fraction = trainer.strategy.broadcast(self._used())
        self._interrupts.end_step()  # the weights are those of the step that is counted
        if trainer.is_global_zero:
            self._show(trainer, outputs)
        patience = self._job.settings.validation.patience
        due = (len(self.history) + 1) / self._job.settings.validation.times
        if due <= self._fraction and (self._fraction < 1 or patience):
            entry = self._measure(trainer, module) if trainer.is_global_zero else {}
            self.history.append(trainer.strategy.broadcast(entry))
        over = self.over
        drawn = over or self.steps % self._picture_every() == 0
        if drawn and trainer.is_global_zero:
            debug_pictures(trainer.logger, module, batch, self.steps)
        if over:
            trainer.should_stop = True
        elif self.steps % self._job.settings.epoch == 0:
            self.save(trainer)

    def on_train_end(self, trainer: Any, module: Any) -> None:
        """Stop the clock."""
        self.stopwatch.pause()
        self._bar.stop()
        self.save(trainer)

    def measure_end(self, trainer: Any, module: DescriptorTraining) -> None:
        """Measure what was learned last, where an interrupt came first: it may be the best."""
        measured = self.history[-1]['step'] if self.history else 0
        patience = self._job.settings.validation.patience
        if patience and self._fraction >= 1 and measured < self.steps:
            self.history.append(self._measure(trainer, module))
            self.stopwatch.pause()

    def on_exception(self, trainer: Any, module: Any, exception: BaseException) -> None:
        """Keep what was learned when the training is interrupted."""
        self._bar.stop()
        alone = trainer.world_size == 1  # others may have ended, and saving would wait for them
        whole = not self._interrupts.in_step and not isinstance(exception, TrainingError)
        if alone and whole and self.steps > self.first_step:
            self.save(trainer)

    def on_save_checkpoint(self, trainer: Any, module: Any, checkpoint: dict[str, Any]) -> None:
        """Add what is needed to continue."""
        checkpoint['don_kp'] = {
            'identity': json.dumps(self._job.identity()),
            'files': json.dumps(self._files),
            'steps': self.steps,
            'wall': self.stopwatch.wall,
            'cpu': self.stopwatch.cpu,
            'history': json.dumps(self.history),
            'best': self.best,
            'initialisation': module.initialisation,
        }

    def save(self, trainer: Any) -> None:
        """Write the state; an interrupt during the write leaves the previous one."""
        path = self._job.resume_path
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix('.partial')
        trainer.save_checkpoint(partial)
        if trainer.is_global_zero:
            with partial.open('rb') as written:
                os.fsync(written.fileno())  # or a power cut may leave an empty file
            os.replace(partial, path)

    def _used(self) -> float:
        used = self.stopwatch.used(self._job.budget.clock, self.steps)
        return min(1.0, used / self._job.budget.amount)

    def _stale(self) -> bool:
        """Tell whether the AUC has not improved in the last `patience` measurements."""
        patience = self._job.settings.validation.patience
        aucs = [entry['auc'] for entry in self.history]
        return 0 < patience < len(aucs) and max(aucs[-patience:]) <= max(aucs[:-patience])

    def _picture_every(self) -> int:
        return self._job.settings.epoch * self._job.settings.pictures

    def _show(self, trainer: Any, outputs: Any) -> None:
        wall = self.stopwatch.wall
        left = f'{wall * (1 - self._fraction) / max(self._fraction, 1e-6):.0f} s'
        self._bar.update(
            self._task, completed=self._fraction, step=self.steps, loss=self._loss, left=left
        )
        if trainer.logger is not None and self.steps % _LOG_EVERY == 0:
            scalars = {f'loss/{name}': float(part) for name, part in outputs['parts'].items()}
            rate = trainer.optimizers[0].param_groups[0]['lr']
            scalars |= {'loss/all': float(outputs['loss']), 'learning_rate': rate}
            trainer.logger.log_metrics(scalars, step=self.steps)
        now = time.monotonic()
        if not self._console.is_terminal and now - self._printed > LINE_EVERY_S:
            self._printed = now
            self._console.print(
                f'step {self.steps}  {self._fraction:.0%}  loss {self._loss:.3f}  {left} left',
                highlight=False,
            )

    def _measure(self, trainer: Any, module: DescriptorTraining) -> dict[str, float]:
        self.stopwatch.pause()
        checkpoint = module.to_checkpoint(0.0, {})
        accuracy = measure(DescriptorModel(checkpoint, module.device), self._data).accuracy
        if accuracy.auc > max((entry['auc'] for entry in self.history), default=-1.0):
            self.best = checkpoint.weights if self._job.settings.validation.patience else None
        entry = {
            'fraction': round(self._fraction, 3),
            'step': self.steps,
            **accuracy.rounded(BRIEF),
        }
        if trainer.logger is not None:
            figures = {f'validation/{name}': entry[name] for name in ('auc', 'median_px')}
            trainer.logger.log_metrics(figures, step=self.steps)
        self._console.print(
            f'step {self.steps}: AUC {accuracy.auc:.3f}, median {accuracy.median_px:.1f} px',
            highlight=False,
        )
        self.stopwatch.start()
        return entry
