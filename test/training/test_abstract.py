"""Training as paper 4 does: pairs of a picture and a drawing, and descriptors that are places."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from don_kp_ros.data.scenes import SceneFolder
from don_kp_ros.geometry import rigid
from don_kp_ros.matching.heatmap import match
from don_kp_ros.matching.maps import describe_at
from don_kp_ros.networks import checkpoint
from don_kp_ros.networks.descriptor_network import DescriptorNetwork, NetworkConfiguration
from don_kp_ros.networks.model import DescriptorModel
from don_kp_ros.training.drawing import drawing
from don_kp_ros.training.objective import objective
from don_kp_ros.training.settings import LossConfiguration

Run = Callable[..., int]

PLACES = [
    '--network.keypoints=null',
    '--network.euclidean=true',
    '--network.dimension=4',
    '--loss.descriptors=contrastive',
    '--loss.on_object=1',
    '--loss.background=0.1',
    '--views.warp.perspective=0',
]
DRAWN = [*PLACES, '--views.drawn.same=0.5']


def trained(scenes: Path) -> checkpoint.Checkpoint:
    return checkpoint.load(scenes.parent / 'm.safetensors')


METHODS = {
    'places': PLACES,
    'drawn': DRAWN,
    'directions, drawn': ['--views.drawn.same=1', *PLACES[:1]],
    'all': [*DRAWN, '--loss.segmentation=1'],
}


@pytest.mark.parametrize('options', METHODS.values(), ids=METHODS.keys())
def test_every_switch_moves_what_it_trains(run: Run, scenes: Path, options: list[str]) -> None:
    still = ['--optimiser.warmup=0', '--optimiser.weight_decay=0']
    assert run(scenes, '--steps=3', *options, *still) == 0
    model = trained(scenes)
    torch.manual_seed(0)
    network = DescriptorNetwork(model.network)
    for name, parameter in network.named_parameters():
        assert not model.weights[name].equal(parameter), name
    descriptors = DescriptorModel(model).describe(np.full((96, 128, 3), 90, np.uint8))
    assert descriptors.shape == (model.network.dimension, 16, 24)
    torch.testing.assert_close(descriptors.norm(dim=0), torch.ones(16, 24))
    assert not [name for name in model.weights if name.startswith('segmentation')]


def test_what_is_drawn_is_found_in_pictures(run: Run, scenes: Path) -> None:
    mild = ['hue=5', 'brightness=0.05', 'grey=0', 'gradient=0', 'blur=0', 'saturation=[0.9,1.1]']
    looks = [f'--views.colour.{key}' for key in mild] + ['--views.colour.gamma=[0.9,1.1]']
    still = ['--views.warp.rotation=0', '--views.occlusion=0', '--views.drawn.same=1']
    options = [
        *METHODS['all'],
        *looks,
        *still,
        '--epoch=4',
        '--validation.times=1',
        '--loss.margin=2',
    ]
    assert run(scenes, '--steps=60', *options) == 0
    (log,) = (scenes.parent / 'm.tensorboard').glob('events*')
    events = EventAccumulator(str(log))
    events.Reload()
    losses = [event.value for event in events.Scalars('loss/all')]
    assert np.mean(losses[-3:]) < 0.85 * losses[0]
    parts = {tag for tag in events.Tags()['scalars'] if tag.startswith('loss/')}
    assert parts == {f'loss/{n}' for n in ('all', 'contrastive', 'background', 'segmentation')}
    told = [event.value for event in events.Scalars('loss/segmentation')]
    assert np.mean(told[-3:]) < 0.85 * told[0]
    model = trained(scenes)
    assert found_off(scenes, model) < 0.7 * found_off(scenes, model.untrained())


def found_off(scenes: Path, model: checkpoint.Checkpoint) -> float:
    """Median pixels by which points of drawings are found wrongly in the pictures."""
    folder = SceneFolder.open(scenes)
    network, off = DescriptorModel(model), []
    for scene in folder.scenes():
        places = [rigid.transform(translation=[dx, 0.01, 0.5]) for dx in (-0.02, 0.03)]
        image, owner, depth = drawing(folder)(('a', 'b'), places, folder.camera)
        v, u = np.nonzero(owner >= 0)
        some = np.random.default_rng(0).permutation(len(v))[:100]
        uv = np.stack([u, v], axis=1)[some]
        there = folder.camera.deproject(uv, depth[uv[:, 1], uv[:, 0]])
        there -= np.array([T[:3, 3] for T in places])[owner[uv[:, 1], uv[:, 0]]]
        true = folder.camera.project(there + [0, 0, 0.5])
        maps = [network.describe(one) for one in (image, scene.a.image)]
        queries = describe_at(maps[0], torch.from_numpy(uv), image.shape[:2])
        found, _ = match(maps[1], queries, image.shape[:2])
        off += np.linalg.norm(found.numpy() - true, axis=1).tolist()
    return float(np.median(off))


def test_the_sum_is_that_of_equation_5() -> None:
    """But for the segmentation; of one pair, of which the lower half shows the object."""
    torch.manual_seed(0)
    network = DescriptorNetwork(
        NetworkConfiguration(dimension=4, euclidean=True, keypoints=None, backbone='resnet18')
    )
    identity = torch.randn(2, 3, 8, 8)
    masks = torch.full((2, 32, 32), 255, dtype=torch.uint8)
    masks[:, :16] = 0
    uv = torch.full((2, 1, 2), 25.5)  # the middle of the cell (6, 6)
    batch = {'masks': masks, 'uv': uv, 'kinds': torch.zeros(2)}
    settings = LossConfiguration('contrastive', margin=2.0, background=0.1, on_object=1)
    parts = objective(network, identity, batch, settings)
    assert set(parts) == {'contrastive', 'background'}
    ground = identity[:, :, :4].square().sum(dim=1).mean(dim=(1, 2))
    torch.testing.assert_close(parts['background'], 0.1 * ground.sum())
    match = (identity[0, :, 6, 6] - identity[1, :, 6, 6]).square().sum()
    assert match < parts['contrastive'] < match + 4


@pytest.mark.parametrize(
    ('options', 'error'),
    [
        (['--network.euclidean=true', '--network.keypoints=null'], 'which trains directions'),
        ([*PLACES[1:], '--network.keypoints.number=4'], 'keypoints are found by directions'),
        ([*PLACES, '--chosen_keypoints=2'], 'chosen_keypoints to 0'),
        (['--loss.background=0.1'], 'all descriptors are equally long'),
        (['--views.drawn.same=2'], 'same is 2.0; allowed is 0 to 1'),
        (
            ['--views.drawn.same=1', '--loss.descriptors=objects', '--network.keypoints=null'],
            'set loss.objects.lone to false',
        ),
    ],
)
def test_what_does_not_fit_is_told(
    run: Run, scenes: Path, options: list[str], error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(scenes, '--steps=1', *options) == 1
    assert error in capsys.readouterr().err


def test_pictures_without_meshes_cannot_be_drawn(
    run: Run, folder: Path, scenes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, '--steps=1', *DRAWN) == 1
    assert 'holds no scenes (scenes.json) whose objects' in capsys.readouterr().err
    assert run(folder, '--steps=1', *PLACES, '--loss.segmentation=1') == 1
    assert 'loss.segmentation is 1, but' in capsys.readouterr().err
    (scenes / 'meshes' / 'b.obj').unlink()
    assert run(scenes, '--steps=1', *DRAWN) == 1
    assert 'b.glb is missing' in capsys.readouterr().err
