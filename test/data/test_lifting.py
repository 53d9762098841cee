import numpy as np
import pytest

from don_kp_ros.data.homography import local_scale
from don_kp_ros.data.lifting import LiftConfiguration, intrinsics, pair_geometry
from don_kp_ros.geometry import rigid

K = np.array([[200.0, 0, 95.5], [0, 200, 95.5], [0, 0, 1]])


def project(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    pixels = points @ K.T
    return pixels[:, :2] / pixels[:, 2:], points[:, 2].copy()


def test_the_motion_of_a_rigid_scene_is_found() -> None:
    rng = np.random.default_rng(0)
    a = rng.uniform([-0.1, -0.1, 0.4], [0.1, 0.1, 0.6], (60, 3))
    T_b_a = rigid.transform(rigid.rotation_about([1, 2, 3], 0.4), [0.05, -0.02, 0.03])
    (uv_a, depth_a), (uv_b, depth_b) = project(a), project(rigid.apply(T_b_a, a))
    depth_a[:7], depth_b[20] = np.nan, np.nan
    found = pair_geometry((uv_a, uv_b), (depth_a, depth_b), K)
    np.testing.assert_allclose(found.T_b_a, T_b_a, atol=1e-9)
    np.testing.assert_allclose(found.T_world_b @ found.T_b_a, found.T_world_a, atol=1e-9)


def test_without_depth_there_is_no_motion() -> None:
    uv = np.zeros((5, 2))
    unknown = np.full(5, np.nan)
    with pytest.raises(ValueError, match='0 correspondences have a depth'):
        pair_geometry((uv, uv), (unknown, unknown), K)


def test_a_whole_picture_spans_the_field_of_view() -> None:
    matrix = intrinsics(LiftConfiguration(field_of_view=90), input_size=320, side=192)
    # A pixel half a picture from the middle is seen at 45 degrees.
    ray = np.linalg.inv(matrix) @ [95.5 + 160, 95.5, 1]
    np.testing.assert_allclose(ray, [1, 0, 1])


def test_the_local_scale_is_the_root_of_the_jacobians_determinant() -> None:
    homography = np.array([[1.2, 0.1, 5], [-0.2, 0.9, 3], [1e-3, -5e-4, 1]])
    points = np.array([[10.0, 20.0], [-30.0, 40.0]], np.float32)

    def mapped(uv: np.ndarray) -> np.ndarray:
        x = homography @ [*uv, 1]
        return x[:2] / x[2]

    for point, scale in zip(points.astype(float), local_scale(homography, points), strict=True):
        jacobian = np.stack(
            [(mapped(point + e) - mapped(point - e)) / 2e-4 for e in 1e-4 * np.eye(2)], axis=1
        )
        assert scale == pytest.approx(np.sqrt(np.linalg.det(jacobian)), rel=1e-6)


@pytest.mark.parametrize('bad', [{'field_of_view': 0}, {'distance': 0}])
def test_impossible_cameras_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        LiftConfiguration(**bad)
