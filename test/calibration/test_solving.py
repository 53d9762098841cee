"""Hand-eye calibration against the truth of views that OpenCV projects."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from rendered_board import BOARD, D435, rendered

from benchmarks.hand_eye import T_TABLE_BOARD, camera_poses, drawn, seen
from don_kp_ros.calibration.board import Board
from don_kp_ros.calibration.closed_form import park_martin
from don_kp_ros.calibration.detection import Corners, find_corners
from don_kp_ros.calibration.solving import calibrate, turns
from don_kp_ros.calibration.views import Views, angles
from don_kp_ros.errors import RefusedError
from don_kp_ros.geometry import rigid

LENSES = {
    'pinhole': D435,
    'wide': replace(D435, fx=420.0, fy=421.0, distortion=(-0.28, 0.09, 0.001, -0.0005, -0.01)),
}
T_HAND_CAMERA = rigid.transform(rigid.rotation_about([0.1, -0.2, 1.0], 1.6), [0.071, 0.012, -0.03])
T_BASE_CAMERA = rigid.transform(rigid.rotation_about([1.0, 0.3, -0.2], 2.2), [0.9, 0.4, 0.7])
T_HAND_BOARD = rigid.transform(rigid.rotation_about([0.2, 1.0, 0.1], -0.7), [0.02, -0.1, 0.08])


def poses(count: int = 12, tilt: float = 30.0, seed: int = 0) -> np.ndarray:
    """T_board_camera."""
    return camera_poses(np.random.default_rng(seed), count, np.deg2rad(tilt))


def on_the_hand(T_board_camera: np.ndarray, noise_px: float = 0.0, camera=D435) -> Views:
    T_base_hand = T_TABLE_BOARD @ T_board_camera @ np.linalg.inv(T_HAND_CAMERA)
    return views_of(np.linalg.inv(T_base_hand), T_board_camera, noise_px, camera)


def on_a_stand(T_board_camera: np.ndarray) -> Views:
    T_base_hand = T_BASE_CAMERA @ np.linalg.inv(T_board_camera) @ np.linalg.inv(T_HAND_BOARD)
    return views_of(T_base_hand, T_board_camera, 0.0, D435)


def views_of(T_a_b, T_board_camera, noise_px, camera) -> Views:
    corners = seen(np.random.default_rng(1), T_board_camera, camera, noise_px)
    names = [f'{number:02}.png' for number in range(len(corners))]
    return Views.of(names, camera, BOARD, T_a_b, corners)


@pytest.mark.parametrize('lens', LENSES)
def test_without_noise_a_camera_on_the_hand_is_exact(lens):
    found = calibrate(on_the_hand(poses(), camera=LENSES[lens]))
    assert np.allclose(found.poses.T_a_camera, T_HAND_CAMERA, atol=1e-8)
    assert np.allclose(found.poses.T_b_board, T_TABLE_BOARD, atol=1e-8)
    assert found.off_px < 1e-6 and found.off_m < 1e-6 and found.off_rad < 1e-6
    assert found.error_m < 1e-8 and not found.left_out and not found.doubts()


def test_without_noise_a_camera_on_a_stand_is_exact():
    found = calibrate(on_a_stand(poses()))
    assert np.allclose(found.poses.T_a_camera, T_BASE_CAMERA, atol=1e-8)
    assert np.allclose(found.poses.T_b_board, T_HAND_BOARD, atol=1e-8)


def test_the_closed_form_is_exact_without_noise():
    views = on_the_hand(poses(4))
    assert np.allclose(park_martin(views.T_a_b, views.T_camera_board), T_HAND_CAMERA, atol=1e-6)


def test_the_mean_of_many_calibrations_is_true_and_they_scatter_as_they_say():
    """A chi-square of 3 degrees: its mean over 30 is between 2 and 4.3 but for 1 in 1000."""
    squares = []
    for seed in range(30):
        T_board_camera = poses(15, seed=seed)
        T_base_hand = T_TABLE_BOARD @ T_board_camera @ np.linalg.inv(T_HAND_CAMERA)
        corners = seen(np.random.default_rng(100 + seed), T_board_camera, D435, 0.3)
        names = [str(number) for number in range(15)]
        found = calibrate(Views.of(names, D435, BOARD, np.linalg.inv(T_base_hand), corners))
        off = np.linalg.inv(T_HAND_CAMERA) @ found.poses.T_a_camera
        assert np.linalg.norm(off[:3, 3]) < 1.5e-3
        assert 0.35 < found.off_px < 0.5  # .3 in each direction
        squares.append(3 * (np.linalg.norm(off[:3, 3]) / found.error_m) ** 2)
    assert 1.5 < np.mean(squares) < 4.3  # it is a bit careful


def test_they_scatter_as_they_say_also_where_the_robot_is_not_exact():
    """Chi-squares of 3 degrees, as above; of the place and of the turn."""
    squares = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        T_board_camera = poses(15, seed=seed)
        views = on_the_hand(T_board_camera, 0.2)
        off = 10 ** rng.uniform(-4, -3)  # metres, and a radian for each
        shaken = np.array([drawn(rng, off, off) @ T for T in views.T_a_b])
        found = calibrate(replace(views, T_a_b=shaken))
        error = np.linalg.inv(T_HAND_CAMERA) @ found.poses.T_a_camera
        squares.append(
            [
                3 * (np.linalg.norm(error[:3, 3]) / found.error_m) ** 2,
                3 * (angles(error) / found.error_rad) ** 2,
            ]
        )
    # By chance alone beyond these but for 1 in 1000, of 60 degrees together.
    assert (np.mean(squares, axis=0) > 1.6).all() and (np.mean(squares, axis=0) < 5.0).all()


def test_a_robot_that_is_not_exact_makes_the_predicted_error_larger():
    rng = np.random.default_rng(3)
    views = on_the_hand(poses(15), 0.05)
    shaken = np.array([drawn(rng, 1e-3, 2e-3) @ T for T in views.T_a_b])
    exact, off = calibrate(views), calibrate(replace(views, T_a_b=shaken))
    assert off.error_m > 5 * exact.error_m
    error = np.linalg.norm((np.linalg.inv(T_HAND_CAMERA) @ off.poses.T_a_camera)[:3, 3])
    assert error < 3 * off.error_m


def test_views_that_do_not_fit_are_named_and_do_not_count():
    views = on_the_hand(poses(), 0.2)
    wrong = views.T_a_b.copy()
    wrong[3] = rigid.transform(rigid.rotation_about([0, 1, 0], 0.05)) @ wrong[3]
    wrong[7] = rigid.transform(translation=[0.03, 0.0, 0.0]) @ wrong[7]
    found = calibrate(replace(views, T_a_b=wrong))
    assert set(found.left_out) == {'03.png', '07.png'}
    assert min(found.left_out.values()) > 5
    without = calibrate(views.some([i for i in range(12) if i not in (3, 7)]))
    assert np.allclose(found.poses.T_a_camera, without.poses.T_a_camera, atol=1e-6)


def test_little_turning_is_doubted_with_numbers():
    found = calibrate(on_the_hand(poses(tilt=5.0), 0.1))
    (doubt,) = found.doubts()
    second = np.rad2deg(found.turns[1])
    assert second < 15 and f'{second:.1f} about the next' in doubt
    assert found.error_m > 2 * calibrate(on_the_hand(poses(tilt=35.0), 0.1)).error_m


def test_squares_of_another_side_than_is_given_are_doubted_with_the_true_one():
    views = on_the_hand(poses(15), 0.3)
    assert not calibrate(views).doubts()
    found = calibrate(replace(views, board=replace(BOARD, square=0.0325)))
    (doubt,) = found.doubts()
    best, deviation = found.square
    assert abs(best - BOARD.side()) < 4 * deviation < 2e-4
    assert f'fit best with squares of {1e3 * best:.2f}' in doubt and '32.50 mm is given' in doubt


def test_turns_about_one_axis_alone_are_refused():
    T_board_camera = poses()
    middle = BOARD.corners().mean(axis=0)
    for number, angle in enumerate(np.linspace(-1, 1, len(T_board_camera))):
        R = rigid.rotation_about([0, 0, 1], angle)
        T_board_camera[number] = rigid.transform(R, middle - 0.4 * R[:, 2])
    with pytest.raises(RefusedError, match=r'about one axis and 0\.0 about the next'):
        calibrate(on_the_hand(T_board_camera))


def test_turns_are_the_known_ones():
    about = [rigid.transform(rigid.rotation_about([0, 0, 1], angle)) for angle in (0.0, 0.3, 0.6)]
    assert np.allclose(turns(np.array(about)), [np.sqrt((0.09 + 0.09 + 0.36) / 3), 0, 0])


def test_too_few_views_are_refused():
    with pytest.raises(RefusedError, match='4 views are of use; 5 are needed'):
        calibrate(on_the_hand(poses(4)))


def test_poses_of_another_meaning_are_refused():
    views = on_the_hand(poses())
    inverted = replace(views, T_a_b=np.linalg.inv(views.T_a_b))
    with pytest.raises(RefusedError, match='they tell of no one place'):
        calibrate(inverted)


def test_pictures_of_the_board_give_the_camera_s_place_within_a_millimetre():
    T_board_camera = poses(10, seed=4)
    T_base_hand = T_TABLE_BOARD @ T_board_camera @ np.linalg.inv(T_HAND_CAMERA)
    corners = [find_corners(rendered(T, D435), BOARD) for T in T_board_camera]
    assert all(len(one.number) >= 20 for one in corners)
    names = [str(number) for number in range(10)]
    found = calibrate(Views.of(names, D435, BOARD, np.linalg.inv(T_base_hand), corners))
    off = np.linalg.inv(T_HAND_CAMERA) @ found.poses.T_a_camera
    assert np.linalg.norm(off[:3, 3]) < 1e-3
    assert np.arccos((np.trace(off[:3, :3]) - 1) / 2) < np.deg2rad(0.1)
    assert found.off_px < 0.3


def test_a_picture_without_the_board_says_what_is_seen():
    with pytest.raises(RefusedError, match='0 corners and 0 markers of the board are seen'):
        find_corners(np.full((480, 640, 3), 200, dtype=np.uint8), BOARD)


def test_corners_on_one_line_are_refused():
    board = Board(columns=14, rows=5, square=0.02)
    flat = board.aruco().generateImage((14 * 48, 5 * 48))
    flat[2 * 48 + 6 :] = 255  # of the markers below the first row of corners, one row is left
    with pytest.raises(RefusedError, match='only one line of corners is seen'):
        find_corners(np.repeat(flat[..., None], 3, axis=2), board)


def test_corners_where_the_lens_sends_no_rays_are_refused():
    bent = replace(D435, distortion=(-3.0, 0.0, 0.0, 0.0))
    corners = Corners(np.arange(28), np.tile([[2.0, 2.0]], (28, 1)) + np.arange(28)[:, None] % 7)
    with pytest.raises(RefusedError, match='sends no ray'):
        Views.of(['a'], bent, BOARD, np.eye(4)[None], [corners])


def repeated(seed: int, count: int, times: int) -> Views:
    """Return several views from each of some poses of a hand, which are off by up to .5 mm."""
    rng = np.random.default_rng(seed)
    T_board_camera = poses(count, seed=seed)
    T_base_hand = T_TABLE_BOARD @ T_board_camera @ np.linalg.inv(T_HAND_CAMERA)
    told = np.array([drawn(rng, 5e-4, 1e-3) @ T for T in np.linalg.inv(T_base_hand)])
    corners = seen(rng, np.repeat(T_board_camera, times, axis=0), D435, 0.1)
    names = [str(number) for number in range(count * times)]
    return Views.of(names, D435, BOARD, np.repeat(told, times, axis=0), corners)


def test_pictures_from_one_pose_of_the_hand_make_a_calibration_no_surer():
    """Else several of each would tell a third to a half of the true error."""
    for seed in range(4):
        one, several = (calibrate(repeated(seed, 6, times)) for times in (1, 4))
        assert several.error_m > 0.75 * one.error_m
        assert several.square[1] > 0.75 * one.square[1]
        assert not any('squares' in doubt for doubt in several.doubts())


def test_too_few_poses_of_the_hand_are_refused_however_many_pictures():
    with pytest.raises(RefusedError, match='15 views are of use, from 3 poses of the hand'):
        calibrate(repeated(0, 3, 5))
