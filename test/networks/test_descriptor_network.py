from pathlib import Path

import numpy as np
import pytest
import torch

from don_kp_ros import configuration
from don_kp_ros.networks import model as model_module
from don_kp_ros.networks.checkpoint import Checkpoint, Preprocessing
from don_kp_ros.networks.descriptor_network import (
    DescriptorNetwork,
    NetworkConfiguration,
    flattened,
    lifted,
    unit_length,
)
from don_kp_ros.networks.expectation import Expectation
from don_kp_ros.networks.initialisation import initialise
from don_kp_ros.networks.model import (
    DescriptorModel,
    fuse_batch_norms,
    normalise,
    resize,
    turned_copies,
)
from don_kp_ros.networks.torchvision_import import resnet


def network(**settings: object) -> DescriptorNetwork:
    torch.manual_seed(0)
    own = {'backbone': 'resnet18', **settings}
    return DescriptorNetwork(configuration.read(NetworkConfiguration, own, 'test')).eval()


def checkpoint(net: DescriptorNetwork, input_size: int = 320) -> Checkpoint:
    return Checkpoint(net.configuration, Preprocessing(input_size), net.state_dict(), 0.5)


@pytest.mark.parametrize('stride', [4, 8, 16])
@pytest.mark.parametrize(
    ('backbone', 'last_layer'),
    [
        ('resnet18', 'layer3'),
        ('resnet34', 'layer4'),
        ('resnet50', 'layer3'),
        ('efficientnet_lite0', 'layer3'),
        ('efficientnet_lite0', 'layer4'),
    ],
)
def test_maps_have_the_stride_and_unit_length(backbone: str, last_layer: str, stride: int) -> None:
    net = network(backbone=backbone, last_layer=last_layer, stride=stride, dimension=7, channels=8)
    with torch.inference_mode():
        maps = net(torch.randn(2, 3, 64, 96))
    assert maps.shape == (2, 7, 64 // stride, 96 // stride)
    torch.testing.assert_close(maps.norm(dim=1), torch.ones(2, 64 // stride, 96 // stride))


def test_what_is_new_resembles_the_object_less() -> None:
    net, plain = network(dimension=4, novelty=True), network(dimension=3)
    lengths = torch.tensor([0.0, 1.0, 2.0, 4.0])
    identity = torch.tensor([2 / 3, 2 / 3, 1 / 3])[:, None] * lengths
    identity = identity[None, :, None]
    # Before it is known how long descriptors of the object are, the last number says nothing.
    before = net.descriptors(identity)[0, :, 0]
    torch.testing.assert_close(before[:3], plain.descriptors(identity)[0, :, 0])
    assert before[3].tolist() == [0, 0, 0, 0]
    net.familiar_length.fill_(2.0)
    shown = net.descriptors(identity)[0, :, 0]
    torch.testing.assert_close(shown.norm(dim=0), torch.ones(4))
    certain = torch.tensor([0, 1 / 257, 1 / 2, 256 / 257])
    torch.testing.assert_close(shown[:3].norm(dim=0), certain.sqrt())
    similarity = shown[:, 3] @ shown
    assert (similarity.diff() > 0).all() and similarity[0] < 0.3
    with pytest.raises(configuration.ConfigurationError, match='dimension'):
        network(dimension=1, novelty=True)


@pytest.mark.parametrize('stride', [8, 16, 32])
def test_a_dilated_backbone_equals_torchvisions(stride: int) -> None:
    dilated = [False, stride <= 8, stride <= 16]
    theirs = resnet.resnet50(replace_stride_with_dilation=dilated).eval()
    net = network(backbone='resnet50', last_layer='layer4', stride=stride, neck='dilated')
    net.stem[0].load_state_dict(theirs.conv1.state_dict())
    net.stem[1].load_state_dict(theirs.bn1.state_dict())
    for i, stage in enumerate(net.stages, start=1):
        stage.load_state_dict(getattr(theirs, f'layer{i}').state_dict())
    images = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        expected = net.stem(images)
        for i in range(1, 5):
            expected = getattr(theirs, f'layer{i}')(expected)
        torch.testing.assert_close(net.features(images), expected)
        assert net(images).shape[2:] == (64 // stride, 96 // stride)


@pytest.mark.parametrize(
    'settings',
    [
        {'stride': 32},
        {'stride': 4, 'neck': 'dilated'},
        {'neck': 'dilated', 'stride': 8, 'backbone': 'efficientnet_lite0'},
        {'keypoints': {'number': 1}},
        {'backbone': 'resnet99'},
    ],
)
def test_impossible_architectures_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(configuration.ConfigurationError, match=next(iter(settings))):
        network(**settings)


@pytest.mark.parametrize('head', ['similarity', 'linear'])
def test_keypoints_lie_where_their_descriptors_are(head: str) -> None:
    net = network(dimension=3, keypoints={'number': 2, 'head': head, 'depth': True})
    assert net.keypoints is not None
    identity = torch.zeros(1, 3, 6, 8)
    identity[0, 2] = 1
    identity[0, :, 1, 2] = torch.tensor([1.0, 0, 0])
    identity[0, :, 4, 5] = torch.tensor([0, 1.0, 0])
    with torch.no_grad():
        if net.keypoints.spatial is not None:
            net.keypoints.spatial.weight[:] = 50 * torch.eye(3)[:2, :, None, None]
        else:
            net.keypoints.queries[:] = torch.eye(3)[:2]
        logits, depths = net.keypoints(identity, unit_length(identity))
    assert logits.flatten(2).argmax(dim=2).tolist() == [[1 * 8 + 2, 4 * 8 + 5]]
    assert depths is not None and (depths > 0).all()
    assert network(keypoints=None).keypoints is None
    with pytest.raises(ValueError, match='keypoints'):
        network(keypoints=None).detect(torch.zeros(1, 3, 32, 32))


def test_a_look_describes_as_describe_does_with_novelty_too() -> None:
    own = network(dimension=8, novelty=True, keypoints={'number': 4})
    model = DescriptorModel(checkpoint(own, 64))
    image = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    seen = model.look(image)
    cells, found = seen.cells, seen.keypoints
    assert found is not None and cells.shape[0] == model.dimension == 8
    torch.testing.assert_close(cells, model.describe(image))


def test_a_model_finds_keypoints_in_the_pictures_own_pixels() -> None:
    model = DescriptorModel(checkpoint(network(dimension=8, keypoints={'number': 4}), 64))
    assert model.number_of_keypoints == 4
    small = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    large = small.repeat(2, axis=0).repeat(2, axis=1)
    (uv, deviation), (uv_large, deviation_large) = model.keypoints(small), model.keypoints(large)
    seen = model.look(small)
    cells, found = seen.cells, seen.keypoints
    assert found is not None
    torch.testing.assert_close(cells, model.describe(small))
    torch.testing.assert_close(found.uv, uv)
    assert ((found.mass > 0) & (found.mass <= 1 + 1e-6)).all()
    torch.testing.assert_close((uv_large + 0.5) / 2, uv + 0.5, atol=0.3, rtol=0)
    torch.testing.assert_close(deviation_large / 2, deviation, atol=0.3, rtol=0)


def test_copies_are_turned_about_the_middle_and_lead_back() -> None:
    image = torch.rand(3, 30, 40)
    copies, back = turned_copies(image, 4)
    assert copies.shape == (4, 3, 40, 40)
    torch.testing.assert_close(copies[0, :, 5:35], image, atol=1e-4, rtol=0)
    torch.testing.assert_close(copies[2, :, 5:35], image.flip(1, 2), atol=1e-4, rtol=0)
    for turned, map_ in zip(copies, back, strict=True):
        for v, u in ((18, 23), (30, 12)):  # of the turned copy; it shows what lies at `there`
            there = map_[:, :2] @ torch.tensor([float(u), v]) + map_[:, 2]
            column, row = there.round().long().tolist()
            torch.testing.assert_close(turned[:, v, u], image[:, row, column], atol=1e-3, rtol=0)
    alone, itself = turned_copies(image, 1)
    assert alone[0].equal(image) and itself[0].equal(torch.eye(2, 3))


def test_the_most_certain_turn_is_believed() -> None:
    """A network that is certain only of a mark in its left half finds it wherever it is turned."""
    model = DescriptorModel(checkpoint(network(dimension=4, keypoints={'number': 2}), 64))

    def detect(images: torch.Tensor) -> Expectation:
        brightest = images[:, 0].flatten(1).argmax(dim=1)
        v, u = brightest // 64, brightest % 64
        uv = torch.stack([u, v], dim=1).float()[:, None].expand(-1, 2, -1)
        return Expectation(uv, u.float()[:, None].expand(-1, 2) + 1)

    model._network.detect = detect  # type: ignore[method-assign]
    image = np.zeros((64, 64, 3), np.uint8)
    image[20:23, 50:53] = 255
    uv, deviation = model.keypoints(image, turns=4)
    assert uv[0].tolist() == pytest.approx([51, 21], abs=1.5)
    assert deviation.max() < 5  # seen near the left edge
    with pytest.raises(ValueError, match='turns'):
        model.keypoints(image, turns=0)


def test_the_default_network_fits_the_shipped_size() -> None:
    parameters = sum(p.numel() for p in network().parameters())
    assert parameters * 4 < 25e6


@pytest.mark.parametrize('backbone', ['resnet18', 'efficientnet_lite0'])
def test_fused_batch_norms_change_nothing(backbone: str) -> None:
    net = network(backbone=backbone, dimension=8)
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
    assert 'random' in initialise(net, None)
    assert 'resnet18.pth' in initialise(net, str(tmp_path / 'resnet18.pth'))
    weights = net.state_dict()
    torch.testing.assert_close(weights['stem.0.weight'], backbone.conv1.weight)
    deepest = backbone.layer3[1].conv2.weight
    torch.testing.assert_close(weights['stages.2.1.conv2.weight'], deepest)
    torch.save({'weight': torch.zeros(3)}, tmp_path / 'other.pth')
    for name in ('other.pth', 'missing.pth'):
        with pytest.raises(ValueError, match=name):
            initialise(net, str(tmp_path / name))


def test_imagenet_weights_are_taken_or_said_to_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    for name in ('http_proxy', 'https_proxy', 'HTTP_PROXY', 'HTTPS_PROXY'):
        monkeypatch.setenv(name, 'http://127.0.0.1:9')  # nothing listens there
    net = network()
    before = net.stem[0].weight.clone()
    with pytest.raises(ValueError, match=r'resnet18: .*resnet18-f37072fd\.pth.*weights: null'):
        initialise(net, 'imagenet')
    assert torch.equal(net.stem[0].weight, before)
    backbone = resnet.resnet18(weights=None)  # in torch's cache, as if they had been had before
    torch.save(backbone.state_dict(), tmp_path / 'hub' / 'checkpoints' / 'resnet18-f37072fd.pth')
    assert 'IMAGENET1K_V1 of torchvision (BSD-3-Clause)' in initialise(net, 'imagenet')
    assert torch.equal(net.stem[0].weight, backbone.conv1.weight)


def test_training_goes_on_from_a_model(tmp_path: Path) -> None:
    earlier = network(dimension=16)
    path = tmp_path / 'earlier.safetensors'
    checkpoint(earlier).save(path)
    same = network(dimension=16)
    assert initialise(same, str(path)).endswith(')')
    torch.testing.assert_close(same.state_dict(), earlier.state_dict())
    wider = network(dimension=8)
    identity = wider.identity.weight.clone()
    assert 'random identity.bias, identity.weight' in initialise(wider, str(path))
    torch.testing.assert_close(wider.identity.weight, identity)
    torch.testing.assert_close(wider.stem.state_dict(), earlier.stem.state_dict())


@pytest.mark.parametrize('backbones', [('resnet18', 'resnet34'), ('resnet34', 'resnet18')])
def test_another_backbone_is_not_gone_on_from(tmp_path: Path, backbones: tuple[str, str]) -> None:
    earlier = network(backbone=backbones[0], dimension=16)
    path = tmp_path / 'earlier.safetensors'
    checkpoint(earlier).save(path)
    other = network(backbone=backbones[1], dimension=16)
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    with pytest.raises(ValueError, match=r'earlier.*holds {}.*has {}'.format(*backbones)):
        initialise(other, str(path))
    torch.testing.assert_close(other.state_dict(), before)
    with pytest.raises(ValueError, match=r'missing\.safetensors'):
        initialise(other, str(tmp_path / 'missing.safetensors'))


def model() -> DescriptorModel:
    return DescriptorModel(checkpoint(network(dimension=16)))


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


class TestPartsOfADescriptor:
    """Where on an object, and which object: paper 3."""

    def test_a_cosine_is_the_mean_of_the_parts_cosines(self) -> None:
        net = network(dimension=7, inter=3)
        identity = torch.randn(2, 7, 4, 5)
        found = net.descriptors(identity)
        torch.testing.assert_close(found.norm(dim=1), torch.ones(2, 4, 5))
        torch.testing.assert_close(found, unit_length(identity, 3))
        cosine = torch.nn.functional.cosine_similarity
        a, b = identity
        expected = (cosine(a[:4], b[:4], dim=0) + cosine(a[4:], b[4:], dim=0)) / 2
        torch.testing.assert_close((found[0] * found[1]).sum(dim=0), expected)

    def test_they_are_the_learned_ones_beside_novelty(self) -> None:
        net = network(dimension=8, inter=3, novelty=True)
        net.familiar_length.fill_(1.0)
        found = net.descriptors(torch.randn(1, 7, 4, 5))
        assert found.shape[1] == 8
        torch.testing.assert_close(found.norm(dim=1), torch.ones(1, 4, 5))
        torch.testing.assert_close(found[:, :4].norm(dim=1), found[:, 4:7].norm(dim=1))

    @pytest.mark.parametrize('novelty', [False, True])
    def test_the_last_part_says_which_object_it_is(self, novelty: bool) -> None:
        net = network(dimension=7 + novelty, inter=3, novelty=novelty, keypoints=None)
        certainty = torch.ones(20)
        identity = torch.randn(2, 7, 4, 5)
        identity[0] *= 100  # so long that it is of the object, without any doubt
        if novelty:
            net.familiar_length.fill_(1.0)
            power = identity[1].flatten(1).norm(dim=0) ** 8
            certainty = power / (power + 1)
        stored, seen = net.descriptors(identity).flatten(2).transpose(1, 2)
        which = DescriptorModel(checkpoint(net, 64)).which_object
        a, b = identity[:, 4:].flatten(2)
        expected = torch.nn.functional.cosine_similarity(a, b, dim=0) * certainty.sqrt()
        torch.testing.assert_close((which(stored) * which(seen)).sum(dim=1), expected)
        torch.testing.assert_close(which(seen).norm(dim=1), torch.ones(20))

    def test_without_parts_the_whole_says_it(self) -> None:
        whole = torch.nn.functional.normalize(torch.randn(5, 7), dim=1)
        plain = DescriptorModel(checkpoint(network(dimension=7, keypoints=None), 64))
        assert plain.which_object(whole) is whole

    @pytest.mark.parametrize('inter', [-1, 7, 8])
    def test_both_have_numbers(self, inter: int) -> None:
        with pytest.raises(ValueError, match=f'inter is {inter}; allowed is 0 to 6'):
            network(dimension=7, inter=inter)


def test_the_confidence_is_that_of_the_squares_within_its_bounds() -> None:
    net = network(dimension=4, confidence=True)
    assert net.uncertainty is not None
    identity = torch.tensor([[1.0, 2, 3, 0], [0, 0, 10, 0], [0, 0, 0, 10]]).T[None, :, None]
    assert (net.log_variance(identity) == 0).all()  # before it is trained
    with torch.no_grad():
        net.uncertainty.weight[0, :, 0, 0] = torch.tensor([0.1, 0.2, -5, 5])
        net.uncertainty.bias.fill_(0.5)
    raw = torch.tensor([0.1 + 0.8 - 45 + 0.5, -499.5, 500.5])
    torch.testing.assert_close(net.log_variance(identity)[0, 0], 4 * torch.tanh(raw / 4))


@pytest.fixture
def _float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute alike on every processor, also where bfloat16 is faster."""
    monkeypatch.setattr(model_module, 'fast_bfloat16', lambda device: False)


@pytest.mark.usefixtures('_float32')
def test_a_model_tells_its_confidence_where_it_has_one() -> None:
    image = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
    net = network(dimension=4, channels=8, confidence=True, keypoints=None)
    with torch.no_grad():
        assert net.uncertainty is not None
        net.uncertainty.weight.normal_()
    found = DescriptorModel(checkpoint(net, 96)).confidence(image)
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
    with torch.inference_mode():
        identity = net.identity(net.features(normalise(pixels, Preprocessing(96))))
        expected = (-net.log_variance(identity)[0]).exp()
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    seen = DescriptorModel(checkpoint(net, 96)).look(image)
    assert seen.keypoints is None and seen.confidence is not None
    torch.testing.assert_close(seen.confidence, found / (1 + found))
    plain = network(dimension=4, channels=8, keypoints=None)
    assert DescriptorModel(checkpoint(plain, 96)).look(image).confidence is None
    with pytest.raises(ValueError, match=r'no confidence \(network.confidence\)'):
        DescriptorModel(checkpoint(plain, 96)).confidence(image)


@pytest.mark.usefixtures('_float32')
@pytest.mark.parametrize('backbone', ['resnet18', 'efficientnet_lite0'])
def test_statistics_are_of_the_picture_itself_where_it_is_wanted(backbone: str) -> None:
    settings = {'backbone': backbone, 'dimension': 4, 'channels': 8, 'keypoints': None}
    net = network(**settings, image_statistics=True)
    image = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
    found = DescriptorModel(checkpoint(net, 96)).describe(image)
    pixels = normalise(torch.from_numpy(image).permute(2, 0, 1)[None], Preprocessing(96))
    with torch.no_grad():
        plain = net(pixels)[0]
        net.train()  # the statistics of the batch, which is the picture
        torch.testing.assert_close(found, net(pixels)[0], rtol=1e-3, atol=1e-4)
    assert not torch.allclose(found, plain, atol=1e-2)


class TestPlaces:
    def test_a_place_becomes_a_direction_and_comes_back(self) -> None:
        torch.manual_seed(0)
        places = 2 * torch.randn(2, 3, 4, 5, dtype=torch.float64)
        there = lifted(places)
        torch.testing.assert_close(there.norm(dim=1), torch.ones(2, 4, 5, dtype=torch.float64))
        torch.testing.assert_close(flattened(there), places)
        # The chord between two, by stereographic projection.
        f, g = places[0, :, 0, 0], places[0, :, 1, 1]
        chord = 2 * (f - g).norm() / ((1 + f @ f) * (1 + g @ g)).sqrt()
        torch.testing.assert_close((there[0, :, 0, 0] - there[0, :, 1, 1]).norm(), chord)
        nothing = lifted(torch.zeros(1, 3, 1, 1))
        assert nothing[0, :, 0, 0].tolist() == [0, 0, 0, 1]

    def test_a_network_of_places_has_unit_descriptors(self) -> None:
        net = network(dimension=4, euclidean=True)
        assert net.configuration.learned == 3
        images = torch.randn(1, 3, 64, 96)
        with torch.inference_mode():
            identity = net.identity(net.features(images))
            maps = net(images)
        assert identity.shape[1] == 3
        torch.testing.assert_close(maps, lifted(identity))
        torch.testing.assert_close(flattened(maps), identity, rtol=1e-3, atol=1e-5)
        model = DescriptorModel(checkpoint(net))
        assert model.euclidean and model.nothing is not None
        assert model.nothing.tolist() == lifted(torch.zeros(1, 3))[0].tolist() == [0, 0, 0, 1]
        assert DescriptorModel(checkpoint(network())).nothing is None

    @pytest.mark.parametrize(
        ('settings', 'error'),
        [
            ({'dimension': 1}, 'dimension is 1; allowed is 2 to 4096'),
            ({'novelty': True}, 'set novelty to false'),
            ({'inter': 4}, 'and inter to 0'),
        ],
    )
    def test_what_needs_directions_is_refused(
        self, settings: dict[str, object], error: str
    ) -> None:
        with pytest.raises(configuration.ConfigurationError, match=error):
            network(euclidean=True, **settings)
