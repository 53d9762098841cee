"""Where the descriptor database lies; light to import."""

from __future__ import annotations

import os
from pathlib import Path


def default_path() -> Path:
    """Return descriptors.sqlite in the user's data folder (XDG base directories)."""
    data = os.environ.get('XDG_DATA_HOME', '')
    folder = Path(data) if os.path.isabs(data) else Path.home() / '.local' / 'share'
    return folder / 'don_kp' / 'descriptors.sqlite'
