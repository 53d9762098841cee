"""The descriptor database node: stores points under names, and tells perception of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node

from don_kp.msg import Descriptor, DescriptorMap, Descriptors
from don_kp.srv import DeleteDescriptor, GetDescriptor, ListDescriptors, StoreDescriptor
from don_kp_ros.database.location import default_path
from don_kp_ros.database.store import (
    DescriptorStore,
    RefusedError,
    StoredDescriptor,
    StoreError,
    shortened,
)
from don_kp_ros.matching.heatmap import describe_at
from don_kp_ros.nodes.buffers import Latest, Stamped
from don_kp_ros.nodes.conversions import map_from_message, seconds_from_stamp
from don_kp_ros.nodes.guard import guarded, guarded_service
from don_kp_ros.nodes.parameters import Parameters, parameter
from don_kp_ros.nodes.qos import LATCHED, RESULT
from don_kp_ros.nodes.runner import StartupError, run_node

_Response = TypeVar(
    '_Response',
    StoreDescriptor.Response,
    GetDescriptor.Response,
    ListDescriptors.Response,
    DeleteDescriptor.Response,
)


@dataclass(frozen=True)
class DatabaseParameters:
    """What can be set; units in the descriptions."""

    database: str = parameter(
        '', "SQLite file; empty: don_kp/descriptors.sqlite in the user's data folder"
    )
    max_map_age_s: float = parameter(
        1.0, 'greatest age, in seconds, of the descriptor map to store a pixel of', True
    )

    def __post_init__(self) -> None:
        if not 0 < self.max_map_age_s < math.inf:
            raise ValueError(f'max_map_age_s is {self.max_map_age_s}; it must be positive')


class DescriptorDatabase(Node):
    """Serves the descriptor store."""

    def __init__(self) -> None:
        super().__init__(
            'descriptor_database', automatically_declare_parameters_from_overrides=True
        )
        self._settings = Parameters(self, DatabaseParameters)
        self._map = Latest[DescriptorMap]()
        self._said: set[str] = set()
        self._stored = self.create_publisher(Descriptors, '/don_kp/descriptors', LATCHED)
        path = self._settings.value.database or default_path()
        try:
            self._store = DescriptorStore(path)
            number = self._publish()
        except StoreError as error:
            raise StartupError(str(error)) from error
        self.create_subscription(
            DescriptorMap,
            '/don_kp/descriptor_map',
            self._on_map,
            RESULT,
            callback_group=MutuallyExclusiveCallbackGroup(),
        )
        for kind, name, callback in (
            (StoreDescriptor, '/store_descriptor', self._on_store),
            (GetDescriptor, '/get_descriptor', self._on_get),
            (ListDescriptors, '/list_descriptors', self._on_list),
            (DeleteDescriptor, '/delete_descriptor', self._on_delete),
        ):
            self.create_service(kind, name, callback)
        self.get_logger().info(f'{number} descriptors in {self._store.path}')

    def destroy_node(self) -> None:
        """End the node, close the database."""
        super().destroy_node()
        self._store.close()

    @guarded
    def _on_map(self, message: DescriptorMap) -> None:
        self._map.put(message, seconds_from_stamp(message.header.stamp))

    @guarded_service
    def _on_store(
        self, request: StoreDescriptor.Request, response: StoreDescriptor.Response
    ) -> StoreDescriptor.Response:
        try:
            model, values, source = self._requested(request)
            stored = self._store.put(request.name, model, values, request.replace)
        except (RefusedError, StoreError) as error:
            return self._refused(response, error)
        response.descriptor = _message(stored)
        return self._changed(
            response, f'{stored.name} is stored for model {shortened(model)}, from {source}'
        )

    @guarded_service
    def _on_get(
        self, request: GetDescriptor.Request, response: GetDescriptor.Response
    ) -> GetDescriptor.Response:
        try:
            stored = self._store.get(request.name, self._model(request.model))
        except (RefusedError, StoreError) as error:
            return self._refused(response, error)
        response.success, response.descriptor = True, _message(stored)
        response.message = f'{stored.name}, last changed {stored.updated:%Y-%m-%d %H:%M:%S} UTC'
        return response

    @guarded_service
    def _on_list(
        self, request: ListDescriptors.Request, response: ListDescriptors.Response
    ) -> ListDescriptors.Response:
        wanted = request.prefix, request.model or None
        try:
            stored, damaged = self._store.list(*wanted), self._store.damaged(*wanted)
        except StoreError as error:
            return self._refused(response, error)
        response.descriptors = [_message(descriptor) for descriptor in stored]
        told = [f'{len(stored)} descriptors', *(f'left out: {error}' for error in damaged)]
        response.success, response.message = True, '. '.join(told)
        return response

    @guarded_service
    def _on_delete(
        self, request: DeleteDescriptor.Request, response: DeleteDescriptor.Response
    ) -> DeleteDescriptor.Response:
        try:
            model = self._model(request.model)
            self._store.delete(request.name, model)
        except (RefusedError, StoreError) as error:
            return self._refused(response, error)
        return self._changed(response, f'{request.name} is deleted for model {shortened(model)}')

    def _requested(self, request: StoreDescriptor.Request) -> tuple[str, NDArray[np.float32], str]:
        """Return model and values that a request asks to store, and where they come from."""
        running = self._map.get()
        if running is not None and request.model not in ('', running.value.model):
            raise RefusedError(
                f'model {shortened(request.model)} was given, but '
                f'{shortened(running.value.model)} is running; leave the model out, or start '
                'perception with the other one'
            )
        if len(request.values):
            if not request.model:
                raise RefusedError(
                    "values were given without their model; give the model's fingerprint"
                )
            values = np.asarray(request.values, dtype=np.float32)
            if running is not None and len(values) != running.value.dimension:
                raise RefusedError(
                    f'{len(values)} values were given; descriptors of model '
                    f'{shortened(request.model)} have {running.value.dimension}'
                )
            return request.model, values, f'{len(values)} values'
        values = self._values_at(running, request.u, request.v)
        assert running is not None
        return running.value.model, values, f'pixel ({request.u}, {request.v})'

    def _values_at(
        self, newest: Stamped[DescriptorMap] | None, u: int, v: int
    ) -> NDArray[np.float32]:
        if newest is None:
            raise RefusedError(
                'no descriptor map has come yet; start perception and the camera, then try again'
            )
        age = newest.age(1e-9 * self.get_clock().now().nanoseconds)
        allowed = self._settings.value.max_map_age_s
        if age > allowed:
            raise RefusedError(
                f'the newest descriptor map is {age:.1f} s old, allowed are {allowed:g} s; check '
                "that the camera and perception run, and that the machines' clocks agree"
            )
        width, height = newest.value.image_width, newest.value.image_height
        if not (0 <= u < width and 0 <= v < height):
            raise RefusedError(
                f'pixel ({u}, {v}) is outside of the picture, which is {width}x{height}; u goes '
                f'from 0 to {width - 1}, v from 0 to {height - 1}'
            )
        try:
            cells = torch.from_numpy(map_from_message(newest.value))
        except ValueError as error:
            raise RefusedError(f'{error}; restart perception') from error
        described = describe_at(cells, torch.tensor([[u, v]]), (height, width))
        values: NDArray[np.float32] = described[0].numpy()
        return values

    def _model(self, given: str) -> str:
        running = self._map.get()
        if given:
            return given
        if running is None:
            raise RefusedError(
                "no model is known to run yet; give the model's fingerprint, or start perception"
            )
        return running.value.model

    def _refused(self, response: _Response, error: Exception) -> _Response:
        response.success, response.message = False, str(error)
        self.get_logger().warning(str(error))
        return response

    def _changed(self, response: _Response, message: str) -> _Response:
        response.success, response.message = True, message
        try:
            self._publish()
        except StoreError as error:  # what was asked for is done all the same
            self.get_logger().error(f'perception was not told: {error}')
        self.get_logger().info(message)
        return response

    def _publish(self) -> int:
        for damaged in map(str, self._store.damaged()):
            if damaged not in self._said:
                self._said.add(damaged)
                self.get_logger().error(f'left out: {damaged}')
        message = Descriptors(descriptors=[_message(stored) for stored in self._store.list()])
        message.header.stamp = self.get_clock().now().to_msg()
        self._stored.publish(message)
        return len(message.descriptors)


def _message(stored: StoredDescriptor) -> Descriptor:
    return Descriptor(name=stored.name, model=stored.model, values=stored.values)


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until it is interrupted; return the exit status."""
    return run_node(DescriptorDatabase, args, threads=2)


if __name__ == '__main__':
    raise SystemExit(main())
