"""What the benchmark of detections counts."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from benchmarks import detections
from don_kp_ros.errors import RefusedError


def test_an_object_that_cannot_be_taught_is_a_view_without_detections(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: object) -> None:
        raise RefusedError('nothing stands out of the table')

    monkeypatch.setattr(detections, 'shoot', lambda *_: SimpleNamespace(taught=refuse))
    (row,) = detections.trial(0, 0, cast(Any, None), {})
    good = {**row, 'seen': True, 'IoU': 0.8, 'alone': 0.6, 'found': [True], 'limited': [True]}
    told = detections.summary('all', [row, good])
    assert (told['views'], told['seen'], told['IoU'], told['alone']) == (2, 0.5, 0.4, 0.3)
    assert (told['found'], told['limited'], told['found, wrong']) == (1, 1, 0)
    assert (told['wrong names'], told['elsewhere']) == (0, 0)
