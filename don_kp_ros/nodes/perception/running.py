"""The model that perception runs, and what is looked for with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import torch

from don_kp.msg import Descriptors
from don_kp_ros.errors import RefusedError
from don_kp_ros.networks.checkpoint import CheckpointError
from don_kp_ros.networks.model import DescriptorModel
from don_kp_ros.nodes.perception.parameters import PerceptionParameters
from don_kp_ros.nodes.perception.queries import Queries


@dataclass(frozen=True)
class Running:
    """A model and the queries made for it; in one object, so that they always fit."""

    model: DescriptorModel
    queries: Queries

    @classmethod
    def of(
        cls, model: DescriptorModel, stored: Descriptors, before: Running | None = None
    ) -> Running:
        """Look for what is stored of a model; ``before``: what ran, perhaps with the same one."""
        same = before is not None and before.model is model
        former = before.queries.objects if same and before else ()
        return cls(model, Queries.from_message(stored, model, former))


def load_model(path: Path | str, settings: PerceptionParameters) -> DescriptorModel:
    """Load a checkpoint onto the device; raises RefusedError with the reason."""
    if settings.threads:
        torch.set_num_threads(settings.threads)
        cv2.setNumThreads(settings.threads)
    try:
        return DescriptorModel.load(path, settings.device)
    except (CheckpointError, OSError) as error:
        raise RefusedError(str(error)) from error
    except (AssertionError, RuntimeError) as error:
        raise RefusedError(f'device {settings.device} cannot be used: {error}') from error
