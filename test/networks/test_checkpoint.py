import dataclasses
import hashlib
import json
import typing
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from don_kp_ros import configuration
from don_kp_ros.networks import checkpoint
from don_kp_ros.networks.checkpoint import Checkpoint, CheckpointError, Preprocessing
from don_kp_ros.networks.descriptor_network import DescriptorNetwork, NetworkConfiguration
from don_kp_ros.networks.model import DescriptorModel
from don_kp_ros.resources import shipped_model


@pytest.fixture(scope='module')
def example() -> Checkpoint:
    torch.manual_seed(0)
    settings = NetworkConfiguration(dimension=8, channels=8)
    weights = DescriptorNetwork(settings).state_dict()
    return Checkpoint(settings, Preprocessing(input_size=160), weights, 0.7, {'seed': 3})


@pytest.fixture
def path(example: Checkpoint, tmp_path: Path) -> Path:
    example.save(tmp_path / 'model.safetensors')
    return tmp_path / 'model.safetensors'


def rewrite(path: Path, **changes: object) -> None:
    with safe_open(path, framework='pt') as file:
        header = json.loads(file.metadata()['don_kp'])
        weights = {name: file.get_tensor(name) for name in sorted(file.keys())}
    weights.update(changes.pop('weights', {}))  # type: ignore[call-overload]
    save_file(weights, path, {'don_kp': json.dumps({**header, **changes})})


def test_what_is_saved_is_loaded(path: Path, example: Checkpoint) -> None:
    loaded = checkpoint.load(path)
    assert loaded.network == example.network
    assert loaded.preprocessing == example.preprocessing
    assert (loaded.match_threshold, loaded.card) == (0.7, {'seed': 3})
    assert loaded.fingerprint == example.fingerprint
    for name, tensor in example.weights.items():
        assert torch.equal(loaded.weights[name], tensor)
    model = DescriptorModel.load(path)
    assert (model.fingerprint, model.dimension) == (example.fingerprint, 8)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_the_fingerprint_covers_all_that_changes_descriptors(example: Checkpoint) -> None:
    changed = dict(example.weights)
    changed['identity.bias'] = changed['identity.bias'] + 1e-3
    others = [
        dataclasses.replace(example, weights=changed),
        dataclasses.replace(example, preprocessing=Preprocessing(input_size=320)),
    ]
    assert len({example.fingerprint, *(other.fingerprint for other in others)}) == 3
    same = dataclasses.replace(example, match_threshold=0.1, card={})
    assert same.fingerprint == example.fingerprint


def test_the_shipped_model_keeps_its_fingerprint() -> None:
    fingerprint = '80a696e65806f19f'
    assert checkpoint.load(shipped_model()).fingerprint == fingerprint
    assert fingerprint in shipped_model().with_suffix('.md').read_text()


@dataclasses.dataclass(frozen=True)
class LaterPreprocessing(Preprocessing):
    """What a later release may have."""

    gamma: float = 1.0


@pytest.fixture
def _later_release(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, 'Preprocessing', LaterPreprocessing)
    monkeypatch.setattr(configuration, '_hints', typing.get_type_hints)  # not the cached ones


@pytest.mark.usefixtures('_later_release')
def test_a_new_setting_changes_no_stored_fingerprint(
    path: Path, example: Checkpoint, tmp_path: Path
) -> None:
    loaded = checkpoint.load(path)
    assert loaded.preprocessing == LaterPreprocessing(input_size=160, gamma=1.0)
    assert loaded.fingerprint == example.fingerprint
    loaded.save(tmp_path / 'copy.safetensors')
    assert (tmp_path / 'copy.safetensors').read_bytes() == path.read_bytes()
    darker = LaterPreprocessing(input_size=160, gamma=2.0)
    assert dataclasses.replace(loaded, preprocessing=darker).fingerprint != example.fingerprint


def test_a_checkpoint_with_an_older_header_is_loaded(path: Path) -> None:
    """Before there were keypoints and necks, a header named neither."""
    settings = NetworkConfiguration('resnet18', dimension=8, channels=8, keypoints=None)
    weights = DescriptorNetwork(settings).state_dict()
    header = {
        'network': {
            'backbone': 'resnet18',
            'last_layer': 'layer3',
            'stride': 4,
            'channels': 8,
            'dimension': 8,
        },
        'preprocessing': {'input_size': 160},
    }
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name, tensor in sorted(weights.items()):
        digest.update(f'{name} {tensor.dtype} {tuple(tensor.shape)}'.encode())
        digest.update(tensor.numpy().tobytes())
    fingerprint = digest.hexdigest()[:16]
    rest = {'match_threshold': 0.5, 'fingerprint': fingerprint, 'card': {}}
    text = json.dumps({'format_version': 1, **header, **rest})
    save_file(weights, path, {'don_kp': text})
    loaded = checkpoint.load(path)
    assert loaded.fingerprint == fingerprint
    assert (loaded.network, loaded.preprocessing) == (settings, Preprocessing(input_size=160))
    assert DescriptorModel(loaded).number_of_keypoints == 0


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(path)
    message = str(caught.value)
    assert str(path) in message
    return message


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert 'no such file' in refusal(tmp_path / 'none.safetensors')


@pytest.mark.parametrize('keep', [0, 4, 100, 5000, -1])
def test_a_truncated_file_is_refused(path: Path, keep: int) -> None:
    path.write_bytes(path.read_bytes()[:keep])
    assert 'truncated' in refusal(path)


def test_a_pickle_is_refused_and_never_run(path: Path) -> None:
    torch.save({'weights': torch.zeros(3)}, path)
    assert 'not a safetensors file' in refusal(path)


def test_a_file_of_another_program_is_refused(path: Path) -> None:
    save_file({'weight': torch.zeros(3)}, path)
    assert 'another program' in refusal(path)


@pytest.mark.parametrize(
    ('changes', 'part'),
    [
        ({'format_version': 99}, 'format version 99'),
        ({'network': {'dimension': 16, 'channels': 8}}, 'identity.bias'),
        ({'network': {'dimensions': 8}}, 'dimensions'),
        ({'preprocessing': {'input_size': 320}}, 'fingerprint'),
        ({'match_threshold': 'high'}, 'header'),
        ({'weights': {'identity.bias': torch.zeros(8)}}, 'fingerprint'),
        ({'weights': {'identity.bias': torch.zeros(9)}}, 'identity.bias'),
        ({'weights': {'unknown': torch.zeros(9)}}, 'unknown'),
    ],
)
def test_a_changed_file_is_refused(path: Path, changes: dict[str, object], part: str) -> None:
    rewrite(path, **changes)
    assert part in refusal(path)


@pytest.mark.parametrize(
    ('changes', 'key'),
    [
        ({'poses': {}}, 'poses'),
        ({'network': {'attention': 1}}, 'network.attention'),
        ({'network': {'keypoints': {'attention': 1}}}, 'network.keypoints.attention'),
        ({'preprocessing': {'gamma': 2.0}}, 'preprocessing.gamma'),
    ],
)
def test_a_checkpoint_of_a_newer_release_is_refused(
    path: Path, changes: dict[str, object], key: str
) -> None:
    rewrite(path, **changes)
    message = refusal(path)
    assert f'unknown key {key};' in message
    assert 'a newer don_kp wrote this checkpoint; update don_kp' in message


def test_an_untrained_twin_has_the_architecture_and_other_weights(example: Checkpoint) -> None:
    state = torch.random.get_rng_state()
    twin = example.untrained(seed=1)
    assert torch.random.get_rng_state().equal(state)
    assert (twin.network, twin.preprocessing) == (example.network, example.preprocessing)
    assert twin.fingerprint == example.untrained(seed=1).fingerprint != example.fingerprint
