"""Refinement in a part of a picture, and what it is compared with."""

import cv2
import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray
from PIL import Image

from benchmarks import refinement_trained
from benchmarks.pictured import Model, Picture
from don_kp_ros.evaluation.poses import add, auc
from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera
from don_kp_ros.meshes.picture import drawn_over
from don_kp_ros.meshes.reading import read
from don_kp_ros.networks.model import DescriptorModel
from don_kp_ros.pose.close_up import about, refine_close_up
from don_kp_ros.pose.comparison import Live
from don_kp_ros.pose.mesh_descriptors import refine_rendering
from don_kp_ros.pose.refinement import stepped
from don_kp_ros.resources import shipped_model

CAMERA = Camera(640, 480, 600.0, 600.0, 319.5, 239.5)
TURN = rigid.rotation_about([1, 0.3, 0.2], 2.4)


@pytest.fixture(scope='module')
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Make a box with a coarse print."""
    file = tmp_path_factory.mktemp('close_up') / 'box.obj'
    rng = np.random.default_rng(0)
    box = trimesh.creation.box([0.12, 0.08, 0.05])
    corners = np.asarray(box.vertices)[box.faces].reshape(-1, 3)
    box = trimesh.Trimesh(corners, np.arange(36).reshape(-1, 3), process=False)
    texture = cv2.resize(rng.integers(0, 255, (12, 12, 3), dtype=np.uint8), (192, 192))
    uv = corners[:, :2] * 3 + corners[:, 2:] * [1.7, 0.9] + 0.5
    box.visual = trimesh.visual.TextureVisuals(
        uv, trimesh.visual.material.SimpleMaterial(image=Image.fromarray(texture))
    )
    box.export(file)
    return Model.of('box', read(file))


def pictured(model: Model, place: list[float]) -> Picture:
    ground = np.random.default_rng(1).integers(60, 120, (6, 8, 3), dtype=np.uint8)
    large = np.asarray(cv2.resize(ground, (640, 480)), np.uint8)
    T = rigid.transform(TURN, place)
    image, _ = drawn_over(large, model.subject.mesh, T, CAMERA)
    return Picture(image, None, CAMERA, [model], [T], [1.0])


@pytest.mark.parametrize('place', [[0.0, 0.0, 0.9], [0.3, -0.2, 0.9], [0.0, 0.0, 0.2]])
def test_the_part_shows_the_object_whole_and_keeps_within_the_picture(
    model: Model, place: list[float]
) -> None:
    T = rigid.transform(TURN, place)
    rows, columns = about(model.subject, T, CAMERA)
    assert 0 <= rows.start < rows.stop <= 480 and 0 <= columns.start < columns.stop <= 640
    assert rows.stop - rows.start == columns.stop - columns.start
    if place[2] > 0.5:
        u, v = CAMERA.project(rigid.apply(T, model.subject.vertices)).T
        assert rows.start < v.min() and v.max() < rows.stop
        assert columns.start < u.min() and u.max() < columns.stop
        assert rows.stop - rows.start < 240


@pytest.mark.parametrize('place', [[0.0, 0.0, -0.5], [3.0, 0.0, 0.6]])
def test_of_an_object_out_of_view_the_part_is_all(model: Model, place: list[float]) -> None:
    parts = about(model.subject, rigid.transform(translation=place), CAMERA)
    assert parts == (slice(0, 480), slice(0, 640))


def test_a_small_object_is_found_nearer_than_in_the_whole_picture(model: Model) -> None:
    network = DescriptorModel.load(shipped_model())
    picture = pictured(model, [0.03, -0.02, 0.9])
    (true,) = picture.T
    errors: dict[str, list[float]] = {'close': [], 'whole': []}
    live = Live.of(network.describe(picture.image).numpy(), CAMERA)
    for seed in range(3):
        start = away(true, seed)
        image, subject = picture.image, model.subject
        close = refine_close_up(subject, start, image, CAMERA, None, network)
        whole = refine_rendering(subject, start, image, CAMERA, live, network)
        errors['close'].append(add(close.T_camera_object, true, model.points))
        errors['whole'].append(add(whole.T_camera_object, true, model.points))
    assert np.median(errors['close']) < 0.6 * np.median(errors['whole'])
    assert np.median(errors['close']) < 0.005


def away(T: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Turn a pose by 6 degrees and shift it by 5 mm."""
    rng = np.random.default_rng(seed)
    shift, turn = rng.normal(size=3), rng.normal(size=3)
    step = [*(0.005 * shift / np.linalg.norm(shift)), *(0.1 * turn / np.linalg.norm(turn))]
    return stepped(T, np.array(step))


def test_starts_like_posecnn_are_as_far_off(model: Model) -> None:
    rng = np.random.default_rng(0)
    true = rigid.transform(TURN, [0.05, 0.0, 0.65])
    starts = [refinement_trained.posecnn_like(true, rng) for _ in range(400)]
    area = auc([add(start, true, model.points) for start in starts])
    assert 0.48 < area < 0.6  # published: .537
