"""Recordings with faults give no wrong poses, and what is wrong is named."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from bags import COLOUR, DEPTH, FRAME, INFO, header, image, info, make, transform, write_bag

from don_kp_ros.data.folder import write_image
from don_kp_ros.data.posed import PosedFolder, read_index
from don_kp_ros.errors import RefusedError
from don_kp_ros.geometry import rigid
from don_kp_ros.recordings.from_bag import Request, folder_from_bag

Said = list[tuple[float, str, Any]]
MOUNTED = (0.5, '/tf_static', transform(0.0, 'hand', FRAME, rigid.transform()))


def pictured(number: int, stamp: float, came: float | None = None) -> Said:
    """Return a picture like no other, its depth and its camera."""
    cells = np.random.default_rng(number).integers(0, 255, (18, 24, 3), dtype=np.uint8)
    shown = cv2.resize(cells, (96, 72), interpolation=cv2.INTER_NEAREST)
    depth = np.full((72, 96), 500 + number, np.uint16)
    at = stamp if came is None else came
    return [
        (at, COLOUR, image(shown, 'rgb8', stamp)),
        (at, DEPTH, image(depth, '16UC1', stamp)),
        (at, INFO, info(stamp)),
    ]


def moved(stamps: Iterable[float], speed: float = 0.1, later: float = 0.0) -> Said:
    """Return where the hand was; later: how much later than its stamp it came."""
    return [
        (
            at + later,
            '/tf',
            transform(at, 'base', 'hand', rigid.transform(None, [speed * at, 0.0, 0.5])),
        )
        for at in stamps
    ]


def test_a_recording_whose_time_was_set_back_is_refused(tmp_path: Path) -> None:
    said = [MOUNTED]
    for turn, speed in enumerate((0.1, -0.1)):  # as of a simulation that begins anew
        later = 100.0 * turn
        said += moved(np.arange(1.0, 11.0, 0.05), speed, later)
        for number in range(1, 10):
            stamp = number + 0.25 + 0.5 * turn
            said += pictured(number + 50 * turn, stamp, stamp + later)
    bag, folder = write_bag(tmp_path / 'bag', said), tmp_path / 'views'
    with pytest.raises(RefusedError, match=rf'{COLOUR}: .*set back by 7\.500 s at 1\.750 s'):
        folder_from_bag(bag, folder, Request())
    assert not folder.exists()


def test_transforms_whose_time_was_set_back_tell_no_pose(tmp_path: Path) -> None:
    said = [
        MOUNTED,
        *moved(np.arange(1.0, 11.0, 0.05)),
        *moved(np.arange(1.0, 9.0, 0.05), -0.1, 10),
    ]
    for number in range(1, 10):
        said += pictured(number, number + 0.25)
    told = folder_from_bag(write_bag(tmp_path / 'bag', said), tmp_path / 'views', Request())
    assert told[-1].startswith('plain pictures, not posed views: the time of hand was set back')
    assert not (tmp_path / 'views' / 'views.json').exists()


def test_pictures_while_transforms_were_silent_are_left_out(tmp_path: Path) -> None:
    told = np.hstack([np.arange(1.0, 3.0, 0.05), np.arange(13.0, 15.0, 0.05)])
    said = [MOUNTED, *moved(told)]
    for number in range(1, 14):
        said += pictured(number, number + 0.3)
    sentences = folder_from_bag(write_bag(tmp_path / 'bag', said), tmp_path / 'views', Request())
    assert '10 of them have no depth or no pose' in sentences[1]
    views = read_index(tmp_path / 'views' / 'views.json').views
    assert [one.T_object_camera[0, 3] for one in views] == pytest.approx([0.13, 0.23, 1.33])


def test_a_hand_that_rests_may_be_silent(tmp_path: Path) -> None:
    resting = moved([3.0])
    resting += [(8.0, '/tf', transform(8.0, 'base', 'hand', rigid.transform(None, [0.3, 0, 0.5])))]
    said = [MOUNTED, *moved(np.arange(1.0, 3.0, 0.05)), *resting]
    for number in range(1, 8):
        said += pictured(number, number + 0.3)
    folder_from_bag(write_bag(tmp_path / 'bag', said), tmp_path / 'views', Request())
    assert len(read_index(tmp_path / 'views' / 'views.json').views) == 7


def test_a_static_transform_that_changed_tells_no_pose(tmp_path: Path) -> None:
    elsewhere = rigid.transform(None, [0.0, 0.0, 0.1])
    said = [
        MOUNTED,
        (5.0, '/tf_static', transform(5.0, 'hand', FRAME, elsewhere)),
        *moved(np.arange(1.0, 11.0, 0.05)),
    ]
    for number in range(1, 10):
        said += pictured(number, number + 0.3)
    told = folder_from_bag(write_bag(tmp_path / 'bag', said), tmp_path / 'views', Request())
    assert told[-1].startswith(
        f'plain pictures, not posed views: {FRAME} is told to be elsewhere on hand than before'
    )
    assert not (tmp_path / 'views' / 'views.json').exists()


def test_what_the_camera_does_not_hang_on_may_change(tmp_path: Path) -> None:
    elsewhere = rigid.transform(None, [0.0, 0.0, 0.1])
    said = [
        MOUNTED,
        (0.6, '/tf_static', transform(0.6, 'base', 'bin', rigid.transform())),
        (5.0, '/tf_static', transform(5.0, 'base', 'bin', elsewhere)),
        *moved(np.arange(1.0, 11.0, 0.05)),
    ]
    for number in range(1, 10):
        said += pictured(number, number + 0.3)
    told = folder_from_bag(write_bag(tmp_path / 'bag', said), tmp_path / 'views', Request())
    assert "9 posed views of 'object'" in told[-1]


def test_what_is_above_the_fixed_frame_may_change(tmp_path: Path) -> None:
    said = [MOUNTED, *moved(np.arange(1.0, 11.0, 0.05))]
    for at in (0.6, 5.0):
        T = rigid.transform(None, [at, 0.0, 0.0])
        said.append((at, '/tf_static', transform(at, 'world', 'base', T)))
    for number in range(1, 10):
        said += pictured(number, number + 0.3)
    bag = write_bag(tmp_path / 'bag', said)
    told = folder_from_bag(bag, tmp_path / 'plain', Request())
    assert 'base is told to be elsewhere on world' in told[-1]
    told = folder_from_bag(bag, tmp_path / 'views', Request(fixed='base'))
    assert told[-1] == "9 posed views of 'object' in base"


def test_a_topmost_frame_with_two_parents_is_none_that_stands_still(tmp_path: Path) -> None:
    said = [MOUNTED, *moved(np.arange(1.0, 11.0, 0.05))]
    for at in np.arange(1.0, 11.0, 0.05):
        for parent in ('odom', 'map'):
            driven = rigid.transform(None, [at, 0.0, 0.0])
            said.append((at, '/tf', transform(at, parent, 'base', driven)))
    for number in range(1, 10):
        said += pictured(number, number + 0.3)
    bag = write_bag(tmp_path / 'bag', said)
    told = folder_from_bag(bag, tmp_path / 'plain', Request())
    assert 'base has two parents, map and odom' in told[-1] and '--fixed' in told[-1]
    assert not (tmp_path / 'plain' / 'views.json').exists()
    told = folder_from_bag(bag, tmp_path / 'views', Request(fixed='base'))
    assert told[-1] == "9 posed views of 'object' in base"


def test_pictures_that_share_a_depth_have_it_each(tmp_path: Path) -> None:
    said = [MOUNTED, *moved(np.arange(1.0, 7.0, 0.05))]
    for second in range(2, 6):
        for number, stamp in ((2 * second, second - 0.008), (2 * second + 1, second + 0.008)):
            said += [one for one in pictured(number, stamp) if one[1] != DEPTH]
        depth = np.full((72, 96), 500 + second, np.uint16)
        said.append((second, DEPTH, image(depth, '16UC1', second)))
    folder = tmp_path / 'views'
    told = folder_from_bag(write_bag(tmp_path / 'bag', said), folder, Request())
    assert "8 posed views of 'object'" in told[-1]
    (folder / 'masks').mkdir()
    for view in read_index(folder / 'views.json').views:
        write_image(folder / 'masks' / f'{view.name}.png', np.full((72, 96), 255, np.uint8))
    depths = [float(np.median(one.depth)) for one in PosedFolder.open(folder).samples()]
    assert depths == pytest.approx([0.502, 0.502, 0.503, 0.503, 0.504, 0.504, 0.505, 0.505])


def uncalibrated(message) -> None:
    message.k[:] = message.p[:] = 0


def unknown_lens(message) -> None:
    message.distortion_model, message.d = 'thin_prism', np.full(3, 0.1)


@pytest.mark.parametrize(
    ('change', 'why'),
    [(uncalibrated, 'fx is 0'), (unknown_lens, "the distortion model is 'thin_prism'")],
)
def test_a_camera_that_is_not_known_takes_plain_pictures(tmp_path: Path, change, why) -> None:
    said = [MOUNTED, *moved(np.arange(1.0, 6.0, 0.05))]
    for number in range(1, 5):
        said += pictured(number, number + 0.3)
    for _, topic, message in said:
        if topic == INFO:
            change(message)
    told = folder_from_bag(write_bag(tmp_path / 'bag', said), tmp_path / 'plain', Request())
    assert told[-1].startswith(f'plain pictures, not posed views: {INFO}: ') and why in told[-1]
    assert len(list((tmp_path / 'plain' / 'rgbs').iterdir())) == 4


@pytest.mark.parametrize('asked', ['', f'{COLOUR}/compressed'])
def test_compressed_images_are_named_with_the_remedy(tmp_path: Path, asked) -> None:
    message = make(
        'sensor_msgs/msg/CompressedImage',
        header=header(1.0),
        format='rgb8; jpeg compressed bgr8',
        data=np.zeros(9, np.uint8),
    )
    bag = write_bag(
        tmp_path / 'bag', [(1.0, f'{COLOUR}/compressed', message), (1.0, INFO, info(1))]
    )
    with pytest.raises(RefusedError, match=f'{COLOUR}/compressed: .* compressed .* republish'):
        folder_from_bag(bag, tmp_path / 'views', Request(colour=asked))
