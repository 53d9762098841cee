"""Files of BOP data sets."""

import json
from pathlib import Path

import numpy as np
import pytest

from don_kp_ros.errors import RefusedError
from don_kp_ros.evaluation.poses import mssd
from don_kp_ros.geometry import rigid
from don_kp_ros.meshes.bop import nearest, read_models_info

HALF = [-1, 0, 0, 20, 0, -1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]


def test_diameters_and_symmetries_become_metres(tmp_path: Path) -> None:
    path = tmp_path / 'models_info.json'
    path.write_text(
        json.dumps(
            {
                '1': {'diameter': 172.1, 'min_x': -10},
                '2': {'diameter': 100, 'symmetries_discrete': [HALF]},
                '3': {
                    'diameter': 100,
                    'symmetries_continuous': [{'axis': [0, 0, 1], 'offset': [10, 0, 0]}],
                },
            }
        )
    )
    found = read_models_info(path)
    assert found[1].diameter == pytest.approx(0.1721)
    np.testing.assert_array_equal(found[1].symmetries, np.eye(4)[None])
    np.testing.assert_allclose(found[2].symmetries[1][:3, 3], [0.02, 0, 0])
    assert len(found[3].symmetries) > 32
    for one in found[3].symmetries:  # the axis stays where it is
        np.testing.assert_allclose(rigid.apply(one, [0.01, 0, 0.3]), [0.01, 0, 0.3], atol=1e-12)


def test_a_pose_that_is_turned_about_its_axis_is_hardly_off(tmp_path: Path) -> None:
    path = tmp_path / 'models_info.json'
    axes = [{'axis': axis, 'offset': [0, 0, 0]} for axis in ([0, 0, 1], [1, 0, 0])]
    path.write_text(
        json.dumps(
            {
                '1': {'diameter': 125.6, 'symmetries_continuous': axes[:1]},
                '2': {'diameter': 125.6, 'symmetries_continuous': axes},
            }
        )
    )
    can, ball = (one.symmetries for one in read_models_info(path).values())
    rim = np.array([[0.038, 0, 0.05], [0, 0.038, 0.05], [-0.038, 0, -0.05], [0, -0.038, -0.05]])
    true = rigid.transform(translation=[0, 0, 0.6])
    for degrees in (0.57, 2.8, 123.4):
        T = true @ rigid.transform(rigid.rotation_about([0, 0, 1], np.deg2rad(degrees)))
        assert mssd(T, true, rim, can) < 0.0005
    assert len(ball) < 1000


@pytest.mark.parametrize('text', ['[', '[]', '{"1": {}}', '{"1": {"diameter": -1}}'])
def test_what_is_no_such_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / 'models_info.json'
    path.write_text(text)
    with pytest.raises(RefusedError, match=r"models_info.json: is no BOP data set's"):
        read_models_info(path)


def test_of_equal_poses_the_one_next_to_the_start_is_taken() -> None:
    half = rigid.transform(rigid.rotation_about([0, 0, 1], np.pi), [0.02, 0, 0])
    start = rigid.transform(rigid.rotation_about([1, 1, 0], 0.7), [0, 0, 0.5])
    T = start @ rigid.transform(rigid.rotation_about([1, 0, 0], 0.05)) @ half
    found = nearest(T, start, np.stack([np.eye(4), half]))
    np.testing.assert_allclose(found, T @ half, atol=1e-12)
