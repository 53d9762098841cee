"""What the database node keeps of a view, and what it says is in it."""

import io

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from PIL import Image

from don_kp_ros.database.store import DescriptorStore
from don_kp_ros.nodes.kit.conversions import seconds_from_stamp
from don_kp_ros.nodes.perception import frames

PIXEL = (80, 50)


@pytest.fixture(scope='module')
def desk(open_desk, tmp_path_factory):
    desk = open_desk(database=tmp_path_factory.mktemp('database') / 'd.sqlite')
    desk.look()
    return desk


def store_seen(desk, name, pixel, wanted='', **shown):
    """Show the world until a pixel of it is stored with, and without, what is wanted; get it."""

    def stored():
        stamp = desk.show(**shown)
        response = desk.store(name, u=pixel[0], v=pixel[1], stamp=stamp, replace=True)
        seen = wanted in response.message if wanted else 'without' not in response.message
        if response.success and seen:
            return response.message, stamp
        return None

    message, stamp = desk.peer.wait_until(stored)
    return desk.get(name), message, stamp


@pytest.mark.parametrize(
    ('pixel', 'corner'), [(PIXEL, (48, 18)), ((0, 0), (0, 0)), ((127, 95), (64, 32))]
)
def test_a_click_keeps_all_that_was_seen(desk, pixel, corner):
    answer, _, stamp = store_seen(desk, 'seen', pixel, depth_mm=500)
    (seen,) = answer.observations
    assert seen.stamp.sec == stamp.sec
    assert abs(seen.stamp.nanosec - stamp.nanosec) < 1000
    assert (seen.u, seen.v, seen.image_width, seen.image_height) == (*pixel, 128, 96)
    assert (seen.frame, seen.fx, seen.fy, seen.cx, seen.cy) == (
        desk.FRAME, 100.0, 101.0, 63.5, 47.5,
    )  # fmt: skip
    position = [seen.position.x, seen.position.y, seen.position.z]
    np.testing.assert_allclose(position, desk.CAMERA.deproject(pixel, 0.5), atol=1e-6)
    assert seen.patch
    patch = np.asarray(Image.open(io.BytesIO(bytes(answer.patch))))
    u, v = corner
    np.testing.assert_array_equal(patch, desk.camera.picture[v : v + 64, u : u + 64])


def test_what_is_missing_is_said_and_the_rest_is_kept(desk):
    store_seen(desk, 'whole', PIXEL, depth_mm=500)
    answer, message, _ = store_seen(
        desk, 'without depth', PIXEL, 'without a position: no depth image'
    )
    assert 'on /camera/camera/aligned_depth_to_color/image_raw' in message
    assert np.isnan(answer.observations[0].position.z)
    assert answer.observations[0].fx == 100.0
    assert len(answer.patch)


def test_the_patch_is_that_of_the_newest_click_that_has_one(desk):
    store_seen(desk, 'clicks', PIXEL, depth_mm=500)
    values = desk.at(64, 48)
    assert desk.store('clicks', values=values, model=desk.MODEL, add=True).success
    answer = desk.get('clicks')
    assert [one.patch for one in answer.observations] == [True, False]
    patch = np.asarray(Image.open(io.BytesIO(bytes(answer.patch))))
    np.testing.assert_array_equal(patch, desk.camera.picture[18:82, 48:112])


def test_a_pixel_of_an_image_before_the_newest_is_asked_for_by_its_stamp(desk):
    newest = desk.camera.picture
    before = np.ascontiguousarray(newest[:, ::-1])

    def stored():
        desk.camera.picture = before
        stamp, expected = desk.show(), desk.at(20, 30)
        desk.camera.picture = newest
        desk.show()
        at_stamp = desk.store('by stamp', u=20, v=30, replace=True, stamp=stamp)
        at_newest = desk.store('newest', u=20, v=30, replace=True)
        return at_stamp.success and at_newest.success and (at_stamp, at_newest, expected)

    at_stamp, at_newest, expected = desk.peer.wait_until(stored)
    np.testing.assert_allclose(at_newest.descriptor.values, desk.at(20, 30), atol=1e-6)
    np.testing.assert_allclose(at_stamp.descriptor.values, expected, atol=1e-6)
    assert np.abs(expected - desk.at(20, 30)).max() > 0.1


def test_a_stamp_that_is_not_kept_is_refused_with_the_nearest_that_are(desk):
    stamp = desk.show()
    desk.peer.wait_until(lambda: desk.store('x', u=1, v=1, stamp=stamp, replace=True).success)
    desk.peer.wait_until(lambda: desk.rank(stamp=stamp).success)
    unknown = Time(sec=stamp.sec, nanosec=(stamp.nanosec + 1) % 10**9)
    for response in desk.store('x', u=1, v=1, stamp=unknown), desk.rank(stamp=unknown):
        assert not response.success
        assert f'with stamp {unknown.sec}.{unknown.nanosec:09} is kept' in response.message
        assert f'{stamp.sec}.{stamp.nanosec:09}' in response.message


def test_images_are_kept_for_two_seconds(desk):
    def refused():
        stamp = desk.show()
        if not desk.store('x', u=1, v=1, stamp=stamp, replace=True).success:
            return None  # it had not come
        shown = seconds_from_stamp(stamp)
        now = 1e-9 * desk.peer.node.get_clock().now().nanoseconds
        while now < shown + frames.KEPT_S + 0.5:
            desk.show()
            now = 1e-9 * desk.peer.node.get_clock().now().nanoseconds
        answer = desk.store('x', u=1, v=1, stamp=stamp, replace=True)
        return 'is kept' in answer.message and answer

    assert 'is kept, nearest are' in desk.peer.wait_until(refused).message


@pytest.fixture(scope='module')
def taught(desk):
    """Store places of the view, and what is nowhere in it."""
    for name, (u, v) in {'cap/brim': (20, 30), 'cap/peak': (100, 70), 'mug/rim': (60, 10)}.items():
        desk.store_pixel(name, u, v, replace=True)
    away = -desk.at(20, 30)
    assert desk.store('away', values=away, model=desk.MODEL, replace=True).success
    with DescriptorStore(desk.database) as store:
        store.put('cap/brim', 'another', away)
    for name in desk.names(model=desk.MODEL):
        if name not in ('cap/brim', 'cap/peak', 'mug/rim', 'away'):
            assert desk.delete(name).success
    return desk


def test_all_that_is_stored_is_ranked_by_how_well_it_fits(taught):
    desk = taught
    cells = desk.model.describe(desk.camera.picture).numpy().reshape(8, -1).astype(np.float64)
    response = desk.answer(desk.rank)
    assert response.model == desk.MODEL
    assert response.header.frame_id == desk.FRAME
    stored = {d.name: d.values for d in desk.list(model=desk.MODEL).descriptors}
    best = {
        name: (values @ cells / np.linalg.norm(cells, axis=0)).max()
        for name, values in stored.items()
    }
    assert [r.name for r in response.ranking] == sorted(best, key=lambda name: -best[name])
    np.testing.assert_allclose(
        [r.score for r in response.ranking], sorted(best.values())[::-1], atol=1e-5
    )
    assert {r.name: r.object for r in response.ranking} == {
        'cap/brim': 'cap', 'cap/peak': 'cap', 'mug/rim': 'mug', 'away': 'away',
    }  # fmt: skip
    assert [r.name for r in desk.answer(lambda: desk.rank(limit=2)).ranking] == [
        r.name for r in response.ranking[:2]
    ]
    assert response.message.startswith(f"of 4: '{response.ranking[0].name}'")
    # A change is ranked at once.
    assert taught.delete('cap/brim').success
    names = [r.name for r in taught.answer(taught.rank).ranking]
    assert set(names) == {r.name for r in response.ranking} - {'cap/brim'}
    assert taught.restore('cap/brim').success
    again = taught.answer(taught.rank).ranking
    assert [r.name for r in again] == [r.name for r in response.ranking]


def test_a_damaged_tag_keeps_no_other_descriptor_from_being_ranked(taught):
    taught.store_pixel('tagged', 20, 30, tags=['red'])
    taught.change("UPDATE tags SET tag = CAST(x'ff' AS TEXT) WHERE tag = 'red'")
    response = taught.answer(taught.rank)
    assert {ranked.name for ranked in response.ranking} == {
        'cap/brim', 'cap/peak', 'mug/rim', 'away',
    }  # fmt: skip
    assert response.message.startswith('of 5: ')
    assert "left out: 'tagged' of model" in response.message
    assert 'delete it with /delete_descriptor' in response.message
    assert taught.delete('tagged').success
    assert 'left out' not in taught.answer(taught.rank).message


def test_what_is_at_a_place_is_told(taught):
    response = taught.answer(lambda: taught.rank(u=100.0, v=70.0, radius=2.0))
    best = response.ranking[0]
    assert (best.name, best.u, best.v) == ('cap/peak', 100, 70)
    assert best.score > 0.999


def test_a_wrong_question_is_refused(taught):
    for fields, reason in (
        ({'radius': -1.0}, 'positive radius'),
        ({'radius': float('nan')}, 'positive radius'),
        ({'radius': 1.0, 'u': 128.0}, 'which is 128x96'),
        ({'radius': 1.0, 'v': float('inf')}, 'which is 128x96'),
        ({'limit': 101}, 'at most 100'),
    ):
        refused = taught.answer(lambda fields=fields: taught.rank(**fields), refused_with=reason)
        assert len(refused.ranking) == 0
