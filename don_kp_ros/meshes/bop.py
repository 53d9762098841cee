"""What BOP data sets say of their models: `models_info.json`, whose lengths are millimetres."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.errors import RefusedError
from don_kp_ros.geometry import rigid

Array = NDArray[np.float64]

MILLIMETRE = 1e-3
_TURNS = 315  # about an axis: no point moves by 1 % of the diameter from one to the next, as BOP's


@dataclass(frozen=True)
class ModelInfo:
    """diameter: metres; symmetries (S, 4, 4): after which it looks as before, identity first."""

    diameter: float
    symmetries: Array


def read_models_info(path: Path) -> dict[int, ModelInfo]:
    """Read the diameters and symmetries of all models by their number; raises RefusedError."""
    try:
        entries = json.loads(path.read_text(encoding='utf-8'))
        return {int(number): _info(entry) for number, entry in entries.items()}
    except OSError as error:
        raise RefusedError(f'{path}: cannot be read ({error.strerror})') from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RefusedError(f"{path}: is no BOP data set's models_info.json ({error!r})") from error


def nearest(T: Array, start: Array, symmetries: Array) -> Array:
    """Return that of the equal poses T S (4, 4) which is turned least against a start (4, 4).

    Without it, the pose of a symmetric object would jump between them.
    """
    turns = start[:3, :3].T @ T[:3, :3] @ symmetries[:, :3, :3]
    return np.asarray(T @ symmetries[np.trace(turns, axis1=1, axis2=2).argmax()])


def _info(entry: dict[str, Any]) -> ModelInfo:
    diameter = float(entry['diameter']) * MILLIMETRE
    if not 0 < diameter < np.inf:
        raise ValueError(f'diameter is {entry["diameter"]}')
    discrete = [np.eye(4)]
    for numbers in entry.get('symmetries_discrete', ()):
        T = np.array(numbers, np.float64).reshape(4, 4)
        T[:3, 3] *= MILLIMETRE
        discrete.append(T)
    continuous: list[Array] = []
    for one in entry.get('symmetries_continuous', ()):
        continuous += _turns(one['axis'], np.array(one['offset'], np.float64) * MILLIMETRE)
    every = [T @ turn for T in discrete for turn in continuous or [np.eye(4)]]
    return ModelInfo(diameter, np.stack(every))


def _turns(axis: Any, offset: Array) -> list[Array]:
    """Turn about an axis through a point (3,)."""
    found = []
    for number in range(_TURNS):
        R = rigid.rotation_about(axis, 2 * np.pi * number / _TURNS)
        found.append(rigid.transform(R, offset - R @ offset))
    return found
