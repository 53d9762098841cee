"""The service that answers "what is this?"."""

from __future__ import annotations

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node

from don_kp.srv import RankDescriptors
from don_kp_ros.database.errors import UnknownNameError
from don_kp_ros.database.records import Filter
from don_kp_ros.database.text import shortened, shown
from don_kp_ros.errors import RefusedError
from don_kp_ros.nodes.descriptor_database.answering import answering
from don_kp_ros.nodes.descriptor_database.link import DatabaseLink
from don_kp_ros.nodes.descriptor_database.perception import PerceptionClient
from don_kp_ros.nodes.descriptor_database.topic import DescriptorTopic

_RANKED_IN_WORDS = 3


class RankingService:
    """Ranks the stored descriptors of the model that runs by how well they fit what is seen."""

    def __init__(
        self,
        node: Node,
        link: DatabaseLink,
        perception: PerceptionClient,
        topic: DescriptorTopic,
        group: CallbackGroup,
    ) -> None:
        """Offer the service on a node that others spin."""
        self._node, self._link = node, link
        self._perception, self._topic = perception, topic
        node.create_service(
            RankDescriptors, 'rank_descriptors', self._on_rank, callback_group=group
        )

    @answering
    async def _on_rank(
        self, request: RankDescriptors.Request, response: RankDescriptors.Response
    ) -> RankDescriptors.Response:
        store = self._link.store
        seen = await self._perception.rank(request, self._topic.publish())
        if seen.total == 0 and store.count(Filter(model=seen.model)):
            raise RefusedError('perception has not been told yet what is stored; try again')
        if seen.total == 0:
            raise RefusedError(
                f'nothing is stored for model {shortened(seen.model)}; store it with '
                '/store_descriptor'
            )
        for ranked in seen.ranking:
            try:
                ranked.object = store.get(ranked.name, seen.model).object
            except UnknownNameError:
                continue  # deleted meanwhile
            response.ranking.append(ranked)
        response.header, response.model = seen.header, seen.model
        best = (f'{shown(m.name)} {m.score:.3f}' for m in response.ranking[:_RANKED_IN_WORDS])
        response.success, response.message = True, f'of {seen.total}: {", ".join(best)}'
        return response
