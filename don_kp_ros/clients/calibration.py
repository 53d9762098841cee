"""Takes views for a hand-eye calibration on a running stack, and lets the hand check it."""

from __future__ import annotations

import argparse
import math
import select
import shlex
import sys
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, Image

from don_kp_ros.calibration.board import Board
from don_kp_ros.calibration.detection import Corners, find_corners
from don_kp_ros.calibration.folder import Matrix, Recording, View, matrix, write_index
from don_kp_ros.calibration.report import corners_in_base, corners_told
from don_kp_ros.calibration.solving import Calibration
from don_kp_ros.calibration.views import angles, are_one
from don_kp_ros.clients.stack import PATIENCE_S, Stack
from don_kp_ros.data.picture_file import write_image
from don_kp_ros.errors import RefusedError
from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera
from don_kp_ros.nodes.kit import camera_topics
from don_kp_ros.nodes.kit.conversions import camera_from_info, rgb_image, seconds_from_stamp
from don_kp_ros.nodes.kit.graph import two_publishers
from don_kp_ros.nodes.kit.qos import SENSOR
from don_kp_ros.nodes.kit.transforms import TransformListener
from don_kp_ros.robots.hand import TIP_LENGTH
from don_kp_ros.robots.preset import OPTICAL, RobotPreset, load_preset

Array = NDArray[np.float64]

REST_S = 0.5  # the hand has rested for so long
STILL_M, STILL_RAD = 3e-4, float(np.deg2rad(0.05))


class RestlessError(RefusedError):
    """The hand moved a moment ago, or may have."""


class StillThereError(RefusedError):
    """The hand is where a view was taken: it was not moved, or the picture is of before."""


def record(options: argparse.Namespace, board: Board) -> int:
    """Take views until the input ends, and write them as they come; return the exit status.

    Raises RefusedError where the camera or the hand's frames are not told.
    """
    with Stack(options.namespace) as stack:
        taking = Taking(stack, options, board)
        print('Guide the hand so that the board is in view, let go, and press Enter: 15 views,')
        print(
            'tilted by 20 to 30 degrees to all sides. q and Enter, or the end of input, ends it.'
        )
        while typed := line(stack, f'view {len(taking.views)} '):
            if typed.strip().lower() == 'q':
                break
            try:
                print(taking.take(), flush=True)
            except RestlessError as error:
                print(f'not taken: {error}, and press Enter again', flush=True)
            except RefusedError as error:
                print(f'not taken: {error}', flush=True)
    print(taking.end())
    return 0


def touch(options: argparse.Namespace, found: Calibration) -> int:
    """Tell how far the tool tip is from the nearest corner, each time Enter is pressed."""
    preset = load_preset(options.robot)
    places = corners_in_base(found)
    with Stack(options.namespace) as stack:
        watch = Watch(stack, preset, options.camera_namespace)
        print(*corners_told(found, preset), sep='\n')
        print('Touch a corner with the tool tip, fingers closed, and press Enter; q ends it.')
        while (typed := line(stack, '')) and typed.strip().lower() != 'q':
            tip = rigid.apply(
                watch.hand_now() @ preset.T_hand_tcp, np.array([0.0, 0.0, TIP_LENGTH])
            )
            number = min(places, key=lambda one: float(np.linalg.norm(places[one] - tip)))
            x, y, z = 1e3 * (tip - places[number])
            print(
                f'corner {number}: the tip is {np.linalg.norm([x, y, z]):.1f} mm off: '
                f'({x:.1f}, {y:.1f}, {z:.1f}) mm in {preset.base_frame}',
                flush=True,
            )
    return 0


class Taking:
    """Takes views of the board, one after the other, into a new folder."""

    def __init__(self, stack: Stack, options: argparse.Namespace, board: Board) -> None:
        """Meet camera and hand; raises RefusedError that names what is missing."""
        self.preset = load_preset(options.robot)
        self.watch = Watch(stack, self.preset, options.camera_namespace)
        self.watch.meet()
        self.views: list[View] = []
        self._folder, self._mount, self._board = options.folder, options.mount, board
        self._namespace, self._robot = options.namespace, options.robot

    def seen(self) -> tuple[NDArray[np.uint8], Array, Corners, str]:
        """Return the next picture (H, W, 3), T_base_hand (4, 4), the corners and the frame.

        Raises UnseenError, RestlessError, and RefusedError where the stack is silent.
        """
        picture, stamp, frame = self.watch.picture()
        T_base_hand = self.watch.hand(stamp)
        return picture, T_base_hand, find_corners(picture, self._board), frame

    def take(self) -> str:
        """Write the next picture as a view, and say so.

        Raises as `seen`, and StillThereError.
        """
        picture, T_base_hand, corners, frame = self.seen()
        for one in self.views:
            if are_one(np.array(one.T_base_hand), T_base_hand):
                raise StillThereError(
                    f'the hand is where it was for {one.picture}, and would tell nothing new: '
                    'move and tilt it'
                )
        view = View(f'{len(self.views):02}.png', matrix(T_base_hand))
        views = *self.views, view
        link, T_link_camera = self.watch.link(frame)
        recording = Recording(
            self.watch.camera(),
            self._board,
            views,
            self._mount,
            T_link_camera,
            link,
            self._namespace,
            self.preset.hand_frame,
            frame,
        )
        self._folder.mkdir(parents=True, exist_ok=True)
        write_image(self._folder / view.picture, picture)
        write_index(self._folder, recording)
        self.views.append(view)
        return f'{view.picture}: {len(corners.number)} corners'

    def end(self) -> str:
        """Say how many views there are; raises RefusedError where there is none."""
        if not self.views:
            raise RefusedError('no view was taken')
        command = shlex.join(
            ['don_kp', 'calibrate', 'solve', str(self._folder), '--robot', self._robot]
        )
        return f'{len(self.views)} views; now: {command}'


class Watch:
    """The camera and the hand, as the stack's topics tell of them."""

    def __init__(self, stack: Stack, preset: RobotPreset, camera: str) -> None:
        """Subscribe to the camera of a namespace, and to the frames."""
        self._stack, self._preset = stack, preset
        self._image: Image | None = None
        self._info: CameraInfo | None = None
        image, info = (
            topic.replace(camera_topics.NAMESPACE, camera, 1)
            for topic in (camera_topics.COLOUR, camera_topics.COLOUR_INFO)
        )
        self._topics = [
            stack.node.create_subscription(kind, topic, heard, SENSOR).topic_name
            for kind, topic, heard in (
                (Image, image, self._on_image),
                (CameraInfo, info, self._on_info),
            )
        ]
        self._transforms = TransformListener(stack.node)

    def meet(self) -> None:
        """Wait for the camera and the hand; raises RefusedError that names what is missing."""
        if not self._stack.wait(lambda: self._image and self._info):
            silent = [
                topic
                for topic, heard in zip(self._topics, (self._image, self._info), strict=True)
                if heard is None
            ]
            raise RefusedError(
                f'nothing came on {" and ".join(silent)} for {PATIENCE_S:g} s: start the camera, '
                'or give --camera-namespace, --namespace or --simulation'
            )
        if several := two_publishers(self._stack.node, *self._topics):
            raise RefusedError(str(several))
        self.camera()
        self._known(self._at(None))

    def picture(self) -> tuple[NDArray[np.uint8], float, str]:
        """Wait for the next picture (H, W, 3); return it with its stamp, seconds, and frame."""
        self._image = None
        if not self._stack.wait(lambda: self._image):
            raise RefusedError(f'no image came on {self._topics[0]} for {PATIENCE_S:g} s')
        assert self._image is not None
        try:
            picture = rgb_image(self._image)
        except ValueError as error:
            raise RefusedError(f'{self._topics[0]}: {error}') from error
        camera, (height, width) = self.camera(), picture.shape[:2]
        if (camera.width, camera.height) != (width, height):
            raise RefusedError(
                f'{self._topics[0]} is {width}x{height}, and {self._topics[1]} says '
                f'{camera.width}x{camera.height}: a calibration needs the pictures as the camera '
                'info is of; have the driver publish both in one size'
            )
        header = self._image.header
        return picture, seconds_from_stamp(header.stamp), header.frame_id

    def camera(self) -> Camera:
        """Return the camera, by its newest info."""
        assert self._info is not None
        rectified = 'rect' in self._topics[0].rpartition('/')[2]
        try:
            return camera_from_info(self._info, rectified)
        except ValueError as error:
            raise RefusedError(f'{self._topics[1]}: {error}') from error

    def hand_now(self) -> Array:
        """Return T_base_hand (4, 4) as it is told from now on; raises RefusedError."""
        self._transforms.forget()
        try:
            return self._known(self._at(None))
        except RefusedError as error:
            raise RefusedError(
                f'where the hand is has not been told for {PATIENCE_S:g} s: {error}; start the '
                "robot's driver and its robot_state_publisher anew"
            ) from error

    def hand(self, stamp: float) -> Array:
        """Return T_base_hand (4, 4) at a time, seconds.

        Raises RefusedError where it is not known, and RestlessError where the hand moved before.
        """
        now = self._known(self._at(stamp))
        for before in (0.5 * REST_S, REST_S):
            try:
                off = rigid.inverse(now) @ self._at(stamp - before)()
            except RefusedError as error:  # what is not known of then never will be
                raise RestlessError(
                    f'whether the hand rests is not known yet: {error}; wait'
                ) from error
            metres, radians = float(np.linalg.norm(off[:3, 3])), float(angles(off))
            if metres > STILL_M or radians > STILL_RAD:
                raise RestlessError(
                    f'the hand moved by {1e3 * metres:.2f} mm and {np.rad2deg(radians):.2f} '
                    f'degrees in the last {before:g} s; let it rest'
                )
        return now

    def link(self, frame: str) -> tuple[str, Matrix | None]:
        """Return the root frame of a camera, by that of its pictures, which is optical.

        And the driver's transform from that to the root, if it is told. A RealSense's root has its
        name; another camera's is the topmost frame above its pictures that is not above the hand.
        """
        if frame.endswith(OPTICAL):
            root = f'{frame.removesuffix(OPTICAL)}_link'
            try:
                return root, matrix(self._transforms.lookup(root, frame))
            except RefusedError:
                return root, None
        robot = self._transforms.chain(self._preset.hand_frame)
        own = [one for one in self._transforms.chain(frame) if one not in robot]
        root = own[-1] if own else frame
        return root, matrix(self._transforms.lookup(root, frame))

    def _at(self, stamp: float | None) -> Callable[[], Array]:
        base, hand = self._preset.base_frame, self._preset.hand_frame
        return lambda: self._transforms.lookup(base, hand, stamp)

    def _known(self, lookup: Callable[[], Array]) -> Array:
        """Look up what may be told a bit later."""
        found: list[Array] = []
        why: list[RefusedError] = []

        def told() -> bool:
            try:
                found.append(lookup())
            except RefusedError as error:
                why[:] = [error]
            return bool(found)

        if not self._stack.wait(told):
            raise why[0]
        return found[0]

    def _on_image(self, message: Image) -> None:
        self._image = message

    def _on_info(self, message: CameraInfo) -> None:
        self._info = message


def line(stack: Stack, prompt: str) -> str:
    """Return the next line of input, empty at its end; what the stack tells is heard meanwhile."""
    print(prompt, end='', flush=True)
    stack.wait(lambda: select.select([sys.stdin], [], [], 0)[0], math.inf)
    return sys.stdin.readline()
