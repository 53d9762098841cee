"""Which descriptors become keypoints."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from don_kp_ros.data.pairs import ViewConfiguration, ViewPair, WarpedView
from don_kp_ros.networks.checkpoint import Checkpoint, Preprocessing
from don_kp_ros.networks.descriptor_network import NetworkConfiguration
from don_kp_ros.training import keypoint_choice
from don_kp_ros.training.settings import TrainingConfiguration

SIDE = 64


def pair_of(a: np.ndarray, b: np.ndarray, uv_a: np.ndarray, uv_b: np.ndarray) -> ViewPair:
    mask = np.full((SIDE, SIDE), 255, np.uint8)
    views = (WarpedView(image, mask, np.eye(3)) for image in (a, b))
    return ViewPair(*views, uv_a.astype(np.float32), uv_b.astype(np.float32))


def plain() -> Checkpoint:
    """Make a network without keypoints."""
    network = NetworkConfiguration('resnet18', channels=8, dimension=8, keypoints=None)
    return Checkpoint(network, Preprocessing(SIDE), {}, 0.5).untrained()


class Sampler:
    """Draws pairs of a rare kind at the draws `shown`, of another one otherwise."""

    kinds: tuple[str, ...] = ('often', 'rare')

    def __init__(self, uv: np.ndarray, shown: set[int]) -> None:
        blank = np.zeros((SIDE, SIDE, 3), np.uint8)
        self._often = replace(pair_of(blank, blank, uv, uv), kind='often')
        self._shown, self._drawn = shown, -1

    def draw(self, rng: np.random.Generator) -> ViewPair:
        self._drawn += 1
        return replace(self._often, kind='rare') if self._drawn in self._shown else self._often

    def check(self) -> None:
        pass


def test_errors_are_those_of_the_map_that_the_correspondences_show() -> None:
    """Places that an affine map relates have none, whatever it is; far ones are lost."""
    rng = np.random.default_rng(0)
    blank = np.zeros((SIDE, SIDE, 3), np.uint8)
    uv_a = rng.uniform(10, 50, (64, 2))
    turn, shift = np.array([[0.6, -0.9], [0.9, 0.6]]), np.array([20.0, -5.0])
    pair = pair_of(blank, blank, uv_a, uv_a @ turn.T + shift)
    found = uv_a[:20] + rng.uniform(-1, 1, (20, 2))
    expected = found @ turn.T + shift
    errors = keypoint_choice._errors(pair, found, expected + [3.0, 4.0])
    # 5 pixels of 0.2 of 64; the ridge of the map costs a little.
    assert errors == pytest.approx(5 / (0.2 * SIDE), abs=0.04)
    assert (keypoint_choice._errors(pair, found, expected + 50) == 1).all()
    assert (keypoint_choice._errors(pair, found * 0 - 30, expected) == 1).all()


def test_the_cheapest_that_lie_apart_are_taken() -> None:
    uv = np.array([[[0.0, 0], [0.1, 0], [5, 0], [5, 0.1], [0, 5]]]).repeat(3, axis=0)
    cost = np.array([0.2, 0.1, 0.9, 0.8, 0.3])
    assert keypoint_choice._apart(cost, uv, 3) == [1, 4, 3]
    assert sorted(keypoint_choice._apart(cost, uv, 5)) == [0, 1, 2, 3, 4]  # as far as it goes


def test_as_many_are_taken_as_there_are_also_where_they_lie_at_one_place() -> None:
    uv = np.zeros((3, 4, 2))
    assert sorted(keypoint_choice._apart(np.arange(4.0), uv, 4)) == [0, 1, 2, 3]


@pytest.mark.parametrize(('most', 'each'), [(4096, 8), (10, 5)])
def test_a_rare_kind_bounds_the_keypoints_of_all(
    monkeypatch: pytest.MonkeyPatch, most: int, each: int
) -> None:
    """Of 8 correspondences 8 keypoints can be chosen; more were asked for."""
    monkeypatch.setattr(keypoint_choice, 'MOST_KEYPOINTS', most)
    uv = np.random.default_rng(0).uniform(4, 60, (8, 2))
    sampler = Sampler(uv, shown={0})
    chosen = keypoint_choice.with_chosen_keypoints(plain(), sampler, 20, 0)
    assert chosen.network.keypoints is not None
    assert chosen.network.keypoints.kind_of_each == ('often',) * each + ('rare',) * each
    assert chosen.weights['keypoints.queries'].shape == (2 * each, 8)


@pytest.mark.parametrize('first', [60, 500])
def test_a_kind_that_is_drawn_late_has_keypoints_of_its_own(first: int) -> None:
    """Sixty pairs of a kind are enough for it alone."""
    sampler = Sampler(np.random.default_rng(0).uniform(4, 60, (8, 2)), shown={first})
    chosen = keypoint_choice.with_chosen_keypoints(plain(), sampler, 8, 0)
    assert chosen.network.keypoints is not None
    assert chosen.network.keypoints.kinds == ('often', 'rare')


def test_a_kind_that_is_never_drawn_is_named_and_has_no_keypoints_of_another(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sampler = Sampler(np.random.default_rng(0).uniform(4, 60, (8, 2)), shown=set())
    chosen = keypoint_choice.with_chosen_keypoints(plain(), sampler, 8, 0)
    assert chosen.network.keypoints is not None
    assert chosen.network.keypoints.kinds == ('often',)
    assert capsys.readouterr().out.startswith('rare: no keypoints')


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'chosen_keypoints': 1}, 'chosen_keypoints is 1; allowed is 2 to 512'),
        ({'chosen_keypoints': 8, 'views': ViewConfiguration(queries=7)}, 'views.queries is 7'),
    ],
)
def test_what_cannot_be_chosen_is_told_before_the_training(
    change: dict[str, Any], message: str
) -> None:
    network = NetworkConfiguration(keypoints=None)
    with pytest.raises(ValueError, match=message):
        TrainingConfiguration(network=network, **change)


def test_what_is_found_again_is_preferred_to_what_repeats() -> None:
    """Four cells unlike all others among columns that are alike, seen from other places."""
    rng, cells, pixels = np.random.default_rng(0), 16, SIDE // 16
    scene = torch.eye(6)[torch.arange(24) % 2].T[:, None].repeat(1, 24, 1)  # (6, 24, 24)
    for number, (row, column) in enumerate([(8, 8), (8, 15), (15, 8), (15, 15)]):
        scene[:, row, column] = torch.eye(6)[2 + number]
    blank = np.zeros((SIDE, SIDE, 3), np.uint8)
    maps_a, maps_b, pairs = [], [], []
    for _ in range(12):
        points, uv = rng.uniform(7.5, 15.4, (64, 2)), []  # seen from everywhere
        for maps in (maps_a, maps_b):
            u, v = rng.integers(0, 8, 2)
            maps.append(scene[:, v : v + cells, u : u + cells])
            uv.append(pixels * (points - [u, v] + 0.5) - 0.5)
        pairs.append(pair_of(blank, blank, *uv))
    masks = torch.ones(24, SIDE, SIDE, dtype=torch.bool)
    chosen = keypoint_choice._best(torch.stack(maps_a + maps_b), masks, pairs, 1.5, 4, 0)
    assert set(chosen.argmax(dim=1).tolist()) == {2, 3, 4, 5}
