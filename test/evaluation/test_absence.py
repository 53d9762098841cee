"""Pictures without the object, and how long descriptors on it are."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from don_kp_ros.data.clutter import clutter
from don_kp_ros.evaluation.absence import stand_ins
from don_kp_ros.evaluation.novelty import with_familiar_length
from don_kp_ros.evaluation.pairs import Pair, PairSet
from don_kp_ros.networks.checkpoint import Checkpoint, Preprocessing
from don_kp_ros.networks.descriptor_network import NetworkConfiguration
from don_kp_ros.networks.model import DescriptorModel

RED = np.array([200, 10, 10], np.uint8)


@pytest.fixture
def data() -> PairSet:
    """Pair two pictures of a red square on blue and green stripes."""
    pictures, pairs = [], []
    for number in range(2):
        picture = np.zeros((96, 128, 3), np.uint8)
        picture[..., 1], picture[..., 2] = 60 * number, np.arange(128) // 16 * 30
        mask = np.zeros((96, 128), np.uint8)
        mask[30:60, 40 + number : 80] = 255
        picture[mask > 0] = RED
        pictures.append(picture)
        uv = np.array([[50, 40]], np.float32)
        pairs.append(Pair(0, number, uv, uv, mask_b=mask))
    return PairSet('squares', pictures, pairs, [])


def test_stand_ins_show_all_but_the_object(data: PairSet) -> None:
    made = stand_ins(data, seed=0)
    assert len(made) == 2
    for number, (picture, stand_in) in enumerate(zip(data.images, made, strict=True)):
        changed = (picture != stand_in).any(axis=2)
        shown = data.mask_b(number) > 0
        assert changed[shown].mean() > 0.99
        assert not changed[:20].any() and not changed[:, 100:].any()
        assert np.abs(stand_in[shown].astype(int) - RED).sum(axis=1).min() > 20
    again, other = stand_ins(data, seed=0), stand_ins(data, seed=1)
    np.testing.assert_array_equal(made, again)
    assert (made[0] != other[0]).any()


def test_an_object_that_fills_the_picture_is_hidden_too(data: PairSet) -> None:
    whole = replace(data.pairs[0], mask_b=np.full((96, 128), 255, np.uint8))
    (stand_in,) = stand_ins(replace(data, pairs=[whole]), seed=0)
    assert (stand_in != data.images[0]).any(axis=2).mean() > 0.9


def test_large_pictures_are_made_small(data: PairSet) -> None:
    large = [image.repeat(8, axis=0).repeat(8, axis=1) for image in data.images]
    pairs = [replace(p, mask_b=p.mask_b.repeat(8, 0).repeat(8, 1)) for p in data.pairs]
    (stand_in, _) = stand_ins(replace(data, images=large, pairs=pairs), seed=0)
    assert stand_in.shape == (480, 640, 3)
    assert np.abs(stand_in[150:300, 205:400].astype(int) - RED).sum(axis=2).min() > 20


def test_clutter_has_many_shapes_in_given_and_other_colours() -> None:
    picture = clutter((160, 120), np.array([RED]), np.random.default_rng(0))
    assert picture.shape == (120, 160, 3)
    red = (np.abs(picture.astype(int) - RED).max(axis=2) < 12).mean()
    assert 0.05 < red < 0.9
    assert len(np.unique(picture.reshape(-1, 3) // 32, axis=0)) > 20


def test_a_network_with_novelty_learns_how_long_the_objects_descriptors_are(
    data: PairSet,
) -> None:
    network = NetworkConfiguration(
        'resnet18', channels=8, dimension=8, keypoints=None, novelty=True
    )
    first = Checkpoint(network, Preprocessing(128), {}, 0.5).untrained()
    settled = with_familiar_length(first, data, 0.1, 'cpu')
    lengths = []
    for number, picture in enumerate(data.images):
        found = DescriptorModel(first).lengths(picture)
        assert found.shape == (24, 32)
        mask = torch.from_numpy(data.mask_b(number)).reshape(24, 4, 32, 4).float().mean((1, 3))
        lengths.append(found[mask > 127])
    expected = np.quantile(torch.cat(lengths).numpy(), 0.1)
    assert settled.weights['familiar_length'].item() == pytest.approx(expected, rel=1e-5)
    maps = [DescriptorModel(own).describe(data.images[0]) for own in (first, settled)]
    assert maps[0][-1].abs().max() == 0 and maps[1][-1].min() > 0
    for own in maps:
        torch.testing.assert_close(own.norm(dim=0), torch.ones(24, 32))
    plain = replace(first, network=replace(network, novelty=False)).untrained()
    assert with_familiar_length(plain, data, 0.1, 'cpu') is plain
