"""What perception looks for: the stored descriptors of the model that it runs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from builtin_interfaces.msg import Time
from torch import Tensor

from don_kp.msg import Descriptors
from don_kp_ros.networks.model import DescriptorModel

_MOST_SAID = 20  # names in a line of the log


@dataclass(frozen=True)
class Queries:
    """Stored descriptors in order of name."""

    model: str  # fingerprint
    names: tuple[str, ...]
    vectors: Tensor  # (N, D) of unit length, on the CPU; matching moves them to the map's device
    stamp: Time  # of the message that brought them
    ignored: int = 0  # how many the message had besides: of other models, or of no use

    @classmethod
    def from_message(cls, message: Descriptors, model: DescriptorModel) -> Queries:
        """Read the descriptors of a model; those of other models and broken ones are left out."""
        stored = {d.name: d.values for d in message.descriptors if d.model == model.fingerprint}
        usable = sorted(
            name
            for name, values in stored.items()
            if len(values) == model.dimension and np.isfinite(values).all()
        )
        vectors = np.array([stored[name] for name in usable], dtype=np.float32)
        queries = torch.from_numpy(vectors.reshape(-1, model.dimension))
        return cls(
            model.fingerprint,
            tuple(usable),
            torch.nn.functional.normalize(queries, dim=1),
            message.header.stamp,
            len(message.descriptors) - len(usable),
        )

    def __str__(self) -> str:
        few = [*self.names[:_MOST_SAID], *(['...'] if len(self.names) > _MOST_SAID else [])]
        said = f'looking for {len(self.names)} stored points: {", ".join(few) or "none"}'
        return f'{said}; {self.ignored} of other models are ignored' if self.ignored else said
