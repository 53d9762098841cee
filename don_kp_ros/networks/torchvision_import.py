"""The one place where torchvision is imported.

PyPI's torchvision wheel is built for CUDA. With a torch without CUDA its compiled operators do not
load, and its import fails with `operator torchvision::nms does not exist`. So does every package
that imports torchvision, such as Lightning. The models need none of these operators, so it is
enough to declare the two that torchvision's import refers to. Import this module before Lightning.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch

_SCHEMAS = (
    'nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor',
    'qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor',
)


def _operators_load() -> bool:
    spec = importlib.util.find_spec('torchvision')
    if spec is None or spec.origin is None:
        raise ImportError('torchvision is not installed: pip install torchvision')
    for library in Path(spec.origin).parent.glob('_C*'):
        try:
            torch.ops.load_library(str(library))
        except OSError:
            return False
    return True


def _declare_operators() -> torch.library.Library | None:
    if hasattr(torch.ops.torchvision, 'nms') or _operators_load():
        return None
    declared = torch.library.Library('torchvision', 'FRAGMENT')
    for schema in _SCHEMAS:
        declared.define(schema)
    return declared


_declared = _declare_operators()  # the declarations last as long as this object

from torchvision.models import get_model_weights, resnet  # noqa: E402

__all__ = ['get_model_weights', 'resnet']
