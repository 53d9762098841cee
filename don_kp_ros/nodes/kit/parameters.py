"""Node parameters as a typed, checked dataclass."""

from __future__ import annotations

import dataclasses
from typing import Any, Generic, TypeVar

from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from don_kp_ros import configuration
from don_kp_ros.nodes.kit.runner import StartupError

Configuration = TypeVar('Configuration')
_OF_ROS = ('use_sim_time', 'start_type_description_service', 'qos_overrides')


def parameter(default: Any, description: str, changeable: bool = False) -> Any:
    """Make a dataclass field that is a node parameter; it is read-only unless ``changeable``."""
    return dataclasses.field(
        default=default, metadata={'description': description, 'changeable': changeable}
    )


class Parameters(Generic[Configuration]):
    """The parameters of a node that was made with automatically declared overrides.

    ``value`` is always a whole, checked configuration, also while somebody sets a parameter.
    """

    def __init__(self, node: Node, cls: type[Configuration]) -> None:
        """Declare the fields of a dataclass as parameters.

        Raises StartupError for unknown parameters, wrong types, and what the dataclass refuses.
        """
        self._cls = cls
        self._where = f'parameters of {node.get_name()}'
        given = {
            name: node.get_parameter(name).value
            for name in node.get_parameters_by_prefix('')
            if name.split('.')[0] not in _OF_ROS
        }
        try:
            self.value = configuration.read(cls, given, self._where)
        except ValueError as error:
            raise StartupError(str(error)) from error
        for field in dataclasses.fields(cls):  # type: ignore[arg-type]
            if field.name in given:
                node.undeclare_parameter(field.name)
            descriptor = ParameterDescriptor(
                description=field.metadata['description'],
                read_only=not field.metadata['changeable'],
            )
            value = getattr(self.value, field.name)
            node.declare_parameter(field.name, value, descriptor, ignore_override=True)
        node.add_on_set_parameters_callback(self._set)

    def _set(self, parameters: list[Parameter]) -> SetParametersResult:
        ours = {p.name: p.value for p in parameters if p.name.split('.')[0] not in _OF_ROS}
        try:
            self.value = configuration.read(
                self._cls, {**configuration.plain(self.value), **ours}, self._where
            )
        except ValueError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)
