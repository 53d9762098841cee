"""Messages to arrays and back."""

from dataclasses import replace

import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera
from don_kp_ros.nodes.kit import conversions


@pytest.mark.parametrize(
    ('encoding', 'dtype', 'channels'),
    [
        ('rgb8', np.uint8, 3),
        ('rgba8', np.uint8, 4),
        ('mono8', np.uint8, 0),
        ('16UC1', np.uint16, 0),
        ('32FC1', np.float32, 0),
    ],
)
@pytest.mark.parametrize('big_endian', [False, True])
def test_images_survive_padding_and_byte_order(encoding, dtype, channels, big_endian):
    rng = np.random.default_rng(0)
    shape = (5, 7, channels) if channels else (5, 7)
    pixels = rng.integers(0, 200, shape).astype(dtype)
    message = conversions.image_message(pixels, encoding, Header(frame_id='camera'))
    assert (message.width, message.height, message.header.frame_id) == (7, 5, 'camera')
    np.testing.assert_array_equal(conversions.image_array(message), pixels)

    stored = pixels.astype(pixels.dtype.newbyteorder('>' if big_endian else '<'))
    rows = np.frombuffer(stored.tobytes(), np.uint8).reshape(5, -1)
    padded = np.hstack([rows, np.full((5, 3), 77, np.uint8)])
    message.step, message.is_bigendian = padded.shape[1], big_endian
    message.data = padded.ravel()[:-3].tobytes()  # some drivers leave the last padding out
    result = conversions.image_array(message)
    np.testing.assert_array_equal(result, pixels)
    assert result.dtype == dtype
    assert result.dtype.isnative


def test_depth_is_metres():
    millimetres = np.array([[0, 1500]], dtype=np.uint16)
    message = conversions.image_message(millimetres, '16UC1', Header())
    np.testing.assert_allclose(conversions.depth_image(message).metres(), [[np.nan, 1.5]])
    metres = conversions.image_message(np.array([[1.5]], dtype=np.float32), '32FC1', Header())
    assert conversions.depth_image(metres).metres() == 1.5
    counts = conversions.image_message(np.array([[5000]], dtype=np.uint16), 'mono16', Header())
    assert conversions.depth_image(counts, 1e-4).metres() == np.float32(0.5)
    assert conversions.depth_image(metres, 1e-4).metres() == 1.5
    with pytest.raises(ValueError, match='8UC1'):
        conversions.depth_image(Image(encoding='8UC1'))


def test_broken_images_are_refused():
    message = conversions.image_message(np.zeros((4, 4), np.uint16), '16UC1', Header())
    with pytest.raises(ValueError, match="encoding is '16UC1'"):
        conversions.rgb_image(message)
    message.data = message.data[:-1]
    with pytest.raises(ValueError, match='too little'):
        conversions.image_array(message)
    message.data = bytes(33)
    with pytest.raises(ValueError, match=r'step 8 and 33 bytes.*too much'):
        conversions.image_array(message)
    with pytest.raises(ValueError, match="encoding is 'yuv444'"):
        conversions.image_array(Image(encoding='yuv444'))
    with pytest.raises(ValueError, match='empty'):
        conversions.image_array(Image(encoding='rgb8'))


CAMERA = Camera(640, 480, 615.0, 614.0, 320.5, 239.0)
LENS = (-0.055, 0.065, -0.001, 0.0005, -0.02)
RATIONAL = (0.4, -0.3, 0.001, 0.002, 0.05, 0.3, -0.1, 0.01)


@pytest.mark.parametrize(
    ('distortion', 'fisheye', 'model'),
    [
        ((), False, 'plumb_bob'),
        (LENS, False, 'plumb_bob'),
        (LENS[:4], False, 'plumb_bob'),
        (RATIONAL, False, 'rational_polynomial'),
        ((0.1, -0.02, 0.003, 0.001), True, 'equidistant'),
        ((0.0, 0.0, 0.0, 0.0), True, 'equidistant'),  # still no pinhole
    ],
)
def test_camera_infos_round_trip(distortion, fisheye, model):
    camera = replace(CAMERA, distortion=distortion, fisheye=fisheye)
    info = conversions.info_from_camera(camera, Header())
    assert info.distortion_model == model
    assert conversions.camera_from_info(info) == camera
    info.d = [*info.d, 0.0]  # as realsense2_camera fills up
    assert conversions.camera_from_info(info) == camera
    # In a rectified image the lens is undone, and P holds.
    info.p[0], info.p[2] = 500.0, 310.0
    assert conversions.camera_from_info(info, rectified=True) == replace(CAMERA, fx=500.0, cx=310)


def test_what_drivers_leave_out_of_their_infos():
    info = conversions.info_from_camera(CAMERA, Header())
    info.d = [9e-5, -9e-5, 0.0, 0.0, 0.0]
    assert conversions.camera_from_info(info) == CAMERA
    info.d, info.distortion_model = [], ''
    assert conversions.camera_from_info(info) == CAMERA
    info.k[:] = 0.0  # as depthai does
    assert conversions.camera_from_info(info) == CAMERA
    info.p[3] = -30.0
    with pytest.raises(ValueError, match='other one of a stereo pair'):
        conversions.camera_from_info(info)
    info.p[:] = 0.0
    with pytest.raises(ValueError, match=r'fx is 0.0; it must be positive'):
        conversions.camera_from_info(info)
    with pytest.raises(ValueError, match='width is 0'):
        conversions.camera_from_info(CameraInfo())


@pytest.mark.parametrize(
    ('model', 'd', 'message'),
    [
        ('kannala_brandt', LENS, "model is 'kannala_brandt' with 5 coefficients; known are plumb"),
        ('plumb_bob', RATIONAL, "model is 'plumb_bob' with 8 coefficients"),
        ('equidistant', LENS, "model is 'equidistant' with 5 coefficients"),
        ('plumb_bob', [np.nan, 0.0, 0.0, 0.0, 0.0], 'finite numbers'),
    ],
)
def test_a_lens_that_is_not_known_is_refused(model, d, message):
    info = conversions.info_from_camera(CAMERA, Header())
    info.distortion_model, info.d = model, list(d)
    with pytest.raises(ValueError, match=message):
        conversions.camera_from_info(info)


def test_descriptor_maps_round_trip_in_half_precision():
    values = np.random.default_rng(0).normal(size=(6, 4, 5)).astype(np.float16)
    message = conversions.map_message(values.astype(np.float32), (40, 50), 'm', Header())
    assert (message.image_width, message.image_height) == (50, 40)
    np.testing.assert_array_equal(conversions.map_from_message(message), values)
    message.rows = 3
    with pytest.raises(ValueError, match='bytes'):
        conversions.map_from_message(message)


def test_transforms_and_poses_round_trip():
    T = rigid.transform(rigid.rotation_about([1, 2, 3], 0.7), [0.1, -0.2, 0.3])
    result = conversions.matrix_from_transform(conversions.transform_from_matrix(T))
    np.testing.assert_allclose(result, T, atol=1e-12)
    result = conversions.matrix_from_pose(conversions.pose_from_matrix(T))
    np.testing.assert_allclose(result, T, atol=1e-12)


def test_stamps_round_trip():
    stamp = conversions.stamp_from_seconds(1234.000000001)
    assert (stamp.sec, stamp.nanosec) == (1234, 1)
    assert conversions.seconds_from_stamp(stamp) == pytest.approx(1234.000000001, abs=1e-9)


@pytest.mark.parametrize(
    ('change', 'told'),
    [
        (lambda info: setattr(info, 'binning_x', 2), 'binned 2x0'),
        (lambda info: setattr(info.roi, 'y_offset', 120), r'from pixel \(0, 120\)'),
    ],
)
def test_a_camera_of_a_part_of_its_sensor_is_refused(change, told):
    info = conversions.info_from_camera(CAMERA, Header())
    info.binning_x = info.binning_y = 1
    info.roi.width, info.roi.height = CAMERA.width, CAMERA.height
    assert conversions.camera_from_info(info) == CAMERA
    info.binning_y = 0
    change(info)
    with pytest.raises(ValueError, match=f'{told}.*: switch binning and ROI off in the driver'):
        conversions.camera_from_info(info)
