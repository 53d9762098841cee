"""Checkpoints: safetensors files with a JSON header that describes the weights.

Nothing that is loaded can run code. The fingerprint is a hash of the weights and of everything
that changes descriptors, as the header has it: a file keeps its fingerprint when a later don_kp
knows more settings. Descriptors of different fingerprints must never be compared.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from don_kp_ros import configuration
from don_kp_ros.configuration import ConfigurationError, UnknownKeyError, within
from don_kp_ros.networks.backbones.interface import DEVIATION, MEAN
from don_kp_ros.networks.descriptor_network import (
    DescriptorNetwork,
    NetworkConfiguration,
    forget_statistics,
)
from don_kp_ros.outputs import replacing

FORMAT_VERSION = 1
_KEY = 'don_kp'
_REMEDY = 'train a model with `don_kp train`, or give the path of one in models/'


class CheckpointError(Exception):
    """A checkpoint file cannot be used; the message names the file, the reason and the remedy."""


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes the network's input.

    The picture's longer side is resized to `input_size` pixels, so that objects appear at the
    scale of the training at any camera resolution. Colours in [0, 1] are then normalised by mean
    and deviation.
    """

    input_size: int = 320
    mean: tuple[float, float, float] = MEAN
    deviation: tuple[float, float, float] = DEVIATION

    def __post_init__(self) -> None:
        within('input_size', self.input_size, 32, 4096)
        if min(self.deviation) <= 0:
            raise ValueError(f'deviation is {self.deviation}; all must be positive')


@dataclass(frozen=True)
class _Header:
    """The header of a file; a setting that it does not name has its default."""

    format_version: int
    network: NetworkConfiguration
    preprocessing: Preprocessing
    match_threshold: float
    fingerprint: str
    card: dict[str, Any]


@dataclass(frozen=True)
class Checkpoint:
    """A trained network with all that inference needs.

    match_threshold: cosine similarity below which a peak is not a match. card: how the model was
    trained and what it scored, for readers (JSON values only). stored: the header that the
    checkpoint was read from, if it was.
    """

    network: NetworkConfiguration
    preprocessing: Preprocessing
    weights: dict[str, Tensor]
    match_threshold: float
    card: dict[str, Any] = field(default_factory=dict)
    stored: dict[str, Any] | None = field(default=None, repr=False)

    @property
    def fingerprint(self) -> str:
        """The hash of weights, architecture and preprocessing: 16 hexadecimal digits."""
        digest = hashlib.sha256(json.dumps(self._description(), sort_keys=True).encode())
        for name, tensor in sorted(self.weights.items()):
            digest.update(f'{name} {tensor.dtype} {tuple(tensor.shape)}'.encode())
            values = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
            digest.update(values.tobytes())
        return digest.hexdigest()[:16]

    def _description(self) -> dict[str, Any]:
        if self.stored is not None:
            header = _read(self.stored, 'stored')
            # A copy of what was loaded may have been given others.
            if (header.network, header.preprocessing) == (self.network, self.preprocessing):
                return {name: self.stored[name] for name in ('network', 'preprocessing')}
        return {
            'network': configuration.plain(self.network),
            'preprocessing': configuration.plain(self.preprocessing),
        }

    def build(self) -> DescriptorNetwork:
        """Build the network with these weights, ready for inference."""
        network = DescriptorNetwork(self.network)
        network.load_state_dict(self.weights)
        if self.network.image_statistics:
            forget_statistics(network)
        return network.eval()

    def untrained(self, seed: int = 0) -> Checkpoint:
        """Make the same architecture with random weights, to compare with the trained one."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            weights = DescriptorNetwork(self.network).state_dict()
        return replace(self, weights=weights, match_threshold=0.0, card={})

    def save(self, path: Path) -> None:
        """Write the checkpoint; a reader sees the old file or the whole new one."""
        header = {
            'format_version': FORMAT_VERSION,
            **self._description(),
            'match_threshold': self.match_threshold,
            'fingerprint': self.fingerprint,
            'card': self.card,
        }
        tensors = {name: tensor.detach().contiguous() for name, tensor in self.weights.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial:
            partial.write_bytes(save(tensors, {_KEY: json.dumps(header)}))


def load(path: Path | str) -> Checkpoint:
    """Read a checkpoint and check it.

    Raises CheckpointError for a file that is missing, truncated, not safetensors, of another
    program, of a newer don_kp, or whose weights don't fit its architecture or fingerprint.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f'{path}: no such file; {_REMEDY}')
    try:
        with safe_open(path, framework='pt') as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in sorted(file.keys())}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f'{path}: truncated, or not a safetensors file ({error}); '
            f'copy it again in full, or {_REMEDY}'
        ) from error
    stored = _stored_header(path, metadata)
    try:
        header = _read(stored, str(path))
    except UnknownKeyError as error:
        raise CheckpointError(
            f'{error}: a newer don_kp wrote this checkpoint; update don_kp, or {_REMEDY}'
        ) from error
    except ConfigurationError as error:
        raise CheckpointError(f'{error}: broken {_KEY} header; {_REMEDY}') from error
    checkpoint = Checkpoint(
        header.network, header.preprocessing, weights, header.match_threshold, header.card, stored
    )
    _check_shapes(path, checkpoint)
    if checkpoint.fingerprint != header.fingerprint:
        raise CheckpointError(
            f'{path}: the weights have fingerprint {checkpoint.fingerprint}, the header says '
            f'{header.fingerprint}: the file was changed; copy it again, or {_REMEDY}'
        )
    return checkpoint


def _stored_header(path: Path, metadata: dict[str, str]) -> dict[str, Any]:
    if _KEY not in metadata:
        raise CheckpointError(
            f'{path}: a safetensors file of another program (no {_KEY} header); {_REMEDY}'
        )
    try:
        header: dict[str, Any] = json.loads(metadata[_KEY])
        version = header['format_version']
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f'{path}: broken {_KEY} header ({error}); {_REMEDY}') from error
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f'{path}: format version {version}; this program reads version {FORMAT_VERSION}: '
            'use the don_kp release that wrote it, or train again'
        )
    return header


def _read(stored: dict[str, Any], where: str) -> _Header:
    network = stored.get('network')
    if isinstance(network, dict):
        # Before there were keypoints no header named them, and no network had any.
        stored = {**stored, 'network': {'keypoints': None, **network}}
    return configuration.read(_Header, stored, where)


def _check_shapes(path: Path, checkpoint: Checkpoint) -> None:
    with torch.device('meta'):
        network = DescriptorNetwork(checkpoint.network)
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in checkpoint.weights.items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise CheckpointError(
                f'{path}: weights {name} are {found.get(name, "missing")}; its architecture has '
                f'{expected.get(name, "no such weights")}; {_REMEDY}'
            )
