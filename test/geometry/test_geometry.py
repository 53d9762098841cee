"""Geometry against analytic truth and scipy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera
from don_kp_ros.geometry.frames import TransformError, TransformTree, TwoParentsError

CAMERA = Camera(640, 480, 615.0, 614.0, 321.5, 238.0)
angles = st.floats(-np.pi, np.pi)


@given(st.floats(0, 639), st.floats(0, 479), st.floats(0.1, 5))
def test_projection_inverts_deprojection(u: float, v: float, depth: float) -> None:
    point = CAMERA.deproject([u, v], depth)
    assert point[2] == depth
    assert CAMERA.project(point) == pytest.approx([u, v], abs=1e-9)


def test_a_point_off_the_axis_projects_where_similar_triangles_say() -> None:
    assert CAMERA.project([0.1, -0.2, 2.0]) == pytest.approx(
        [321.5 + 615 * 0.05, 238.0 - 614 * 0.1]
    )
    assert np.isnan(CAMERA.project([0.1, 0.2, -1.0])).all()


def test_the_picture_ends_half_a_pixel_beyond_the_outer_centres() -> None:
    assert CAMERA.contains([[0, 0], [639.4, 479.4], [-0.6, 0], [0, 479.6]]).tolist() == [
        True,
        True,
        False,
        False,
    ]


@given(st.tuples(angles, angles, angles))
def test_quaternions_agree_with_scipy(euler: tuple[float, float, float]) -> None:
    rotation = Rotation.from_euler('xyz', euler)
    T = rigid.from_quaternion(rotation.as_quat(), [1, 2, 3])
    assert T[:3, :3] == pytest.approx(rotation.as_matrix(), abs=1e-12)
    q = rigid.to_quaternion(T)
    assert min(
        np.abs(q - rotation.as_quat()).max(), np.abs(q + rotation.as_quat()).max()
    ) == pytest.approx(0, abs=1e-9)


@given(st.tuples(angles, angles, angles), st.floats(0, 1))
def test_interpolation_turns_at_constant_speed(
    vector: tuple[float, float, float], s: float
) -> None:
    whole = Rotation.from_rotvec(np.array(vector) / 2)
    T = rigid.interpolate(np.eye(4), rigid.transform(whole.as_matrix(), [2, 0, 0]), s)
    assert T[:3, :3] == pytest.approx(
        Rotation.from_rotvec(whole.as_rotvec() * s).as_matrix(), abs=1e-6
    )
    assert T[0, 3] == pytest.approx(2 * s)


def test_rotation_about_agrees_with_scipy() -> None:
    axis = np.array([1.0, -2.0, 0.5])
    expected = Rotation.from_rotvec(axis / np.linalg.norm(axis) * 0.7).as_matrix()
    assert rigid.rotation_about(axis, 0.7) == pytest.approx(expected)


def test_frames_chain_and_interpolate() -> None:
    tree = TransformTree()
    tree.set('world', 'hand', 1.0, rigid.transform(translation=[0, 0, 0]))
    tree.set('world', 'hand', 2.0, rigid.transform(translation=[1, 0, 0]))
    turned = rigid.transform(rigid.rotation_about([0, 0, 1], np.pi / 2), [0, 0.5, 0])
    tree.set('hand', 'camera', 0.0, turned, static=True)
    T = tree.lookup('world', 'camera', 1.25)
    assert rigid.apply(T, [1, 0, 0]) == pytest.approx([0.25, 1.5, 0])
    assert tree.lookup('camera', 'world', 1.25) @ T == pytest.approx(np.eye(4))
    assert tree.lookup('world', 'camera')[0, 3] == pytest.approx(1.0)


def test_frames_refuse_what_they_do_not_know() -> None:
    tree = TransformTree(cache_seconds=5)
    for stamp in range(10):
        tree.set('world', 'hand', float(stamp), np.eye(4))
    with pytest.raises(TransformError, match=r'hand to world is known from 4.000 s to 9.000 s'):
        tree.lookup('world', 'hand', 9.5)
    with pytest.raises(TransformError, match='no transform connects moon to world'):
        tree.lookup('world', 'moon')
    with pytest.raises(TransformError, match='close a loop'):
        tree.set('hand', 'world', 0.0, np.eye(4))
    with pytest.raises(TransformError, match='not finite'):
        tree.set('world', 'hand', 0.0, np.full((4, 4), np.nan))


def at(x: float) -> np.ndarray:
    return rigid.transform(translation=[x, 0, 0])


def test_parents_are_told_of_frames_that_have_one() -> None:
    tree = TransformTree()
    tree.set('world', 'hand', 1.0, np.eye(4))
    tree.set('hand', 'camera', 1.0, np.eye(4), static=True)
    assert tree.parents() == {'hand': 'world', 'camera': 'hand'}
    tree.set('base', 'camera', 1.0, np.eye(4), static=True)
    assert tree.parents() == {'hand': 'world'}


@pytest.mark.parametrize('order', [('hand', 'base'), ('base', 'hand')])
@pytest.mark.parametrize('static', [True, False])
def test_a_frame_with_two_parents_is_refused_by_name_in_either_order(
    order: tuple[str, str], static: bool
) -> None:
    tree = TransformTree(cache_seconds=5)
    tree.set('base', 'hand', 1.0, at(0.57))
    for parent in order:
        tree.set(parent, 'camera', 1.0, at(0.63), static)
    tree.set('camera', 'optical', 0.0, at(0.0), static=True)
    with pytest.raises(TwoParentsError, match='camera has two parents, base and hand'):
        tree.lookup('base', 'optical')
    assert tree.lookup('camera', 'optical') == pytest.approx(np.eye(4))  # it is not in the way
    assert tree.lookup('base', 'hand')[0, 3] == 0.57
    # Of a moving one, the parent that is told no more is forgotten; then the other counts.
    for stamp in (3.0, 7.0):
        tree.set('base', 'hand', stamp, at(0.57))
        tree.set('hand', 'camera', stamp, at(0.63), static)
    if static:
        with pytest.raises(TwoParentsError):
            tree.lookup('base', 'optical')
    else:
        assert tree.lookup('base', 'optical')[0, 3] == pytest.approx(1.2)


def test_what_no_way_leads_over_need_not_be_known() -> None:
    tree = TransformTree()
    for parent in ('map', 'odom'):
        tree.set(parent, 'base', 1.0, np.eye(4))
    for frame, x in (('camera', 1.0), ('tool', 3.0)):
        tree.set('base', frame, 5.0, at(x))
    assert tree.lookup('camera', 'tool', 5.0)[0, 3] == 2.0
    with pytest.raises(TwoParentsError, match='base has two parents, map and odom'):
        tree.lookup('map', 'tool')
    with pytest.raises(TransformError, match='close a loop'):
        tree.set('tool', 'map', 1.0, np.eye(4))


def test_a_time_that_is_set_back_is_begun_anew() -> None:
    tree = TransformTree()
    for stamp in (100.0, 100.5):
        assert not tree.set('base', 'hand', stamp, at(1.0))
    assert not tree.set('base', 'hand', 100.2, at(2.0))  # it came late
    assert tree.lookup('base', 'hand', 100.2)[0, 3] == 2.0
    assert tree.set('base', 'hand', 3.0, at(5.0))  # a bag's second round
    assert tree.lookup('base', 'hand')[0, 3] == 5.0
    assert not tree.set('base', 'hand', 3.1, at(6.0))
    assert tree.lookup('base', 'hand', 3.1)[0, 3] == 6.0


def test_static_transforms_outlast_a_time_that_is_set_back() -> None:
    tree = TransformTree()
    tree.set('hand', 'camera', 100.0, at(1.0), static=True)
    tree.set('base', 'hand', 100.0, at(2.0))
    tree.clear()
    assert tree.lookup('hand', 'camera', 3.0)[0, 3] == 1.0
    assert not tree.set('hand', 'camera', 101.0, at(1.0), static=True)
    told = tree.set('hand', 'camera', 102.0, at(1.002), static=True)
    assert told == 'camera is told to be elsewhere on hand than before'
    with pytest.raises(TransformError, match='no transform connects hand to base'):
        tree.lookup('base', 'hand')


def test_when_a_frame_was_told_last_is_known() -> None:
    tree = TransformTree()
    assert tree.newest('hand') == -np.inf
    for stamp in (1.0, 3.0, 2.5):  # the last came late
        tree.set('base', 'hand', stamp, np.eye(4))
    assert tree.newest('hand') == 3.0
