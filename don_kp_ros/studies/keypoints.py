"""How well keypoints keep their places between views of held pictures."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

from don_kp_ros.configuration import ConfigurationError, within
from don_kp_ros.evaluation.keypoints import measure_keypoints
from don_kp_ros.evaluation.matchers import at_scale
from don_kp_ros.evaluation.results import Target
from don_kp_ros.studies.splits import Data, method_recipe
from don_kp_ros.studies.study import Job, Outcome, Study, not_empty

_SPLIT = 'held'
_JUDGED = 'joint'
_UPRIGHT, _ANY = 45.0, 180.0  # degrees, +-, by which views are turned
_MEDIAN_PX = {10: 3.2, 30: 2.5}  # by minutes
_TURNED_PX = 6.0
_INSIDE, _SPREAD = 0.97, 0.9


@dataclass(frozen=True)
class KeypointStudy(Study):
    """Measures the trainings of the accuracy study's split `held` by their keypoints.

    Views are turned by +-45 degrees, as in training, and by +-180: as they are, and looked at in
    `turns` copies turned by equal angles, of which the most certain is believed
    (DescriptorModel.keypoints). retrain: also train with views turned by +-180 degrees.
    """

    kind: ClassVar[str] = 'keypoints'

    methods: tuple[str, ...] = ('mined', 'joint')
    turns: int = 8
    retrain: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        within('turns', self.turns, 1, 360)
        not_empty('methods', self.methods, 'those in config/training that learn keypoints')

    def run(self, job: Job) -> Outcome:
        """Train and measure; see Study."""
        for method in self.methods:
            settings = method_recipe(method, _UPRIGHT, self, self.seeds[0]).settings
            if settings.network.keypoints is None and not settings.chosen_keypoints:
                raise ConfigurationError(
                    f'methods names {method}, which has no keypoints: leave it out, or set '
                    'network.keypoints or chosen_keypoints by overrides'
                )
        data = Data.read(job.request.data, job.reader)
        ranges = {rotation: data.split(_SPLIT, rotation) for rotation in (_UPRIGHT, _ANY)}
        rows: list[dict[str, Any]] = []
        learned = (_UPRIGHT, _ANY) if self.retrain else (_UPRIGHT,)
        for method, seed, turned in product(self.methods, self.seeds, learned):
            kept = data.training(job.trainings, ranges[turned], method, self, seed)
            trained = job.train(f'{method}-{seed}-{turned:g}', kept)
            for (shown, split), copies in product(ranges.items(), (1, self.turns)):
                model = at_scale(trained.checkpoint, split.about)
                known = {
                    'method': method,
                    'seed': seed,
                    'trained +-': turned,
                    'shown +-': shown,
                    'copies': copies,
                }
                quality = measure_keypoints(model, split.about, copies)
                rows.append({**known, **quality.rounded()})
        title = (
            f'Keypoints between views of held pictures after {self.minutes:g} processor minutes, '
            'pixels of a 640-pixel-wide picture'
        )
        return Outcome(title, rows, self._targets(rows))

    def _targets(self, rows: list[dict[str, Any]]) -> list[Target]:
        """Judge the default method, or the first where it was not run."""
        method = _JUDGED if _JUDGED in self.methods else self.methods[0]

        def mean(figure: str, shown: float, copies: int) -> float:
            key = (method, _UPRIGHT, shown, copies)
            names = ('method', 'trained +-', 'shown +-', 'copies')
            own = [row[figure] for row in rows if tuple(row[name] for name in names) == key]
            return round(sum(own) / len(own), 3)

        targets = []
        if (minutes := int(self.minutes)) in _MEDIAN_PX:
            median = mean('median_px', _UPRIGHT, 1)
            targets.append(Target('median px, +-45 degrees', median, _MEDIAN_PX[minutes]))
        inside, spread = (mean(name, _UPRIGHT, 1) for name in ('inside', 'spread'))
        turned = mean('median_px', _ANY, self.turns)
        return [
            *targets,
            Target('share inside the mask, +-45 degrees', inside, _INSIDE, at_least=True),
            Target("spread over the mask's, +-45 degrees", spread, _SPREAD, at_least=True),
            Target(f'median px, +-180 degrees, {self.turns} copies', turned, _TURNED_PX),
        ]
