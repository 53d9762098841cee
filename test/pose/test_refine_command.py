"""`don_kp refine` on a drawn picture, by the shipped network, which never saw the object."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from printed import printed_box

from benchmarks.oracle import off
from don_kp_ros.errors import RefusedError
from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera
from don_kp_ros.meshes.packing import packed
from don_kp_ros.meshes.picture import drawn_over
from don_kp_ros.meshes.reading import read
from don_kp_ros.networks.checkpoint import Checkpoint, Preprocessing
from don_kp_ros.networks.descriptor_network import DescriptorNetwork, NetworkConfiguration
from don_kp_ros.networks.model import DescriptorModel
from don_kp_ros.pose import command
from don_kp_ros.pose.mesh_descriptors import Subject, fused
from don_kp_ros.resources import shipped_model

CAMERA = Camera(320, 240, 300.0, 300.0, 159.5, 119.5)
INTRINSICS = ['--intrinsics', '300', '300', '159.5', '119.5']
TRUE = rigid.transform(rigid.rotation_about([1, 0.3, 0.2], 2.4), [0.02, -0.01, 0.45])


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a textured box, a picture of it, its depth, a start and a model."""
    root = tmp_path_factory.mktemp('refine')
    rng = np.random.default_rng(0)
    printed_box(root / 'box.obj', rng)
    ground = cv2.resize(rng.integers(60, 120, (6, 8, 3), dtype=np.uint8), (320, 240))
    picture, raster = drawn_over(ground, read(root / 'box.obj'), TRUE, CAMERA)
    cv2.imwrite(str(root / 'image.png'), picture[..., ::-1])
    depth = np.where(raster.mask, raster.depth, 0.7)
    cv2.imwrite(str(root / 'depth.png'), np.rint(depth * 10000).astype(np.uint16))
    np.savetxt(root / 'start.txt', off(TRUE, 8, 0.008, rng))
    return root


def arguments(folder: Path, *more: str) -> list[str]:
    files = ['--mesh', str(folder / 'box.obj'), '--pose', str(folder / 'start.txt')]
    files += ['--output', str(folder / 'out.png')]
    return [str(folder / 'image.png'), *files, *INTRINSICS, *more]


def test_a_pose_is_refined_and_drawn(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    depth = ['--depth', str(folder / 'depth.png'), '--depth-unit', '0.1']
    assert command.main(arguments(folder, *depth)) == 0
    lines = capsys.readouterr().out.splitlines()
    T = np.array([line.split() for line in lines[1:5]], float)
    np.testing.assert_allclose(T, TRUE, atol=0.02)
    np.testing.assert_allclose(T[:3, 3], TRUE[:3, 3], atol=0.002)
    drawn = cv2.imread(str(folder / 'out.png'))
    assert drawn.shape == (240, 648, 3)
    before, after = drawn[:, :320].astype(float), drawn[:, 328:].astype(float)
    image = cv2.imread(str(folder / 'image.png')).astype(float)
    assert np.abs(after - image)[:200].mean() < 0.7 * np.abs(before - image)[:200].mean()


def test_the_origin_of_a_mesh_may_lie_behind_the_camera(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shift = rigid.transform(translation=[0, 0, -1.0])
    (tmp_path / 'moved.glb').write_bytes(packed(read(folder / 'box.obj').moved(shift)))
    start = np.loadtxt(folder / 'start.txt') @ rigid.inverse(shift)
    assert start[2, 3] < 0
    np.savetxt(tmp_path / 'start.txt', start)
    more = ['--depth', str(folder / 'depth.png'), '--depth-unit', '0.1']
    more += ['--mesh', str(tmp_path / 'moved.glb'), '--pose', str(tmp_path / 'start.txt')]
    assert command.main(arguments(folder, *more)) == 0
    lines = capsys.readouterr().out.splitlines()
    T = np.array([line.split() for line in lines[1:5]], float) @ shift
    np.testing.assert_allclose(T[:3, 3], TRUE[:3, 3], atol=0.002)


def without_a_start(folder: Path, image: str, *more: str) -> list[str]:
    files = ['--mesh', str(folder / 'box.obj'), '--output', str(folder / 'found.png')]
    return [str(folder / image), *files, *INTRINSICS, *more]


def test_without_a_start_the_object_is_looked_for(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    depth = ['--depth', str(folder / 'depth.png'), '--depth-unit', '0.1']
    assert command.main(without_a_start(folder, 'image.png', *depth)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith('start, by 96 views of the mesh: ')
    T = np.array([line.split() for line in lines[2:6]], float)
    np.testing.assert_allclose(T, TRUE, atol=0.03)
    assert cv2.imread(str(folder / 'found.png')).shape == (240, 648, 3)


def test_where_the_object_is_not_this_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(1)
    ground = cv2.resize(rng.integers(60, 120, (6, 8, 3), dtype=np.uint8), (320, 240))
    cv2.imwrite(str(folder / 'empty.png'), ground)
    assert command.main(without_a_start(folder, 'empty.png')) == 1
    said = capsys.readouterr()
    assert 'is not found in' in said.err
    assert 'give a start with --pose' in said.err
    assert not said.out


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (['--unit', 'mm'], 'is 0.00012 m large'),
        (['--diameter', '0.3'], '0.3 m is said'),
        (['--mesh', 'none.obj'], 'no such file'),
        (['--pose', 'none.txt'], 'is not a pose of 16 numbers'),
        (['--model', 'none.safetensors'], 'none.safetensors'),
    ],
)
def test_what_is_wrong_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str], change: list[str], message: str
) -> None:
    assert command.main(arguments(folder, *change)) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ('T', 'message'),
    [
        (2 * np.eye(4), 'no rigid transform'),
        (rigid.transform(translation=[0, 0, -0.5]), '-0.5 m before the camera'),
        (np.full((4, 4), np.nan), 'no rigid transform'),
    ],
)
def test_a_pose_that_cannot_be_is_named(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    T: np.ndarray,
    message: str,
) -> None:
    np.savetxt(tmp_path / 'pose.txt', T)
    assert command.main(arguments(folder, '--pose', str(tmp_path / 'pose.txt'))) == 1
    assert message in capsys.readouterr().err


def test_a_start_out_of_view_stays(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savetxt(tmp_path / 'pose.txt', rigid.transform(translation=[3.0, 0, 0.5]))
    assert command.main(arguments(folder, '--pose', str(tmp_path / 'pose.txt'))) == 1
    assert 'The start stays: the start shows nothing of the mesh' in capsys.readouterr().err


def test_descriptors_that_change_with_the_view_are_not_fused(folder: Path) -> None:
    subject = Subject.of(read(folder / 'box.obj'))
    with pytest.raises(RefusedError, match=r'agree to 0\.\d\d over all views.*rendered again'):
        fused(subject, CAMERA, DescriptorModel.load(shipped_model()), 12)


def test_descriptors_that_are_alike_everywhere_are_not_fused(folder: Path) -> None:
    torch.manual_seed(0)
    network = NetworkConfiguration(channels=16, dimension=16)
    weights = DescriptorNetwork(network).state_dict()
    untrained = DescriptorModel(Checkpoint(network, Preprocessing(320), weights, 0.9))
    with pytest.raises(RefusedError, match=r'\d+% are found by their descriptors'):
        fused(Subject.of(read(folder / 'box.obj')), CAMERA, untrained, 12)


def test_a_texture_is_drawn_where_it_belongs(folder: Path) -> None:
    mesh = read(folder / 'box.obj')
    black = np.zeros((240, 320, 3), np.uint8)
    picture, raster = drawn_over(black, mesh, rigid.transform(translation=[0, 0, 0.3]), CAMERA)
    v, u = 119, 140
    place = raster.values(mesh.vertices, mesh.faces)[v, u]
    uv = place[:2] * 3 + place[2] * np.array([1.7, 0.9]) + 0.5
    texture = mesh.parts[0].picture
    assert texture is not None
    expected = texture[int((1 - uv[1] % 1) * 192), int(uv[0] % 1 * 192)]
    np.testing.assert_allclose(picture[v, u], expected, atol=12)
