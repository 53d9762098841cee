"""The motion port that grasping uses, with two adapters, embedded and MoveIt."""

from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.geometry import rigid
from don_kp_ros.motion.heightmap import HeightMap
from don_kp_ros.motion.held import HeldBox

Array = NDArray[np.float64]


class MotionCode(Enum):
    """Why a motion failed."""

    UNREACHABLE = 'unreachable'  # no inverse kinematics, or no path
    COLLISION = 'collision'  # the start, the goal or the line between them touches something
    TIMEOUT = 'timeout'  # planning or a controller took too long
    NOT_FOLLOWED = 'not followed'  # the arm did not arrive
    CANCELLED = 'cancelled'  # stop() was called
    STALE_STATE = 'stale state'  # the joints' positions are unknown or old
    OUTSIDE = 'outside'  # of a limit of safety
    NEEDS_RECOVERY = 'needs recovery'  # a controller aborted, and nobody has recovered the arm


class MotionError(Exception):
    """A refused or failed motion; the arm holds its position."""

    def __init__(self, code: MotionCode, message: str) -> None:
        """Keep the code; the message is the error's text."""
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Segment:
    """A planned motion, to be run once by the adapter that made it."""

    name: str
    duration: float  # seconds
    trajectory: Any


@dataclass(frozen=True)
class GraspPlan:
    """A whole pick, checked before anything moves; its segments run in this order."""

    T_base_grasp: Array  # of the tool centre point (4, 4); may be the asked pose with the hand
    #                      turned by 180 degrees about its approach axis
    open_width: float  # metres, between the fingers; set it before moving
    to_pregrasp: Segment  # free motion from the arm's position to above the grasp
    approach: Segment  # straight along the hand's z
    lift: Segment  # straight along the base frame's z


@dataclass(frozen=True)
class PlacePlan:
    """The motions that put a held object down, checked before anything moves, in this order."""

    T_base_place: Array  # of the tool centre point (4, 4)
    to_preplace: Segment  # free motion from the arm's position to above the place
    lower: Segment  # straight down
    retreat: Segment  # straight up, once the fingers are open


def above(T_base_place: Array, distance: float) -> Array:
    """Return the pose (4, 4) a distance in metres above another."""
    return rigid.transform(translation=[0.0, 0.0, distance]) @ T_base_place


def pick_poses(
    T_base_grasp: Array, approach_distance: float, lift_height: float
) -> list[tuple[Array, Array, Array]]:
    """Return the poses (4, 4) above a grasp, at it and after the lift, and those half turned.

    The hand is symmetrical: turned by 180 degrees about its z, it grasps as well.
    """
    half_turn = rigid.transform(rigid.rotation_about([0.0, 0.0, 1.0], np.pi))
    back = rigid.transform(translation=[0.0, 0.0, -approach_distance])
    return [(T @ back, T, above(T, lift_height)) for T in (T_base_grasp, T_base_grasp @ half_turn)]


class Motion(Protocol):
    """Moves an arm and its gripper; calls block, and raise MotionError when they fail.

    Poses are of the tool centre point in the base frame (4, 4), metres. One thread engages, moves
    and disengages; stop() may be called from any other. Joint states come fifty times a second or
    more, so an adapter listens only while it is engaged. At first it is not.
    """

    def engage(self) -> None:
        """Listen to the joint states from now on, and allow motions, also after stop()."""

    def disengage(self) -> None:
        """Stop listening; all later motions raise CANCELLED until engage()."""

    def joint_positions(self) -> Array:
        """Return the arm's joint positions (7,) in radians."""

    def move_to_joints(self, q: Array, let_go: bool = False) -> None:
        """Move to joint positions (7,), around obstacles.

        let_go: what the fingers have let go lies between them, and is not in the way.
        """

    def move_to_pose(self, T_base_tcp: Array) -> None:
        """Move to a pose of the tool centre point (4, 4), around obstacles."""

    def plan_grasp(
        self, T_base_grasp: Array, approach_distance: float, lift_height: float, open_width: float
    ) -> GraspPlan:
        """Plan the whole pick from the arm's position; nothing moves."""

    def hold(self, held: HeldBox | None) -> None:
        """Plan from now on with what the hand holds; None: it holds nothing."""

    def plan_place(self, T_base_place: Array, distance: float) -> PlacePlan:
        """Plan to put what is held down, from a distance in metres above; nothing moves."""

    def execute(self, segment: Segment) -> None:
        """Run a planned segment; the arm must stand at its start."""

    def set_gripper(self, width: float, force: float) -> float:
        """Bring the fingers to a width in metres, or until they press with a force in newtons.

        Returns the width at which they settled.
        """

    def gripper_width(self) -> float:
        """Return the width between the fingers in metres."""

    def set_obstacles(self, heights: HeightMap | None) -> None:
        """Replace what stands on the table; None clears it."""

    def wait(self, seconds: float) -> None:
        """Stand still for some seconds of the robot's time."""

    def stop(self) -> None:
        """Stop and hold; the running call and all later ones raise CANCELLED until engage()."""
