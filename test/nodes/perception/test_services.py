"""What others ask of perception."""

import io

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point
from PIL import Image
from sensor_msgs.msg import RegionOfInterest

from don_kp.msg import TaughtObject
from don_kp.srv import Describe, Preference, ProposeMask, Rank, Scene, Teach, Transform
from don_kp_ros.geometry import rigid
from don_kp_ros.nodes.kit import conversions

T_BASE_CAMERA = rigid.transform(rigid.rotation_about([1, 2, 3], 0.7), [0.4, -0.1, 0.6])
BASE = 'panda_link0'


# The first test finds a node that has seen nothing.


def test_before_the_first_image_every_service_says_what_is_missing(stage):
    refusal = 'no image has been described yet: no image has come on '
    for kind in Describe, Rank:
        assert f'{refusal}/camera/camera/color/image_raw' in stage.refusal(kind)
    assert 'no depth image has come on /camera/camera/aligned_depth' in stage.refusal(Scene)
    assert 'no transform connects' in stage.refusal(Transform, target='a', source='b')


def test_pixels_are_described_with_their_positions_and_a_patch(stage):
    uv = [(84.0, 40.0), (0.0, 0.0), (127.0, 95.0), (20.5, 30.25)]
    stamp = stage.see()
    answer = stage.ask(
        Describe, stamp=stamp, u=[u for u, _ in uv], v=[v for _, v in uv], patch_side=64
    )
    assert answer.success, answer.message
    assert (answer.header.stamp, answer.header.frame_id) == (stamp, stage.camera.FRAME)
    assert (answer.model, answer.dimension) == (stage.model.fingerprint, 8)
    assert (answer.image_width, answer.image_height) == (128, 96)
    assert (answer.fx, answer.fy, answer.cx, answer.cy) == (100.0, 101.0, 63.5, 47.5)
    np.testing.assert_allclose(np.reshape(answer.values, (4, 8)), stage.at(uv), atol=1e-6)
    np.testing.assert_array_equal(np.stack([answer.u, answer.v], axis=1), uv)
    for place, position, reason in zip(uv, answer.positions, answer.reasons, strict=True):
        expected = stage.camera.CAMERA.deproject(place, 0.5)
        np.testing.assert_allclose([position.x, position.y, position.z], expected, atol=1e-6)
        assert reason == ''
    patch = np.asarray(Image.open(io.BytesIO(bytes(answer.patch))))
    np.testing.assert_array_equal(patch, stage.camera.picture[8:72, 52:116])


def test_a_box_is_described_cell_by_cell(stage):
    box = RegionOfInterest(x_offset=30, y_offset=20, width=40, height=50)
    answer = stage.ask(Describe, stamp=stage.see(), box=box)
    assert answer.success, answer.message
    _, rows, columns = stage.model.describe(stage.camera.picture).shape
    us = (np.arange(columns) + 0.5) * 128 / columns - 0.5
    vs = (np.arange(rows) + 0.5) * 96 / rows - 0.5
    uv = [(u, v) for v in vs if 20 <= v < 70 for u in us if 30 <= u < 70]
    np.testing.assert_allclose(np.stack([answer.u, answer.v], axis=1), uv, atol=1e-5)
    values = np.reshape(answer.values, (-1, 8))
    np.testing.assert_allclose(values, stage.at(np.float32(uv)), atol=1e-6)
    assert len(answer.positions) == len(answer.reasons) == len(uv) > 4


def test_without_depth_a_pixel_is_described_and_the_reason_given(stage):
    answer = stage.ask(Describe, stamp=stage.see(depth_mm=None), u=[5.0], v=[6.0])
    assert answer.success
    assert np.isnan(answer.positions[0].z)
    assert 'no depth image within 0.015 s' in answer.reasons[0]
    assert answer.fx == 100.0
    assert len(answer.patch) == 0


@pytest.mark.parametrize(
    ('fields', 'reason'),
    [
        ({}, '0 pixels were asked for'),
        ({'u': [1.0]}, '1 u and 0 v were given'),
        ({'u': [128.0], 'v': [0.0]}, 'pixel (128, 0) is outside of the picture, which is 128x96'),
        ({'u': [float('nan')], 'v': [0.0]}, 'pixel (nan, 0) is outside'),
        ({'u': [0.0], 'v': [0.0], 'patch_side': 513}, 'at most 512'),
        ({'u': [0.0] * 5_001, 'v': [0.0] * 5_001}, '5001 pixels were asked for'),
        ({'box': RegionOfInterest(x_offset=500, width=9, height=9)}, '0 pixels were asked for'),
    ],
)
def test_what_cannot_be_described_is_refused(stage, fields, reason):
    assert reason in stage.refusal(Describe, stamp=stage.see(), **fields)


def test_an_image_that_is_too_old_or_not_kept_is_refused(stage):
    kept = stage.see()
    stage.see(age_s=30.0)
    ask = {'u': [0.0], 'v': [0.0]}
    assert 's old, allowed are 1 s' in stage.refusal(Describe, max_age=1.0, **ask)
    assert 's old, allowed are 1 s' in stage.refusal(Scene, max_age=1.0)
    assert stage.ask(Describe, **ask).success  # any age
    unknown = Time(sec=kept.sec, nanosec=(kept.nanosec + 1) % 10**9)
    message = stage.refusal(Rank, stamp=unknown)
    assert f'with stamp {unknown.sec}.{unknown.nanosec:09} is kept' in message


def test_what_is_looked_for_is_ranked(stage):
    here, there = stage.at([(84.0, 40.0), (20.0, 70.0)])
    stage.store({'here': here, 'there': there, 'away': -here})
    stage.see()
    stage.peer.wait_until(lambda: stage.ask(Rank).total == 3)
    answer = stage.ask(Rank, u=84.0, v=40.0, radius=0.5)
    assert answer.model == stage.model.fingerprint
    assert answer.ranking[0].name == 'here'
    assert answer.ranking[0].score == pytest.approx(1.0, abs=1e-4)
    assert (answer.ranking[0].u, answer.ranking[0].v) == (84.0, 40.0)
    assert answer.ranking[-1].name == 'away'
    assert [one.name for one in stage.ask(Rank, limit=1, u=20.0, v=70.0, radius=0.5).ranking] == [
        'there'
    ]
    assert 'limit is 101; at most 100' in stage.refusal(Rank, limit=101)


def points(answer) -> np.ndarray:
    assert answer.success, answer.message
    return conversions.points_from_cloud(answer.cloud)


def test_a_scene_is_all_points_in_the_frame_that_is_asked_for(stage):
    stamp = stage.see(depth_mm=500)
    stage.place(T_BASE_CAMERA, BASE, stamp)
    camera = stage.camera.CAMERA
    in_camera = camera.deproject_image(np.full(stage.camera.SIZE, 0.5)).reshape(-1, 3)
    answer = stage.ask(Scene, stamp=stamp)
    assert (answer.cloud.header.stamp, answer.cloud.header.frame_id) == (stamp, stage.camera.FRAME)
    np.testing.assert_allclose(points(answer), in_camera, atol=1e-6)
    answer = stage.ask(Scene, stamp=stamp, frame=BASE)
    assert answer.cloud.header.frame_id == BASE
    in_base = rigid.apply(T_BASE_CAMERA, in_camera)
    np.testing.assert_allclose(points(answer), in_base, atol=1e-6)

    low, high = in_base.mean(axis=0) - 0.05, in_base.mean(axis=0) + 0.1
    box = {
        'lowest': Point(x=low[0], y=low[1], z=low[2]),
        'highest': Point(x=high[0], y=high[1], z=high[2]),
    }
    kept = points(stage.ask(Scene, stamp=stamp, frame=BASE, **box))
    inside = ((in_base >= low) & (in_base <= high)).all(axis=1)
    assert 0 < inside.sum() < len(in_base)
    assert abs(len(kept) - inside.sum()) <= 2  # float32 on the way
    fewer = points(stage.ask(Scene, stamp=stamp, frame=BASE, voxel=0.05, **box))
    cubes = {tuple(cube) for cube in np.floor(in_base[inside] / 0.05).astype(int)}
    assert abs(len(fewer) - len(cubes)) <= 2


def test_a_scene_that_there_is_not_is_refused(stage):
    stamp = stage.see()
    stage.place(T_BASE_CAMERA, BASE, stamp)
    assert 'moon' in stage.refusal(Scene, stamp=stamp, frame='moon')
    assert 'at least 0.0001 m' in stage.refusal(Scene, stamp=stamp, voxel=-1.0)
    assert 'at most the highest' in stage.refusal(Scene, stamp=stamp, lowest=Point(x=1.0))
    assert 'no depth image within 0.015 s' in stage.refusal(Scene, stamp=Time(sec=7))


def test_transforms_are_told_at_their_time(stage):
    stamp = stage.see()
    stage.place(T_BASE_CAMERA, BASE, stamp)
    answer = stage.ask(Transform, target=BASE, source=stage.camera.FRAME, stamp=stamp)
    T = conversions.matrix_from_transform(answer.transform)
    np.testing.assert_allclose(T, T_BASE_CAMERA, atol=1e-9)
    answer = stage.ask(Transform, target=stage.camera.FRAME, source=BASE)
    T = conversions.matrix_from_transform(answer.transform)
    np.testing.assert_allclose(T, rigid.inverse(T_BASE_CAMERA), atol=1e-9)
    early = Time(sec=7)
    message = stage.refusal(Transform, target=BASE, source=stage.camera.FRAME, stamp=early)
    assert 'is known from' in message


def test_a_camera_that_turns_bad_is_no_longer_believed(stage):
    stamp = stage.see()
    bad = conversions.info_from_camera(stage.camera.CAMERA, stage.camera.header(0.0))
    bad.k[0] = 0.0

    def told():
        stage.camera.infos.publish(bad)
        answer = stage.ask(Describe, stamp=stamp, u=[0.0], v=[0.0])
        return 'camera fx is 0.0; it must be positive' in answer.reasons[0] and answer

    answer = stage.peer.wait_until(told)
    assert np.isnan([answer.fx, answer.positions[0].z]).all()
    assert 'camera fx is 0.0' in stage.refusal(Scene)
    stage.see()


def test_the_preferred_places_are_near_a_stored_point_where_fingers_fit(stage):
    # A block 5 cm high and wide, 50 cm below the camera; its middle is stored.
    depth = np.full(stage.camera.SIZE, 550, np.uint16)
    depth[43:53, 59:69] = 500
    stage.store({'block/top': stage.at([(64.0, 48.0)])[0]})
    stage.answer(['block/top'])
    stamp = stage.camera.show_until_seen(depth_mm=depth)
    answer = stage.ask(Preference, stamp=stamp, object='block', limit=3)
    assert answer.success, answer.message
    assert answer.header.stamp == stamp
    assert 0 < len(answer.u) <= 3
    assert 59 <= answer.u[0] <= 68 and 43 <= answer.v[0] <= 52
    assert answer.positions[0].z == pytest.approx(0.5, abs=1e-3)
    assert list(answer.values) == sorted(answer.values, reverse=True)
    assert 'did you mean block' in stage.refusal(Preference, object='blok')
    flat = stage.see()
    assert 'fingers fit nowhere' in stage.refusal(Preference, stamp=flat, object='block')
    assert 'at most 1000' in stage.refusal(Preference, object='block', limit=1001)


def test_what_cannot_be_taught_is_refused_with_the_reason(stage):
    stamp = stage.see()
    assert 'nothing stands above the table' in stage.refusal(Teach, stamp=stamp, u=64, v=48)
    assert 'is outside of the picture' in stage.refusal(Teach, stamp=stamp, u=128, v=48)
    header = stage.camera.header(0.0)
    small = conversions.image_message(np.ones((4, 4), np.uint8), 'mono8', header)
    assert 'shape (4, 4)' in stage.refusal(Teach, stamp=stamp, mask=small)
    empty = conversions.image_message(np.zeros(stage.camera.SIZE, np.uint8), 'mono8', header)
    assert '0 of 0 places' in stage.refusal(Teach, stamp=stamp, mask=empty)
    known = TaughtObject(name='cap', model='another', weights=[1.0])
    image = stage.ask(Teach, stamp=stamp, mask=empty, known=TaughtObject(model='another'))
    assert 'and another runs; point at the object again' in image.message
    full = conversions.image_message(np.ones(stage.camera.SIZE, np.uint8), 'mono8', header)
    assert 'taught with model another' in stage.refusal(Teach, stamp=stamp, mask=full, known=known)
    blind = stage.camera.show_until_seen()
    assert 'an object is taught with depth' in stage.refusal(Teach, stamp=blind, u=64, v=48)


def propose(stage, **fields):
    return stage.peer.call(ProposeMask, '/perception/propose_mask', **fields)


def test_a_mask_is_proposed_and_its_image_taught_from_once_others_are_forgotten(stage):
    depth = np.full(stage.camera.SIZE, 220, np.uint16)
    depth[20:70, 30:90] = 170
    stamp = stage.camera.show_until_seen(depth_mm=depth)
    stage.place(T_BASE_CAMERA, BASE, stamp)
    answer = propose(stage, stamp=stamp, u=60, v=40)
    assert answer.success, answer.message
    assert answer.image.header == answer.mask.header
    assert answer.image.header.stamp == stamp
    np.testing.assert_array_equal(conversions.rgb_image(answer.image), stage.camera.picture)
    mask = conversions.image_array(answer.mask)
    assert set(np.unique(mask)) == {0, 255}
    true = depth == 170
    assert (true & (mask > 0)).sum() > 0.95 * (true | (mask > 0)).sum()

    drawn = [31.0, 21.0, 80.0, 21.0, 80.0, 60.0, 31.0, 60.0]
    other = propose(stage, stamp=stamp, outline=drawn)
    filled = np.zeros(stage.camera.SIZE, bool)
    filled[21:61, 31:81] = True
    np.testing.assert_array_equal(conversions.image_array(other.mask) > 0, filled)

    def forgotten():
        stage.see()
        return 'no described image' in stage.ask(Describe, stamp=stamp, u=[1.0], v=[1.0]).message

    stage.peer.wait_until(forgotten)
    taught = stage.ask(Teach, stamp=stamp, mask=other.mask)
    assert taught.success, taught.message
    assert taught.message == f'its frame has the axes of {BASE}'  # that it had when it was seen
    points = np.reshape(taught.object.points, (-1, 3))
    T_camera_object = conversions.matrix_from_pose(taught.pose.pose)
    np.testing.assert_allclose(T_camera_object[:3, :3], T_BASE_CAMERA[:3, :3].T, atol=1e-6)
    seen = rigid.apply(T_camera_object, points)
    np.testing.assert_allclose(seen[:, 2], 0.17, atol=1e-3)
    uv = stage.camera.CAMERA.project(seen)
    assert (uv > [31, 21]).all() and (uv < [80, 60]).all()


@pytest.mark.parametrize(
    ('fields', 'reason'),
    [
        ({'u': 64, 'v': 48}, 'nothing stands above the table'),
        ({'u': -1, 'v': 48}, 'is outside of the picture'),
        ({'outline': [1.0, 2.0, 3.0, 4.0]}, 'has 4 numbers; it takes u and v of 3 to 1024'),
        ({'outline': [1.0] * 7}, 'has 7 numbers'),
        ({'outline': [1.0] * 2050}, 'has 2050 numbers'),
        ({'outline': [1.0, 1.0, 500.0, 1.0, 1.0, 9.0]}, 'corner (500, 1) outside of the picture'),
        ({'outline': [1.0, 1.0, float('nan'), 1.0, 1.0, 9.0]}, 'corner (nan, 1) outside'),
    ],
)
def test_what_no_mask_can_be_proposed_for_is_refused_with_the_reason(stage, fields, reason):
    refused = propose(stage, stamp=stage.see(), **fields)
    assert not refused.success
    assert reason in refused.message
