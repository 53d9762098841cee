"""Stored points in a picture: found with a position, or not with a reason."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from don_kp_ros.geometry.camera import Camera
from don_kp_ros.geometry.depth import DepthImage
from don_kp_ros.matching.maps import describe_at
from don_kp_ros.matching.points import find_points
from don_kp_ros.matching.view import View

SIZE = (48, 64)
CAMERA = Camera(64, 48, 60.0, 61.0, 31.5, 23.5)


@pytest.fixture
def descriptor_map():
    torch.manual_seed(0)
    return functional.normalize(torch.randn(8, 12, 16), dim=0)


def find(descriptor_map, view, threshold=0.9):
    query = describe_at(descriptor_map, torch.tensor([[40.0, 12.0]]), SIZE)
    return find_points(descriptor_map, ['cap/brim'], query, view, threshold)[0]


def test_a_point_with_depth_is_found_where_it_projects_to(descriptor_map):
    depth = np.full(SIZE, np.nan, dtype=np.float32)
    depth[12, 41] = 0.5
    point = find(descriptor_map, View(SIZE, DepthImage(depth), CAMERA))
    assert point.found
    assert point.reason == ''
    assert point.uv == (40, 12)
    assert point.score == pytest.approx(1, abs=1e-5)
    assert point.position[2] == pytest.approx(0.5)
    np.testing.assert_allclose(CAMERA.project(point.position), (40, 12))


def test_a_point_without_depth_is_not_found(descriptor_map):
    nowhere = DepthImage(np.full(SIZE, np.nan, dtype=np.float32))
    point = find(descriptor_map, View(SIZE, nowhere, CAMERA))
    assert not point.found
    assert point.reason == 'no depth within 5x5 pixels of (40, 12)'
    assert np.isnan(point.position).all()


def test_a_picture_without_depth_or_camera_says_what_it_lacks(descriptor_map):
    point = find(descriptor_map, View(SIZE, lacks='no camera info yet'))
    assert not point.found
    assert point.reason == 'no camera info yet'


def test_a_point_below_the_threshold_is_not_found_but_has_its_pixel(descriptor_map):
    depth = np.full(SIZE, 0.5, dtype=np.float32)
    point = find(descriptor_map, View(SIZE, DepthImage(depth), CAMERA), threshold=1.1)
    assert not point.found
    assert 'below the threshold 1.100' in point.reason
    assert point.uv == (40, 12)


def test_no_names_give_no_points(descriptor_map):
    assert find_points(descriptor_map, [], torch.zeros(0, 8), View(SIZE, lacks='x'), 0.5) == []


def test_depth_and_camera_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r'depth image is 20x10, the picture 64x48'):
        View(SIZE, DepthImage(np.zeros((10, 20), np.float32)), CAMERA)
    with pytest.raises(ValueError, match='camera info says 20x10'):
        View(SIZE, None, Camera(20, 10, 1.0, 1.0, 0.0, 0.0))
