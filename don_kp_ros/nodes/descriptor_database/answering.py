"""How the database node's services answer what they do not carry out: with the reason."""

import functools

from don_kp_ros.database.errors import StoreError
from don_kp_ros.errors import RefusedError
from don_kp_ros.nodes.kit.guard import guarded_service

answering = functools.partial(guarded_service, refusals=(RefusedError, StoreError))
