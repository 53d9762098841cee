"""Scenes of several objects: each is looked for among the others, from another side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from don_kp_ros.data.folder import DataError
from don_kp_ros.data.posed import FEWEST_COMMON
from don_kp_ros.data.scenes import SceneFolder
from don_kp_ros.evaluation.pairs import of_scenes
from don_kp_ros.evaluation.protocols.protocol import Condition, DepthProtocol
from don_kp_ros.evaluation.reading import Reader


@dataclass(frozen=True)
class Scenes(DepthProtocol):
    """The two views of a scene, once for each object that both show; depth and poses are exact.

    pairs: also the most scenes that are read, drawn at random.
    """

    kind: ClassVar[str] = 'scenes'

    def conditions(self, root: Path, seed: int, reader: Reader) -> list[Condition]:
        """Make a condition of all objects, evenly spread ones of many."""
        folder, rng = SceneFolder.open(root), np.random.default_rng((seed, 3))
        number = len(folder.entries)
        chosen = np.sort(rng.choice(number, min(self.pairs, number), replace=False))
        scenes = reader.scenes(folder, (int(i) for i in chosen))
        data = of_scenes(scenes, self.queries, [], 'scenes', self.tolerance)
        if not data.pairs:
            raise DataError(
                f'{root}: no object shares {FEWEST_COMMON} points within {self.tolerance:g} m '
                'between the two views of its scene; take views that differ less, check poses and '
                'depths, or raise tolerance to what these miss each other by'
            )
        views = [view.whole() for scene in scenes for view in (scene.a, scene.b)]
        return [Condition('any object', data.some(self.pairs, self.queries), views=views)]
