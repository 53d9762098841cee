"""Every way of training, and what must hold for all of them."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from don_kp_ros import configuration
from don_kp_ros.data.folder import Sample, write_samples
from don_kp_ros.data.posed import PosedView, read_index, write_depth, write_index
from don_kp_ros.evaluation.measure import Measurement
from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera
from don_kp_ros.networks import checkpoint
from don_kp_ros.networks.checkpoint import Checkpoint
from don_kp_ros.networks.descriptor_network import DescriptorNetwork
from don_kp_ros.networks.initialisation import initialise
from don_kp_ros.resources import config_path
from don_kp_ros.training import dataset, module, progress, train
from don_kp_ros.training.settings import OptimiserConfiguration, TrainingConfiguration

Run = Callable[..., int]

KEYPOINTS = '--network.keypoints.number=4'
IN_SPACE = [KEYPOINTS, '--network.keypoints.depth=true', '--views.lift.distance=0.5']
METHODS = {
    'joint': [KEYPOINTS],
    'mined': [KEYPOINTS, '--loss.descriptors=none'],
    'paper': [
        *IN_SPACE,
        '--loss.descriptors=none',
        '--network.keypoints.head=linear',
        '--loss.keypoints.truth=camera',
        '--loss.keypoints.units=pixels',
        '--loss.keypoints.margin=2',
        '--loss.keypoints.pose=1',
        '--optimiser.schedule=constant',
        '--optimiser.average=0',
    ],
    'world': [*IN_SPACE, '--loss.keypoints.truth=world'],
    'sampled': ['--loss.descriptors=nt_xent_sampled', '--network.keypoints=null'],
    'contrastive': ['--loss.descriptors=contrastive', '--network.keypoints=null'],
    'dilated': [KEYPOINTS, '--network.neck=dilated', '--network.stride=16'],
}


def model(folder: Path, name: str = 'm') -> Checkpoint:
    """Load what was trained of a folder."""
    return checkpoint.load(folder.parent / f'{name}.safetensors')


@pytest.mark.parametrize('method', METHODS)
def test_every_method_moves_what_it_trains(run: Run, folder: Path, method: str) -> None:
    options = [*METHODS[method], '--optimiser.warmup=0', '--optimiser.weight_decay=0']
    assert run(folder, '--steps=3', *options) == 0
    trained = model(folder)
    torch.manual_seed(0)
    network = DescriptorNetwork(trained.network)
    first = network.state_dict()
    for name, _ in network.named_parameters():
        assert not trained.weights[name].equal(first[name]), name
    assert run(folder, '--steps=1', *options, '--optimiser.learning_rate=0', '--overwrite') == 0
    still = model(folder).weights
    for name, _ in network.named_parameters():
        torch.testing.assert_close(still[name], first[name])


@pytest.mark.parametrize(('kind', 'frozen'), [('adam', 0), ('muon', 1), ('muon', 3)])
def test_the_backbone_has_a_rate_of_its_own(
    run: Run, folder: Path, kind: str, frozen: int
) -> None:
    options = ['--network.backbone=efficientnet_lite0', '--weights=imagenet', '--steps=1']
    options += [f'--optimiser.kind={kind}', f'--optimiser.frozen={frozen}']
    options += ['--optimiser.schedule=constant', '--optimiser.learning_rate=0.004']
    assert run(folder, *options, '--optimiser.weight_decay=0', '--optimiser.average=0') == 0
    trained = model(folder)
    assert '(Apache-2.0)' in (folder.parent / 'm.md').read_text()
    first = DescriptorNetwork(trained.network)
    initialise(first, 'imagenet')
    steps = {
        name: float((trained.weights[name] - value).abs().max())
        for name, value in first.state_dict().items()
    }
    still = tuple(['stem.', *(f'stages.{i}.' for i in range(frozen))] if frozen else [])
    assert all(step == 0 for name, step in steps.items() if name.startswith(still))
    assert (steps['stem.3.running_mean'] == 0) == (frozen > 0)
    # The first step of Adam is its rate, for every weight with a gradient; so is that of Muon for
    # what is no matrix.
    for name in ('stem.3.weight', 'stages.1.0.depthwise_conv.weight', 'stages.2.5.bn2.bias'):
        if not name.startswith(still):
            assert steps[name] == pytest.approx(0.001, rel=0.01), name


@pytest.mark.parametrize(
    ('weights', 'body', 'frozen', 'expected'),
    [
        ('imagenet', None, None, (0.25, 1)),
        ('lite0.pth', None, None, (0.25, 1)),
        ('imagenet', 1.0, 0, (1, 0)),
        ('imagenet', 0.0, None, (0, 3)),
        ('imagenet', None, 4, (0.25, 3)),
        (None, None, None, (1, 0)),
        ('earlier.safetensors', None, None, (1, 0)),
        (None, 0.5, 2, (0.5, 2)),
    ],
)
def test_published_weights_change_slowly_unless_told_otherwise(
    weights: str | None, body: float | None, frozen: int | None, expected: tuple[float, int]
) -> None:
    optimiser = OptimiserConfiguration(body=body, frozen=frozen)
    settings = TrainingConfiguration(weights=weights, optimiser=optimiser)
    assert (settings.body, settings.frozen) == expected


@pytest.mark.parametrize('name', ['dense_object_nets', 'abstract', 'paper'])
def test_the_papers_networks_learn_as_a_whole_from_published_weights(name: str) -> None:
    mapping = configuration.load(config_path(f'training/{name}.yaml'))
    published = configuration.override(mapping, ['--weights=imagenet'])
    settings = configuration.read(TrainingConfiguration, published, name)
    assert (settings.body, settings.frozen) == (1, 0)


@pytest.fixture
def posed(tmp_path: Path) -> Path:
    """Write views of a patterned plane from cameras at other places above it."""
    rng = np.random.default_rng(0)
    pattern = cv2.resize(rng.integers(0, 255, (6, 6, 3), dtype=np.uint8), (200, 200))
    camera = Camera(128, 96, 120, 120, 63.5, 47.5)
    root, views = tmp_path / 'posed', []
    (root / 'depths').mkdir(parents=True)
    for number in range(6):
        # The plane is z = 0 of the object's frame, 0.2 m wide; the camera looks down on it.
        shift = rng.uniform(-0.03, 0.03, 2)
        distance = rng.uniform(0.35, 0.45)
        R = rigid.rotation_about([1, 0, 0], np.pi) @ rigid.rotation_about([0, 0, 1], number)
        T_object_camera = rigid.transform(R, [*shift, distance])
        T_camera_object = rigid.inverse(T_object_camera)
        to_metres = np.array([[0.001, 0, -0.1], [0, 0.001, -0.1], [0, 0, 1]])
        H = camera.K @ T_camera_object[:3, [0, 1, 3]] @ to_metres
        image = cv2.warpPerspective(pattern, H, (128, 96))
        mask = cv2.warpPerspective(np.full((200, 200), 255, np.uint8), H, (128, 96))
        depth = np.where(mask > 127, np.float32(distance), np.nan).astype(np.float32)
        write_samples(root, [Sample(Path(f'{number}.png'), image, mask)])
        write_depth(root / 'depths' / f'{number}.png', depth)
        views.append(PosedView(str(number), 'plane', T_object_camera))
    write_index(root, camera, views)
    return root


@pytest.mark.parametrize('truth', ['camera', 'world'])
def test_posed_views_train_in_space(run: Run, posed: Path, capsys: Any, truth: str) -> None:
    options = ['--steps=3', KEYPOINTS, f'--loss.keypoints.truth={truth}', '--validation.held=0.4']
    depth = '--network.keypoints.depth=true'
    assert run(posed, *options, depth, '--loss.keypoints.pose=1') == 0
    assert '4 pictures' in model(posed).card['data']
    assert 'true poses' in model(posed).card['data']


def test_objects_of_two_kinds_are_measured_on_held_ones_of_each(run: Run, posed: Path) -> None:
    camera, _, views, _ = read_index(posed / 'views.json')
    kinds = [replace(v, object=f'{("cap", "mug")[i // 3]}-{i // 3}') for i, v in enumerate(views)]
    write_index(posed, camera, kinds)
    shutil.copytree(posed, posed.parent / 'held')
    (posed.parent / 'held').rename(posed / 'validation')
    space = ['--loss.keypoints.truth=camera', '--network.keypoints.depth=true']
    assert run(posed, '--steps=2', KEYPOINTS, *space) == 0
    card = model(posed).card
    assert '6 pictures' in card['data'] and 'views of held objects' in card['data']
    assert list(card['kinds']) == ['cap', 'mug']
    queries = [own['queries'] for own in card['kinds'].values()]
    assert sum(queries) == card['metrics']['model']['queries']
    assert card['keypoints']['keypoints'] == model(posed).network.keypoints.number
    text = (posed.parent / 'm.md').read_text()
    assert '| false finds |' in text and '| mug | ' in text and 'keypoints: ' in text


def test_each_kind_of_object_has_keypoints_of_its_own_chosen_when_all_is_learned(
    run: Run, posed: Path
) -> None:
    camera, _, views, _ = read_index(posed / 'views.json')
    kinds = [replace(v, object=f'{("mug", "cap")[i // 3]}-{i // 3}') for i, v in enumerate(views)]
    write_index(posed, camera, kinds)
    shutil.copytree(posed, posed.parent / 'held')
    (posed.parent / 'held').rename(posed / 'validation')
    options = ['--network.keypoints=null', '--network.novelty=true', '--steps=2']
    assert run(posed, *options, output='plain.safetensors') == 0
    assert run(posed, *options, '--chosen_keypoints=3') == 0
    plain, chosen = model(posed, 'plain'), model(posed)
    assert chosen.network.keypoints.kind_of_each == ('cap',) * 3 + ('mug',) * 3
    assert all(chosen.weights[name].equal(one) for name, one in plain.weights.items())
    assert chosen.fingerprint != plain.fingerprint
    assert chosen.card['keypoints']['keypoints'] == 6
    text = (posed.parent / 'm.md').read_text()
    assert '6 keypoints: ' in text and text.count('| mug | ') == 2
    assert run(posed, '--chosen_keypoints=3', KEYPOINTS, '--overwrite') == 1


def test_settings_that_do_not_fit_the_data_are_refused(
    run: Run, folder: Path, posed: Path, capsys: Any
) -> None:
    assert run(posed, '--steps=1', KEYPOINTS) == 1
    assert 'loss.keypoints.truth is image' in capsys.readouterr().err
    in_camera = [KEYPOINTS, '--loss.keypoints.truth=camera']
    assert run(folder, '--steps=1', *in_camera) == 1
    assert 'network.keypoints.depth' in capsys.readouterr().err
    assert run(folder, '--steps=1', *in_camera, '--network.keypoints.depth=true') == 1
    assert 'views.lift' in capsys.readouterr().err
    nothing = ['--loss.descriptors=none', '--network.keypoints=null']
    assert run(folder, '--steps=1', *nothing) == 1
    assert 'nothing would be learned' in capsys.readouterr().err
    alone = ['--loss.descriptors=none', KEYPOINTS, '--loss.keypoints.shape_descriptors=false']
    assert run(folder, '--steps=1', *alone) == 1
    assert 'nothing would train the descriptors' in capsys.readouterr().err


@pytest.mark.parametrize(('turned', 'told'), [(180, True), (45, False)])
def test_keypoints_of_views_turned_by_any_angle_are_warned_of(
    run: Run, folder: Path, capsys: Any, turned: int, told: bool
) -> None:
    options = ['--steps=1', KEYPOINTS, f'--views.warp.rotation={turned}']
    assert run(folder, *options) == 0
    assert ('turned by +-180 degrees' in ' '.join(capsys.readouterr().out.split())) == told


@pytest.mark.parametrize(('turned', 'alone'), [(180, True), (45, False)])
def test_keypoints_leave_descriptors_alone_where_they_cannot_follow(
    run: Run, folder: Path, turned: int, alone: bool
) -> None:
    options = ['--steps=3', KEYPOINTS, f'--views.warp.rotation={turned}', '--optimiser.warmup=0']
    trained = []
    for weight in (0.1, 10):
        unclipped = [f'--loss.keypoints.weight={weight}', '--optimiser.clip=1e6']
        assert run(folder, *options, *unclipped, '--overwrite') == 0
        trained.append(model(folder).weights)
    for name in ('stem.0.weight', 'stages.2.1.conv2.weight', 'identity.weight'):
        assert torch.allclose(trained[0][name], trained[1][name], atol=1e-6) == alone, name


def test_tensorboard_gets_losses_figures_and_pictures(run: Run, folder: Path) -> None:
    assert run(folder, '--steps=11', '--epoch=5', '--pictures=1', KEYPOINTS) == 0
    (log,) = (folder.parent / 'm.tensorboard').glob('events*')
    events = EventAccumulator(str(log))
    events.Reload()
    scalars, images = events.Tags()['scalars'], events.Tags()['images']
    assert {'loss/all', 'loss/nt_xent', 'loss/consistency', 'validation/auc'} <= set(scalars)
    assert set(images) == {'correspondences', 'keypoints', 'heatmaps', 'keypoint heatmaps'}
    assert [event.step for event in events.Images('keypoints')] == [5, 10, 11]
    parts = [tag for tag in scalars if tag.startswith('loss/') and tag != 'loss/all']
    total = sum(events.Scalars(tag)[0].value for tag in parts)
    assert total == pytest.approx(events.Scalars('loss/all')[0].value, rel=1e-4)


@pytest.mark.parametrize('path', sorted(Path('config/training').glob('*.yaml')), ids=str)
def test_every_shipped_configuration_trains(
    run: Run, folder: Path, posed: Path, scenes: Path, path: Path
) -> None:
    pictures = {'posed': posed, 'objects': posed, 'scenes': scenes, 'abstract': scenes}.get(
        path.stem, folder
    )
    held = '--validation.held=0.4'  # of the few views there are
    parts = ['--network.inter=3'] if path.stem == 'scenes' else []  # of the 8 that `run` takes
    assert run(pictures, '--steps=1', '--config', str(path), '--pairs=1', held, *parts) == 0
    assert model(folder).card['steps'] == 1


def test_a_loss_that_is_not_finite_stops_and_names_the_saved_batch(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    original = module.objective

    def poisoned(*arguments: Any) -> dict[str, torch.Tensor]:
        parts = original(*arguments)
        return {**parts, 'nt_xent': parts['nt_xent'] * torch.nan}

    monkeypatch.setattr(module, 'objective', poisoned)
    assert run(folder, '--steps=3', KEYPOINTS) == 1
    saved = folder.parent / 'm.training' / 'batch-0-0.pt'
    message = capsys.readouterr().err
    assert str(saved) in message and 'nt_xent nan' in message
    assert torch.load(saved, weights_only=True)['images'].shape == (8, 3, 64, 64)
    assert not (folder.parent / 'm.safetensors').exists()


def test_a_training_that_becomes_no_better_stops_and_keeps_the_best(
    run: Run, folder: Path, held: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aucs = iter([0.2, 0.6, 0.5, 0.4, 0.9])
    measured_models = []

    def measured(model: Any, data: Any) -> Measurement:
        errors = np.full(100, 500.0)
        errors[: round(100 * next(aucs))] = 0.5
        measured_models.append(model.fingerprint)
        return Measurement(errors, np.ones(1, np.float32), np.zeros(0, np.float32))

    monkeypatch.setattr(progress, 'measure', measured)
    options = ['--validation.patience=2', '--validation.times=20', '--network.keypoints=null']
    assert run(folder, '--steps=20', *options) == 0
    best = model(folder)
    assert len(measured_models) == best.card['steps'] == 4
    assert best.fingerprint == measured_models[1]

    # What becomes better until its end is exported as it is then.
    aucs, measured_models[:] = iter([0.1, 0.2, 0.3, 0.4]), []
    options[1] = '--validation.times=4'  # too few to end early
    assert run(folder, '--steps=8', *options, '--overwrite') == 0
    assert model(folder).card['steps'] == 8
    assert model(folder).fingerprint == measured_models[3]

    # So it is if an interrupt comes before it is measured.
    def interrupted(model: Any, data: Any) -> Measurement:
        if len(measured_models) == 3:
            raise KeyboardInterrupt
        return measured(model, data)

    last, aucs, measured_models[:] = measured_models[3], iter([0.1, 0.2, 0.3, 0.4]), []
    with monkeypatch.context() as context:
        context.setattr(progress, 'measure', interrupted)
        assert run(folder, '--steps=8', *options, '--overwrite') == 130
    assert run(folder, '--steps=8', *options) == 0
    assert model(folder).fingerprint == last
    assert [entry['step'] for entry in model(folder).card['history']] == [2, 4, 6, 8]


def test_a_gradient_that_is_not_finite_is_not_followed(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    original = module.objective

    def rooted(*arguments: Any) -> dict[str, torch.Tensor]:
        part = original(*arguments)['nt_xent']
        return {'nt_xent': part + (part - part.detach()).sqrt()}  # 0, with an infinite slope

    monkeypatch.setattr(module, 'objective', rooted)
    assert run(folder, '--steps=3', KEYPOINTS) == 1
    assert 'the gradient is not finite at step 0' in capsys.readouterr().err
    assert (folder.parent / 'm.training' / 'batch-0-0.pt').exists()


def test_a_training_killed_at_its_very_end_is_not_trained_further(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ['--steps=4', KEYPOINTS, '--optimiser.schedule=constant']
    assert run(folder, *options, output='whole.safetensors') == 0

    def killed(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(train, '_finish', killed)
        assert run(folder, *options) == 130
    assert run(folder, *options) == 0
    assert model(folder).card['steps'] == 4
    assert model(folder).fingerprint == model(folder, 'whole').fingerprint


def test_a_share_of_every_objects_views_is_held() -> None:
    objects = [f'cap-{i % 10}' for i in range(100)]
    held = dataset._of_every_object(objects, 0.1)
    assert sorted(objects[i] for i in held) == sorted(f'cap-{i}' for i in range(10))
    assert dataset._of_every_object(['a', 'a', 'a', 'b'], 0.1) == {2}
    assert dataset._of_every_object(['a', 'a', 'b', 'b'], 0.1) == set()


def test_two_views_of_an_object_are_enough(run: Run, posed: Path, capsys: Any) -> None:
    index = posed / 'views.json'
    content = json.loads(index.read_text())
    index.write_text(json.dumps({**content, 'views': content['views'][:2]}))
    patient = ['--validation.times=9', '--validation.patience=3']
    assert run(posed, '--steps=1', '--network.keypoints=null', *patient) == 1
    error = capsys.readouterr().err
    assert 'none is held' in error and 'three or more of an object' in error
    assert run(posed, '--steps=1', '--network.keypoints=null') == 0
    assert 'training views (none is held)' in model(posed).card['data']


@pytest.mark.parametrize('workers', [0, 1])
def test_a_killed_training_goes_on_from_its_last_epoch(
    run: Run, small: list[str], folder: Path, workers: int
) -> None:
    """kill -9 leaves the state of the last epoch, and the end is as if nothing had happened."""
    options = ['--steps=12', '--epoch=2', KEYPOINTS, f'--workers={workers}']
    assert run(folder, *options, output='whole.safetensors') == 0
    parts = folder.parent / 'm.safetensors'
    arguments = [str(folder), '--output', str(parts), *small, *options]
    script = folder.parent / 'train.py'
    script.write_text(
        'import os, signal, sys\n'
        'from don_kp_ros.training import command, module\n'
        'step = module.DescriptorTraining.optimizer_step\n'
        'taken = []\n'
        'def stepped(self, *given, **named):\n'
        '    step(self, *given, **named)\n'
        '    taken.append(1)\n'
        '    if len(taken) == 5:\n'
        '        os.kill(os.getpid(), signal.SIGKILL)\n'
        'module.DescriptorTraining.optimizer_step = stepped\n'
        'sys.exit(command.main(sys.argv[1:]))\n'
    )
    state = folder.parent / 'm.training' / 'last.ckpt'
    killed = subprocess.run(
        [sys.executable, str(script), *arguments], timeout=300, check=False, capture_output=True
    )
    assert killed.returncode == -signal.SIGKILL
    assert not parts.exists()
    steps = torch.load(state, weights_only=True)['don_kp']['steps']
    assert steps >= 2 and steps % 2 == 0
    assert run(folder, *options) == 0
    torch.testing.assert_close(
        model(folder).weights, model(folder, 'whole').weights, atol=1e-3, rtol=1e-2
    )


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_group_saves_a_whole_step(
    run: Run, small: list[str], folder: Path, number: signal.Signals
) -> None:
    """Ctrl-C, timeout and scancel reach the workers, too; the end is as if they had not.

    `timeout` sends its signal twice, and a launcher's may come while the state is saved.
    """
    parts = folder.parent / 'm.safetensors'
    options = ['--steps=8', '--epoch=100', KEYPOINTS, '--workers=2']
    assert run(folder, *options, output='whole.safetensors') == 0
    script = folder.parent / 'train.py'
    # The signal comes between the step of the weights and the count of it.
    script.write_text(
        'import os, signal, sys\n'
        'signal.signal(signal.SIGHUP, signal.SIG_DFL)\n'  # tests may run under nohup
        'from don_kp_ros.training import command, module, progress\n'
        'step = module.DescriptorTraining.optimizer_step\n'
        'save = progress.TrainingProgress.save\n'
        'taken = []\n'
        'def stepped(self, *given, **named):\n'
        '    step(self, *given, **named)\n'
        '    taken.append(1)\n'
        '    if len(taken) == 3:\n'
        f'        os.killpg(0, {int(number)})\n'
        f'        os.killpg(0, {int(number)})\n'
        'def saved(self, trainer):\n'
        f'    os.killpg(0, {int(number)})\n'
        '    save(self, trainer)\n'
        'progress.TrainingProgress.save = saved\n'
        'module.DescriptorTraining.optimizer_step = stepped\n'
        'sys.exit(command.main(sys.argv[1:]))\n'
    )
    arguments = [str(folder), '--output', str(parts), *small, *options]
    ended = subprocess.run(
        [sys.executable, str(script), *arguments],
        start_new_session=True,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 130, ended.stderr
    assert 'goes on from here (step 3)' in ended.stderr
    state = torch.load(folder.parent / 'm.training' / 'last.ckpt', weights_only=True)
    assert state['don_kp']['steps'] == 3
    assert run(folder, *options) == 0
    torch.testing.assert_close(
        model(folder).weights, model(folder, 'whole').weights, atol=1e-3, rtol=1e-2
    )


def test_two_processes_train_one_model(small: list[str], folder: Path) -> None:
    script = folder.parent / 'train.py'
    script.write_text(
        'import os, sys\n'
        'from don_kp_ros.training import command, progress\n'
        'finish = progress.TrainingProgress.on_train_end\n'
        'def on_train_end(self, trainer, module):\n'
        '    finish(self, trainer, module)\n'
        '    sums = [float(p.double().sum()) for p in module.network.parameters()]\n'
        f'    path = {str(folder.parent)!r} + "/rank" + os.environ["RANK"]\n'
        '    open(path, "w").write(repr(sums))\n'
        'progress.TrainingProgress.on_train_end = on_train_end\n'
        'sys.exit(command.main(sys.argv[1:]))\n'
    )
    output = folder.parent / 'm.safetensors'
    arguments = [str(folder), '--output', str(output), *small, KEYPOINTS, '--steps=4']
    torchrun = ['-m', 'torch.distributed.run', '--standalone', '--nproc-per-node=2']
    command_line = [str(script), *arguments, '--accelerator=cpu']
    result = subprocess.run(
        [sys.executable, *torchrun, *command_line, '--epoch=2'],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.count('Training on') == 1
    card = model(folder).card
    assert (card['steps'], card['processes']) == (4, 2)
    # Each saw other pairs, and their gradients were averaged: the weights are the same.
    ranks = [(folder.parent / f'rank{rank}').read_text() for rank in (0, 1)]
    assert ranks[0] == ranks[1]
