"""What `make` would run, and on which machine."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def told(folder: Path, *arguments: str) -> str:
    """Return the commands that make would run in a folder whose environment is set up."""
    package = folder / '.venv' / '.package'
    package.parent.mkdir(exist_ok=True)
    package.touch()
    options = ['-n', '-C', folder, '-f', ROOT / 'Makefile', '-o', package.relative_to(folder)]
    command = ['make', *options, *arguments]
    bare = {'PATH': os.environ['PATH']}  # these tests may be run by make
    return subprocess.run(command, env=bare, capture_output=True, text=True, check=True).stdout


def test_a_model_of_another_seed_is_trained_from_its_pictures_on(tmp_path: Path) -> None:
    first = told(tmp_path, 'train')
    assert 'don_kp render' in first
    for name in re.findall(r'output/\S+\.(?:complete|safetensors)', first):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert 'don_kp render' not in told(tmp_path, 'train')
    other = told(tmp_path, 'train', 'SEED=5')
    assert 'don_kp render' in other and other.count('don_kp train') == 2


@pytest.mark.parametrize(
    ('version', 'fits'), [('3.9', False), ('3.10', True), ('3.13', True), ('3.14', False)]
)
def test_a_python_for_which_there_are_no_packages_is_refused(
    tmp_path: Path, version: str, fits: bool
) -> None:
    python = tmp_path / 'python'
    python.write_text(f"""#!/bin/sh
[ "$1" = -V ] && echo Python {version}.1 && exit
exec {sys.executable} -c "import sys, sysconfig
sys.version_info = ({version.replace('.', ', ')}, 1)
$2"
""")
    nobody = tmp_path / 'id'  # else root would install what is missing
    nobody.write_text('#!/bin/sh\necho 1000\n')
    for path in (python, nobody):
        path.chmod(0o755)
    done = subprocess.run(
        ['sh', ROOT / 'scripts' / 'check_system.sh', python],
        env={'PATH': f'{tmp_path}:{os.environ["PATH"]}'},
        capture_output=True,
        text=True,
        check=False,
    )
    if fits:
        assert (done.returncode, done.stderr) == (0, '')
    else:
        assert done.returncode == 1
        assert f'is Python {version}.1; don_kp needs Python 3.10 to 3.13.' in done.stderr
        assert 'make PYTHON=python3.13' in done.stderr


def test_every_benchmark_is_explained() -> None:
    command = ['make', '-n', '-C', ROOT, '-o', '.venv/.package', 'bench']
    bare = {'PATH': os.environ['PATH']}
    asked = subprocess.run(command, env=bare, capture_output=True, text=True)
    names = asked.stderr.partition('one of ')[2].partition('.  Stop')[0].split()
    explained = re.findall(r'^\| `(\w+)` \|', (ROOT / 'docs/benchmarks.md').read_text(), re.M)
    assert sorted(names) == sorted(explained)
