"""Pictures rotated, scaled and tilted: one change at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.configuration import within
from don_kp_ros.data.appearance import ColourConfiguration, change_colours
from don_kp_ros.data.folder import DataError, ImageFolder
from don_kp_ros.data.homography import project, warped
from don_kp_ros.data.source import Source
from don_kp_ros.evaluation.pairs import Pair, PairSet, at_side, shown_on
from don_kp_ros.evaluation.protocols.protocol import Condition, Protocol
from don_kp_ros.evaluation.reading import Reader
from don_kp_ros.geometry import rigid

Array = NDArray[np.float64]

_STRAIGHT = np.deg2rad(89.0)


@dataclass(frozen=True)
class Invariance(Protocol):
    """Pictures rotated about the optical axis, scaled, and tilted: one change at a time.

    B is the picture itself through a homography that keeps the object's middle in the picture's.
    pairs: number of pictures with their views, at most all pictures; focal: focal length in widths
    of the picture, for the tilt; colour: additional change of appearance, by default none.
    """

    kind: ClassVar[str] = 'invariance'

    pairs: int = 10
    step: int = 4
    rotation: tuple[float, ...] = (0, 15, 30, 45, 60, 75, 90, 105, 120, 135, 150, 165, 180)
    scale: tuple[float, ...] = (0.5, 0.63, 0.79, 1.0, 1.26, 1.59, 2.0)
    tilt: tuple[float, ...] = (0, 10, 20, 30, 40, 50, 60, 70)
    focal: float = 0.96
    colour: ColourConfiguration = field(
        default_factory=lambda: ColourConfiguration(
            probability=0.0, grey=0.0, gradient=0.0, blur=0.0, noise=0.0
        )
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for angle in self.rotation:
            within('rotation', angle, -180, 180)
        for factor in self.scale:
            within('scale', factor, 0.1, 10)
        for angle in self.tilt:
            within('tilt', angle, 0, 80)
        within('focal', self.focal, 0.1, 100)
        if not (self.rotation or self.scale or self.tilt):
            raise ValueError('rotation, scale and tilt are all empty; one value must be given')

    def conditions(self, root: Path, seed: int, reader: Reader) -> list[Condition]:
        """Make a condition for each value, all with the same pictures and points."""
        samples = reader.samples(ImageFolder.open(root), self.pairs).values()
        sources = [at_side(sample) for sample in samples]
        return [
            self._condition(sources, name, curve, value, seed)
            for name, curve, values in (
                ('rotation', 'rotation about the optical axis, degrees', self.rotation),
                ('scale', 'size in B over size in A', self.scale),
                ('tilt', 'tilt of the picture plane, degrees', self.tilt),
            )
            for value in values
        ]

    def _condition(
        self, sources: list[Source], name: str, curve: str, value: float, seed: int
    ) -> Condition:
        images, pairs = [source.image for source in sources], []
        for number, source in enumerate(sources):
            rng = np.random.default_rng((seed, 3, number))
            around = float(rng.uniform(-np.pi, np.pi))
            size = (source.image.shape[1], source.image.shape[0])
            homography = warp_about(
                source.centre,
                size,
                np.deg2rad(value) if name == 'rotation' else 0.0,
                value if name == 'scale' else 1.0,
                np.deg2rad(value) if name == 'tilt' else 0.0,
                around,
                self.focal * size[0],
            )
            order = rng.permutation(len(source.object_uv))
            image, mask = warped(source, homography, size)
            uv_a = source.object_uv[order]
            uv_b = project(homography, uv_a)
            shown = np.flatnonzero(shown_on(uv_b, mask))[: self.queries]
            if len(shown) == 0:
                raise DataError(
                    f'{source.path}: at {name} {value:g} nothing of the object is in the picture; '
                    f'leave the value out of {name}'
                )
            images.append(change_colours(image, self.colour, rng))
            b = len(images) - 1
            pairs.append(Pair(number, b, uv_a[shown], uv_b[shown], homography, mask))
        origin = f'{len(pairs)} pictures, {name} {value:g}'
        return Condition(f'{name} {value:g}', PairSet(origin, images, pairs, []), curve, value)


def warp_about(
    centre: Array,
    size: tuple[int, int],
    rotation: float,
    scale: float,
    tilt: float,
    around: float,
    focal: float,
) -> Array:
    """Make the homography (3, 3) of a plane that moves in front of the camera.

    The plane is turned by `rotation` (clockwise in the picture), enlarged by `scale`, and tilted
    by `tilt` about an axis in the plane with direction `around`; angles are in radians. The pixel
    `centre` (2,) comes to the middle of a canvas (W, H). focal: focal length in pixels.
    """
    if not 0 <= tilt < _STRAIGHT:
        raise ValueError(f'tilt is {np.rad2deg(tilt):g} degrees; it must be from 0 to 89')
    R = rigid.rotation_about([np.cos(around), np.sin(around), 0.0], tilt)
    R = R @ rigid.rotation_about([0, 0, 1], rotation)
    plane = np.array([[*R[0, :2], 0], [*R[1, :2], 0], [*(R[2, :2] / focal), 1]])
    plane[:, :2] *= scale
    middle = (np.array(size) - 1) / 2
    to_centre, to_middle = np.eye(3), np.eye(3)
    to_centre[:2, 2], to_middle[:2, 2] = -np.asarray(centre), middle
    return np.asarray(to_middle @ plane @ to_centre)
