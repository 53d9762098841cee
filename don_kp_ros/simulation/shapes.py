"""The measures of the built-in objects: drawn, with named points, and a way to hold each.

All is in the object's frame, metres: x forward, z up, the origin in the middle of the base.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.geometry import rigid
from don_kp_ros.robots import hand

Array = NDArray[np.float64]

BUTTON = (0.006, 0.006, 0.003)  # metres, half axes; its middle lies on the crown
HANDLE_RADIUS = 0.005  # of a mug's handle where it is cut
RECESS = 0.004  # of a can's lid below its rim
_REACH = 0.015  # of the fingers' ends below the top of what they hold
_LOWEST_TIP = 0.006  # of the fingers' ends, over the table


class Shape(Protocol):
    """What is known of every built-in object."""

    round: ClassVar[bool]
    """Whether a turn about its z leaves its shape as it is."""

    @property
    def points(self) -> dict[str, Array]:
        """Points (3,) that each of its kind has, by name; the first is the one to teach."""

    @property
    def grip(self) -> Array:
        """The pose of a tool centre point that holds it, (4, 4), hand z down."""

    @property
    def grip_width(self) -> float:
        """What the fingers hold then, between them."""


def from_above(x: float, z: float, closing: Array | None = None) -> Array:
    """Return a tool's pose (4, 4) at (x, 0, z), hand down; it closes along y or what is given."""
    y = np.array([0.0, 1.0, 0.0]) if closing is None else closing
    down = np.array([0.0, 0.0, -1.0])
    return rigid.transform(np.column_stack([np.cross(y, down), y, down]), [x, 0.0, z])


def _below(top: float) -> float:
    """Return the height of a tool centre point whose fingers reach below a top."""
    return top - _REACH + hand.TIP_LENGTH


@dataclass(frozen=True)
class CapShape:
    """The measures of a cap, metres."""

    round: ClassVar[bool] = False

    length: float  # half of the crown's extent along x
    width: float  # half of its extent along y
    height: float  # of the crown
    bluntness: float  # 2: an ellipsoid; more: a boxier crown
    brim_length: float  # from the crown's front to the brim's
    brim_width: float  # half of the brim's extent along y
    arch_height: float  # of the brim's middle line over the table, at the crown
    edge_height: float  # of the brim's side edges over the table, at the crown
    droop: float  # drop of the brim towards its front
    thickness: float  # of the brim

    @classmethod
    def of(cls, instance: int) -> CapShape:
        """Return the measures of cap number ``instance``."""
        return cls.draw(cap_rng(instance))

    @classmethod
    def draw(cls, rng: np.random.Generator) -> CapShape:
        """Draw the measures of a toy cap that a hand opening 8 cm can hold by its brim."""
        return cls(
            length=rng.uniform(0.052, 0.066),
            width=rng.uniform(0.048, 0.060),
            height=rng.uniform(0.050, 0.068),
            bluntness=rng.uniform(2.0, 2.6),
            brim_length=rng.uniform(0.048, 0.062),
            brim_width=rng.uniform(0.024, 0.032),
            arch_height=rng.uniform(0.021, 0.026),
            edge_height=rng.uniform(0.010, 0.013),
            droop=rng.uniform(0.000, 0.005),
            thickness=rng.uniform(0.003, 0.004),
        )

    def crown(self, azimuth: Array, elevation: Array) -> Array:
        """Return points of the crown (..., 3): a superellipsoid; elevation 0 at the rim."""
        e = 2.0 / self.bluntness
        outward, up = np.cos(elevation) ** e, np.sin(elevation) ** e
        return np.stack(
            [
                self.length * outward * np.cos(azimuth),
                self.width * outward * np.sin(azimuth),
                self.height * up,
            ],
            axis=-1,
        )

    def brim(self, along: Array, across: Array) -> Array:
        """Return points of the brim's upper side (..., 3).

        ``along`` goes from 0 at the crown's front to 1 at the brim's (below 0 it is hidden in the
        crown), ``across`` from -1 to 1. The sides are parallel for two thirds of the length.
        """
        rounding = np.clip((along - 0.65) / 0.35, 0.0, 1.0)
        half_width = self.brim_width * np.sqrt(1.0 - 0.999 * rounding**2)
        y = across * half_width
        arch = (self.arch_height - self.edge_height) * (y / self.brim_width) ** 2
        z = self.arch_height - arch - self.droop * np.clip(along, 0, 1) ** 2
        return np.stack([self.length + along * self.brim_length, y, z], axis=-1)

    @property
    def brim_point(self) -> Array:
        """The middle of the brim's upper side, (3,)."""
        return self.brim(np.array(0.5), np.array(0.0))

    @property
    def points(self) -> dict[str, Array]:
        """Points (3,) that every cap has, by name; those of the crown lie halfway up."""
        halfway = np.array(np.pi / 4)
        return {
            'brim': self.brim_point,
            'brim, front': self.brim(np.array(0.9), np.array(0.0)),
            'brim, left': self.brim(np.array(0.5), np.array(0.75)),
            'brim, right': self.brim(np.array(0.5), np.array(-0.75)),
            'button': np.array([0.0, 0.0, self.height + BUTTON[2]]),
            'crown, front': self.crown(np.array(0.0), halfway),
            'crown, left': self.crown(np.array(np.pi / 2), halfway),
            'crown, back': self.crown(np.array(np.pi), halfway),
            'crown, right': self.crown(np.array(-np.pi / 2), halfway),
        }

    @property
    def grip(self) -> Array:
        """A tool's pose that holds the brim by its sides, (4, 4)."""
        return from_above(float(self.brim_point[0]), _LOWEST_TIP + hand.TIP_LENGTH)

    @property
    def grip_width(self) -> float:
        """Between the brim's sides."""
        return 2 * self.brim_width


def cap_rng(instance: int) -> np.random.Generator:
    """Make a cap's random generator; its measures are drawn first."""
    return np.random.default_rng([instance, 0xCA9])


@dataclass(frozen=True)
class MugShape:
    """The measures of a mug, metres."""

    round: ClassVar[bool] = False

    radius: float
    height: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> MugShape:
        """Draw the measures of a mug."""
        return cls(radius=rng.uniform(0.032, 0.042), height=rng.uniform(0.07, 0.095))

    @property
    def handle(self) -> Array:
        """The middle line of its handle, (7, 3), from below."""
        loop = np.linspace(-np.pi / 2, np.pi / 2, 7)
        out, up = 0.022 * np.cos(loop), 0.024 * np.sin(loop)
        return np.stack([self.radius + out, np.zeros(7), self.height / 2 + up], axis=-1)

    @property
    def points(self) -> dict[str, Array]:
        """The top of its handle, and of its rim across from it."""
        return {
            'handle': self.handle[5] + [0.0, 0.0, HANDLE_RADIUS],
            'rim': np.array([-self.radius + 0.002, 0.0, self.height]),
        }

    @property
    def grip(self) -> Array:
        """A tool's pose that holds the handle by its sides, (4, 4)."""
        top = float(self.handle[-1, 2]) + HANDLE_RADIUS
        return from_above(self.radius + 0.017, _below(top))

    @property
    def grip_width(self) -> float:
        """Of the handle."""
        return 2 * HANDLE_RADIUS


@dataclass(frozen=True)
class CanShape:
    """The measures of a can, metres."""

    round: ClassVar[bool] = True

    radius: float
    height: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> CanShape:
        """Draw the measures of a can."""
        return cls(radius=rng.uniform(0.028, 0.036), height=rng.uniform(0.08, 0.115))

    @property
    def points(self) -> dict[str, Array]:
        """The middle of its lid."""
        return {'lid': np.array([0.0, 0.0, self.height - RECESS])}

    @property
    def grip(self) -> Array:
        """A tool's pose that holds it about its rim, (4, 4)."""
        return from_above(0.0, _below(self.height))

    @property
    def grip_width(self) -> float:
        """Its diameter."""
        return 2 * self.radius


@dataclass(frozen=True)
class BottleShape:
    """The measures of a bottle, metres."""

    round: ClassVar[bool] = True

    radius: float
    height: float
    neck: float  # radius of the neck, the upper fifth
    shoulder: float  # height up to which it is as wide as its radius says

    @classmethod
    def draw(cls, rng: np.random.Generator) -> BottleShape:
        """Draw the measures of a bottle."""
        radius, height = rng.uniform(0.026, 0.036), rng.uniform(0.13, 0.18)
        neck, shoulder = rng.uniform(0.010, 0.014), rng.uniform(0.55, 0.7) * height
        return cls(radius, height, neck, shoulder)

    @property
    def points(self) -> dict[str, Array]:
        """The middle of its top."""
        return {'top': np.array([0.0, 0.0, self.height])}

    @property
    def grip(self) -> Array:
        """A tool's pose that holds it by its neck, (4, 4)."""
        return from_above(0.0, _below(self.height))

    @property
    def grip_width(self) -> float:
        """Of the neck."""
        return 2 * self.neck


@dataclass(frozen=True)
class BoxShape:
    """The measures of a box: half its extents, metres."""

    round: ClassVar[bool] = False

    x: float
    y: float
    z: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> BoxShape:
        """Draw the measures of a box."""
        x, y, z = rng.uniform([0.03, 0.02, 0.015], [0.06, 0.045, 0.045]).tolist()
        return cls(x, y, z)

    @property
    def points(self) -> dict[str, Array]:
        """The middle of its top, and of the top's edges."""
        top = 2 * self.z
        return {
            'top': np.array([0.0, 0.0, top]),
            'top, front': np.array([self.x - 0.002, 0.0, top]),
            'top, left': np.array([0.0, self.y - 0.002, top]),
        }

    @property
    def grip(self) -> Array:
        """A tool's pose that holds it by its narrower sides, (4, 4)."""
        closing = np.eye(3)[int(self.y <= self.x)]
        return from_above(0.0, _below(2 * self.z), closing)

    @property
    def grip_width(self) -> float:
        """Its narrower side."""
        return 2 * min(self.x, self.y)
