"""How sure a refined pose is told to be."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.oracle import off
from benchmarks.pictured import from_files, look
from benchmarks.templates import made
from don_kp_ros.networks.model import DescriptorModel
from don_kp_ros.pose.close_up import refine_close_up
from don_kp_ros.resources import shipped_model

Array = NDArray[np.float64]


def step_between(T: Array, true: Array) -> Array:
    """Return the step (6,) from one pose (4, 4) to another, see `Pose.covariance`."""
    turn = true[:3, :3] @ T[:3, :3].T
    about = np.array([turn[2, 1], turn[0, 2], turn[1, 0]])
    about = (about - [turn[1, 2], turn[2, 0], turn[0, 1]]) / 2
    return np.concatenate([true[:3, 3] - T[:3, 3], about])


def test_poses_are_off_by_as_much_as_the_covariance_says(tmp_path: Path) -> None:
    """In pictures of the simulated camera, by the shipped model."""
    model = DescriptorModel.load(shipped_model())
    folder = made(tmp_path)
    boxes = from_files([folder / name / 'textured.obj' for name in ('box', 'packet')])
    squared: dict[bool, list[float]] = {False: [], True: []}
    for number in range(8):
        rng = np.random.default_rng([11, number])
        one = boxes[number % 2]
        picture = look([one], rng)
        (true,) = picture.T
        start = off(true, 5, 0.005, rng)
        for with_depth, told in squared.items():
            depth = picture.depth if with_depth else None
            found = refine_close_up(
                one.subject, start, picture.image, picture.camera, depth, model
            )
            if found.refused is None:
                away = step_between(found.T_camera_object, true)
                told.append(float(away @ np.linalg.solve(found.covariance, away)))
    for told in squared.values():
        assert len(told) >= 7
        assert 1.5 < np.median(told) < 18  # 5.3 is that of six normal numbers
