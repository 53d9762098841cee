"""What a database knows of the models that its descriptors were made by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from don_kp_ros.database import records, statements
from don_kp_ros.database.errors import DamagedError
from don_kp_ros.database.opened import OpenDatabase
from don_kp_ros.database.records import StoredModel
from don_kp_ros.database.rows import is_text
from don_kp_ros.database.schema import descriptors, models
from don_kp_ros.database.text import shown


class KnownModels(OpenDatabase):
    """An open database with its models; its methods fail as those of DescriptorStore do."""

    def models(self) -> Sequence[StoredModel]:
        """List the models that descriptors were stored for, in order of fingerprint.

        A damaged card is given as empty.
        """
        return [model for model, _ in self._read_models()]

    def damaged_cards(self, model: str | None = None) -> Sequence[DamagedError]:
        """List what is wrong with the cards, of a model or of all, that cannot be read."""
        read = self._read_models()
        return [error for one, error in read if error and model in (None, one.fingerprint)]

    def _read_models(self) -> Sequence[tuple[StoredModel, DamagedError | None]]:
        number = (
            sa.select(sa.func.count())
            .where(descriptors.c.model_id == models.c.id, statements.LIVE)
            .scalar_subquery()
        )
        query = sa.select(models, number.label('number')).order_by(models.c.fingerprint)
        with self._database.transaction() as connection:
            found = connection.execute(query).all()
        known = []
        for row in found:
            if not is_text(row.fingerprint):
                continue  # each of its descriptors is told as damaged
            told = f'the card of model {shown(row.fingerprint)}'
            remedy = 'start perception with that model, or import an export that has it'
            card, damaged = dict[str, Any](), None
            try:
                with self._database.damage_named(told, remedy):
                    card = records.loaded(row.card)
            except DamagedError as error:
                damaged = error
            model = StoredModel(row.fingerprint, row.dimension, card, row.number)
            known.append((model, damaged))
        return known

    def keep_model(self, fingerprint: str, dimension: int, card: Mapping[str, Any]) -> None:
        """Store what is known about a model, in place of earlier knowledge.

        Raises InvalidNameError, InvalidDescriptorError if its descriptors have another dimension,
        and InvalidObservationError for a card that cannot be kept.
        """
        records.check_model(fingerprint, dimension)
        text = records.json_text(card, records.CARD)
        with self._database.transaction(write=True) as connection:
            model_id = statements.model_id(connection, fingerprint, dimension)
            changed = models.update().where(models.c.id == model_id, models.c.card != text)
            if connection.execute(changed.values(card=text)).rowcount:
                self._database.changed(connection)
