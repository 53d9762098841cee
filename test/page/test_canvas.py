"""What a page shows, without a browser: the newest of everything, and what is examined."""

from __future__ import annotations

import json
import struct
import threading
from typing import Any

import cv2
import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from benchmarks import page
from don_kp_ros.errors import RefusedError
from don_kp_ros.page import pointing
from don_kp_ros.page.activity import Activity
from don_kp_ros.page.canvas import Canvas, Line, Marker, Picture, Stamp, plain
from don_kp_ros.page.channel import MOST_VIEWERS, Channel


def picture(number: int) -> Picture:
    return Picture(Stamp(number, 5), np.full((8, 16, 3), 10 * number, np.uint8))


def test_an_examined_picture_is_that_of_the_stamp() -> None:
    canvas = Canvas()
    for number in range(3):
        canvas.show(picture(number))
    assert canvas.picture.stamp == (2, 5) and canvas.examined is None
    canvas.examine(Stamp(1, 5))
    canvas.examine(Stamp(9, 9))  # was never shown
    assert canvas.examined.stamp == (1, 5)
    for number in range(100):
        canvas.show(picture(number % 20 + 3))
    canvas.examine(Stamp(0, 5))  # is not kept any more
    assert canvas.examined.stamp == (1, 5)


def test_listeners_hear_of_changes_and_of_nothing_else() -> None:
    canvas, heard = Canvas(), []
    end = canvas.listen(lambda: heard.append(1))
    canvas.show(picture(1))
    canvas.mark('points', [Marker(1.0, 2.0, 'a')])
    canvas.mark('points', [Marker(1.0, 2.0, 'a')])  # the same
    assert len(heard) == 2
    end()
    canvas.clear()
    assert len(heard) == 2 and not canvas.layers()


def test_marks_that_are_nowhere_are_left_out() -> None:
    nowhere = float('nan')
    marks = [Marker(1.0, 2.0, 'a', sure=False), Marker(nowhere, 2.0)]
    assert plain(marks) == [[1.0, 2.0, 'a', False]]
    lines = [Line((1.0, 2.0), (3.0, 4.0), 'red', 'z'), Line((1.0, nowhere), (3.0, 4.0), 'red')]
    assert plain(lines) == [[1.0, 2.0, 3.0, 4.0, 'red', 'z']]
    assert plain([(1.0, 2.0), (nowhere, 0.0)]) == [[1.0, 2.0]]


@pytest.fixture
def canvas() -> Canvas:
    return Canvas()


@pytest.fixture
def viewers() -> list[int]:
    return []


@pytest.fixture
def client(canvas: Canvas, viewers: list[int]) -> Any:
    channel = Channel(canvas, viewers.append)
    with TestClient(Starlette(routes=[WebSocketRoute('/p', channel.serve)])) as made:
        yield made


def received(socket: Any) -> tuple[dict, int | None]:
    """Take a round; return its layers and the seconds of its picture's stamp."""
    heading = json.loads(socket.receive_text())
    if not heading['picture']:
        return heading['layers'], None
    data = socket.receive_bytes()
    decoded = cv2.imdecode(np.frombuffer(data[8:], np.uint8), cv2.IMREAD_COLOR)
    sec, nanosec = struct.unpack('<II', data[:8])
    assert nanosec == 5 and decoded.shape == (8, 16, 3)
    assert np.abs(decoded.astype(int) - 10 * sec).max() <= 2
    return heading['layers'], sec


def test_a_browser_gets_the_newest_picture_once_it_has_drawn_the_last(
    canvas: Canvas, client: Any, viewers: list[int]
) -> None:
    canvas.show(picture(1))
    with client.websocket_connect('/p') as socket:
        assert received(socket) == ({}, 1)
        for number in 2, 3, 4:
            canvas.show(picture(number))
        canvas.mark('points', [Marker(1.0, 2.0, 'a')])
        socket.send_text('live')
        assert received(socket) == ({'points': [[1.0, 2.0, 'a', True]]}, 4)
        socket.send_text('live')
        canvas.mark('points', [])
        assert received(socket) == ({'points': []}, None)  # the picture is there already
        canvas.examine(Stamp(2, 5))
        socket.send_text('examined')
        assert received(socket)[1] == 2
        assert viewers == [1]
    assert viewers == [1, 0]


def test_no_more_browsers_than_can_be_served(client: Any, viewers: list[int]) -> None:
    sockets = [client.websocket_connect('/p') for _ in range(MOST_VIEWERS)]
    for socket in sockets:
        socket.__enter__()
    with pytest.raises(WebSocketDisconnect), client.websocket_connect('/p') as more:
        more.receive_text()
    for socket in sockets:
        socket.__exit__(None, None, None)
    assert viewers[MOST_VIEWERS - 1] == max(viewers) == MOST_VIEWERS


@pytest.mark.parametrize(
    'said',
    [
        {},
        {'stamp': None},
        {'stamp': [1]},
        {'stamp': [1, 2, 3]},
        {'stamp': [1.5, 2]},
        {'stamp': [-1, 2]},
        {'stamp': [1, 10**9]},
        {'stamp': [2**31, 0]},
        {'stamp': ['1', '2']},
    ],
)
def test_a_stamp_that_is_none_is_refused(said: dict) -> None:
    with pytest.raises(RefusedError, match='stamp'):
        pointing.stamp(said)


@pytest.mark.parametrize(
    'uv', [None, [], [1], [1, 2, 3], ['1', 2], [float('nan'), 1], [float('inf'), 1], [1e9, 1], {}]
)
def test_a_pixel_that_is_none_is_refused(uv: object) -> None:
    with pytest.raises(RefusedError, match='pixel'):
        pointing.place({'uv': uv})
    with pytest.raises(RefusedError):
        pointing.outline({'corners': [[1, 2], [3, 4], uv]})


def test_what_is_told_rightly_is_taken() -> None:
    assert pointing.stamp({'stamp': [12, 345]}) == (12, 345)
    assert pointing.place({'uv': [1, 2.5]}) == (1.0, 2.5)
    assert pointing.outline({'corners': [[1, 2], [3, 4], [5, 6]]})[2] == (5.0, 6.0)
    assert pointing.name('  cap/brim ') == 'cap/brim'
    assert pointing.tags('a, b,, c') == ('a', 'b', 'c')


@pytest.mark.parametrize('name', ['', '   ', None, 'x' * 129, 'a\nb', 'a\x00b', '\u202e'])
def test_a_name_that_is_none_is_refused(name: object) -> None:
    with pytest.raises(RefusedError, match='name'):
        pointing.name(name)


def test_outlines_and_tags_have_an_end() -> None:
    with pytest.raises(RefusedError, match='corners'):
        pointing.outline({'corners': [[1, 2]] * 5000})
    with pytest.raises(RefusedError, match='tags'):
        pointing.tags(','.join(map(str, range(50))))


def test_phases_are_kept_in_the_order_that_they_came() -> None:
    activity = Activity()
    assert not activity.told.runs
    activity.begin('grasp cap')
    threads = [threading.Thread(target=activity.phase, args=(f'{i}', '')) for i in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert activity.told.runs and len(activity.told.phases) == 20
    activity.finish('holding', ok=True)
    assert not activity.told.runs and activity.told.end == 'holding'
    activity.begin('release')
    assert activity.told.phases == () and activity.told.runs


def test_the_benchmark_tells_the_simulations_time_of_each_drawing() -> None:
    # The simulation runs at half speed: 100 ms of this machine are 50 ms of its own.
    ticks = np.array([(1000.0 + t, 5.0 + 0.5 * t) for t in np.arange(0, 10, 0.02)])
    stamps = np.array([5.0, 6.0, 7.0])
    arrivals = {stamp: 1000.0 + 2 * (stamp - 5.0) + 0.06 for stamp in stamps.tolist()}
    drawn = np.array([(stamp, arrivals[stamp] + 0.04) for stamp in stamps.tolist()])
    row = page.figures(drawn, ticks, arrivals)
    assert row['from stamp: median'] == pytest.approx(50.0, abs=1e-6)
    assert row['from arrival: median'] == pytest.approx(40.0, abs=1e-3)
    assert (row['published'], row['drawn'], row['within 150 ms']) == (3, 3, 1.0)
    assert row['real time factor'] == pytest.approx(0.5)
