"""Training on scenes: what the losses of paper 3 compare, and that each switch trains."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from don_kp_ros.networks import checkpoint
from don_kp_ros.networks.descriptor_network import DescriptorNetwork, NetworkConfiguration
from don_kp_ros.networks.model import DescriptorModel
from don_kp_ros.training.object_objective import object_losses
from don_kp_ros.training.settings import ObjectLossConfiguration

OBJECTS = ['--network.keypoints=null', '--loss.descriptors=objects', '--views.warp.perspective=0']
METHODS = {
    'whole vector': [],
    'random negatives': ['--loss.objects.negatives=random'],
    'branches': ['--network.inter=3'],
    'confidence': ['--network.confidence=true'],
    'without the lone object': ['--network.inter=3', '--loss.objects.lone=false'],
    'all': ['--network.inter=3', '--network.confidence=true'],
    'statistics of the picture': ['--network.inter=3', '--network.image_statistics=true'],
}


def trained(scenes: Path, name: str = 'm') -> checkpoint.Checkpoint:
    return checkpoint.load(scenes.parent / f'{name}.safetensors')


@pytest.mark.parametrize('method', METHODS)
def test_every_switch_moves_what_it_trains(
    run: Callable[..., int], scenes: Path, method: str
) -> None:
    options = [*OBJECTS, *METHODS[method], '--optimiser.warmup=0', '--optimiser.weight_decay=0']
    assert run(scenes, '--steps=3', *options) == 0
    model = trained(scenes)
    torch.manual_seed(0)
    network = DescriptorNetwork(model.network)
    for name, parameter in network.named_parameters():
        assert not model.weights[name].equal(parameter), name
    image = np.full((96, 128, 3), 90, np.uint8)
    descriptors = DescriptorModel(model).describe(image)
    torch.testing.assert_close(descriptors.norm(dim=0), torch.ones(16, 24))


def test_a_stored_model_says_what_it_is(run: Callable[..., int], scenes: Path) -> None:
    assert run(scenes, '--steps=1', *OBJECTS, *METHODS['all']) == 0
    model = trained(scenes)
    assert (model.network.inter, model.network.confidence) == (3, True)
    confidence = DescriptorModel(model).confidence(np.full((96, 128, 3), 90, np.uint8))
    assert confidence.shape == (16, 24) and (confidence > 0).all()


def test_scenes_that_are_learned_end_no_training(
    run: Callable[..., int], scenes: Path, capsys: Any
) -> None:
    patient = ['--validation.times=9', '--validation.patience=3']
    assert run(scenes, '--steps=1', *OBJECTS, *patient) == 1
    error = capsys.readouterr().err
    assert 'of the 2 scenes' in error and 'none is held' in error and 'validation.held' in error
    assert run(scenes, '--steps=1', *OBJECTS, *patient, '--validation.held=0.5') == 0


def test_plain_descriptors_are_learned_from_scenes_too(
    run: Callable[..., int], scenes: Path
) -> None:
    assert run(scenes, '--steps=2', '--network.keypoints=null') == 0


@pytest.mark.parametrize(
    ('options', 'error'),
    [
        (['--network.inter=3'], 'loss.descriptors is nt_xent, which trains neither'),
        (['--network.confidence=true'], 'set it to objects, or these to 0 and false'),
        (['--network.inter=8'], 'inter is 8; allowed is 0 to 7'),
        (
            ['--loss.descriptors=objects', '--network.keypoints.number=4'],
            'no keypoints are learned',
        ),
        (['--network.keypoints=null', '--chosen_keypoints=2'], 'chosen_keypoints to 0'),
    ],
)
def test_what_does_not_fit_is_told(
    run: Callable[..., int],
    scenes: Path,
    options: list[str],
    error: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(scenes, '--steps=1', *options) == 1
    assert error in capsys.readouterr().err


def test_single_pictures_have_no_objects_to_tell_apart(
    run: Callable[..., int], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, '--steps=1', *OBJECTS) == 1
    assert 'holds no scenes (scenes.json)' in capsys.readouterr().err


class TestLosses:
    """The losses of a batch against the paper's sums, query by query."""

    SIDE, CELLS, TAU, INTER_TAU, APART = 32, 8, 0.07, 0.2, 8.0

    @pytest.fixture
    def batch(self) -> dict[str, Tensor]:
        rng = np.random.default_rng(1)
        labels = np.zeros((4, 32, 32), np.uint8)
        labels[:, 4:28, 2:14], labels[:, 8:24, 18:30] = 1, 2
        centres = 4 * np.arange(8) + 1.5
        cells = np.stack(np.meshgrid(centres, centres), axis=-1)
        uv = np.array([[5.5, 9.5], [9.5, 17.5], [21.5, 13.5], [25.5, 17.5]])  # middles of cells
        field = np.stack([cells, cells, cells, cells])
        field[2:, :2] = np.nan
        return {
            'labels': torch.from_numpy(labels),
            'uv': torch.from_numpy(np.stack([uv] * 4)).float(),
            'field': torch.from_numpy(field).float(),
            'targets': torch.tensor([1, 2]),
            'identity': torch.from_numpy(rng.normal(size=(6, 8, 8, 8))).float(),
        }

    def losses(
        self, batch: dict[str, Tensor], network: dict[str, Any], lone: bool, **settings: Any
    ) -> dict[str, float]:
        configuration = NetworkConfiguration(dimension=8, keypoints=None, **network)
        torch.manual_seed(0)
        built = DescriptorNetwork(configuration)
        if built.uncertainty is not None:
            torch.nn.init.normal_(built.uncertainty.weight, std=0.1)
        identity = batch['identity'] if lone else batch['identity'][:4]
        self.u = built.log_variance(identity) if built.uncertainty is not None else None
        found = object_losses(built, identity, batch, ObjectLossConfiguration(**settings))
        return {name: part.item() for name, part in found.items()}

    def each(self, batch: dict[str, Tensor], inter: int, lone: bool) -> tuple[Any, Any]:
        """Equations 7 to 10, all queries: L of where on an object, and of which."""
        identity = batch['identity'].double().numpy()
        labels, uv = batch['labels'].numpy(), batch['uv'].numpy()
        where, which = np.zeros((2, 4)), np.zeros((2, 4))
        split = 8 - inter
        own = labels[:, 2::4, 2::4]  # the pixel at the middle of each cell
        centres = 4 * np.arange(8) + 1.5

        def unit(x: Any) -> Any:
            return x / np.linalg.norm(x, axis=0)

        def contrast(d: Any, positive: Any, negatives: list[Any], tau: float) -> float:
            top = np.exp(d @ positive / tau)
            return float(-np.log(top / (top + sum(np.exp(d @ n / tau) for n in negatives))))

        for b in range(2):
            s = [unit(identity[i, :split]) for i in (b, 2 + b, 4 + b)]
            c = [unit(identity[i, split:]) for i in (b, 2 + b, 4 + b)] if inter else s
            for q in range(4):
                u, v = uv[b, q]
                i, j = int((v - 1.5) / 4), int((u - 1.5) / 4)
                label = labels[b, round(v), round(u)]
                places = [(y, x) for y in range(8) for x in range(8)]
                same = [p for p in places if own[2 + b][p] == label]
                other = [p for p in places if own[2 + b][p] != label]
                far = [
                    p
                    for p in (same if inter else places)
                    if np.hypot(centres[p[1]] - u, centres[p[0]] - v) > self.APART
                ]
                of = lambda maps, p: maps[:, p[0], p[1]]  # noqa: E731
                d, negatives = of(s[0], (i, j)), [of(s[1], p) for p in far]
                union = [of(s[1], (i, j))]
                target = label == batch['targets'][b].item()
                if lone and target:
                    union.append(of(s[2], (i, j)))
                where[b, q] = np.mean([contrast(d, p, negatives, self.TAU) for p in union])
                d, negatives = of(c[0], (i, j)), [of(c[1], p) for p in other]
                sets = [[of(c[1], p) for p in same]]
                if lone and target:
                    sets.append([of(c[2], p) for p in places if own[b][p] == label])
                which[b, q] = np.mean(
                    [
                        np.mean([contrast(d, p, negatives, self.INTER_TAU) for p in positives])
                        for positives in sets
                    ]
                )
        return where, which

    @pytest.mark.parametrize('lone', [False, True])
    @pytest.mark.parametrize('inter', [0, 3])
    def test_they_are_those_of_equations_7_to_10(
        self, batch: dict[str, Tensor], inter: int, lone: bool
    ) -> None:
        found = self.losses(batch, {'inter': inter}, lone)
        where, which = self.each(batch, inter, lone)
        assert found['intra'] == pytest.approx(where.mean(), rel=1e-4)
        assert set(found) == ({'intra', 'inter'} if inter else {'intra'})
        if inter:
            assert found['inter'] == pytest.approx(which.mean(), rel=1e-4)

    def test_confidence_weighs_the_first_and_is_compared_where_both_views_show(
        self, batch: dict[str, Tensor]
    ) -> None:
        found = self.losses(batch, {'inter': 3, 'confidence': True}, lone=True)
        where, which = self.each(batch, 3, lone=True)
        assert self.u is not None
        u = self.u.detach().numpy().astype(float)
        rows, columns = [2, 4, 3, 4], [1, 2, 5, 6]
        own = u[:2][:, rows, columns]
        assert found['intra'] == pytest.approx((where * np.exp(-own) + own).mean(), rel=1e-4)
        assert found['inter'] == pytest.approx(which.mean(), rel=1e-4)
        sigma = np.exp(-u[:4])
        a, b = np.split(sigma / (1 + sigma), 2)
        expected = []
        for pair in range(2):
            for v in range(2, 5):  # the first two rows are not seen
                for column in range(5):
                    p, q = (m[pair, v : v + 4, column : column + 4] for m in (a, b))
                    covariance = np.cov(p.ravel(), q.ravel(), bias=True)[0, 1]
                    ssim = (2 * p.mean() * q.mean() + 1e-4) * (2 * covariance + 9e-4)
                    ssim /= (p.mean() ** 2 + q.mean() ** 2 + 1e-4) * (p.var() + q.var() + 9e-4)
                    expected.append(0.425 * (1 - ssim) + 0.15 * np.abs(p - q).mean())
        assert found['repeatability'] == pytest.approx(np.mean(expected), rel=1e-3)

    def test_weights_multiply_their_loss_alone(self, batch: dict[str, Tensor]) -> None:
        network = {'inter': 3, 'confidence': True}
        plain = self.losses(batch, network, True)
        for name in plain:
            found = self.losses(batch, network, True, **{name: 3.0})
            expected = {**plain, name: 3 * plain[name]}
            assert found == pytest.approx(expected)

    def test_random_negatives_are_of_the_whole_view(self, batch: dict[str, Tensor]) -> None:
        def both() -> list[float]:
            kinds = ('object', 'random')
            return [
                self.losses(batch, {'inter': 3}, False, negatives=kind)['intra'] for kind in kinds
            ]

        before = both()
        ground = batch['labels'][2:, 2::4, 2::4] == 0
        changed = batch['identity'].clone()
        changed[2:4] = torch.where(ground[:, None], -changed[2:4], changed[2:4])
        batch['identity'] = changed
        after = both()
        assert after[0] == before[0]
        assert abs(after[1] - before[1]) > 0.01
