"""What the grasping benchmark keeps, counts and shows."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks import grasping
from benchmarks.grasping_page import marked, page_of
from don_kp_ros.geometry import rigid
from don_kp_ros.simulation.camera import D435


def row(verdict: str, error: float | None, seconds: float, **more: object) -> dict[str, Any]:
    steps = [
        {'phase': 'plan', 'simulated': 0.1, 'real': 1.0},
        {'phase': 'lift', 'simulated': seconds, 'real': 2 * seconds},
    ]
    told = {'verdict': verdict, 'message': 'a <sentence>', 'error': error, 'turn': None}
    pinch = {**told, 'steps': steps, 'grasp': None}
    name = grasping.key(grasping.Settings('mug', 'pinch', 2, 'feed', 'abc'), 7)
    plain = {'key': name, 'kind': 'mug', 'instance': 5, 'seed': 7, 'failure': ''}
    return {**plain, 'passed': verdict == 'lifted', 'pinch': pinch, 'aligned': None, **more}


def test_a_trial_that_a_kill_cut_off_is_done_again_and_the_others_are_not(tmp_path: Path) -> None:
    path = tmp_path / 'bench' / 'trials.jsonl'
    assert grasping.kept(path) == {}
    grasping.keep(path, {'key': 'a', 'n': 1})
    with path.open('a') as file:
        file.write('{"key": "b", "n":')
    grasping.keep(path, {'key': 'c', 'n': 3})
    assert {name: own['n'] for name, own in grasping.kept(path).items()} == {'a': 1, 'c': 3}


def test_a_trial_of_other_settings_is_another_trial() -> None:
    settings = [
        grasping.Settings(*one)
        for one in (
            ('cap', 'pinch', 2, 'm', 'c'),
            ('mug', 'pinch', 2, 'm', 'c'),
            ('cap', 'aligned', 2, 'm', 'c'),
            ('cap', 'pinch', 3, 'm', 'c'),
            ('cap', 'pinch', 2, 'n', 'c'),
            ('cap', 'pinch', 2, 'm', 'd'),
        )
    ]
    keys = {grasping.key(one, seed) for one in settings for seed in (0, 1)}
    assert len(keys) == 12
    assert len({grasping.picture_of(one) for one in keys}) == 12


def test_figures_are_of_every_trial_also_of_what_could_not_be_taught() -> None:
    rows = [
        row('lifted', 0.002, 3.0),
        row('lifted', 0.012, 5.0),
        row('not found', None, 1.0),
        row('', None, 0.0, pinch=None, failure='teach_object: refused'),
    ]
    found = grasping.summary('mug', 'pinch', rows)
    assert (found['trials'], found['lifted'], found['not found']) == (4, 2, 1)
    assert (found['not taught'], found['within 10 mm']) == (1, 1)
    assert found['median mm'] == pytest.approx(7.0)
    assert sum(found[verdict] for verdict in grasping.VERDICTS) == 4
    by_phase = {one['phase']: one for one in grasping.phases(rows)}
    assert by_phase['lift'] == {'phase': 'lift', 'times': 3, 's, simulated': 3.0, 's, real': 6.0}
    goals = grasping.targets('pinch', 4, [found, {**found, 'lifted': 4}])
    assert [(goal.measured, goal.limit) for goal in goals] == [(0.75, 0.9), (0.0, 0.02)]
    assert grasping.targets('pinch', 2, [found])[0].limit == 0.97
    assert grasping.targets('aligned', 4, [found])[0].limit == 0.93


def test_a_wrong_argument_is_named_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv('OBJECTS', 'cap,cup')
    assert grasping.main() == 2
    assert 'OBJECTS has cup; it must be of cap, mug' in capsys.readouterr().err


def test_every_failure_is_on_the_page_with_its_picture_and_successes_are_not(
    tmp_path: Path,
) -> None:
    picture = tmp_path / 'one.png'
    Image.fromarray(np.zeros((480, 1280, 3), np.uint8)).save(picture)
    rows = [row('lifted', 0.002, 3.0), row('dropped', 0.003, 2.0), row('missed', 0.004, 2.0)]
    shown = [(one, grasping.told(one), picture) for one in rows]
    shown[2] = (*shown[2][:2], tmp_path / 'none.png')
    text = page_of('title', [grasping.summary('mug', 'pinch', rows)], grasping.phases(rows), shown)
    assert text.count('<figure>') == 2 and text.count('<img') == 1
    assert 'mug 5, seed 7: dropped' in text and 'a &lt;sentence&gt;' in text
    assert 'Failures: 2 of 3' in text
    assert json.loads(rows[0]['key'])[-1] == 7


def test_a_grasp_is_drawn_where_the_camera_would_see_the_hand() -> None:
    T_base_optical = rigid.transform(np.diag([1.0, -1.0, -1.0]), [0.5, 0.0, 0.6])
    grasp = rigid.transform(np.diag([-1.0, 1.0, -1.0]), [0.5, 0.0, 0.1])
    view = np.zeros((480, 1280, 3), np.uint8)
    drawn = marked(view, grasp, T_base_optical).any(axis=2)
    assert not view.any() and drawn.any() and not drawn[:, D435.width :].any()
    v, u = np.nonzero(drawn)
    for y in (-0.04, 0.04):  # both fingers' ends, 0.5 m before the camera
        end = D435.project(np.array([0.0, -y, 0.5]))
        assert np.hypot(u - end[0], v - end[1]).min() < 2
