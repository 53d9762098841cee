"""Where the benchmark of a taught point looks for it."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks import report, taught_point


def test_a_point_found_without_the_cap_on_another_table_misses_the_goal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found_in: list[tuple[bool, bool]] = []  # whether the cap is there, and on the table it is on

    def shoot(layout: Any, *_: object) -> tuple[SimpleNamespace, Any]:
        there = layout.subject is not None, layout.seed == 0
        return SimpleNamespace(colour=there), np.zeros(3)

    def transfer(_: object, there: tuple[bool, bool], *__: object) -> SimpleNamespace:
        found = there[0] or there in found_in
        return SimpleNamespace(score=[float(found)])

    model = SimpleNamespace(describe=lambda colour: colour, match_threshold=0.9, fingerprint='f')
    monkeypatch.setattr(report, 'OUTPUT', tmp_path)
    monkeypatch.setattr(taught_point, 'World', lambda *_: SimpleNamespace(camera_pose=lambda: 0))
    monkeypatch.setattr(
        taught_point.checkpoint, 'load', lambda _: SimpleNamespace(untrained=lambda _: None)
    )
    monkeypatch.setattr(taught_point, 'DescriptorModel', lambda _: model)
    monkeypatch.setattr(taught_point, '_shoot', shoot)
    monkeypatch.setattr(taught_point, 'transfer', transfer)
    monkeypatch.setattr(taught_point, '_distance', lambda *_: 0.001)
    monkeypatch.setenv('CAPS', '1')
    monkeypatch.setenv('MODEL', 'mine.safetensors')
    assert taught_point.main() == 0
    written = json.loads((tmp_path / 'taught_point.json').read_text())
    assert 'MODEL=mine.safetensors' in written['command']
    for here in (False, True):
        found_in[:] = [(False, here)]
        assert taught_point.main() == 1
