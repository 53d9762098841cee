"""Where configuration files and models lie: the package's, and the user's own."""

import os
import sys
from pathlib import Path
from typing import Literal


def config_path(name: str) -> Path:
    """Return the path of a file or folder under config/, e.g. 'robots/panda.yaml'."""
    return _find('config', name)


def shipped_model() -> Path:
    """Return the path of the model that ships with the package, for where no other is named."""
    return _find('models', 'objects.safetensors')


def interface_path(package: str, name: str) -> Path:
    """Return the path of an interface's file, e.g. of std_msgs and 'msg/Header.msg'.

    Raises FileNotFoundError.
    """
    candidates = [root / 'share' / package / name for root in _prefixes()]
    for candidate in candidates:
        if candidate.exists():
            return candidate
    looked = ', '.join(str(candidate) for candidate in candidates)
    raise FileNotFoundError(f'{name} of {package} not found; looked for {looked}')


def user_path(kind: Literal['config', 'data'], name: str) -> Path:
    """Return the path of a file or folder of the user's own (XDG base directories)."""
    fallback = {'config': '.config', 'data': '.local/share'}[kind]
    home = os.environ.get(f'XDG_{kind.upper()}_HOME', '')
    folder = Path(home) if os.path.isabs(home) else Path.home() / fallback
    return folder / 'don_kp' / name


def _find(folder: str, name: str) -> Path:
    candidates = [root / folder / name for root in _roots()]
    for candidate in candidates:
        if candidate.exists():
            return candidate
    looked = ', '.join(str(candidate) for candidate in candidates)
    raise FileNotFoundError(
        f'{folder}/{name} not found; looked for {looked}. '
        'Run from a checkout, or install the package with its data (pip install . or colcon).'
    )


def _roots() -> list[Path]:
    """List the places that may hold config/ and models/, the checkout first."""
    checkout = Path(__file__).resolve().parent.parent
    return [checkout, *(prefix / 'share' / 'don_kp' for prefix in _prefixes())]


def _prefixes() -> list[Path]:
    """List where ROS packages are installed."""
    prefixes = [sys.prefix, *os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep)]
    return [Path(prefix) for prefix in prefixes if prefix]
