"""The built-in objects by kind and number."""

from __future__ import annotations

from collections.abc import Callable

import mujoco
import numpy as np

from don_kp_ros.simulation import objects
from don_kp_ros.simulation.shapes import (
    BottleShape,
    BoxShape,
    CanShape,
    CapShape,
    MugShape,
    Shape,
)

BUILT_IN: dict[str, Callable[..., object]] = {
    'cap': objects.add_cap,
    'mug': objects.add_mug,
    'can': objects.add_can,
    'bottle': objects.add_bottle,
    'box': objects.add_box,
}
_SHAPES: dict[str, Callable[[np.random.Generator], Shape]] = {
    'mug': MugShape.draw,
    'can': CanShape.draw,
    'bottle': BottleShape.draw,
    'box': BoxShape.draw,
}


def shape_of(kind: str, instance: int) -> Shape:
    """Return the measures of object number ``instance`` of a kind."""
    return CapShape.of(instance) if kind == 'cap' else _SHAPES[kind](_rng(instance))


def add_object(spec: mujoco.MjSpec, body: mujoco.MjsBody, kind: str, instance: int) -> None:
    """Add an object to a body; its looks and measures depend only on kind and number."""
    BUILT_IN[kind](spec, body, instance if kind == 'cap' else _rng(instance))


def _rng(instance: int) -> np.random.Generator:
    return np.random.default_rng([instance, 0x0B1])
