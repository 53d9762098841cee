"""`don_kp camera check` beside cameras that this test plays. How fast they are is not judged."""

import contextlib
import threading

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo, Image

from don_kp_ros.calibration.camera_health import pairing
from don_kp_ros.clients import camera_command
from don_kp_ros.geometry.camera import Camera
from don_kp_ros.nodes.kit import camera_topics, conversions

SIZE = (240, 320)
CAMERA = Camera(320, 240, 300.0, 300.0, 159.5, 119.5)


def pictures(shift=0):
    """Discs before a wall: colour (H, W, 3), and depth (H, W) mm that is so far to the right."""
    rng = np.random.default_rng(3)
    colour, depth = np.full((*SIZE, 3), 110, np.uint8), np.full(SIZE, 800, np.uint16)
    for _ in range(7):
        u, v, r = int(rng.integers(40, 280)), int(rng.integers(40, 200)), int(rng.integers(12, 30))
        cv2.circle(colour, (u, v), r, tuple(int(x) for x in rng.integers(0, 255, 3)), -1)
        cv2.circle(depth, (u + shift, v), r, int(rng.integers(500, 700)), -1)
    return colour, depth


@contextlib.contextmanager
def played(peer, colour, depth, late=0.0, info=CAMERA, images=10**6):
    """Publish them again and again, depth so many seconds after colour by its stamps.

    info: None to publish none; images: after which it ends, counted once all are subscribed.
    """
    node = peer.node
    infos = node.create_publisher(CameraInfo, camera_topics.COLOUR_INFO, 10)
    colours = node.create_publisher(Image, camera_topics.COLOUR, 10)
    depths = node.create_publisher(Image, camera_topics.DEPTH, 10)
    ending = threading.Event()

    def publish():
        sent = 0
        while sent < images and not ending.wait(0.05):
            sent += all(one.get_subscription_count() for one in (infos, colours, depths))
            now = 1e-9 * node.get_clock().now().nanoseconds
            header, later = (
                conversions.Header(stamp=conversions.stamp_from_seconds(stamp))
                for stamp in (now, now + late)
            )
            if info is not None:
                infos.publish(conversions.info_from_camera(info, header))
            colours.publish(conversions.image_message(colour, 'rgb8', header))
            depths.publish(conversions.image_message(depth, '16UC1', later))

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()
        for publisher in (infos, colours, depths):
            node.destroy_publisher(publisher)


def told(capsys, *more):
    given = more if '--seconds' in more else ('--seconds', '3', *more)
    status = camera_command.main(['check', *given])
    output, errors = capsys.readouterr()
    assert not errors
    return status, output


def test_what_a_camera_says_is_described(peer, capsys):
    with played(peer, *pictures()):
        _, output = told(capsys)
    for text in (
        'colour: 320x240, rgb8\n',
        'depth: 320x240, 16UC1\n',
        'camera info: Camera(width=320, height=240, fx=300.0',
        'stamps differ by 0.0 ms',
        'holes: 0.0% of the depth\n',
        'middle 0.800\n',
        'depth on colour: off by (0, 0) pixels\n',
    ):
        assert text in output
    wrong = [line for line in output.splitlines() if line.startswith('wrong: ')]
    assert not [line for line in wrong if not line.startswith('wrong: /camera/')], output


@pytest.mark.parametrize(
    ('shift', 'late', 'more', 'words'),
    [
        (9, 0.0, (), ('off by (9, 0) pixels', 'align_depth.enable:=true')),
        (0, 0.017, (), ('stamps differ by', 'enable_sync:=true')),
        (0, 0.0, ('--depth-unit', '0.01'), ('middle 8.000', '--depth-unit')),
    ],
)
def test_a_fault_is_named_with_what_helps(peer, capsys, shift, late, more, words):
    with played(peer, *pictures(shift), late=late):
        status, output = told(capsys, *more)
    assert status == 1
    assert all(word in output for word in words), output


def test_depth_that_is_lost_here_is_not_the_drivers_fault():
    stamps = np.arange(90) / 30.0
    lossy = stamps[np.random.default_rng(0).random(90) > 0.3]
    assert not pairing(stamps, lossy + 1e-4).fault
    assert 'enable_sync:=true' in pairing(stamps, lossy + 0.014).fault
    assert 'the same rate' in pairing(stamps, stamps[::2]).fault
    assert not pairing(stamps, stamps[:1]).judged


def test_what_cannot_be_used_is_told_as_perception_tells_it(peer, capsys):
    colour, depth = pictures()
    with played(peer, colour, depth[::2, ::2].copy(), info=CAMERA):
        status, output = told(capsys)
    assert status == 1
    assert 'aligned_depth_to_color/image_raw 160x120' in output
    assert 'they differ: give align_depth.enable:=true' in output
    smaller = Camera(160, 120, 150.0, 150.0, 79.5, 59.5)
    with played(peer, colour, depth, info=smaller):
        status, output = told(capsys)
    assert status == 1 and 'camera_info 160x120' in output


def test_a_camera_that_is_not_there_is_told_with_the_topics_that_are(peer, capsys):
    with played(peer, *pictures()):
        status, output = told(capsys, '--camera-namespace', 'other', '--seconds', '0.5')
    assert status == 1
    assert 'no image has come on /other/color/image_raw' in output
    assert '/camera/camera/color/image_raw' in output


def test_a_camera_without_info_or_that_ends_is_not_called_well(peer, capsys):
    colour, depth = pictures()
    with played(peer, colour, depth, info=None):
        status, output = told(capsys, '--seconds', '0.5')
    assert status == 1 and 'no camera info has come on' in output
    with played(peer, colour, depth, images=40):
        status, output = told(capsys, '--seconds', '6')
    assert status == 1
    assert 'for 2 s' in output or 'does the driver still run?' in output, output
