"""The taught objects of a database."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa

from don_kp_ros.database import rows, statements
from don_kp_ros.database.engine import Database
from don_kp_ros.database.errors import (
    DamagedError,
    InvalidObjectError,
    NameTakenError,
    UnknownNameError,
)
from don_kp_ros.database.object_records import (
    StoredGrasp,
    StoredMesh,
    StoredObject,
    checked_object,
    fingerprint_of,
    grasps_text,
    mesh_columns,
    read_grasps,
    read_mesh,
)
from don_kp_ros.database.records import ALL, Filter, check_name, now
from don_kp_ros.database.rows import Row, is_text
from don_kp_ros.database.schema import meshes, models, taught_objects
from don_kp_ros.database.text import shortened, shown

_AS_THEY_ARE = ('name', 'views', 'created', 'updated')
_ARRAYS = ('points', 'values', 'weights')
_records = sa.select(
    taught_objects, models.c.fingerprint.label('model'), models.c.dimension
).select_from(taught_objects.join(models))


class ObjectStore:
    """Taught objects by name and model; its methods fail as those of DescriptorStore do."""

    def __init__(self, database: Database, service: Callable[[str], str]) -> None:
        self._database, self._service = database, service

    def put(
        self, taught: StoredObject, replace: bool = False, former: StoredObject | None = None
    ) -> StoredObject:
        """Store an object now, under a name that is unique per model.

        A stored name is replaced with `replace`, or with `former`, which is what the object was
        made from: one that somebody else has changed since is not lost. With `former` it keeps its
        grasps and its mesh, because its frame is the same. Raises NameTakenError with neither,
        InvalidObjectError for a `former` that is stored no longer, and what `checked_object`
        raises.
        """
        if former is not None:
            taught = dataclasses.replace(taught, grasps=former.grasps, mesh=former.mesh)
        taught = checked_object(taught)
        name, model = taught.name, taught.model
        with self._database.transaction(write=True) as connection:
            stored = self._find(connection, name, model)
            if former is not None and (stored is None or stored.updated != former.updated):
                raise _changed(name, 'this view', 'teach the view again')
            if stored is not None and former is None and not replace:
                raise taken(name, model)
            time = now()
            created = time if stored is None else stored.created or time
            self.put_back(dataclasses.replace(taught, created=created, updated=time))
            return self.get(name, model)

    def put_back(self, taught: StoredObject) -> None:
        """Store an object as it was, times included, in place of what its name holds now.

        Its mesh comes with its data, unless that is stored already. Raises what `checked_object`
        raises, and InvalidObjectError for a mesh without data.
        """
        taught = checked_object(taught)
        content = {name: getattr(taught, name) for name in _AS_THEY_ARE}
        content.update({name: rows.blob(getattr(taught, name)) for name in _ARRAYS})
        content['grasps'] = grasps_text(taught.grasps)
        content.update(mesh_columns(taught.mesh))
        with self._database.transaction(write=True) as connection:
            size = taught.values.shape[1]
            content['model_id'] = statements.model_id(connection, taught.model, size)
            stored = self._find(connection, taught.name, taught.model)
            if stored is None:
                connection.execute(taught_objects.insert().values(content))
            else:
                same = taught_objects.c.id == stored.id
                connection.execute(taught_objects.update().where(same).values(content))
            if taught.mesh is not None:
                _keep_data(connection, taught.name, taught.mesh)
            _drop_unused(connection)
            self._database.changed(connection)

    def has(self, name: str, model: str) -> bool:
        """Tell whether an object is stored for a model, damaged or not."""
        with self._database.transaction() as connection:
            return self._find(connection, name, model) is not None

    def get(self, name: str, model: str) -> StoredObject:
        """Read an object. Raises UnknownNameError, with the nearest names, or DamagedError."""
        with self._database.transaction() as connection:
            return self._record(self._identified(connection, name, model))

    def list(self, wanted: Filter = ALL) -> tuple[Sequence[StoredObject], Sequence[DamagedError]]:
        """List objects in order of (name, model), and the damaged ones met on the way.

        A filter's `object` is the whole name. None has tags, and none can be restored.
        """
        found: list[StoredObject] = []
        damaged: list[DamagedError] = []
        query = _records.where(*_conditions(wanted))
        query = query.order_by(taught_objects.c.name, models.c.fingerprint)
        with self._database.transaction() as connection:
            for row in connection.execute(query):
                try:
                    found.append(self._record(row))
                except DamagedError as error:
                    damaged.append(error)
        return found, damaged

    def rename(self, name: str, model: str, new_name: str) -> StoredObject:
        """Give an object another name; all else stays.

        Raises UnknownNameError, NameTakenError, InvalidNameError, DamagedError.
        """
        check_name(new_name, 'new name')
        with self._database.transaction(write=True) as connection:
            same = taught_objects.c.id == self._identified(connection, name, model).id
            if self._find(connection, new_name, model) is not None:
                raise NameTakenError(
                    f'{shown(new_name)} is already taught for model {shortened(model)}; choose '
                    'another name, or delete that one first'
                )
            changes = {'name': new_name, 'updated': now()}
            connection.execute(taught_objects.update().where(same).values(changes))
            self._database.changed(connection)
            return self.get(new_name, model)

    def delete(self, name: str, model: str) -> None:
        """Delete an object for good, damaged or not.

        Raises UnknownNameError, with the nearest names.
        """
        with self._database.transaction(write=True) as connection:
            number = self._identified(connection, name, model).id
            connection.execute(taught_objects.delete().where(taught_objects.c.id == number))
            _drop_unused(connection)
            self._database.changed(connection)

    def put_grasp(
        self, name: str, model: str, grasp: StoredGrasp, replace: bool = False
    ) -> StoredGrasp:
        """Store a grasp of an object under a name that is unique for the object.

        Without a name it gets the next number. Raises NameTakenError without `replace`,
        UnknownNameError for the object, InvalidNameError, InvalidObjectError, DamagedError.
        """
        with self._database.transaction(write=True):
            taught = self.get(name, model)
            known = {one.name: one for one in taught.grasps}
            if not grasp.name:
                number = next(n for n in range(1, len(known) + 2) if str(n) not in known)
                grasp = dataclasses.replace(grasp, name=str(number))
            if grasp.name in known and not replace:
                raise NameTakenError(
                    f'{shown(name)} has a grasp {shown(grasp.name)} already; call again with '
                    'replace: true to forget that, or choose another name'
                )
            self._put_grasps(taught, {**known, grasp.name: grasp})
            return next(one for one in self.get(name, model).grasps if one.name == grasp.name)

    def delete_grasp(self, name: str, model: str, grasp: str) -> None:
        """Forget a grasp of an object. Raises UnknownNameError, with the nearest names."""
        with self._database.transaction(write=True):
            taught = self.get(name, model)
            known = {one.name: one for one in taught.grasps}
            if known.pop(grasp, None) is None:
                teach = f'none is: use {self._service("teach_grasp")}'
                found = statements.nearest(grasp, list(known)) if known else teach
                raise UnknownNameError(
                    f'no grasp {shown(grasp)} of {shown(name)} is taught; {found}'
                )
            self._put_grasps(taught, known)

    def put_mesh(
        self, former: StoredObject, mesh: StoredMesh, replace: bool = False
    ) -> StoredMesh:
        """Store the mesh of an object, as it was when the mesh was placed in its frame.

        Raises NameTakenError for one that has a mesh, without `replace`; InvalidObjectError for
        an object that was changed since.
        """
        with self._database.transaction(write=True):
            taught = self.get(*former.key)
            if taught.mesh is not None and not replace:
                raise mesh_taken(taught.name)
            if taught.updated != former.updated:
                raise _changed(taught.name, 'the mesh', 'send it again')
            self.put_back(dataclasses.replace(taught, mesh=mesh, updated=now()))
            return mesh

    def delete_mesh(self, name: str, model: str) -> None:
        """Forget the mesh of an object. Raises UnknownNameError."""
        with self._database.transaction(write=True):
            taught = self.get(name, model)
            if taught.mesh is None:
                raise UnknownNameError(
                    f'{shown(name)} has no mesh; {self._service("store_mesh")} stores one'
                )
            self.put_back(dataclasses.replace(taught, mesh=None, updated=now()))

    def mesh_data(self, fingerprint: str) -> bytes:
        """Read the bytes of a mesh. Raises UnknownNameError, DamagedError."""
        query = sa.select(meshes.c.data).where(meshes.c.fingerprint == fingerprint)
        known = is_text(fingerprint)
        with self._database.transaction() as connection:
            data = connection.execute(query).scalar_one_or_none() if known else None
        if data is None:
            raise UnknownNameError(
                f'no mesh {shortened(fingerprint)} is stored; {self._service("list_objects")} '
                'tells which are'
            )
        if not isinstance(data, bytes) or fingerprint_of(data) != fingerprint:
            raise DamagedError(
                f'the mesh {shortened(fingerprint)} is damaged; store it again with '
                f'{self._service("store_mesh")} and replace: true'
            )
        return data

    def with_mesh(self, taught: StoredObject) -> StoredObject:
        """Return an object with the data of its mesh. Raises UnknownNameError, DamagedError."""
        if taught.mesh is None:
            return taught
        data = self.mesh_data(taught.mesh.fingerprint)
        return dataclasses.replace(taught, mesh=dataclasses.replace(taught.mesh, data=data))

    def _put_grasps(self, taught: StoredObject, grasps: Mapping[str, StoredGrasp]) -> None:
        held = tuple(grasps.values())
        self.put_back(dataclasses.replace(taught, grasps=held, updated=now()))

    def _find(self, connection: sa.Connection, name: str, model: str) -> sa.Row | None:
        if not (is_text(name) and is_text(model)):
            return None
        same = (taught_objects.c.name == name, models.c.fingerprint == model)
        return connection.execute(_records.where(*same)).one_or_none()

    def _identified(self, connection: sa.Connection, name: str, model: str) -> sa.Row:
        row = self._find(connection, name, model)
        if row is not None:
            return row
        query = _records.where(*_conditions(Filter(model=model))).order_by(taught_objects.c.name)
        names = connection.scalars(query.with_only_columns(taught_objects.c.name)).all()
        teach = f'nothing is: use {self._service("teach_object")}'
        found = statements.nearest(name, names) if names else teach
        told = f'{shown(name)} is not taught for model {shortened(model)}'
        raise UnknownNameError(f'{told}; {found}')

    def _record(self, row: sa.Row) -> StoredObject:
        told = f'the object {shown(row.name)} of model {shown(row.model)}'
        remedy = f'delete it with {self._service("delete_object")}, then teach it again'
        with self._database.damage_named(told, remedy):
            return read_object(row._mapping)


def read_object(row: Row) -> StoredObject:
    """Read an object with its `model` and `dimension`.

    Raises TypeError, ValueError, and what `checked_object` raises.
    """
    number = len(row['weights']) // 4
    shapes = {'points': (number, 3), 'values': (number, row['dimension']), 'weights': (number,)}
    arrays: dict[str, Any] = {
        name: rows.vector(row[name], int(np.prod(shape))).reshape(shape)
        for name, shape in shapes.items()
    }
    kept = {name: row[name] for name in _AS_THEY_ARE}
    kept['grasps'] = read_grasps(row['grasps'])
    kept['mesh'] = read_mesh(row['mesh'], row['mesh_pose'])
    return checked_object(StoredObject(model=row['model'], **kept, **arrays))


def mesh_taken(name: str) -> NameTakenError:
    """Make the error for an object that has a mesh already; it says what to do."""
    return NameTakenError(
        f'{shown(name)} has a mesh already; call again with replace: true to forget that'
    )


def _changed(name: str, what: str, remedy: str) -> InvalidObjectError:
    return InvalidObjectError(
        f'{shown(name)} was changed by somebody else meanwhile; {what} is not added to it: look '
        f'at what is stored now, then {remedy}'
    )


def _keep_data(connection: sa.Connection, name: str, mesh: StoredMesh) -> None:
    """Store the bytes of a mesh, also over damaged ones, or see that they are there."""
    same = meshes.c.fingerprint == mesh.fingerprint
    there = connection.execute(sa.select(meshes.c.id).where(same)).one_or_none() is not None
    if not mesh.data:
        if not there:
            raise InvalidObjectError(f'the mesh of {shown(name)} has no data; send it again')
    elif there:
        connection.execute(meshes.update().where(same).values(data=mesh.data))
    else:
        connection.execute(meshes.insert().values(fingerprint=mesh.fingerprint, data=mesh.data))


def _drop_unused(connection: sa.Connection) -> None:
    """Delete the meshes that no object has any longer."""
    used = sa.select(taught_objects.c.mesh).where(taught_objects.c.mesh.is_not(None))
    connection.execute(meshes.delete().where(meshes.c.fingerprint.not_in(used)))


def taken(name: str, model: str) -> NameTakenError:
    """Make the error for a name that is stored already; it says what to do."""
    return NameTakenError(
        f'{shown(name)} is already taught for model {shortened(model)}; call again with '
        'replace: true to forget that, with add: true to add this view, or choose another name'
    )


def _conditions(wanted: Filter) -> Iterator[sa.ColumnElement[bool]]:
    texts = wanted.prefix, wanted.model, wanted.object
    if wanted.tag is not None or wanted.deleted or not all(is_text(text or '') for text in texts):
        yield sa.false()
    if wanted.prefix:
        yield from statements.begins_with(taught_objects.c.name, wanted.prefix)
    if wanted.model is not None:
        yield models.c.fingerprint == wanted.model
    if wanted.object is not None:
        yield taught_objects.c.name == wanted.object
