"""The descriptor database node: stores points under names, and tells perception of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node

from don_kp_ros.database.errors import StoreError
from don_kp_ros.database.location import default_path
from don_kp_ros.nodes.descriptor_database.exchange import ExchangeServices
from don_kp_ros.nodes.descriptor_database.link import DatabaseLink, chosen_database
from don_kp_ros.nodes.descriptor_database.meshes import MeshServices
from don_kp_ros.nodes.descriptor_database.models import RunningModels
from don_kp_ros.nodes.descriptor_database.objects import ObjectServices
from don_kp_ros.nodes.descriptor_database.perception import PerceptionClient
from don_kp_ros.nodes.descriptor_database.services import DescriptorServices
from don_kp_ros.nodes.descriptor_database.topic import DescriptorTopic
from don_kp_ros.nodes.kit.parameters import Parameters, parameter
from don_kp_ros.nodes.kit.runner import StartupError, run_node

_THREADS = 8  # requests that wait for a server's answer must not keep others waiting


@dataclass(frozen=True)
class DatabaseParameters:
    """What can be set; units in the descriptions."""

    database: str = parameter(
        '',
        'SQLite file, unless database_url is given; empty: DON_KP_DATABASE_URL, or else '
        'don_kp/descriptors.sqlite in the data folder',
    )
    database_url: str = parameter(
        '',
        'of a PostgreSQL server, without a password; used in place of the file if both are given; '
        'empty: the file',
    )
    exchange_folder: str = parameter(
        '',
        "of exported and imported files; empty: don_kp/exchange in the user's data folder",
    )
    max_map_age_s: float = parameter(
        1.0, 'greatest age, in seconds, of the newest image, to store a pixel or to rank', True
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
        settings = self._settings.value
        database = chosen_database(settings.database, settings.database_url)
        if settings.database and settings.database_url:
            self.get_logger().warning(
                f'database is {settings.database!r}, and database_url is given, too: the file is '
                'not used; leave out the one that is not meant'
            )
        self._topic = DescriptorTopic(self)
        changed = self._topic.refresh
        self._link = DatabaseLink(database, changed, self.resolve_service_name)
        folder = settings.exchange_folder or default_path().parent / 'exchange'
        group = ReentrantCallbackGroup()
        perception = PerceptionClient(self, lambda: self._settings.value.max_map_age_s)
        models = RunningModels(self, self._link, self._topic.run_models)
        DescriptorServices(self, self._link, models, perception, self._topic, group)
        ObjectServices(self, self._link, models, perception, self._topic, group)
        MeshServices(self, self._link, models, perception, self._topic, group)
        self._exchange = ExchangeServices(self, self._link, Path(folder), changed, group)
        # Last: what it says on the topic and in the log tells that the services are there.
        try:
            self._topic.start(self._link)
        except StoreError as error:
            self._link.close()
            raise StartupError(str(error)) from error

    def end(self) -> None:
        """End what takes long while messages still flow, so that its caller is told."""
        self._exchange.end()

    def destroy_node(self) -> None:
        """End the node, close the database."""
        self._topic.stop()
        self._link.close()
        super().destroy_node()


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until it is interrupted; return the exit status."""
    return run_node(DescriptorDatabase, args, threads=_THREADS)
