import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from don_kp_ros import configuration
from don_kp_ros.networks.checkpoint import Checkpoint, Preprocessing, load
from don_kp_ros.networks.command import main
from don_kp_ros.networks.descriptor_network import DescriptorNetwork, NetworkConfiguration
from don_kp_ros.networks.export import ExportError, export_onnx
from don_kp_ros.networks.model import normalise

MEAN, DEVIATION = (0.4, 0.5, 0.3), (0.2, 0.25, 0.3)
Refusal = Callable[..., str]

COMMAND = 'don_kp train caps --output caps.safetensors'


def example(**settings: object) -> Checkpoint:
    torch.manual_seed(0)
    small = {'dimension': 8, 'channels': 8, 'keypoints': None}
    mapping = {'backbone': 'resnet18', **small, **settings}
    network = DescriptorNetwork(configuration.read(NetworkConfiguration, mapping, 'test'))
    network.train()
    network(torch.randn(2, 3, 64, 64))  # moves the running statistics off their defaults
    if network.configuration.novelty:
        network.familiar_length.fill_(0.5)
    preprocessing = Preprocessing(input_size=128, mean=MEAN, deviation=DEVIATION)
    card = {'command': COMMAND}
    return Checkpoint(network.configuration, preprocessing, network.state_dict(), 0.7, card)


@pytest.fixture(scope='module')
def checkpoint() -> Checkpoint:
    return example()


@pytest.fixture
def model(checkpoint: Checkpoint, tmp_path: Path) -> Path:
    checkpoint.save(tmp_path / 'model.safetensors')
    return tmp_path / 'model.safetensors'


@pytest.fixture(params=['resnet18', 'efficientnet_lite0'])
def with_keypoints(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    path = tmp_path / 'keypoints.safetensors'
    example(backbone=request.param, keypoints={'number': 5}).save(path)
    return path


def run(path: Path, image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Describe an image (H, W, 3) with an ONNX file; return descriptors (D, h, w)."""
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    batch = image.transpose(2, 0, 1)[None].astype(np.float32)
    return session.run(['descriptors'], {'image': batch})[0][0]


def expected(checkpoint: Checkpoint, image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Describe an image as in `run`, its colours normalised here and not by the package."""
    normalised = (image / 255 - np.array(MEAN)) / np.array(DEVIATION)
    batch = torch.from_numpy(normalised.transpose(2, 0, 1)[None]).float()
    with torch.inference_mode():
        return checkpoint.build()(batch)[0].numpy()


def picture(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ('settings', 'height', 'width'),
    [
        ({}, 64, 160),
        ({}, 16, 16),
        ({'stride': 8, 'last_layer': 'layer4'}, 96, 64),
        ({'stride': 8, 'neck': 'dilated'}, 72, 104),
        ({'novelty': True}, 64, 96),
        ({'backbone': 'efficientnet_lite0'}, 64, 160),
    ],
)
def test_a_graph_of_any_size_gives_torchs_descriptors(
    tmp_path: Path, settings: dict[str, object], height: int, width: int
) -> None:
    checkpoint, path = example(**settings), tmp_path / 'new' / 'model.onnx'
    differences = export_onnx(checkpoint, path)
    assert 0 <= differences.pop('descriptors') < 1e-4 and not differences
    assert [p.name for p in path.parent.iterdir()] == ['model.onnx']
    image = picture(height, width)
    found, stride = run(path, image), checkpoint.network.stride
    assert found.shape == (8, height // stride, width // stride)
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=0), 1, atol=1e-5)
    np.testing.assert_allclose(found, expected(checkpoint, image), atol=1e-4)


@pytest.mark.parametrize(
    'settings', [{'inter': 3}, {'inter': 3, 'confidence': True}, {'image_statistics': True}]
)
def test_networks_of_paper_3_are_exported(settings: dict[str, object], tmp_path: Path) -> None:
    differences = export_onnx(example(**settings), tmp_path / 'model.onnx')
    assert differences['descriptors'] < 1e-4


def test_a_fixed_size_is_the_only_one(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / 'model.onnx'
    export_onnx(checkpoint, path, (48, 80))
    image = picture(48, 80)
    np.testing.assert_allclose(run(path, image), expected(checkpoint, image), atol=1e-4)
    with pytest.raises(Exception, match='image'):
        run(path, picture(64, 80))


def test_the_file_says_what_it_is(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / 'model.onnx'
    export_onnx(checkpoint, path)
    graph = onnx.load(path)
    onnx.checker.check_model(graph, full_check=True)
    assert {p.key: p.value for p in graph.metadata_props} == {
        'format_version': '1',
        'fingerprint': checkpoint.fingerprint,
        'input_size': '128',
        'side_multiple': '16',
        'match_threshold': '0.7',
        'command': COMMAND,
    }
    shapes = [
        [d.dim_value or d.dim_param for d in tensor.type.tensor_type.shape.dim]
        for tensor in (*graph.graph.input, *graph.graph.output)
    ]
    assert shapes == [[1, 3, 'height', 'width'], [1, 8, 'rows', 'columns']]
    assert 'BatchNormalization' not in {node.op_type for node in graph.graph.node}


def test_a_card_without_a_command_is_no_obstacle(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / 'model.onnx'
    export_onnx(dataclasses.replace(checkpoint, card={}), path)
    assert 'command' not in {p.key for p in onnx.load(path).metadata_props}


def test_keypoints_come_with_a_fixed_size(
    with_keypoints: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, path = load(with_keypoints), with_keypoints.with_suffix('.onnx')
    size = ['--height', '96', '--width', '128']
    assert main([str(with_keypoints), '--onnx', str(path), *size]) == 0
    assert 'keypoints: (1, 5, 3)' in capsys.readouterr().out
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    image = picture(96, 128)
    batch = image.transpose(2, 0, 1)[None].astype(np.float32)
    (found,) = session.run(['keypoints'], {'image': batch})
    with torch.inference_mode():
        there = checkpoint.build().detect(
            normalise(torch.from_numpy(batch), checkpoint.preprocessing)
        )
    np.testing.assert_allclose(found[0, :, :2], there.uv[0], atol=0.01)
    np.testing.assert_allclose(found[0, :, 2] ** 2, there.variance[0], rtol=0.001)
    assert run(path, image).shape == (8, 24, 32)


def test_keypoints_are_left_out_of_a_graph_of_any_size(
    with_keypoints: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = with_keypoints.with_suffix('.onnx')
    assert main([str(with_keypoints), '--onnx', str(path)]) == 0
    assert 'left out: the keypoints, which need a fixed size' in capsys.readouterr().out
    graph = onnx.load(path).graph
    assert [output.name for output in graph.output] == ['descriptors']
    assert not [tensor.name for tensor in graph.initializer if 'keypoints' in tensor.name]


def test_a_graph_that_differs_is_not_written(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, right = tmp_path / 'model.onnx', torch.onnx.export
    path.write_bytes(b'old')

    def wrong(module: torch.nn.Module, *arguments: object, **options: object) -> None:
        with torch.no_grad():
            module.get_submodule('network.identity').bias[0] += 0.01
        right(module, *arguments, **options)

    monkeypatch.setattr(torch.onnx, 'export', wrong)
    with pytest.raises(ExportError, match=r'model\.onnx: not written, .* differs'):
        export_onnx(checkpoint, path, overwrite=True)
    assert path.read_bytes() == b'old'
    assert [p.name for p in tmp_path.iterdir()] == ['model.onnx']


def test_what_is_not_a_number_is_not_written(
    checkpoint: Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = {**checkpoint.weights, 'identity.bias': torch.full((8,), torch.nan)}
    model, path = tmp_path / 'model.safetensors', tmp_path / 'model.onnx'
    dataclasses.replace(checkpoint, weights=weights).save(model)
    assert main([str(model), '--onnx', str(path)]) == 1
    assert 'differs from torch by nan' in capsys.readouterr().err
    assert not path.exists()


def test_the_command_tells_what_it_wrote(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = model.with_suffix('.onnx')
    arguments = [str(model), '--onnx', str(path), '--height', '96', '--width', '128']
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == 'image: (1, 3, 96, 128) float32 RGB, 0 to 255'
    assert lines[1] == 'descriptors: (1, 8, 24, 32) float32, unit length'
    name, _, difference = lines[2].partition(': ')
    assert name == 'largest difference from torch'
    output, _, difference = difference.partition(' ')
    assert output == 'descriptors' and float(difference) <= 1e-4
    assert lines[3:] == [f'written: {path}']


@pytest.fixture
def refusal(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Export what cannot be exported; return the message."""

    def refused(*arguments: object) -> str:
        assert main([str(argument) for argument in arguments]) == 1
        out, message = capsys.readouterr()
        assert out == '' and message.startswith('don_kp export: ') and message.count('\n') == 1
        return message

    return refused


def test_a_missing_checkpoint_is_refused(tmp_path: Path, refusal: Refusal) -> None:
    missing = tmp_path / 'none.safetensors'
    assert f'{missing}: no such file' in refusal(missing, '--onnx', tmp_path / 'model.onnx')
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_exists_is_replaced_only_on_demand(model: Path, refusal: Refusal) -> None:
    path = model.with_suffix('.onnx')
    path.write_bytes(b'old')
    message = refusal(model, '--onnx', path)
    assert str(path) in message and '--overwrite' in message
    assert path.read_bytes() == b'old'
    assert main([str(model), '--onnx', str(path), '--overwrite']) == 0
    onnx.checker.check_model(onnx.load(path))


def test_a_model_is_never_overwritten(model: Path, refusal: Refusal) -> None:
    before = model.read_bytes()
    assert "'.onnx'" in refusal(model, '--onnx', model, '--overwrite')
    assert model.read_bytes() == before


def test_a_folder_is_refused(model: Path, refusal: Refusal) -> None:
    folder = model.with_suffix('.onnx')
    folder.mkdir()
    assert f'{folder}: is a folder' in refusal(model, '--onnx', folder, '--overwrite')


@pytest.mark.parametrize(
    ('sides', 'part'),
    [
        (['--height', '100', '--width', '128'], '100 and 128; this network needs positive'),
        (['--height', '96', '--width', '120'], 'multiples of 16'),
        (['--height', '0', '--width', '128'], '0 and 128'),
        (['--height', '-16', '--width', '128'], '-16 and 128'),
        (['--height', '96'], '--height and --width both'),
        (['--width', '96'], '--height and --width both'),
    ],
)
def test_wrong_sizes_are_refused(
    model: Path, refusal: Refusal, sides: list[str], part: str
) -> None:
    path = model.with_suffix('.onnx')
    assert part in refusal(model, '--onnx', path, *sides)
    assert not path.exists()


@pytest.mark.parametrize('name', ['onnx', 'onnxruntime'])
def test_a_missing_package_is_named(
    model: Path, refusal: Refusal, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    message = refusal(model, '--onnx', model.with_suffix('.onnx'))
    assert f'the package {name} is missing' in message
    assert "pip install '.[export]' in the checkout" in message
