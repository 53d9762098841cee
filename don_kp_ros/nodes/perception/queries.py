"""What perception looks for: the stored points and objects of the model that it runs."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from torch import Tensor

from don_kp.msg import Descriptors, TaughtObject
from don_kp_ros.database.records import object_of
from don_kp_ros.networks.model import DescriptorModel
from don_kp_ros.pose.constellation import Constellation
from don_kp_ros.pose.symmetry import Form, form_of

_MOST_SAID = 20  # names in a line of the log


@dataclass(frozen=True)
class ObjectQuery:
    """A taught object, and which of all descriptors is its first."""

    taught: TaughtObject
    constellation: Constellation
    form: Form
    first: int

    @property
    def name(self) -> str:
        """The object's name."""
        return str(self.taught.name)


@dataclass(frozen=True)
class Queries:
    """Stored points in order of name, then those of the taught objects."""

    model: str  # fingerprint
    names: tuple[str, ...]  # of the N points
    objects: tuple[ObjectQuery, ...]
    everything: Tensor  # (N + M, D) of unit length, on the CPU; matching moves it to the device
    stamp: Time  # of the message that brought them
    ignored: int = 0  # how many the message had besides: of other models, or of no use
    unusable: tuple[str, ...] = ()  # objects of this model that are left out, with the reasons

    @property
    def vectors(self) -> Tensor:
        """The descriptors (N, D) of the points."""
        return self.everything[: len(self.names)]

    @cached_property
    def stored(self) -> tuple[str, ...]:
        """The names of all objects of which something is stored, in order.

        They are those of the taught objects, and what the names of points say.
        """
        return tuple(sorted({*map(object_of, self.names), *(one.name for one in self.objects)}))

    @cached_property
    def owners(self) -> NDArray[np.intp]:
        """Which of `stored` each of `everything` (N + M) describes."""
        number = {name: index for index, name in enumerate(self.stored)}
        owners = [number[object_of(name)] for name in self.names]
        for one in self.objects:
            owners += [number[one.name]] * len(one.constellation.points)
        return np.array(owners, dtype=np.intp)

    @classmethod
    def from_message(
        cls,
        message: Descriptors,
        model: DescriptorModel,
        former: Sequence[ObjectQuery] = (),
    ) -> Queries:
        """Read what is stored of a model; of other models, or unusable, it is left out.

        former: objects that may be the same as before, and need not be examined anew.
        """
        stored = {d.name: d.values for d in message.descriptors if d.model == model.fingerprint}
        usable = sorted(
            name
            for name, values in stored.items()
            if len(values) == model.dimension and np.isfinite(values).all()
        )
        vectors = np.array([stored[name] for name in usable], dtype=np.float32)
        points = torch.from_numpy(vectors.reshape(-1, model.dimension))
        parts, objects = [torch.nn.functional.normalize(points, dim=1)], []
        unusable: list[str] = []
        first = len(usable)
        for taught in sorted(message.objects, key=lambda one: str(one.name)):
            if taught.model != model.fingerprint:
                continue
            query = next((one for one in former if one.taught == taught), None)
            try:
                query = _query(taught, model) if query is None else query
            except Exception as error:  # whatever it is, the others are looked for
                unusable.append(f'{taught.name} ({error!r})')
                continue
            objects.append(replace(query, first=first))
            parts.append(torch.tensor(query.constellation.descriptors))
            first += len(query.constellation.points)
        used = len(usable) + len(objects) + len(unusable)
        ignored = len(message.descriptors) + len(message.objects) - used
        return cls(
            model.fingerprint,
            tuple(usable),
            tuple(objects),
            torch.cat(parts),
            message.header.stamp,
            ignored,
            tuple(unusable),
        )

    def __str__(self) -> str:
        said = f'looking for {_listed("stored point", self.names)}'
        if self.objects:
            said += f' and {_listed("object", [one.name for one in self.objects])}'
        if self.ignored:
            said += f'; {self.ignored} of other models are ignored'
        if self.unusable:
            said += f'; left out {_listed("object", self.unusable)}; teach them anew'
        return said


def constellation_from_message(taught: TaughtObject, dimension: int) -> Constellation:
    """Read a taught object whose descriptors have that dimension; raises ValueError."""
    number = len(taught.weights)
    return Constellation(
        np.reshape(taught.points, (number, 3)),
        np.reshape(taught.values, (number, dimension)),
        np.array(taught.weights),
        taught.model,
        taught.views,
    )


def message_from_constellation(name: str, taught: Constellation) -> TaughtObject:
    """Make the message of an object."""
    return TaughtObject(
        name=name,
        model=taught.fingerprint,
        views=taught.views,
        points=array('f', taught.points.ravel()),
        values=array('f', taught.descriptors.ravel()),
        weights=array('f', taught.weights),
    )


def _query(taught: TaughtObject, model: DescriptorModel) -> ObjectQuery:
    """Examine a taught object."""
    constellation = constellation_from_message(taught, model.dimension)
    return ObjectQuery(taught, constellation, form_of(constellation), 0)


def _listed(what: str, names: tuple[str, ...] | list[str]) -> str:
    few = [*names[:_MOST_SAID], *(['...'] if len(names) > _MOST_SAID else [])]
    return f'{len(names)} {what}{"" if len(names) == 1 else "s"}: {", ".join(few) or "none"}'
