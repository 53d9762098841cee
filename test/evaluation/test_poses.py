"""Measures of poses against values that can be worked out."""

from pathlib import Path

import numpy as np
import pytest

from don_kp_ros.evaluation import poses
from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera

CAMERA = Camera(640, 480, 600.0, 500.0, 320.0, 240.0)
TRUE = rigid.transform(rigid.rotation_about([1, 2, 3], 1.0), [0.1, -0.05, 1.0])
BOX = np.array(np.meshgrid([-0.04, 0.04], [-0.03, 0.03], [-0.02, 0.02])).reshape(3, -1).T
EYE = np.eye(4)[None]


def half_turn() -> np.ndarray:
    return rigid.transform(rigid.rotation_about([0, 0, 1], np.pi))


def test_a_shift_is_its_length_by_all_measures_in_space() -> None:
    T = rigid.transform(translation=[0.003, 0, 0.004]) @ TRUE
    assert poses.add(T, TRUE, BOX) == pytest.approx(0.005)
    assert poses.add_s(T, TRUE, BOX) == pytest.approx(0.005)
    assert poses.mssd(T, TRUE, BOX, EYE) == pytest.approx(0.005)


def test_a_turn_by_a_symmetry_counts_in_add_alone() -> None:
    T = TRUE @ half_turn()
    assert poses.add(T, TRUE, BOX) == pytest.approx(2 * np.hypot(0.04, 0.03))
    assert poses.add_s(T, TRUE, BOX) == pytest.approx(0, abs=1e-12)
    both = np.stack([np.eye(4), half_turn()])
    assert poses.mssd(T, TRUE, BOX, both) == pytest.approx(0, abs=1e-12)
    assert poses.mspd(T, TRUE, BOX, both, CAMERA) == pytest.approx(0, abs=1e-9)
    assert poses.mssd(T, TRUE, BOX, EYE) == pytest.approx(2 * np.hypot(0.04, 0.03))


def test_add_s_is_that_of_every_pair() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(700, 3))
    T = rigid.transform(rigid.rotation_about([0, 1, 0], 0.5), [0.2, 0, 1.0])
    a, b = rigid.apply(TRUE, points), rigid.apply(T, points)
    expected = np.mean([np.linalg.norm(b - one, axis=1).min() for one in a])
    assert poses.add_s(T, TRUE, points) == pytest.approx(expected)


def test_the_distance_in_the_picture_is_in_pixels() -> None:
    points = np.zeros((1, 3))
    true = rigid.transform(translation=[0, 0, 2.0])
    T = rigid.transform(translation=[0.01, 0, 2.0])
    assert poses.mspd(T, true, points, EYE, CAMERA) == pytest.approx(3.0)
    behind = rigid.transform(translation=[0, 0, -2.0])
    assert poses.mspd(behind, true, points, EYE, CAMERA) == np.inf


def test_the_area_is_that_under_the_curve() -> None:
    rng = np.random.default_rng(0)
    errors = np.append(rng.uniform(0, 0.15, 500), np.inf)
    thresholds = np.linspace(0, 0.1, 20001)
    curve = np.searchsorted(np.sort(errors), thresholds, side='right') / len(errors)
    assert poses.auc(errors) == pytest.approx(curve.mean(), abs=1e-4)
    assert poses.auc([0.0]) == 1 and poses.auc([np.inf, 0.2]) == 0


def test_objects_are_summarised_each_by_itself() -> None:
    rows = [('a', 0.01, 0.001), ('b', 0.01, 0.01), ('a', 0.03, 0.002)]
    found = poses.by_object(rows, {'a': 0.2, 'b': 0.05})
    assert found['a'] == poses.Summary(2, pytest.approx(0.8), pytest.approx(0.985), 0.5, 1.0)
    assert found['b'].found == 0 and found['b'].number == 1


def test_files_of_bop_are_in_millimetres_and_come_back(tmp_path: Path) -> None:
    path = tmp_path / 'don-kp_scenes-test.csv'
    poses.write_bop(path, [poses.Estimate(2, 7, 5, 0.75, TRUE, 0.1)])
    header, line = path.read_text().splitlines()
    assert header == 'scene_id,im_id,obj_id,score,R,t,time'
    assert line.startswith('2,7,5,0.75,') and ',100 -50 1000,0.1' in line
    (found,) = poses.read_bop(path)
    np.testing.assert_allclose(found.T_camera_object, TRUE, atol=1e-8)
    assert (found.scene, found.image, found.object, found.seconds) == (2, 7, 5, 0.1)
    path.write_text(f'{header}\n1,2,3,4,1 0 0,0 0 0,1\n')
    with pytest.raises(ValueError, match='line 2'):
        poses.read_bop(path)


@pytest.mark.parametrize(
    ('line', 'wrong'),
    [
        ('1,2,3,0.5,1 0 0 0 1 0 0 0 5,0 0 900,1', 'the pose R, t is not rigid: a rotation'),
        ('1,2,3,0.5,1 0 0 0 1 0 0 0 -1,0 0 900,1', 'the pose R, t is not rigid: a rotation'),
        ('1,2,3,0.5,1 0 0 0 1 0 0 0 nan,0 0 900,1', 'the pose R, t must be 4x4 finite'),
        ('1,2,3,0.5,1 0 0 0 1 0 0 0 1,0 nan 900,1', 'the pose R, t must be 4x4 finite'),
        ('1,2,3,nan,1 0 0 0 1 0 0 0 1,0 0 900,1', '.*score is nan and time 1; both'),
        ('1,2,3,0.5,1 0 0 0 1 0 0 0 1,0 0 900,inf', '.*score is 0.5 and time inf; both'),
    ],
)
def test_estimates_that_are_no_poses_are_named(tmp_path: Path, line: str, wrong: str) -> None:
    path = tmp_path / 'don-kp_scenes-test.csv'
    poses.write_bop(path, [poses.Estimate(2, 7, 5, 0.75, TRUE)])
    with path.open('a') as file:
        file.write(f'{line}\n')
    with pytest.raises(ValueError, match=f'{path}[:,] line 3: {wrong}'):
        poses.read_bop(path)
