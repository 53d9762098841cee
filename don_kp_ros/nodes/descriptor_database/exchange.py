"""The services that export stored descriptors to files, and import them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Literal

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node

from don_kp.srv import ExportDescriptors, ImportDescriptors
from don_kp_ros.database import exchange
from don_kp_ros.database.records import Filter
from don_kp_ros.database.text import shown
from don_kp_ros.errors import RefusedError
from don_kp_ros.nodes.descriptor_database.answering import answering
from don_kp_ros.nodes.descriptor_database.link import DatabaseLink

_LONGEST_FILE_NAME = 128  # bytes


class ExchangeServices:
    """Files of one folder alone: whoever calls a service is not at home on this machine."""

    def __init__(
        self,
        node: Node,
        link: DatabaseLink,
        folder: Path,
        changed: Callable[[], None],
        group: CallbackGroup,
    ) -> None:
        """Offer the services on a node that others spin; ``changed`` is called after an import."""
        self._node, self._link = node, link
        self._folder, self._changed, self._ending = folder, changed, Event()
        for kind, name, method in (
            (ExportDescriptors, 'export_descriptors', self._export),
            (ImportDescriptors, 'import_descriptors', self._import),
        ):
            node.create_service(kind, name, method, callback_group=group)

    def end(self) -> None:
        """Let an import end: it takes back what it wrote."""
        self._ending.set()

    @answering
    def _export(
        self, request: ExportDescriptors.Request, response: ExportDescriptors.Response
    ) -> str:
        path = self._path(request.file)
        if path.exists() and not request.replace:
            raise RefusedError(
                f'{path} exists; call again with replace: true to overwrite it, or choose another '
                'name'
            )
        wanted = Filter('', request.model or None, request.object or None, request.tag or None)
        written = exchange.export(self._link.store, path, wanted)
        response.descriptors = written.descriptors
        number = f'{written.descriptors} descriptors and {written.objects} objects'
        told = [f'{number} are exported to {path}']
        told += [f'left out: {reason}' for reason in written.left_out]
        return self._logged('. '.join(told))

    @answering
    def _import(
        self, request: ImportDescriptors.Request, response: ImportDescriptors.Response
    ) -> str:
        if request.replace and request.keep:
            raise RefusedError('replace and keep were both given; choose one')
        path = self._path(request.file)
        existing: Literal['refuse', 'replace', 'keep'] = (
            'replace' if request.replace else 'keep' if request.keep else 'refuse'
        )
        read = exchange.load(self._link.store, path, existing, self._ending)
        for count in 'added', 'replaced', 'kept', 'unchanged':
            setattr(response, count, getattr(read, count))
        self._changed()
        return self._logged(
            f'of {read.descriptors} descriptors and {read.objects} objects in {path}, '
            f'{read.added} are added, {read.replaced} replaced, {read.kept} kept as they were, '
            f'{read.unchanged} were stored already'
        )

    def _logged(self, message: str) -> str:
        self._node.get_logger().info(message)
        return message

    def _path(self, name: str) -> Path:
        """Return the path of a file of that name in the folder of exchange."""
        plain = name.isprintable() and name == Path(name).name and '\\' not in name
        if not plain or name in ('', '..') or len(name.encode()) > _LONGEST_FILE_NAME:
            raise RefusedError(
                f'the file {shown(name)} is no plain name of at most {_LONGEST_FILE_NAME} bytes; '
                f'give one without a folder, such as caps.jsonl: it lies in {self._folder}'
            )
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RefusedError(
                f'cannot make the folder {self._folder}: {error.strerror}; set exchange_folder '
                'to one that can be written'
            ) from error
        return self._folder / name
