"""The package without ROS, in an environment that has the libraries of the extra `train` alone."""

import os
import shutil
import subprocess
import venv
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import cv2
import numpy as np
import pytest
from packaging.requirements import Requirement

from don_kp_ros.networks.checkpoint import Checkpoint, Preprocessing
from don_kp_ros.networks.descriptor_network import DescriptorNetwork, NetworkConfiguration

ROOT = Path(__file__).resolve().parent.parent
SOURCES = (
    'don_kp_ros', 'config', 'models', 'requirements', 'package.xml', 'pyproject.toml', 'setup.py',
)  # fmt: skip
ROOMS = (
    'geometry', 'networks', 'data', 'annotation', 'calibration', 'matching', 'evaluation',
    'training', 'studies',
)  # fmt: skip
FOREIGN = (
    'don_kp', 'tf2_msgs', 'rclpy', 'sensor_msgs', 'ament_package', 'rosidl_adapter', 'em',
    'mujoco', 'mink', 'ompl', 'toppra', 'trimesh', 'psycopg', 'sqlalchemy', 'alembic', 'onnx',
)  # fmt: skip
BARE = {name: os.environ[name] for name in ('HOME', 'PATH') if name in os.environ}


def required(lines: list[str]) -> Iterator[str]:
    """Name the distributions that requirements ask for, and those that these ask for in turn."""
    seen = set()
    left = [(Requirement(line), ['']) for line in lines if line and not line.startswith('#')]
    while left:
        wanted, extras = left.pop()
        marker = wanted.marker
        if marker is not None and not any(marker.evaluate({'extra': name}) for name in extras):
            continue
        if str(wanted) not in seen:
            seen.add(str(wanted))
            yield wanted.name
            texts = distribution(wanted.name).requires or ()
            left += [(Requirement(text), ['', *wanted.extras]) for text in texts]


@pytest.fixture(scope='module')
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder that shows this environment's libraries of the extra, and what installs."""
    folder = tmp_path_factory.mktemp('libraries')
    pins = [ROOT / 'requirements' / f'{name}.txt' for name in ('base', 'train')]
    lines = [line for path in pins for line in path.read_text().splitlines()]
    for name in {*required(lines), 'pip', 'setuptools'}:
        found = distribution(name)
        tops = {file.parts[0] for file in found.files or ()} - {'..', '__pycache__'}
        for top in tops:
            if not top.endswith('.pth') and not (folder / top).exists():
                (folder / top).symlink_to(str(found.locate_file(top)))
    return folder


@pytest.fixture(scope='module')
def environment(libraries: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the package without ROS into an environment of its own; return its folder."""
    root = tmp_path_factory.mktemp('light')
    sources, environment = root / 'sources', root / 'environment'
    sources.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            # What is compiled comes and goes while other tests run.
            compiled = shutil.ignore_patterns('__pycache__')
            shutil.copytree(ROOT / name, sources / name, ignore=compiled)
        else:
            shutil.copy(ROOT / name, sources / name)
    venv.create(environment)
    (site_packages,) = environment.glob('lib/python*/site-packages')
    (site_packages / 'libraries.pth').write_text(f'{libraries}\n')
    options = ['--no-index', '--no-deps', '--no-build-isolation', '--disable-pip-version-check']
    command = ['python', '-m', 'pip', 'install', *options, str(sources)]
    run(environment, *command, DON_KP_WITHOUT_ROS='1')
    shutil.rmtree(sources)
    return environment


@pytest.fixture(scope='module')
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write pictures of a patterned square with masks."""
    folder = tmp_path_factory.mktemp('pictures')
    rng = np.random.default_rng(0)
    pattern = cv2.resize(rng.integers(0, 255, (6, 6, 3), dtype=np.uint8), (60, 60))
    for name in ('rgbs', 'masks'):
        (folder / name).mkdir()
    for number in range(3):
        image, mask = np.full((96, 128, 3), 90, np.uint8), np.zeros((96, 128), np.uint8)
        place = np.s_[20:80, 20 + 10 * number : 80 + 10 * number]
        image[place], mask[place] = pattern, 255
        cv2.imwrite(str(folder / 'rgbs' / f'{number}.png'), image)
        cv2.imwrite(str(folder / 'masks' / f'{number}.png'), mask)
    return folder


def run(environment: Path, command: str, *arguments: str, status: int = 0, **more: str) -> str:
    """Run a command of an environment; return its output, or its errors where it has to fail."""
    done = subprocess.run(
        [environment / 'bin' / command, *arguments],
        env={**BARE, **more},
        cwd=environment.parent,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stderr if status else done.stdout


def test_nothing_was_compiled(environment: Path) -> None:
    (wheel,) = environment.glob('lib/python*/site-packages/don_kp-*.dist-info/WHEEL')
    assert 'Root-Is-Purelib: true' in wheel.read_text()


def test_the_pages_script_is_installed(environment: Path) -> None:
    (package,) = environment.glob('lib/python*/site-packages/don_kp_ros')
    assert (package / 'page' / 'static' / 'picture.js').is_file()


def test_what_learns_imports_no_ros_and_no_simulation(environment: Path) -> None:
    script = f"""
import importlib, importlib.util, pkgutil, sys
print([name for name in {FOREIGN} if importlib.util.find_spec(name)])
for room in {ROOMS}:
    package = importlib.import_module(f'don_kp_ros.{{room}}')
    for module in pkgutil.walk_packages(package.__path__, f'{{package.__name__}}.'):
        importlib.import_module(module.name)
print(sys.modules['don_kp_ros.studies'].__file__)
"""
    found, place = run(environment, 'python', '-c', script).splitlines()
    assert found == '[]'
    assert Path(place).is_relative_to(environment)


def test_a_model_is_trained_by_a_shipped_configuration(environment: Path, pictures: Path) -> None:
    assert 'usage: don_kp train' in run(environment, 'don_kp', 'train', '--help')
    options = ['--config', 'photos', '--steps', '1', '--workers=0', '--views.size=64']
    small = ['--network.channels=8', '--network.dimension=8', '--preprocessing.input_size=96']
    model = pictures / 'm.safetensors'
    run(environment, 'don_kp', 'train', str(pictures), '--output', str(model), *options, *small)
    assert model.is_file()


def test_a_picture_matches_itself(environment: Path, pictures: Path) -> None:
    network = NetworkConfiguration('resnet18', channels=8, dimension=8)
    weights = DescriptorNetwork(network).state_dict()
    model, picture = pictures / 'tiny.safetensors', str(pictures / 'rgbs' / '0.png')
    Checkpoint(network, Preprocessing(96), weights, 0.9).save(model)
    output = run(
        environment, 'don_kp', 'match', picture, '50', '40', picture, '--model', str(model)
    )
    assert 'u 50  v 40  similarity 1.000\n' in output


def test_the_shipped_model_is_found(environment: Path) -> None:
    script = 'from don_kp_ros.resources import shipped_model; print(shipped_model())'
    place = run(environment, 'python', '-c', script).strip()
    assert place == str(environment / 'share' / 'don_kp' / 'models' / 'objects.safetensors')


@pytest.mark.parametrize(
    ('arguments', 'extra'),
    [
        (['render', 'folder'], 'simulation'),
        (['refine', 'i', '--mesh=m', '--pose=p', '--intrinsics', *'1111'], 'meshes'),
        (['data', 'from-bag', 'bag', 'folder'], 'recordings'),
        (['db', 'list'], 'server'),
        (['export', 'MODEL', '--onnx', 'm.onnx'], 'export'),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else value,
)
def test_a_command_without_its_extra_names_it(
    environment: Path, pictures: Path, arguments: list[str], extra: str
) -> None:
    arguments = [str(pictures / 'tiny.safetensors') if a == 'MODEL' else a for a in arguments]
    message = run(environment, 'don_kp', *arguments, status=1)
    assert message.startswith(f'don_kp {arguments[0]}')
    assert f"the extra '{extra}': pip install '.[{extra}]' in the checkout" in message
    assert message.count('\n') == 1


@pytest.mark.parametrize('name', ['grasp', 'bringup', 'list', 'demo', 'camera', 'replay'])
def test_a_command_that_needs_ros_names_no_extra(environment: Path, name: str) -> None:
    arguments = {'camera': ['check'], 'replay': ['folder']}.get(name, [])
    message = run(environment, 'don_kp', name, *arguments, status=1)
    assert message.startswith(f'don_kp {name} needs ROS 2 and the interfaces: pip install . in')
    assert 'DON_KP_WITHOUT_ROS unset' in message and ' is missing)' in message
    assert message.count('\n') == 1


def test_a_board_is_printed_and_what_needs_ros_says_so(environment: Path, tmp_path: Path) -> None:
    board = tmp_path / 'board.pdf'
    run(environment, 'don_kp', 'calibrate', 'board', str(board))
    assert board.read_bytes().startswith(b'%PDF')
    said = run(environment, 'don_kp', 'calibrate', 'record', str(tmp_path / 'views'), status=1)
    assert said.startswith('don_kp calibrate needs ROS 2 and the interfaces: pip install . in')
    assert said.count('\n') == 1
