"""What a constellation may be."""

from typing import Any

import numpy as np
import pytest
from truth import blob

from don_kp_ros.pose.constellation import Constellation
from don_kp_ros.pose.estimate import Confidence, Noise

GOOD: dict[str, Any] = {
    'points': np.eye(3) * 0.05,
    'descriptors': np.eye(3),
    'weights': np.ones(3),
    'fingerprint': 'a model',
}


@pytest.mark.parametrize(
    ('changed', 'said'),
    [
        ({'points': np.eye(3)[:2]}, r'points are \(2, 3\); with 3 weights \(3, 3\)'),
        ({'points': np.full((3, 3), np.nan)}, 'points of a constellation must be finite'),
        ({'points': np.eye(3) * 50}, '50 m from the origin; points are in metres'),
        ({'descriptors': np.eye(4)}, r'descriptors are \(4, 4\); with 3 weights \(3, D\)'),
        ({'descriptors': 2 * np.eye(3)}, 'a descriptor has the length 2; they must have unit'),
        (
            {'descriptors': np.full((3, 3), np.inf)},
            'descriptors of a constellation must be',
        ),
        ({'weights': np.ones(2)}, 'of 2 points has no pose; it needs 3 or more'),
        ({'weights': np.ones((3, 1))}, 'of 0 points has no pose'),
        ({'weights': np.array([1.0, 0, 1])}, 'a weight is 0; they must be above 0'),
        ({'fingerprint': ''}, 'fingerprint is empty'),
        ({'views': 0}, 'views is 0'),
    ],
)
def test_what_cannot_be_an_object_is_refused(changed: dict[str, Any], said: str) -> None:
    Constellation(**GOOD)
    with pytest.raises(ValueError, match=said):
        Constellation(**(GOOD | changed))


def test_it_does_not_change_with_the_arrays_that_made_it() -> None:
    points = np.eye(3)
    constellation = Constellation(**(GOOD | {'points': points}))
    points[0] = 7
    np.testing.assert_array_equal(constellation.points, np.eye(3))
    with pytest.raises(ValueError, match='read-only'):
        constellation.points[0] = 7


def test_the_radius_is_that_of_the_farthest_point_about_the_centroid() -> None:
    points = blob().points + [1.0, 2.0, 3.0]
    constellation = Constellation(points, blob().descriptors, np.ones(64), 'a model')
    assert constellation.radius == pytest.approx(blob().radius)
    assert 0.03 < constellation.radius < 0.08


def test_noise_and_confidence_are_checked() -> None:
    with pytest.raises(ValueError, match='pixels is 0; it must be above 0'):
        Noise(pixels=0)
    with pytest.raises(ValueError, match='share is nan'):
        Confidence(share=float('nan'))
