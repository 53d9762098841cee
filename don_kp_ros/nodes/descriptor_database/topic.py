"""The latched topic that tells perception what is stored."""

from __future__ import annotations

import os
import threading
from array import array
from collections.abc import Mapping, Sequence

import numpy as np
import rclpy.time
from builtin_interfaces.msg import Time
from rclpy.node import Node

from don_kp.msg import Descriptor, Descriptors, TaughtObject
from don_kp_ros.database.errors import StoreError, UnavailableError
from don_kp_ros.database.records import Filter
from don_kp_ros.database.text import shortened, shown
from don_kp_ros.nodes.descriptor_database.link import Contents, DatabaseLink
from don_kp_ros.nodes.descriptor_database.messages import object_message
from don_kp_ros.nodes.kit.guard import guarded
from don_kp_ros.nodes.kit.qos import LATCHED

_RETRY_S = 1.0
_MOST_UNASKED = 1000  # descriptors that are published while no model is known to run


class DescriptorTopic:
    """Publishes descriptors and objects of the models that run, from a thread of its own.

    Only what differs from what was published last is published. While no model is known to run,
    the descriptors of all models are, if they are few, but no objects. The thread opens the
    database as soon as its server answers.
    """

    def __init__(self, node: Node) -> None:
        """Make the topic of a node."""
        self._node = node
        self._publisher = node.create_publisher(Descriptors, 'don_kp/descriptors', LATCHED)
        self._models: frozenset[str] | None = None
        self._published: Mapping[str, Contents] | None = None
        self._told_objects: list[TaughtObject] = []
        self._stamp = Time()
        self._publishing = threading.Lock()
        self._said: set[str] = set()
        self._failure = ''
        self._due, self._ending = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name='descriptor topic')

    def start(self, link: DatabaseLink) -> None:
        """Publish what is stored, then what changes.

        Raises StoreError where the database fails; a server that does not answer is waited for.
        """
        self._link = link
        try:
            self.publish()
        except UnavailableError as error:
            self._failed(error)
            self._due.set()
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._ending.set()
        self._due.set()
        if self._thread.ident is not None:
            self._thread.join()

    def publish(self) -> Time:
        """Publish what is stored, if that is news; return the stamp of the newest message.

        Raises StoreError where the database fails.
        """
        with self._publishing, self._link.open().snapshot():
            store, contents, objects = self._link.store, self._contents(), self._objects()
            if self._published is None:
                place = store.location
                place = place if '://' in place else os.path.abspath(place)
                new = ', a new database' if store.is_new else ''
                self._node.get_logger().info(f'{store.count()} descriptors in {place}{new}')
            former = self._published
            if former is None or not _equal(contents, former) or objects != self._told_objects:
                message = Descriptors(
                    objects=objects,
                    descriptors=[
                        Descriptor(name=name, model=model, values=array('f', values.tobytes()))
                        for model, (names, matrix) in contents.items()
                        for name, values in zip(names, matrix, strict=True)
                    ],
                )
                message.header.stamp = self._later_stamp()
                self._publisher.publish(message)
                self._published, self._told_objects = contents, objects
                self._stamp = message.header.stamp
            return self._stamp

    def _later_stamp(self) -> Time:
        """Return the time, or one after the last stamp: ROS time may stand still, or go back."""
        last = rclpy.time.Time.from_msg(self._stamp).nanoseconds
        now = self._node.get_clock().now().nanoseconds
        return rclpy.time.Time(nanoseconds=max(now, last + 1)).to_msg()

    def refresh(self) -> None:
        """Look soon whether there is something new to publish."""
        self._due.set()

    def run_models(self, models: frozenset[str]) -> None:
        """Take note of the models that run."""
        if models != self._models:
            self._models = models
            self.refresh()

    def _work(self) -> None:
        while not self._ending.is_set():
            self._due.wait()
            self._due.clear()
            if not self._ending.is_set() and not self._attempt():
                self._due.set()
                self._ending.wait(_RETRY_S)

    @guarded
    def _attempt(self) -> bool:
        """Tell whether everything that is stored has been published."""
        try:
            self.publish()
        except StoreError as error:
            self._failed(error)
            return False
        self._failure = ''
        return True

    def _failed(self, error: StoreError) -> None:
        if str(error) != self._failure:
            self._failure = str(error)
            self._node.get_logger().error(f'perception was not told: {error}; trying again')

    def _contents(self) -> dict[str, Contents]:
        """Read what is to be published, by model."""
        store, running = self._link.store, self._models
        if running is not None:
            models = {model: store.count(Filter(model=model)) for model in sorted(running)}
        else:
            models = {model.fingerprint: model.descriptors for model in store.models()}
            number = sum(models.values())
            if number > _MOST_UNASKED:
                self._say_once(
                    f'{number} descriptors are stored; which of them perception needs is known '
                    'when it runs'
                )
                return {}
        contents = {}
        for model, number in models.items():
            names, values = self._link.contents(model)
            if len(names):
                contents[model] = names, values
            if len(names) != number:
                for damaged in store.damaged(Filter(model=model)):
                    self._say_once(f'left out: {damaged}')
        return contents

    def _objects(self) -> list[TaughtObject]:
        """Read the objects of the models that run."""
        messages = []
        running = sorted(self._models or ())
        for model in running:
            found, damaged = self._link.objects(model)
            messages += [object_message(one) for one in found]
            for error in damaged:
                self._say_once(f'left out: {error}')
        if running:
            self._tell_of_others(running)
        return messages

    def _tell_of_others(self, running: Sequence[str]) -> None:
        """Name the objects that nobody looks for, for they were taught with another model."""
        for model in self._link.store.models():
            if model.fingerprint not in running:
                for taught in self._link.objects(model.fingerprint)[0]:
                    self._say_once(
                        f'not looked for: the object {shown(taught.name)} was taught with model '
                        f'{shortened(model.fingerprint)}, perception runs '
                        f'{" and ".join(map(shortened, running))}; teach it anew, or load that '
                        'model'
                    )

    def _say_once(self, message: str) -> None:
        if message not in self._said:
            self._said.add(message)
            self._node.get_logger().warning(message)


def _equal(one: Mapping[str, Contents], other: Mapping[str, Contents]) -> bool:
    return one.keys() == other.keys() and all(
        list(names) == list(other[model][0]) and np.array_equal(values, other[model][1])
        for model, (names, values) in one.items()
    )
