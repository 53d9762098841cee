"""Endless batches of view pairs for training."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from don_kp_ros.data.homography import Matrix
from don_kp_ros.data.pairs import PairSampler, ViewPair

Batch = dict[str, Tensor]


class PairStream(IterableDataset[Batch]):
    """Batches of view pairs, the same for the same seed with any number of workers.

    Pair number n depends only on (seed, n), so a resumed training continues at batch `first`. Of
    `shares` processes training together, this one takes every shares-th batch from `share` on.
    """

    def __init__(
        self,
        sampler: PairSampler,
        pairs: int,
        seed: int,
        first: int = 0,
        share: int = 0,
        shares: int = 1,
    ) -> None:
        super().__init__()
        self._sampler = sampler
        self._pairs = pairs
        self._seed = seed
        self._first = first
        self._share, self._shares = share, shares

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        step = self._first + number
        while True:
            batch = self.batch(step * self._shares + self._share)
            # Processor time of this worker so far; the trainer's own clock does not see it.
            batch['worker'] = torch.tensor(number)
            batch['cpu_seconds'] = torch.tensor(time.process_time() if worker else 0.0)
            yield batch
            step += workers

    def batch(self, number: int) -> Batch:
        """Make batch `number`; see `collate`."""
        first = number * self._pairs
        return collate(
            [
                self._sampler.draw(np.random.default_rng((self._seed, n)))
                for n in range(first, first + self._pairs)
            ]
        )

    def loader(self, workers: int) -> DataLoader[Batch]:
        """Make the batches in `workers` processes, ahead of their use (0: when they are used)."""
        if workers:
            # A forked worker would wait forever for OpenCV's threads, which only its parent has.
            cv2.setNumThreads(1)
        return _Loader(
            self,
            batch_size=None,
            num_workers=workers,
            prefetch_factor=8 if workers else None,
        )


class _Loader(DataLoader[Batch]):
    """Starts its workers deaf to signals: one to the whole group is for the process that trains.

    They end with it, or when it tells them.
    """

    def __iter__(self) -> Any:
        others = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, others)
        try:
            return super().__iter__()  # what it starts inherits the mask
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def collate(pairs: list[ViewPair]) -> Batch:
    """Stack B pairs: the views a, then the views b.

    images (2B, 3, S, S) uint8; masks (2B, S, S) uint8; uv (2B, Q, 2) float32 pixels of each view,
    uv[i] and uv[B + i] showing the same points; kinds (2B,) int64: equal for objects of one kind,
    in this batch alone. Where the pairs have them: homographies (B, 3, 3) from view a to view b;
    K (2B, 3, 3), T_b_a (B, 4, 4) and T_world_view (2B, 4, 4), metres. Of scenes, as in SceneTruth:
    labels (2B, S, S) uint8, classes of these pixels (2B, S, S) int64, field (2B, n, n, 2), targets
    (B,) int64, and lone (B, 3, S, S) uint8 if wanted.
    """
    views = [pair.a for pair in pairs] + [pair.b for pair in pairs]
    uv = [pair.uv_a for pair in pairs] + [pair.uv_b for pair in pairs]
    images = torch.from_numpy(np.stack([view.image for view in views]))
    kinds = np.unique([pair.kind for pair in pairs], return_inverse=True)[1]
    batch = {
        'images': images.permute(0, 3, 1, 2),
        'masks': torch.from_numpy(np.stack([view.mask for view in views])),
        'uv': torch.from_numpy(np.stack(uv)),
        'kinds': torch.from_numpy(np.tile(kinds, 2)),
    }
    homographies = [pair.homography for pair in pairs if pair.homography is not None]
    if len(homographies) == len(pairs):
        batch['homographies'] = _stack(homographies)
    geometry = [pair.geometry for pair in pairs if pair.geometry is not None]
    if len(geometry) == len(pairs):
        batch['K'] = _stack([g.K_a for g in geometry] + [g.K_b for g in geometry])
        batch['T_b_a'] = _stack([g.T_b_a for g in geometry])
        batch['T_world_view'] = _stack(
            [g.T_world_a for g in geometry] + [g.T_world_b for g in geometry]
        )
    scenes = [pair.scene for pair in pairs if pair.scene is not None]
    if len(scenes) == len(pairs):
        labels, field = ([getattr(s, name) for s in scenes] for name in ('labels', 'field'))
        batch['labels'] = torch.from_numpy(np.stack(labels, axis=1)).flatten(0, 1)
        batch['field'] = torch.from_numpy(np.stack(field, axis=1)).flatten(0, 1)
        classes = [scene.classes[scene.labels] for scene in scenes]
        batch['classes'] = torch.from_numpy(np.stack(classes, axis=1)).flatten(0, 1)
        batch['targets'] = torch.tensor([scene.target for scene in scenes])
        lone = [scene.lone for scene in scenes if scene.lone is not None]
        if len(lone) == len(pairs):
            batch['lone'] = torch.from_numpy(np.stack(lone)).permute(0, 3, 1, 2)
    return batch


def _stack(matrices: list[Matrix]) -> Tensor:
    return torch.from_numpy(np.stack(matrices).astype(np.float32))
