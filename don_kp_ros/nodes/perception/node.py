"""The perception node: describes the newest image and finds the stored points in it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from don_kp.msg import Descriptors, Model
from don_kp.srv import LoadModel
from don_kp_ros.errors import RefusedError
from don_kp_ros.networks.model import DescriptorModel
from don_kp_ros.nodes.kit.guard import guarded_service
from don_kp_ros.nodes.kit.managed import ManagedNode
from don_kp_ros.nodes.kit.parameters import Parameters
from don_kp_ros.nodes.kit.qos import LATCHED
from don_kp_ros.nodes.kit.runner import run_node
from don_kp_ros.nodes.kit.transforms import TransformListener
from don_kp_ros.nodes.perception.meshes import Meshes
from don_kp_ros.nodes.perception.mount import MountedCamera
from don_kp_ros.nodes.perception.parameters import PerceptionParameters
from don_kp_ros.nodes.perception.placing import PlacingService
from don_kp_ros.nodes.perception.preferences import PreferenceService
from don_kp_ros.nodes.perception.running import Running, load_model
from don_kp_ros.nodes.perception.search import Search
from don_kp_ros.nodes.perception.services import PerceptionServices
from don_kp_ros.nodes.perception.stored import StoredTopic
from don_kp_ros.nodes.perception.teaching import TeachService
from don_kp_ros.resources import shipped_model


class Perception(ManagedNode):
    """Inactive it has the model and leaves the camera alone; unconfigured it has neither."""

    def __init__(self) -> None:
        super().__init__('perception', automatically_declare_parameters_from_overrides=True)
        self._settings = Parameters(self, PerceptionParameters)
        settings = self._settings.value
        self._running: Running | None = None
        self._search: Search | None = None
        self._stored = Descriptors()
        self._models = self.create_publisher(Model, 'don_kp/model', LATCHED)
        StoredTopic(self, self._on_descriptors)
        transforms = self._transforms = TransformListener(self)
        self._meshes = Meshes(self)
        if settings.camera_mount == 'hand':
            MountedCamera(self, settings.robot, transforms)
        PerceptionServices(
            self,
            transforms,
            self._active,
            self._configured,
            self._present,
        )
        TeachService(self, transforms, self._active, self._present)
        self._placing = PlacingService(self, self._active, self._configured, self._present)
        PreferenceService(self, lambda: self._active().frames, self._configured, self._present)
        self.create_service(LoadModel, 'don_kp/load_model', self._on_load_model)
        if settings.autostart:
            self.start()

    def destroy_node(self) -> None:
        """End the threads first."""
        self._placing.close()
        super().destroy_node()

    def configure(self) -> None:
        """Load the model of the parameters."""
        settings = self._settings.value
        self._run(load_model(settings.model or shipped_model(), settings))

    def activate(self) -> None:
        """Subscribe to the camera, and look for what is stored."""
        self._search = Search(
            self, self._configured, self._present, self._transforms, self._meshes
        )
        self.get_logger().info(f'waiting for images on {self._search.frames.colour.topic}')

    def deactivate(self) -> None:
        """Leave the camera alone."""
        search, self._search = self._search, None
        if search is not None:
            search.close()

    def cleanup(self) -> None:
        """Free the model."""
        self._running = None

    def _present(self) -> PerceptionParameters:
        return self._settings.value

    def _active(self) -> Search:
        if self._search is None:
            missing = () if self._running is not None else ('configure',)
            raise RefusedError(self._how_to(*missing, 'activate'))
        return self._search

    def _configured(self) -> Running:
        if self._running is None:
            raise RefusedError(self._how_to('configure'))
        return self._running

    def _how_to(self, *transitions: str) -> str:
        name = self.get_fully_qualified_name()
        if self.state == 'finalized':
            return f'{name} is finalized: start it anew'
        commands = ', then '.join(f'`ros2 lifecycle set {name} {one}`' for one in transitions)
        return f'{name} is {self.state}: run {commands}'

    def _run(self, model: DescriptorModel) -> None:
        """Run a model from now on, and tell of it."""
        self._running = Running.of(model, self._stored)
        self._models.publish(
            Model(
                fingerprint=model.fingerprint,
                dimension=model.dimension,
                card=json.dumps(model.card),
            )
        )
        self.get_logger().info(
            f'model {model.fingerprint}, D = {model.dimension}, on {self._settings.value.device}; '
            f'{self._running.queries}'
        )

    @guarded_service
    def _on_load_model(
        self, request: LoadModel.Request, response: LoadModel.Response
    ) -> LoadModel.Response:
        before = self._configured().model
        response.fingerprint = before.fingerprint
        try:
            if not request.path:
                raise RefusedError('the path is empty; give a checkpoint file of this machine')
            self._run(load_model(Path(request.path), self._settings.value))
        except RefusedError as error:
            response.message = f'model {before.fingerprint} goes on: {error}'
            self.get_logger().warning(response.message)
            return response
        response.fingerprint = self._configured().model.fingerprint
        response.success, response.message = True, f'{request.path} runs now'
        return response

    def _on_descriptors(self, message: Descriptors) -> None:
        self._stored, before = message, self._running
        if before is not None:
            self._running = Running.of(before.model, message, before)
            if str(self._running.queries) != str(before.queries):
                self.get_logger().info(str(self._running.queries))


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until it is interrupted; return the exit status."""
    # One thread: most callbacks keep what comes, or answer within milliseconds, and an executor of
    # several threads costs four times as much for every message. To teach or to load takes longer.
    return run_node(Perception, args, threads=1)
