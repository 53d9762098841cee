from pathlib import Path

import numpy as np
import pytest
import torch

from don_kp_ros import configuration
from don_kp_ros.networks.checkpoint import Checkpoint, Preprocessing
from don_kp_ros.networks.descriptor_network import (
    DescriptorNetwork,
    NetworkConfiguration,
    load_backbone_weights,
)
from don_kp_ros.networks.model import DescriptorModel, fuse_batch_norms, normalise, resize
from don_kp_ros.networks.torchvision_import import resnet


def network(**settings: object) -> DescriptorNetwork:
    torch.manual_seed(0)
    return DescriptorNetwork(configuration.read(NetworkConfiguration, settings, 'test')).eval()


@pytest.mark.parametrize('stride', [4, 8, 16])
@pytest.mark.parametrize(
    ('backbone', 'last_layer'),
    [('resnet18', 'layer3'), ('resnet34', 'layer4'), ('resnet50', 'layer3')],
)
def test_maps_have_the_stride_and_unit_length(backbone: str, last_layer: str, stride: int) -> None:
    net = network(backbone=backbone, last_layer=last_layer, stride=stride, dimension=7, channels=8)
    with torch.inference_mode():
        maps = net(torch.randn(2, 3, 64, 96))
    assert maps.shape == (2, 7, 64 // stride, 96 // stride)
    torch.testing.assert_close(maps.norm(dim=1), torch.ones(2, 64 // stride, 96 // stride))


def test_the_default_network_fits_the_shipped_size() -> None:
    parameters = sum(p.numel() for p in network().parameters())
    assert parameters * 4 < 25e6


def test_upsampling_keeps_cell_centres_and_unit_length() -> None:
    maps = torch.nn.functional.normalize(torch.randn(1, 5, 4, 6), dim=1)
    upsampled = DescriptorNetwork.upsample(maps, (12, 18))
    torch.testing.assert_close(upsampled[:, :, 1::3, 1::3], maps)
    torch.testing.assert_close(upsampled.norm(dim=1), torch.ones(1, 12, 18))


def test_fused_batch_norms_change_nothing() -> None:
    net = network(dimension=8)
    net.train()
    images = torch.randn(4, 3, 64, 64)
    net(images)  # moves the running statistics off their defaults
    net.eval()
    with torch.inference_mode():
        before = net(images)
        fuse_batch_norms(net)
        after = net(images)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in net.modules())
    torch.testing.assert_close(after, before, atol=1e-4, rtol=1e-4)


def test_published_weights_are_read_from_a_file(tmp_path: Path) -> None:
    backbone = resnet.resnet18(weights=None)
    torch.save(backbone.state_dict(), tmp_path / 'resnet18.pth')
    net = network()
    load_backbone_weights(net, tmp_path / 'resnet18.pth')
    weights = net.state_dict()
    torch.testing.assert_close(weights['stem.0.weight'], backbone.conv1.weight)
    deepest = backbone.layer3[1].conv2.weight
    torch.testing.assert_close(weights['stages.2.1.conv2.weight'], deepest)
    torch.save({'weight': torch.zeros(3)}, tmp_path / 'other.pth')
    for name in ('other.pth', 'missing.pth'):
        with pytest.raises(ValueError, match=name):
            load_backbone_weights(net, tmp_path / name)


def model() -> DescriptorModel:
    net = network(dimension=16)
    return DescriptorModel(Checkpoint(net.configuration, Preprocessing(), net.state_dict(), 0.5))


def test_describe_owns_resizing_and_normalisation() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (480, 640, 3), dtype=np.uint8)
    described = model().describe(image)
    assert described.shape == (16, 60, 80)
    assert described.dtype == torch.float32
    torch.testing.assert_close(described.norm(dim=0), torch.ones(60, 80), atol=1e-3, rtol=0)

    net = network(dimension=16)
    shrunk = torch.from_numpy(resize(image, 320, 16)).permute(2, 0, 1)[None]
    with torch.inference_mode():
        expected = net(normalise(shrunk, Preprocessing()))[0]
    similarity = (described * expected).sum(dim=0)
    assert similarity.min() > 0.98  # bfloat16 where the processor is fast at it


def test_pictures_of_any_size_meet_the_same_scale() -> None:
    for height, width in ((960, 1280), (240, 320), (123, 77)):
        resized = resize(np.zeros((height, width, 3), np.uint8), 320, 16)
        assert max(resized.shape) == 320
        assert resized.shape[0] % 16 == resized.shape[1] % 16 == 0


@pytest.mark.parametrize(
    'image',
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((4, 4, 4), np.uint8)],
)
def test_describe_refuses_what_is_no_rgb_picture(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match='uint8 RGB'):
        model().describe(image)
