"""Train on a few photos for ten processor minutes; find their points in one never seen.

Every photo that is another one turned by 180 degrees is held out: where a point of the one lies in
the other is known exactly. Where a file tells of named points, they are also looked for in the
other photos that show them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from don_kp_ros.data.folder import write_samples
from don_kp_ros.evaluation.matchers import Learned, Matcher, accuracy, centroid
from don_kp_ros.evaluation.pairs import PairSet
from don_kp_ros.evaluation.pck import BRIEF
from don_kp_ros.evaluation.results import Target
from don_kp_ros.networks.model import DescriptorModel
from don_kp_ros.resources import config_path
from don_kp_ros.studies.accuracy import UNMEASURED, not_trained
from don_kp_ros.studies.splits import Photos
from don_kp_ros.studies.study import Job, Outcome, Study
from don_kp_ros.studies.trainings import Kept, Recipe

CONFIG = 'training/photos.yaml'


@dataclass(frozen=True)
class RealPhotos(Study):
    """Trains on the photos of a folder, or of its caps_real/, but those that are turned copies."""

    kind: ClassVar[str] = 'real_photos'

    seeds: tuple[int, ...] = (0,)

    def run(self, job: Job) -> Outcome:
        """Train and measure; see Study."""
        photos = Photos.read(job.request.data, job.reader)
        learned = [sample.path.name for sample in photos.learned]
        matched = [f'{photo.path.name} to {copy.path.name}' for photo, copy in photos.pairs]
        job.say(f'Training on {", ".join(learned)}; then matching {", ".join(matched)}')
        rows: list[dict[str, Any]] = []
        targets = []
        for seed in self.seeds:
            recipe = Recipe.within(self.minutes, config_path(CONFIG), self.overrides, seed)
            write = partial(write_samples, samples=photos.learned)
            trained = job.train(str(seed), Kept(job.trainings, self.kind, recipe, write))
            model, turned = trained.checkpoint, photos.turned_pairs(seed)
            matchers: dict[str, Matcher] = {
                'trained': Learned(DescriptorModel(model, job.request.device)),
                'untrained': Learned(DescriptorModel(model.untrained(), job.request.device)),
                'object centroid': centroid,
            }
            for data in filter(None, (turned, photos.named_pairs())):
                rows += [photo_row(data, name, seed, own) for name, own in matchers.items()]
            own = accuracy(turned, matchers['trained'])
            used = round(trained.cpu_minutes, 2)
            targets += [
                Target('median error in pixels', own.median_px, 8),
                Target('share within 20 px', own.pck_20, 0.8, at_least=True),
                Target('processor minutes of training', used, self.minutes),
            ]
        others = not_trained(job)
        for data in filter(None, (photos.turned_pairs(self.seeds[0]), photos.named_pairs())):
            rows += [photo_row(data, name, '', own and own(data)) for name, own in others.items()]
        title = 'Points of a photo found in others, pixels of a 640-pixel-wide picture'
        details = {'trained_on': learned, 'matched': matched, 'cards': job.cards}
        return Outcome(title, rows, targets, details)


def photo_row(
    data: PairSet, name: str, seed: int | str, matcher: Matcher | None
) -> dict[str, Any]:
    """Measure a matcher on photos; a row that says so where there is none."""
    figures: dict[str, Any] = dict.fromkeys(BRIEF, UNMEASURED)
    if matcher is not None:
        figures = accuracy(data, matcher).rounded(BRIEF)
    return {'looked for': data.origin, 'descriptors': name, 'seed': seed, **figures}
