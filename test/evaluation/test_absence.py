"""Pictures without the object, and how long descriptors on it are."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from don_kp_ros.data.clutter import clutter
from don_kp_ros.data.scenes import Entry, Scene, SceneView
from don_kp_ros.evaluation.absence import stand_ins
from don_kp_ros.evaluation.novelty import with_familiar_length
from don_kp_ros.evaluation.pairs import Pair, PairSet, of_scenes
from don_kp_ros.geometry.camera import Camera
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


def test_no_object_of_a_scene_is_left(tmp_path: Path) -> None:
    """What one pair looks for is beside the object of another, or in another scene."""
    camera = Camera(128, 96, 100.0, 100.0, 63.5, 47.5)
    numbers = np.zeros((96, 128), np.uint8)
    numbers[20:50, 20:50], numbers[40:70, 70:110], numbers[80:84, 10:14] = 1, 2, 3
    colours = np.array([[40, 40, 40], [200, 10, 10], [10, 200, 10], [10, 10, 200]], np.uint8)
    depth = np.full((96, 128), 0.5, np.float32)
    view = SceneView(numbers, depth, camera, np.eye(4), tmp_path, colours[numbers])
    poses = (np.eye(4), np.eye(4))
    entry = Entry('s', ('box-1', 'box-2', 'box-3'), (*poses, np.eye(4)), ('a', 'b'), poses)
    data = of_scenes([Scene(entry, view, view, {})], 24, [], 'scenes', 0.01)
    assert len(data.pairs) == 2  # the third is too small to be looked for, in this scene
    for stand_in in stand_ins(data, seed=0):
        for number in (1, 2, 3):
            own = stand_in[numbers == number].astype(int)
            same = np.abs(own - colours[number]).sum(axis=1) < 20
            assert same.mean() < 0.3, number


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
