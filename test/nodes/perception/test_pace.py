"""How many images are looked at, of those that come."""

import threading
import time

import numpy as np
import pytest

from don_kp_ros.nodes.perception.pace import Pace, rest
from don_kp_ros.nodes.perception.parameters import PerceptionParameters


@pytest.mark.parametrize(
    ('camera_hz', 'rate', 'taken_hz'),
    [
        (30, 10, 10),
        (30, 0, 30),
        (5, 10, 5),
        (15, 10, 10),
        (90, 10, 10),
        (10, 10, 10),
        (6, 5, 5),
        (20, 10, 10),
    ],
)
def test_as_many_are_taken_as_wanted_whatever_the_jitter(camera_hz, rate, taken_hz):
    rng = np.random.default_rng(0)
    jitter = rng.uniform(-0.05, 0.05, 60 * camera_hz)
    arrivals = 100.0 + (np.arange(60 * camera_hz) + jitter) / camera_hz
    pace = Pace()
    taken = [arrival for arrival in arrivals if pace.takes(arrival, rate)]
    assert len(taken) / 60 == pytest.approx(taken_hz, rel=0.02)


def test_after_a_pause_or_where_time_is_set_back_the_next_one_is_taken():
    pace = Pace()
    assert [pace.takes(t, 10.0) for t in (0.0, 0.05, 7.0, 7.05, 7.1)] == [
        True,
        False,
        True,
        False,
        True,
    ]
    assert [pace.takes(t, 10.0) for t in (2.0, 2.05, 2.1)] == [True, False, True]


@pytest.mark.parametrize('later', [0.0, 1e6])
def test_a_rate_that_was_once_low_is_not_waited_for_after_it_is_set_back(later):
    rates = iter([0.001, later])
    rest(time.monotonic(), lambda: next(rates), threading.Event())
    assert list(rates) == []


def test_the_end_ends_a_rest():
    rates, ending = iter([0.001]), threading.Event()
    ending.set()
    rest(time.monotonic(), lambda: next(rates), ending)


@pytest.mark.parametrize('name', ['max_rate_hz', 'picture_rate_hz', 'refine_rate_hz'])
def test_rates_that_are_as_good_as_none_are_refused(name):
    for rate in (0.0, 0.001, 30.0):
        PerceptionParameters(**{name: rate})
    for rate in (1e-10, 0.0009, -1.0, float('inf'), float('nan')):
        with pytest.raises(ValueError, match=f'{name} is {rate}; allowed are 0 and from 0.001 on'):
            PerceptionParameters(**{name: rate})
