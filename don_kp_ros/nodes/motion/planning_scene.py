"""What MoveIt knows of the table and of what stands on it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from geometry_msgs.msg import Pose
from numpy.typing import ArrayLike, NDArray
from shape_msgs.msg import SolidPrimitive

from don_kp_ros.geometry import rigid
from don_kp_ros.motion.heightmap import LOWEST, HeightMap
from don_kp_ros.motion.held import HeldBox
from don_kp_ros.nodes.kit.conversions import pose_from_matrix
from don_kp_ros.nodes.motion.installation import installed
from don_kp_ros.robots.preset import RobotPreset

Array = NDArray[np.float64]

_HELD = 'held'
# So many cells of the height map along x and y make one column.
_COLUMN_CELLS = 2
# In front of the robot, whose base would touch it otherwise; metres.
_TABLE_CENTRE, _TABLE_SIZE = (0.75, 0.0, -0.05), (1.0, 1.6, 0.1)


@dataclass(frozen=True, eq=False)
class HandLinks:
    """The link that moves the hand, those that may touch what is held, the tool's pose (4, 4)."""

    tip: str
    touched: tuple[str, ...]
    T_tip_tcp: Array

    @classmethod
    def of(cls, preset: RobotPreset) -> HandLinks:
        """Return those of a robot's preset."""
        stem = preset.hand_frame.removesuffix('_hand')
        touched = (preset.hand_frame, f'{stem}_leftfinger', f'{stem}_rightfinger')
        return cls(preset.moveit.tip_link, touched, preset.moveit.T_tip_tcp)


class PlanningScene:
    """Puts the table, and obstacles from a height map, into MoveIt's planning scene."""

    def __init__(self, monitor: Any, base_frame: str) -> None:
        """Put the table into the scene of a planning scene monitor."""
        self._monitor, self._base_frame = monitor, base_frame
        messages = installed('moveit_msgs.msg')
        self._collision_object = messages.CollisionObject
        self._attached_object = messages.AttachedCollisionObject
        self._holds = False
        self._heights: HeightMap | None = None
        self._apply('table', [_box(_TABLE_CENTRE, _TABLE_SIZE)])

    def set_obstacles(self, heights: HeightMap | None) -> None:
        """Replace what stands on the table; None clears it."""
        self._heights = heights
        self._show(heights)

    @contextmanager
    def cleared(self, centre: ArrayLike, radius: float) -> Iterator[None]:
        """Take away, for a while, what stands within a radius around a centre, metres."""
        self._show(self._heights.cleared(centre, radius) if self._heights else None)
        try:
            yield
        finally:
            self._show(self._heights)

    def hold(self, held: HeldBox | None, hand: HandLinks) -> None:
        """Attach a box to the hand in place of what it held; None: it holds nothing."""
        if self._holds:
            self._attach(self._collision_object.REMOVE, hand, [])
            self._apply(_HELD, [])  # MoveIt leaves in the world what it detaches
        if held is not None:
            T_tip_box = hand.T_tip_tcp @ held.T_tcp_box
            self._attach(
                self._collision_object.ADD, hand, [_turned_box(T_tip_box, 2 * held.half_size)]
            )
        self._holds = held is not None

    def _attach(
        self, operation: Any, hand: HandLinks, boxes: list[tuple[SolidPrimitive, Pose]]
    ) -> None:
        message = self._attached_object(link_name=hand.tip, touch_links=list(hand.touched))
        message.object = self._object(_HELD, hand.tip, operation, boxes)
        with self._monitor.read_write() as scene:
            scene.process_attached_collision_object(message)
            scene.current_state.update()

    def _show(self, heights: HeightMap | None) -> None:
        self._apply('obstacles', _columns(heights) if heights is not None else [])

    def _apply(self, name: str, boxes: list[tuple[SolidPrimitive, Pose]]) -> None:
        operation = self._collision_object.ADD if boxes else self._collision_object.REMOVE
        message = self._object(name, self._base_frame, operation, boxes)
        with self._monitor.read_write() as scene:
            scene.apply_collision_object(message)
            scene.current_state.update()

    def _object(
        self, name: str, frame: str, operation: Any, boxes: list[tuple[SolidPrimitive, Pose]]
    ) -> Any:
        message = self._collision_object(id=name)
        message.header.frame_id = frame
        message.operation = operation
        message.primitives = [primitive for primitive, _ in boxes]
        message.primitive_poses = [pose for _, pose in boxes]
        return message


def _box(centre: ArrayLike, size: Iterable[float]) -> tuple[SolidPrimitive, Pose]:
    return _turned_box(rigid.transform(translation=centre), size)


def _turned_box(T: Array, size: Iterable[float]) -> tuple[SolidPrimitive, Pose]:
    primitive = SolidPrimitive(type=SolidPrimitive.BOX, dimensions=[float(x) for x in size])
    return primitive, pose_from_matrix(T)


def _columns(heights: HeightMap) -> list[tuple[SolidPrimitive, Pose]]:
    """Return boxes from the table up, each over a few cells."""
    n, cell = _COLUMN_CELLS, heights.grid.cell
    values = np.nan_to_num(heights.heights)
    nx, ny = values.shape
    values = np.pad(values, ((0, -nx % n), (0, -ny % n)))
    tops = values.reshape(values.shape[0] // n, n, values.shape[1] // n, n).max(axis=(1, 3))
    return [
        _box(
            [
                heights.grid.x_min + (i + 0.5) * n * cell,
                heights.grid.y_min + (j + 0.5) * n * cell,
                tops[i, j] / 2,
            ],
            [n * cell, n * cell, tops[i, j]],
        )
        for i, j in np.argwhere(tops > LOWEST)
    ]
