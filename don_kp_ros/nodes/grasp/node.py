"""The grasp node: from a stored point seen by the camera to an object in the hand."""

from __future__ import annotations

import threading
import traceback

import numpy as np
from geometry_msgs.msg import PointStamped, PoseStamped
from numpy.typing import NDArray
from rclpy.action.server import ServerGoalHandle
from rclpy.node import Node
from std_msgs.msg import Header
from std_srvs.srv import SetBool

from don_kp.action import Grasp
from don_kp_ros.grasping.candidates import PinchParameters
from don_kp_ros.grasping.pick import EmptyGripperError, HeldStoppedError, Phase, Picker, Report
from don_kp_ros.grasping.placing import Held
from don_kp_ros.grasping.viewing import merged
from don_kp_ros.motion.port import GraspPlan, MotionError
from don_kp_ros.nodes.grasp.goals import CODES, mode_of
from don_kp_ros.nodes.grasp.looks import Looks
from don_kp_ros.nodes.grasp.objects import TaughtObjects
from don_kp_ros.nodes.grasp.observer import GoalRefusedError, Observer
from don_kp_ros.nodes.grasp.parameters import MOTIONS, GraspParameters
from don_kp_ros.nodes.grasp.placing import Placer
from don_kp_ros.nodes.grasp.planning import Course, GoalPlanning, Planned
from don_kp_ros.nodes.grasp.points import StoredPoints
from don_kp_ros.nodes.grasp.regions import Regions
from don_kp_ros.nodes.grasp.safety import RecoverService, safety_of
from don_kp_ros.nodes.grasp.second_view import SecondView
from don_kp_ros.nodes.grasp.server import GraspServer
from don_kp_ros.nodes.grasp.targets import NO_POINTS, Planner, millimetres
from don_kp_ros.nodes.grasp.teaching import TeachGraspService
from don_kp_ros.nodes.kit.conversions import point_message, pose_from_matrix
from don_kp_ros.nodes.kit.guard import guarded_service
from don_kp_ros.nodes.kit.parameters import Parameters
from don_kp_ros.nodes.kit.robot import robot_preset
from don_kp_ros.nodes.kit.runner import run_node

Array = NDArray[np.float64]


class GraspNode(Node):
    """Serves the action /grasp."""

    def __init__(self) -> None:
        """Declare parameters, connect the motion adapter and the camera."""
        super().__init__('grasp', automatically_declare_parameters_from_overrides=True)
        self._settings = Parameters(self, GraspParameters).value
        self._preset = robot_preset(self, self._settings.robot)
        self._safety = safety_of(self, self._preset, self._settings)
        self._motion = MOTIONS[self._settings.motion](self, self._preset, self._safety)
        self._picker = Picker(
            self._motion,
            self._preset.position('observe'),
            self._preset.open_width,
            self._settings.pick,
        )
        self._workspace = self._safety.limits.workspace
        self._fingers = PinchParameters(
            opening=self._preset.open_width, table_clearance=self._safety.limits.table_margin
        )
        self._cancelled = threading.Event()
        self._observer = Observer(
            self, self._preset.base_frame, self._settings.look, self._cancelled
        )
        self._second_view = SecondView(self._preset, self._observer, self._motion)
        planner = Planner(self._picker, self._workspace, self._fingers)
        look, views = self._settings.look, self._settings.views
        regions = Regions(self._observer)
        self._planning = GoalPlanning(
            self._observer,
            StoredPoints(self, self._observer, look),
            TaughtObjects(self, self._observer, look),
            planner,
            self._second_view,
            Looks(self._observer, regions, self._second_view, planner, views),
            look,
        )
        RecoverService(self, self._preset, self._safety)
        TeachGraspService(self, self._preset, self._settings.look, self._fingers)
        self._placer = Placer(
            self,
            self._preset,
            self._observer,
            self._motion,
            self._picker,
            self._workspace,
            self._fingers,
        )
        self._pose = self.create_publisher(PoseStamped, 'don_kp/grasp_pose', 1)
        self._enabled = self._settings.enabled
        enable = self.create_service(SetBool, 'enable', self._on_enable)
        self._remedy = f'call {enable.service_name} with data: true, or start with enable:=true'
        self._server = GraspServer(
            self, self._result, self._prepare, self._stop, self._motion.disengage
        )
        self._motion.watchdog.start()  # last: it outlives a node that cannot start
        self.get_logger().info(f'ready for goals on {self.resolve_service_name("grasp")}')
        if not self._enabled:
            self.get_logger().info(f'the arm does not move before it is enabled: {self._remedy}')

    def end(self) -> None:
        """Stop the arm while messages still flow, let the running goal end, accept no other."""
        self._server.end()

    def destroy_node(self) -> None:
        """Leave."""
        self._server.destroy()
        super().destroy_node()

    @guarded_service
    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        """Let the arm move from now on, or no more; what runs is stopped then."""
        self._enabled = request.data
        if not request.data:
            self._server.stop()
        response.success = True
        response.message = f'the arm {"may move" if request.data else "does not move any more"}'
        self.get_logger().info(response.message)
        return response

    def _prepare(self) -> None:
        self._cancelled.clear()
        self._motion.engage()

    def _stop(self) -> None:
        self._cancelled.set()
        self._motion.stop()

    def _result(self, handle: ServerGoalHandle) -> Grasp.Result:
        result = Grasp.Result(code=Grasp.Result.FAULT)
        result.point = self._point_stamped(np.full(3, np.nan))
        try:
            self._serve(handle, result)
        except GoalRefusedError as refusal:
            result.code, result.message = refusal.code, str(refusal)
        except MotionError as error:
            result.code = CODES.get(error.code, Grasp.Result.MOTION_FAILED)
            result.message = str(error)
        except EmptyGripperError as error:
            result.code, result.message = Grasp.Result.EMPTY_GRIPPER, str(error)
        except Exception as error:
            # A bug must end this goal, not the node: the arm holds, the next goal is served.
            self._motion.stop()
            result.message = f'internal error: {error!r}; the log has the details'
            details = traceback.format_exc().rstrip()
            self.get_logger().error(f'the grasp failed by an internal error:\n{details}')
        finally:
            self._motion.disengage()
        return result

    def _serve(self, handle: ServerGoalHandle, result: Grasp.Result) -> None:
        goal: Grasp.Goal = handle.request

        def report(phase: Phase, detail: str) -> None:
            self.get_logger().info(f'{phase.value} {detail}'.rstrip())
            handle.publish_feedback(Grasp.Feedback(phase=phase.value, detail=detail))

        mode = mode_of(goal)

        def located(point: Array) -> None:
            result.point = self._point_stamped(point)

        if not self._enabled:
            raise GoalRefusedError(
                Grasp.Result.NOT_ENABLED, f'the arm is not enabled; {self._remedy}'
            )
        self._safety.check_recovered()
        self._motion.joint_positions()  # stale joint states: nothing further is of use
        place = None
        if Grasp.Goal.PLACE in (mode, goal.next) and not goal.place_at:
            place = self._placer.goal(goal.place)
        if mode == Grasp.Goal.PLACE:
            report(Phase.OBSERVE, 'what stands about the place')
            about = self._placer.look()
            if goal.place_at:
                place, _ = self._place_at(goal.place_at, report, about)
            self._placer.put(place, report)
            result.code, result.message = Grasp.Result.SUCCEEDED, 'placed; back to observe'
            return
        if mode == Grasp.Goal.RELEASE:
            report(Phase.RELEASE, 'the fingers open')
            self._picker.release()
            self._placer.lifted(None)
            # Opening needs no sight, the way home does.
            self._motion.set_obstacles(self._workspace.mapped(self._observer.newest_points()))
            self._picker.go_home(let_go=True)
            result.code, result.message = Grasp.Result.SUCCEEDED, 'released; back to observe'
            return
        if mode == Grasp.Goal.MOVE:
            self._move(goal, report, result)
            return
        self._check_nothing_is_held()
        tried: list[Array] = []
        picked = None
        self._placer.lifted(None)
        about = NO_POINTS
        if goal.place_at:
            place, about = self._place_at(goal.place_at, report)
        while picked is None:
            report(Phase.OBSERVE, f'where {goal.target or "the pose"} is')
            course = Course(tried, report, located)
            try:
                planned = self._planning.plan(goal, mode, course)
                if goal.next in (Grasp.Goal.PLACE, Grasp.Goal.RELEASE):
                    self._foreseen(goal, planned, place, about)  # before it is looked at again
                planned = self._planning.confirmed(planned, course)
                held = self._foreseen(goal, planned, place, about)
            except (GoalRefusedError, MotionError) as error:
                raise self._second_view.back(error) from None
            result.grasp_pose = self._pose_stamped(planned.plan.T_base_grasp)
            self._pose.publish(result.grasp_pose)
            tried.append(planned.plan.T_base_grasp)
            try:
                picked = self._picker.execute(planned.plan, report)
            except EmptyGripperError as error:
                over = len(tried) >= self._settings.max_attempts
                if over or not (goal.target and error.retreated):
                    raise
            except HeldStoppedError:
                self._placer.lifted(held)
                raise
        self._placer.lifted(held)
        result.width = picked.width
        what = goal.target or 'the object'
        result.message = f'holding {what}, {1000 * picked.width:.0f} mm wide'
        if goal.next in (Grasp.Goal.PLACE, Grasp.Goal.RELEASE):
            self._placer.put(place, report)
            result.message = f'{what} is {"placed" if place is not None else "back"}'
        result.code = Grasp.Result.SUCCEEDED

    def _place_at(
        self, name: str, report: Report, about: Array = NO_POINTS
    ) -> tuple[Array, Array]:
        """Return where something stands (4, 4) that is put down at a taught place.

        With it come the points (N, 3) that were seen there, beside those about.
        """
        found = self._planning.place(name, report, about)
        place = self._placer.goal_at(found.T_base_reference, found.points)
        report(Phase.OBSERVE, f'{name} is at {millimetres(place[:3, 3])} mm')
        return place, found.points

    def _check_nothing_is_held(self) -> None:
        if self._picker.holds_something():
            raise GoalRefusedError(
                Grasp.Result.INVALID_GOAL,
                f'the fingers hold something {1000 * self._motion.gripper_width():.0f} mm wide; '
                'send a goal of mode release, or place, first',
            )

    def _move(self, goal: Grasp.Goal, report: Report, result: Grasp.Result) -> None:
        """Bring the tool centre point to a goal's pose; the fingers stay as they are."""
        T = self._observer.to_base(goal.pose)
        where = f'{millimetres(T[:3, 3])} mm'
        if not goal.blind:
            self._check_nothing_is_held()
            self._placer.lifted(None)
            report(Phase.OBSERVE, 'what stands in the way')
        seen = None if goal.blind else self._workspace.mapped(self._observer.newest_points())
        self._motion.set_obstacles(seen)
        report(Phase.MOVE, f'the tool to {where}')
        self._motion.move_to_pose(T)
        result.grasp_pose = self._pose_stamped(T)
        result.code, result.message = Grasp.Result.SUCCEEDED, f'the tool is at {where}'

    def _foreseen(
        self, goal: Grasp.Goal, planned: Planned[GraspPlan], place: Array | None, about: Array
    ) -> Held | None:
        """Tell what a plan will hold; it need not be known where it is only to be held.

        about: points (N, 3) that were seen before, and still stand there where it sees none.
        """
        grasp, reference = planned.plan.T_base_grasp, planned.T_base_reference
        try:
            seen = merged(about, planned.points)
            return self._placer.foresee(grasp, reference, seen, place)
        except GoalRefusedError:
            if goal.next in (Grasp.Goal.PLACE, Grasp.Goal.RELEASE):
                raise
            return None

    def _header(self) -> Header:
        return Header(stamp=self.get_clock().now().to_msg(), frame_id=self._preset.base_frame)

    def _point_stamped(self, point: Array) -> PointStamped:
        return PointStamped(header=self._header(), point=point_message(point))

    def _pose_stamped(self, T: Array) -> PoseStamped:
        return PoseStamped(header=self._header(), pose=pose_from_matrix(T))


def main(args: list[str] | None = None) -> int:
    """Run the node until it is interrupted."""
    return run_node(GraspNode, args, threads=4)
