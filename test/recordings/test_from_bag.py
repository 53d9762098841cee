"""Recordings of a known scene, made by rosbags' writer, become folders to train on."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from bags import CAMERA, FRAME, TYPES, image, info, make, transform
from rosbags.rosbag2 import StoragePlugin, Writer

from don_kp_ros.annotation import command
from don_kp_ros.data.posed import PosedFolder, read_index
from don_kp_ros.errors import RefusedError
from don_kp_ros.geometry import rigid
from don_kp_ros.recordings.from_bag import Request, folder_from_bag
from don_kp_ros.recordings.sharp_frames import SharpFrames

T_HAND_CAMERA = rigid.transform(rigid.rotation_about([0, 0, 1], 0.3)[:3, :3], [0.1, 0, 0])
RATE, COUNT = 10, 40  # a second; pictures
NOISE = np.random.default_rng(0).integers(0, 255, (18, 24, 3), dtype=np.uint8)


def hand_at(seconds: float) -> np.ndarray:
    return rigid.transform(None, [0.05 * seconds, 0.0, 0.5])


def picture_at(number: int) -> np.ndarray:
    """Another one for every second; of each second, only the seventh is sharp."""
    shown = np.roll(NOISE, number // RATE * 3, axis=1)
    full = cv2.resize(shown, (CAMERA.width, CAMERA.height), interpolation=cv2.INTER_NEAREST)
    return full if number % RATE == 7 else cv2.GaussianBlur(full, (0, 0), 2.0)


def write(
    folder: Path,
    depth=True,
    transforms=True,
    moving=True,
    distortion=0.0,
    infos=True,
    camera=CAMERA,
):
    """Write a recording as others do: pictures, depth 3 ms later, and where the hand is."""
    names = {'colour': '/cam/color/image_raw', 'depth': '/cam/aligned/image_raw'}
    kinds = {
        names['colour']: 'sensor_msgs/msg/Image',
        '/don_kp/heatmap': 'sensor_msgs/msg/Image',
        **({names['depth']: 'sensor_msgs/msg/Image'} if depth else {}),
        **({'/cam/color/camera_info': 'sensor_msgs/msg/CameraInfo'} if infos else {}),
        **({'/tf': 'tf2_msgs/msg/TFMessage', '/tf_static': 'tf2_msgs/msg/TFMessage'}
           if transforms else {}),
    }  # fmt: skip
    if not infos:
        del kinds['/don_kp/heatmap']
    with Writer(folder, version=8, storage_plugin=StoragePlugin.SQLITE3) as writer:
        topics = {
            topic: writer.add_connection(topic, kind, typestore=TYPES)
            for topic, kind in kinds.items()
        }

        def say(topic: str, seconds: float, message) -> None:
            if topic in topics:
                data = TYPES.serialize_cdr(message, kinds[topic])
                writer.write(topics[topic], round(seconds * 1e9), data)

        say('/tf_static', 0.9, transform(0.0, 'hand', FRAME, T_HAND_CAMERA))
        for number in range(COUNT):
            now = 1 + number / RATE
            where = now if moving else 1.0
            # Half a step beside the pictures: poses have to be interpolated.
            for at in (-0.5, 0.5):
                T = hand_at(where + at / RATE if moving else 1.0)
                say('/tf', now, transform(now + at / RATE, 'base', 'hand', T))
            say(names['colour'], now, image(picture_at(number), 'rgb8', now))
            say('/don_kp/heatmap', now, image(picture_at(number), 'rgb8', now))
            say('/cam/color/camera_info', now, info(now, distortion, camera))
            metres = np.full((72, 96), 500 + number, np.uint16)
            say(names['depth'], now, image(metres, '16UC1', now + 0.003))
    return folder


def test_posed_views_are_sharp_and_where_the_camera_was(tmp_path: Path, capsys) -> None:
    bag, folder = write(tmp_path / 'bag'), tmp_path / 'views'
    assert command.main(['from-bag', str(bag), str(folder), '--object', 'cap-1']) == 0
    told = capsys.readouterr().out
    assert '4 sharp, different ones of 40 pictures' in told
    assert "4 posed views of 'cap-1'" in told and f'don_kp mask {folder}' in told
    index = read_index(folder / 'views.json')
    assert index.camera == CAMERA
    for view, number in zip(index.views, (7, 17, 27, 37), strict=True):
        expected = hand_at(1 + number / RATE) @ T_HAND_CAMERA
        np.testing.assert_allclose(view.T_object_camera, expected, atol=1e-9)
        assert view.object == 'cap-1'
        shown = cv2.imread(str(folder / 'rgbs' / f'{view.name}.png'))[..., ::-1]
        np.testing.assert_array_equal(shown, picture_at(number))
    # With masks it is a folder of the layout, and depth is that of the picture.
    (folder / 'masks').mkdir()
    for view in index.views:
        mask = np.zeros((72, 96), np.uint8)
        mask[20:50, 20:50] = 255
        cv2.imwrite(str(folder / 'masks' / f'{view.name}.png'), mask)
    depths = [float(np.median(one.depth)) for one in PosedFolder.open(folder).samples()]
    assert depths == pytest.approx([0.507, 0.517, 0.527, 0.537], abs=1e-6)


@pytest.mark.parametrize(
    ('lacking', 'why'),
    [
        ({'depth': False}, 'no depth that is aligned'),
        ({'transforms': False}, f'no transform was recorded that tells where {FRAME} is'),
        ({'moving': False}, 'the camera did not move in base'),
        ({'distortion': 0.2}, 'distorts; record rectified images'),
        ({'infos': False}, 'no camera_info was recorded beside /cam/color/image_raw'),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else '',
)
def test_without_poses_they_are_plain_pictures(tmp_path: Path, lacking, why) -> None:
    bag, folder = write(tmp_path / 'bag', **lacking), tmp_path / 'plain'
    told = folder_from_bag(bag, folder, Request())
    assert why in told[-1] and told[-1].startswith('plain pictures, not posed views: ')
    assert len(list((folder / 'rgbs').iterdir())) == 4
    assert not (folder / 'views.json').exists()
    if 'depth' in lacking:
        assert not (folder / 'depths').exists()
    else:
        counts = cv2.imread(str(folder / 'depths' / '000001.png'), cv2.IMREAD_UNCHANGED)
        assert np.unique(counts) == [517]  # millimetres


def test_a_camera_info_of_another_size_is_refused(tmp_path: Path, capsys) -> None:
    bag, folder = write(tmp_path / 'bag', camera=CAMERA.resized(192, 144)), tmp_path / 'views'
    assert command.main(['from-bag', str(bag), str(folder)]) == 1
    told = capsys.readouterr().err
    assert '/cam/color/image_raw is 96x72' in told and 'says 192x144' in told
    assert '--colour' in told and not folder.exists()


def test_no_more_than_asked_for_and_the_sharpest_among_them(tmp_path: Path) -> None:
    bag = write(tmp_path / 'bag')
    folder_from_bag(bag, tmp_path / 'two', Request(most=2))
    assert len(list((tmp_path / 'two' / 'rgbs').iterdir())) == 2


def test_pictures_that_show_the_same_count_once() -> None:
    frames, rng = SharpFrames(), np.random.default_rng(1)
    still = cv2.resize(NOISE, (96, 72), interpolation=cv2.INTER_NEAREST).astype(np.float64)
    for number in range(30):
        noisy = np.clip(still + rng.normal(0, 3, still.shape), 0, 255).astype(np.uint8)
        frames.add(noisy, number / 10)
    assert len(frames.chosen(10)) == 1


def test_a_film_without_pictures_gives_none() -> None:
    assert SharpFrames().chosen(10) == []


def test_what_cannot_be_chosen_is_named_and_nothing_is_left(tmp_path: Path, capsys) -> None:
    bag, folder = write(tmp_path / 'bag'), tmp_path / 'views'
    assert command.main(['from-bag', str(bag), str(folder), '--colour', '/cam/colour']) == 1
    assert '--colour is /cam/colour, which has none' in capsys.readouterr().err
    empty = tmp_path / 'empty'
    with Writer(empty, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        kind = 'rosgraph_msgs/msg/Clock'
        topic = writer.add_connection('/clock', kind, typestore=TYPES)
        clock = make(kind, clock=make('builtin_interfaces/msg/Time', sec=1, nanosec=0))
        writer.write(topic, 1, TYPES.serialize_cdr(clock, kind))
    with pytest.raises(RefusedError, match='of colour images there are none'):
        folder_from_bag(empty, folder, Request())
    assert not folder.exists()
    folder.mkdir()
    (folder / 'mine').touch()
    assert command.main(['from-bag', str(bag), str(folder)]) == 1
    assert f'{folder}: is there already' in capsys.readouterr().err
