"""What perception refuses to place a mesh by; without a node."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import asynchrony
import numpy as np
import pytest
from numpy.typing import NDArray

from don_kp.msg import TaughtObject
from don_kp.srv import PlaceMesh
from don_kp_ros.errors import RefusedError
from don_kp_ros.geometry import rigid
from don_kp_ros.nodes.perception import placing
from don_kp_ros.nodes.perception.placing import PlacingService
from don_kp_ros.pose.estimate import Pose
from don_kp_ros.pose.symmetry import Symmetry

T = rigid.transform(translation=[0, 0, 0.5])
SURE = Pose(T, np.ones(8, np.bool_), 0.9, 0.001, 1e-6 * np.eye(6), fit=0.7)
AXIS = Symmetry(np.array([0.0, 0.0, 1.0]), np.zeros(3))


def seen(monkeypatch: pytest.MonkeyPatch, pose: Pose) -> NDArray[np.float64]:
    """Ask for an object that is found at a pose."""
    constellation = SimpleNamespace(descriptors=np.eye(8, dtype=np.float32), points=None)
    monkeypatch.setattr(placing, 'find_candidates', lambda *_: None)
    monkeypatch.setattr(placing, 'form_of', lambda _: None)
    monkeypatch.setattr(placing, 'find_instances', lambda *_, **__: [pose])
    service = SimpleNamespace(_settings=lambda: SimpleNamespace(depth_window=5))
    frame = SimpleNamespace(cells=None)
    return PlacingService._seen(service, 'can', constellation, frame, None)  # type: ignore[arg-type]


def test_an_image_that_does_not_tell_the_turn_places_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    symmetric = replace(SURE, symmetry=AXIS)
    assert seen(monkeypatch, symmetric) is T
    with pytest.raises(RefusedError, match='another turn of can as well; show it from another'):
        seen(monkeypatch, replace(symmetric, ambiguous=True))


def test_an_image_that_another_model_described_places_nothing() -> None:
    frames = SimpleNamespace(
        described=lambda *_: SimpleNamespace(model='old'), view=lambda _: None
    )
    with ThreadPoolExecutor(1) as pool:
        service = SimpleNamespace(
            _node=SimpleNamespace(
                get_logger=lambda: SimpleNamespace(warning=lambda *_, **__: None)
            ),
            _pool=pool,
            _running=lambda: SimpleNamespace(
                model=SimpleNamespace(fingerprint='new', dimension=4)
            ),
            _active=lambda: SimpleNamespace(frames=frames),
            _place=lambda *_: None,
        )
        points, values = [0.0, 0, 0, 0.01, 0, 0, 0, 0.01, 0], [1.0, 0, 0, 0] * 3
        known = TaughtObject(
            name='cap', model='new', views=1, points=points, values=values, weights=[1.0] * 3
        )
        answer = asynchrony.run(
            PlacingService._on_place(service, PlaceMesh.Request(known=known), PlaceMesh.Response())  # type: ignore[arg-type]
        )
    assert not answer.success
    assert answer.message == 'another model has just been loaded; try again'
