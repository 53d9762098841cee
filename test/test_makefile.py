"""What `make` would run."""

import os
import re
import subprocess
from pathlib import Path

MAKEFILE = Path(__file__).resolve().parent.parent / 'Makefile'


def told(folder: Path, *arguments: str) -> str:
    """Return the commands that make would run in a folder whose environment is set up."""
    package = folder / '.venv' / '.package'
    package.parent.mkdir(exist_ok=True)
    package.touch()
    options = ['-n', '-C', folder, '-f', MAKEFILE, '-o', package.relative_to(folder)]
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
