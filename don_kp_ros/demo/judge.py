"""A judge of grasp trials: uses the stack as a user does, and asks physics what came of it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from geometry_msgs.msg import Vector3
from numpy.typing import NDArray
from rcl_interfaces.srv import SetParameters
from rclpy.client import Client
from rclpy.exceptions import InvalidHandle
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from rclpy.subscription import Subscription
from rclpy.task import Future
from sensor_msgs.msg import Image, JointState
from std_srvs.srv import Trigger

from don_kp.action import Grasp
from don_kp.msg import Matches
from don_kp.srv import GetSceneTruth, ResetScene, StoreDescriptor, TeachGrasp, TeachObject
from don_kp_ros.grasping.pick import Phase
from don_kp_ros.nodes.kit import camera_topics
from don_kp_ros.nodes.kit.action import PunctualActionClient
from don_kp_ros.nodes.kit.conversions import image_array, seconds_from_stamp
from don_kp_ros.nodes.kit.guard import guarded

Picture = NDArray[np.uint8]

MEETING_SECONDS = 20.0  # by then the parts of a new stack have found each other, and answered
# Of this machine's time, also when it is busy: longer, and something is dead.
PATIENCE_SECONDS, GOAL_SECONDS = 60.0, 600.0
_MOMENT, _RESTS = 0.1, 0.001  # simulated seconds; radians by which a joint at rest may move in it


class UnansweredError(RuntimeError):
    """A part of the stack did not answer; the message names it."""


class StackEndedError(RuntimeError):
    """A node of the stack has ended; nothing further can be judged."""


class Judge(Node):
    """A client of the stack, spun in a thread of its own."""

    def __init__(self, alive: Callable[[], None]) -> None:
        """Connect; ``alive`` is called while waiting and raises StackEndedError where it must."""
        simulated = Parameter('use_sim_time', value=True)
        super().__init__('judge', parameter_overrides=[simulated])
        self._alive = alive
        self._reset = self.create_client(ResetScene, 'simulation/reset')
        self._truth = self.create_client(GetSceneTruth, 'simulation/truth')
        self._set_parameters = self.create_client(SetParameters, 'simulation/set_parameters')
        self._push = self.create_publisher(Vector3, 'simulation/push', 10)
        self._store = self.create_client(StoreDescriptor, 'store_descriptor')
        self._teach = self.create_client(TeachObject, 'teach_object')
        self._teach_grasp = self.create_client(TeachGrasp, 'teach_grasp')
        self._grasp = PunctualActionClient(self, Grasp, 'grasp')
        self._recover = self.create_client(Trigger, 'recover')
        self._stopped = False  # by the last goal
        self.create_subscription(Matches, 'don_kp/matches', self._on_matches, 10)
        self.create_subscription(JointState, 'joint_states', self._on_joints, 10)
        self._matches_stamp = 0.0
        self._sought: set[str] = set()
        self.joints = np.full(7, np.nan)  # rad, the newest
        self._joints_stamp = 0.0
        self.motion = 0.0  # rad, the largest of any joint since the last goal was sent
        self._rest = self.joints
        self._views: dict[str, Image] = {}
        self._viewing: list[Subscription] = []
        self.scenes: deque[Picture] | None = None  # where the spectator's view is recorded
        self._spectator: Any = None
        self._sent = Future()
        self._on_phase: Callable[[str, str], None] = lambda *_: None
        self._closing = threading.Event()
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self)
        self._thread = threading.Thread(target=self._spin, name='judge', daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop spinning and leave."""
        self._closing.set()
        self._thread.join(timeout=2.0)
        self._executor.shutdown(timeout_sec=1.0)
        self.destroy_node()

    def wait_until_ready(self, timeout: float) -> None:
        """Wait for every part of the stack; raises UnansweredError naming what is missing."""
        deadline = time.monotonic() + timeout
        for name, ready in (
            ('service simulation/reset', self._reset.service_is_ready),
            ('service simulation/set_parameters', self._set_parameters.service_is_ready),
            ('topic simulation/push', lambda: self._push.get_subscription_count() > 0),
            ('service store_descriptor', self._store.service_is_ready),
            ('service teach_object', self._teach.service_is_ready),
            ('service teach_grasp', self._teach_grasp.service_is_ready),
            ('action grasp', self._grasp.server_is_ready),
            ('topic don_kp/matches', lambda: self._matches_stamp > 0),
            ('topic joint_states', lambda: bool(np.isfinite(self.joints).all())),
        ):
            self._wait(name, ready, deadline - time.monotonic())

    def look(self) -> None:
        """Look at the camera's picture and at the heatmap from now on."""
        for topic in (camera_topics.COLOUR, 'don_kp/heatmap'):
            self._viewing.append(
                self.create_subscription(
                    Image, topic, partial(self._views.__setitem__, topic), qos_profile_sensor_data
                )
            )

    def seen(self) -> list[Picture]:
        """Return the newest picture and heatmap, as far as they came, and look no more.

        What nobody looks at is not drawn.
        """
        while self._viewing:
            self.destroy_subscription(self._viewing.pop())
        return [image_array(self._views.pop(topic)).copy() for topic in sorted(self._views)]

    def record(self, most: int | None = None) -> deque[Picture]:
        """Record the spectator's view from now on, the newest ones at most, as is returned."""
        self.scenes = deque(maxlen=most)
        if self._spectator is None:
            self._spectator = self.create_subscription(
                Image, 'simulation/spectator', self._on_scene, qos_profile_sensor_data
            )
        return self.scenes

    def reset(
        self,
        seed: int,
        placement: int,
        instance: int,
        without_object: bool = False,
        kind: str = 'cap',
        others: int = -1,
        board: bool = False,
    ) -> None:
        """Lay out the table as `ResetScene` says, and wait until the stack has seen it.

        An arm that the goal before left waiting for `/recover` is recovered: it stands anew, too.
        """
        request = ResetScene.Request(
            seed=seed,
            placement=placement,
            kind=kind,
            instance=instance,
            others=others,
            without_object=without_object,
            board=board,
        )
        response = self._call(
            'simulation/reset', self._reset.call_async(request), PATIENCE_SECONDS
        )
        if not response.success:
            raise UnansweredError(f'simulation/reset: {response.message}')
        if self._stopped:
            self._call('recover', self._recover.call_async(Trigger.Request()), PATIENCE_SECONDS)

        def seen() -> bool:
            return self._matches_stamp > response.time

        self._wait('an image of the new scene', seen, PATIENCE_SECONDS)

    def disturb(self, parameters: Mapping[str, float]) -> None:
        """Change parameters of the simulation; raises UnansweredError where it refuses one."""
        if not parameters:
            return
        messages = [
            Parameter(name, value=float(value)).to_parameter_msg()
            for name, value in parameters.items()
        ]
        response = self._call(
            'simulation/set_parameters',
            self._set_parameters.call_async(SetParameters.Request(parameters=messages)),
            PATIENCE_SECONDS,
        )
        for result in response.results:
            if not result.successful:
                raise UnansweredError(f'simulation/set_parameters: {result.reason}')

    def push(self, shift: Sequence[float]) -> None:
        """Shift the object by metres (3,), without waiting. For use in ``on_phase``."""
        x, y, z = (float(value) for value in shift)
        self._push.publish(Vector3(x=x, y=y, z=z))

    def truth(self) -> GetSceneTruth.Response:
        """Ask physics."""
        return self._call(
            'simulation/truth', self._truth.call_async(GetSceneTruth.Request()), PATIENCE_SECONDS
        )

    def glance(self) -> Future:
        """Ask physics without waiting for the answer. For use in ``on_phase``."""
        return self._truth.call_async(GetSceneTruth.Request())

    def store(self, name: str, u: int, v: int) -> None:
        """Store the descriptor of a pixel in place of the name's; wait until it is sought."""
        self._ask(self._store, StoreDescriptor.Request(name=name, u=u, v=v, replace=True))
        self.wait_until_sought(name)

    def wait_until_sought(self, name: str) -> None:
        """Wait until perception looks for a stored point."""
        self._wait(
            f'perception to look for {name}', lambda: name in self._sought, PATIENCE_SECONDS
        )

    def teach_object(self, name: str, u: int, v: int) -> TeachObject.Response:
        """Teach the object at a pixel, replacing what the name had."""
        request = TeachObject.Request(name=name, u=u, v=v, replace=True)
        return self._ask(self._teach, request)

    def teach_grasp(self, request: TeachGrasp.Request) -> TeachGrasp.Response:
        """Teach how to hold an object, or look where it is."""
        return self._ask(self._teach_grasp, request)

    def grasp(
        self,
        goal: Grasp.Goal,
        on_phase: Callable[[str, str], None],
        while_held: Callable[[], None] = lambda: None,
    ) -> Grasp.Result:
        """Send a goal and wait for its end; ``on_phase`` gets phase and detail as they come.

        ``while_held`` is called each time that the object is said to be lifted, by the caller's
        thread: what is lost during the lift may be tried again.
        """
        self._rest, self.motion = self.joints, 0.0
        held = threading.Event()

        def heard(phase: str, detail: str) -> None:
            on_phase(phase, detail)
            if phase == Phase.VERIFY.value:
                held.set()
            elif phase in (Phase.OBSERVE.value, Phase.RETREAT.value):
                held.clear()

        self._on_phase = heard
        self._sent = self._grasp.send_goal_async(goal, self._on_feedback)
        handle = self._call('grasp', self._sent, PATIENCE_SECONDS)
        if not handle.accepted:
            raise UnansweredError('grasp: the goal was rejected; is another grasp running?')
        result = handle.get_result_async()
        while True:
            self._wait('grasp', lambda: result.done() or held.is_set(), GOAL_SECONDS)
            if not held.is_set():
                break
            held.clear()
            while_held()
        ended = self._call('grasp', result, GOAL_SECONDS).result
        self._stopped = ended.code in (Grasp.Result.MOTION_FAILED, Grasp.Result.NEEDS_RECOVERY)
        return ended

    def cancel(self) -> None:
        """Cancel the running goal; its result will say so. For use in ``on_phase``."""
        # The feedback may be here before the answer that the goal is accepted.
        self._sent.add_done_callback(lambda sent: sent.result().cancel_goal_async())

    def at_rest(self) -> bool:
        """Tell whether the arm stands still from now on, for a moment."""
        now = self.truth().time  # what is older may be on its way
        self._wait('joint_states', lambda: self._joints_stamp > now, PATIENCE_SECONDS)
        before, end = self.joints, self._joints_stamp + _MOMENT
        self._wait('joint_states', lambda: self._joints_stamp > end, PATIENCE_SECONDS)
        return bool(np.abs(self.joints - before).max() < _RESTS)

    def watch_height(self, seconds: float) -> float:
        """Return the least height of the object's centre over some simulated time, metres.

        Raises UnansweredError where simulated time stands still.
        """
        seen = [self.truth()]

        def over() -> bool:
            seen.append(self.truth())
            return bool(seen[-1].time >= seen[0].time + seconds)

        self._wait(f'{seconds:g} s of simulated time', over, GOAL_SECONDS)
        return float(min(truth.centre.z for truth in seen))

    def _ask(self, client: Client, request: Any) -> Any:
        """Call a service until it does not refuse.

        A stack that has just started may not have met all its parts, nor looked for what has just
        been taught.
        """
        deadline = time.monotonic() + MEETING_SECONDS
        while True:
            name = client.srv_name
            response = self._call(name, client.call_async(request), PATIENCE_SECONDS)
            if response.success:
                return response
            if time.monotonic() > deadline:
                raise UnansweredError(f'{name}: {response.message}')
            time.sleep(0.05)

    def _call(self, name: str, future: Future, timeout: float) -> Any:
        self._wait(name, future.done, timeout)
        return future.result()

    def _wait(self, name: str, done: Callable[[], bool], timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while not done():
            self._alive()
            if time.monotonic() > deadline:
                raise UnansweredError(f'{name}: no answer within {timeout:.0f} s; see the log')
            time.sleep(0.01)

    def _spin(self) -> None:
        with contextlib.suppress(ExternalShutdownException):
            while not self._closing.is_set():
                # What is destroyed meanwhile may be about to be waited for.
                with contextlib.suppress(InvalidHandle):
                    self._executor.spin_once(timeout_sec=0.2)

    @guarded
    def _on_feedback(self, message: Any) -> None:
        self._on_phase(message.feedback.phase, message.feedback.detail)

    @guarded
    def _on_matches(self, message: Matches) -> None:
        self._sought = {match.name for match in message.matches}
        self._matches_stamp = seconds_from_stamp(message.header.stamp)

    @guarded
    def _on_joints(self, message: JointState) -> None:
        self.joints = np.array(message.position[:7])
        self._joints_stamp = seconds_from_stamp(message.header.stamp)
        self.motion = max(self.motion, float(np.abs(self.joints - self._rest).max()))

    @guarded
    def _on_scene(self, message: Image) -> None:
        if self.scenes is not None:
            self.scenes.append(image_array(message).copy())
