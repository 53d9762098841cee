"""What the refinement benchmarks count as found."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import refinement, refinement_trained
from benchmarks.oracle import built_in
from don_kp_ros.pose.estimate import Refusal, Why
from don_kp_ros.pose.render_and_compare import Refined

Array = NDArray[np.float64]


def test_a_method_that_returns_its_start_misses_every_goal_of_what_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unmoved(_: object, starts: Sequence[Array], *__: object) -> list[Refined]:
        return [Refined.none(start, Refusal(Why.NO_BETTER, 'not tried')) for start in starts]

    monkeypatch.setattr(refinement, 'refine', unmoved)
    monkeypatch.setattr(refinement, '_STEPS', 0)
    things = built_in()
    single = [row for i in range(6) for row in refinement.one_object(things, i, 0)]
    many = [row for i in range(8) for row in refinement.five_objects(things, i, 0)]
    table = refinement.table_of(single, many)
    goals = [own for own in refinement.targets(table) if own.at_least]
    assert len(goals) == 5 and not any(own.met for own in goals)
    of_ours = [row for row in table if row['method'] != 'depth alone']
    assert all(row['found'] == row['of the starts'] and row['start kept'] == 1 for row in of_ours)
    # From so near, nearly every start counts as found.
    name = 'five objects, 60% to 90% seen, together'
    (near,) = [r for r in table if (r['start'], r['method']) == ('10 degrees, 1 cm', name)]
    assert near['found'] > 0.9 and near['right starts spoilt'] == 0


def test_starts_that_were_right_and_became_wrong_are_counted() -> None:
    def row(before: float, after: float, kept: bool = False) -> dict[str, object]:
        own = {'before': before, 'after': after, 'after_s': after, 'kept': kept}
        plain = {'start': 'near', 'method': 'descriptors', 'diameter': 0.2, 'seconds': 1.0}
        return {**plain, **own}

    rows = [row(0.01, 0.03), row(0.01, 0.01, kept=True), row(0.03, 0.001), row(0.03, 0.05)]
    others = [{**rows[0], 'method': name} for name in refinement_trained.METHODS][1:]
    (found, *_) = refinement_trained.of_starts([*rows, *others])
    assert (found['found'], found['of the starts'], found['start kept']) == (0.5, 0.5, 0.25)
    assert found['right starts spoilt'] == 1
