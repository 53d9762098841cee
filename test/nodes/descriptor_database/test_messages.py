"""Stored descriptors as messages; what cannot be said is NaN, 0 or empty."""

import base64
import json
import math
from array import array
from datetime import datetime, timezone

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from hypothesis import given
from hypothesis import strategies as st
from samples import taught

from don_kp.msg import TaughtObject
from don_kp_ros.database.records import Observation, StoredDescriptor
from don_kp_ros.errors import RefusedError
from don_kp_ros.nodes.descriptor_database import messages

TIME = datetime(2024, 2, 29, 12, 30, 15, 123456, tzinfo=timezone.utc)
VALUES = np.array([0.6, 0.8], dtype=np.float32)
names = st.text(st.characters(categories=['L', 'N', 'P', 'S']), min_size=1, max_size=128)


def stored(name='cap/brim', model='ab12', **fields):
    defaults = {
        'object': 'cap', 'values': VALUES, 'tags': ('blue', 'worn'), 'observations': 2,
        'created': TIME, 'updated': TIME, 'deleted': None,
    }  # fmt: skip
    return StoredDescriptor(name=name, model=model, **{**defaults, **fields})


def test_a_descriptor_is_the_same_bit_for_bit_with_its_details():
    message = messages.descriptor_message(stored())
    assert (message.name, message.model) == ('cap/brim', 'ab12')
    np.testing.assert_array_equal(np.asarray(message.values, dtype=np.float32), VALUES)
    message = messages.details_message(stored())
    assert (message.object, message.tags, message.observations) == ('cap', ['blue', 'worn'], 2)
    assert message.created == Time(sec=1709209815, nanosec=123456000)
    assert message.deleted == Time()
    assert messages.details_message(stored(deleted=TIME)).deleted == message.created


def test_an_object_is_the_same_bit_for_bit_and_refused_if_it_is_ragged():
    given = taught(0, 5, views=3)
    message = messages.object_message(given)
    assert message.points[3:6] == array('f', given.points[1])
    assert messages.object_from_message(message).content() == given.content()
    for field in 'points', 'values', 'weights':
        ragged = messages.object_message(given)
        setattr(ragged, field, getattr(ragged, field)[:-1])
        with pytest.raises(RefusedError, match='for N points there are 3 N, D N and N'):
            messages.object_from_message(ragged)
    with pytest.raises(RefusedError, match='0 coordinates, 0 values and 0 weights'):
        messages.object_from_message(TaughtObject())


def test_an_observation_of_values_alone_is_mostly_unknown():
    message = messages.observation_message(Observation(VALUES, created=TIME))
    numbers = [message.u, message.v, message.fx, message.fy, message.cx, message.cy]
    numbers += [message.position.x, message.position.y, message.position.z]
    assert all(map(math.isnan, numbers))
    assert (message.image_width, message.frame, message.author) == (0, '', '')
    assert not message.patch


def test_a_camera_with_strange_content_is_unknown():
    camera = {'frame': 7, 'fx': 'wide', 'fy': None, 'cx': [1], 'cy': 3}
    message = messages.observation_message(Observation(VALUES, camera=camera, created=TIME))
    assert message.frame == ''
    assert math.isnan(message.fx) and math.isnan(message.fy) and math.isnan(message.cx)
    assert message.cy == 3.0


@given(st.integers(0, 2**31 - 1), st.integers(0, 999_999))
def test_times_keep_their_microseconds(seconds, microseconds):
    stamp = Time(sec=seconds, nanosec=1000 * microseconds)
    assert messages.stamp_from_time(messages.time_from_stamp(stamp)) == stamp
    no_stamp_can_say = datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=timezone.utc)
    assert messages.stamp_from_time(no_stamp_can_say) == Time(sec=2**31 - 1)


@given(names, names)
def test_a_token_leads_back_to_where_the_page_ended(name, model):
    token = messages.page_token(stored(name, model))
    assert messages.place_from_token(token) == (name, model)
    assert messages.place_from_token('') is None  # the first page needs none


@pytest.mark.parametrize(
    'token',
    [
        'nonsense', 'é', '\n', '=', 'x' * 5000, 'W1tbW1tb',
        *(
            base64.urlsafe_b64encode(json.dumps(content).encode()).decode()
            for content in (['a'], ['a', 'b', 'c'], [1, 2], 'ab', {'a': 1}, None, 7, ['', ''],
                            ['a\nb', 'c'], ['a', 'b' * 129])
        ),
    ],
)  # fmt: skip
def test_what_is_no_token_is_refused(token):
    with pytest.raises(RefusedError, match='next of the page before') as refusal:
        messages.place_from_token(token)
    assert str(refusal.value).isprintable()
