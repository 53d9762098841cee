"""The service that answers "what is this?"."""

from __future__ import annotations

import math

import torch
from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node

from don_kp.msg import DescriptorMap, RankedDescriptor
from don_kp.srv import RankDescriptors
from don_kp_ros.database.records import RefusedError, UnknownNameError, shortened, shown
from don_kp_ros.matching.ranking import Region, rank
from don_kp_ros.nodes.descriptor_database.answering import answering
from don_kp_ros.nodes.descriptor_database.link import DatabaseLink
from don_kp_ros.nodes.descriptor_database.sightings import Sightings, cells

_BEST, _MOST_RANKED = 10, 100
_RANKED_IN_WORDS = 3


class RankingService:
    """Ranks the stored descriptors of the model that runs by how well they fit what is seen."""

    def __init__(
        self, node: Node, link: DatabaseLink, sightings: Sightings, group: CallbackGroup
    ) -> None:
        """Offer the service on a node that others spin."""
        self._node, self._link, self._sightings = node, link, sightings
        node.create_service(
            RankDescriptors, '/rank_descriptors', self._on_rank, callback_group=group
        )

    @answering
    def _on_rank(
        self, request: RankDescriptors.Request, response: RankDescriptors.Response
    ) -> RankDescriptors.Response:
        limit = request.limit or _BEST
        if limit > _MOST_RANKED:
            raise RefusedError(f'limit is {limit}; at most {_MOST_RANKED} are ranked')
        seen = self._sightings.map_of(request.stamp)
        region, size = _region(request, seen), (seen.image_height, seen.image_width)
        names, values = self._link.contents(seen.model)
        if len(names) == 0:
            raise RefusedError(
                f'nothing is stored for model {shortened(seen.model)}; store it with '
                '/store_descriptor'
            )
        try:
            ranked = rank(
                torch.from_numpy(cells(seen)), torch.from_numpy(values), size, limit, region
            )
        except ValueError as error:
            raise RefusedError(f'{error}; restart perception') from error
        for one in ranked:
            try:
                stored = self._link.store.get(names[one.index], seen.model)
            except UnknownNameError:
                continue  # deleted meanwhile
            message = RankedDescriptor(name=stored.name, object=stored.object, score=one.score)
            message.u, message.v = one.uv
            response.ranking.append(message)
        response.header, response.model = seen.header, seen.model
        best = (f'{shown(m.name)} {m.score:.3f}' for m in response.ranking[:_RANKED_IN_WORDS])
        response.success, response.message = True, f'of {len(names)}: {", ".join(best)}'
        return response


def _region(request: RankDescriptors.Request, seen: DescriptorMap) -> Region | None:
    if request.radius == 0:
        return None
    u, v, radius = request.u, request.v, request.radius
    width, height = seen.image_width, seen.image_height
    # Written so that NaN is refused.
    if not (-0.5 <= u <= width - 0.5 and -0.5 <= v <= height - 0.5 and 0 < radius < math.inf):
        raise RefusedError(
            f'the place ({u:g}, {v:g}) with radius {radius:g} is not one in the picture, which is '
            f'{width}x{height}; give pixels in it and a positive radius, or radius 0 for all of it'
        )
    return Region((u, v), radius)
