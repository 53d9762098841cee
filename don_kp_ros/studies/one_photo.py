"""Train on a single photo for two processor minutes; find its points in views of it.

They are turned by any angle, on other grounds and in other light. Where a file tells of named
points, these are also looked for in the other photos, which are not learned.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from don_kp_ros.data.folder import write_samples
from don_kp_ros.evaluation.matchers import Learned, Matcher, centroid
from don_kp_ros.evaluation.pairs import synthetic
from don_kp_ros.evaluation.protocols.held_views import HeldViews
from don_kp_ros.evaluation.protocols.registry import read_protocol
from don_kp_ros.evaluation.results import Target
from don_kp_ros.networks.model import DescriptorModel
from don_kp_ros.resources import config_path
from don_kp_ros.studies.accuracy import not_trained
from don_kp_ros.studies.real_photos import CONFIG, photo_row
from don_kp_ros.studies.splits import Photos
from don_kp_ros.studies.study import Job, Outcome, Study
from don_kp_ros.studies.trainings import Kept, Recipe

_PAIRS, _QUERIES = 20, 100
_LEAST = 0.9


@dataclass(frozen=True)
class OnePhoto(Study):
    """Trains on each photo of a folder, or of its caps_real/, alone; not on turned copies."""

    kind: ClassVar[str] = 'one_photo'

    minutes: float = 2.0
    seeds: tuple[int, ...] = (0,)
    overrides: tuple[str, ...] = ('--optimiser.body=0',)

    def run(self, job: Job) -> Outcome:
        """Train and measure; see Study."""
        photos, others = Photos.read(job.request.data, job.reader), not_trained(job)
        views = read_protocol(Path('held_views'))
        assert isinstance(views, HeldViews)
        rows: list[dict[str, Any]] = []
        figures: list[float] = []
        for number, photo in enumerate(photos.learned):
            name = photo.path.name
            copies = synthetic([photo], views.views, [], [], _PAIRS, _QUERIES, 0, f'photo {name}')
            sets = [data for data in (copies, photos.named_pairs(number)) if data is not None]
            known: list[tuple[str, int | str, Matcher | None]] = []
            for seed in self.seeds:
                recipe = Recipe.within(self.minutes, config_path(CONFIG), self.overrides, seed)
                write = partial(write_samples, samples=[photo])
                kept = Kept(job.trainings, f'{self.kind}-{photo.path.stem}', recipe, write)
                model = job.train(f'{name}, seed {seed}', kept).checkpoint
                trained = Learned(DescriptorModel(model, job.request.device))
                known.append((f'trained on {name}', seed, trained))
                figures.append(photo_row(copies, '', seed, trained)['auc'])
            known.append(('object centroid', '', centroid))
            known += [(name, '', own and own(copies)) for name, own in others.items()]
            rows += [photo_row(data, *own) for data in sets for own in known]
        goal = Target('AUC in views of the photo', round(float(np.mean(figures)), 4), _LEAST, True)
        title = (
            f'Trained on one photo for {self.minutes:g} processor minutes, pixels of a '
            '640-pixel-wide picture'
        )
        return Outcome(title, rows, [goal], {'cards': job.cards})
