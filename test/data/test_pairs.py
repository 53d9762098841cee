from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from don_kp_ros import configuration
from don_kp_ros.configuration import ConfigurationError
from don_kp_ros.data.appearance import (
    BackgroundConfiguration,
    ColourConfiguration,
    TextureConfiguration,
    change_colours,
)
from don_kp_ros.data.folder import DataError, Sample
from don_kp_ros.data.homography import WarpConfiguration, project
from don_kp_ros.data.lifting import LiftConfiguration
from don_kp_ros.data.loader import PairStream
from don_kp_ros.data.pairs import ViewConfiguration, ViewPair, ViewSampler
from don_kp_ros.data.source import Source, prepare
from don_kp_ros.geometry import rigid

PLAIN_COLOURS = ColourConfiguration(probability=0, grey=0, gradient=0, blur=0, noise=0)
AS_IT_IS = TextureConfiguration(probability=0)
KEPT = BackgroundConfiguration(keep=1, image=0, noise=0, plain=0)
UPRIGHT = WarpConfiguration(0, (1, 1), 0, 0)


def sample() -> Sample:
    """Make a picture whose red and green are smooth functions of the pixel on a disc."""
    v, u = np.indices((240, 320))
    image = np.stack([u * 0.75, v, np.full_like(u, 128)], axis=2).astype(np.uint8)
    mask = ((u - 150) ** 2 + (v - 110) ** 2 < 60**2).astype(np.uint8) * 255
    return Sample(Path('disc.png'), image, mask)


def drawn(settings: ViewConfiguration, seed: int = 0) -> ViewPair:
    return ViewSampler(settings, [source()], []).draw(np.random.default_rng(seed))


def source() -> Source:
    return prepare(sample(), 320)


def test_what_is_too_small_once_resized_is_named() -> None:
    image, mask = np.zeros((1200, 1600, 3), np.uint8), np.zeros((1200, 1600), np.uint8)
    mask[600:610, 800:810] = 255  # 100 pixels, and 6 at a quarter of the size
    with pytest.raises(DataError, match=r'far\.png: the object has . pixels in the 400x300'):
        prepare(Sample(Path('far.png'), image, mask), 320)
    mask[400:800, 400:1200] = 255
    depth = np.full(mask.shape, np.nan, np.float32)
    depth[600, 400:430] = 1.0  # enough in the file
    with pytest.raises(DataError, match=r"far\.png: the object's depth has \d pixels"):
        prepare(Sample(Path('far.png'), image, mask, depth), 320)


def test_corresponding_pixels_show_the_same_point_of_the_object() -> None:
    settings = ViewConfiguration(
        size=192, queries=64, occlusion=0.3, texture=AS_IT_IS, colour=PLAIN_COLOURS
    )
    sampler = ViewSampler(settings, [source()], [])
    rng = np.random.default_rng(0)
    for _ in range(20):
        pair = sampler.draw(rng)
        colours = []
        for view, uv in ((pair.a, pair.uv_a), (pair.b, pair.uv_b)):
            assert uv.shape == (64, 2)
            assert uv.min() >= 0 and uv.max() <= 191
            u, v = uv[:, 0], uv[:, 1]
            seen = cv2.remap(view.image, u, v, cv2.INTER_LINEAR).reshape(-1, 3)
            on_object = cv2.remap(view.mask, u, v, cv2.INTER_LINEAR).reshape(-1) == 255
            true = project(np.linalg.inv(view.homography), uv) * [0.75, 1]
            error = np.abs(seen[:, :2] - true)[on_object]
            assert np.median(error) < 1.0
            colours.append(project(np.linalg.inv(view.homography), uv))
        np.testing.assert_allclose(colours[0], colours[1], atol=1e-2)


def test_a_pairs_homography_maps_every_correspondence() -> None:
    pair = drawn(ViewConfiguration(size=128, queries=64), seed=1)
    assert pair.homography is not None and pair.geometry is None
    np.testing.assert_allclose(project(pair.homography, pair.uv_a), pair.uv_b, atol=1e-2)


@pytest.mark.parametrize('with_depth', [False, True])
def test_lifted_correspondences_move_rigidly_where_nothing_is_distorted(with_depth: bool) -> None:
    warp = WarpConfiguration(rotation=180, perspective=0)
    settings = ViewConfiguration(
        size=128, queries=64, occlusion=0, lift=LiftConfiguration(distance=0.5), warp=warp
    )
    picture = sample()
    depth = np.full(picture.mask.shape, 0.8, np.float32)
    depth[:5] = np.nan  # beside the object
    if with_depth:
        picture = replace(picture, depth=depth)
    sampler = ViewSampler(settings, [prepare(picture, 320)], [])
    for number in range(5):
        pair = sampler.draw(np.random.default_rng(number))
        assert pair.geometry is not None
        K, T = pair.geometry.K_a, pair.geometry.T_b_a
        distance = 0.8 if with_depth else 0.5
        lifted = [
            np.column_stack([uv, np.ones(len(uv))])
            @ np.linalg.inv(K).T
            * (distance / np.sqrt(np.linalg.det(view.homography[:2, :2])))
            for view, uv in ((pair.a, pair.uv_a), (pair.b, pair.uv_b))
        ]
        np.testing.assert_allclose(rigid.apply(T, lifted[0]), lifted[1], atol=2e-4)
        # The camera turns about its axis and moves; the plane stays parallel to the picture.
        np.testing.assert_allclose(T[:3, 2], [0, 0, 1], atol=1e-3)


def test_a_batch_holds_what_its_pairs_know() -> None:
    plain = ViewConfiguration(size=64, queries=8)
    lifted = replace(plain, lift=LiftConfiguration())
    batch = PairStream(ViewSampler(plain, [source()], []), pairs=3, seed=0).batch(0)
    assert batch['homographies'].shape == (3, 3, 3) and 'T_b_a' not in batch
    batch = PairStream(ViewSampler(lifted, [source()], []), pairs=3, seed=0).batch(0)
    shapes = {name: tuple(batch[name].shape) for name in ('K', 'T_b_a', 'T_world_view')}
    assert shapes == {'K': (6, 3, 3), 'T_b_a': (3, 4, 4), 'T_world_view': (6, 4, 4)}


@pytest.mark.parametrize('scale', [1, 2])
def test_the_homography_follows_its_configuration(scale: float) -> None:
    pair = drawn(ViewConfiguration(size=192, warp=WarpConfiguration(0, (scale, scale), 0, 0)))
    np.testing.assert_allclose(pair.a.homography[:2, :2], scale * np.eye(2), atol=1e-6)
    centre = project(pair.a.homography, source().centre[None].astype(np.float32))
    np.testing.assert_allclose(centre[0], [95.5, 95.5], atol=1e-3)


def test_rotations_cover_the_circle() -> None:
    settings = ViewConfiguration(warp=WarpConfiguration(rotation=180, perspective=0))
    sampler = ViewSampler(settings, [source()], [])
    rng = np.random.default_rng(0)
    homographies = [sampler.draw(rng).a.homography for _ in range(60)]
    angles = np.degrees([np.arctan2(h[1, 0], h[0, 0]) for h in homographies])
    assert np.ptp(angles) > 300
    assert (np.histogram(angles, 4, (-180, 180))[0] > 5).all()


def test_objects_appear_at_their_size_at_inference() -> None:
    large = sample()
    doubled = Sample(
        large.path,
        cv2.resize(large.image, None, fx=4, fy=4),
        cv2.resize(large.mask, None, fx=4, fy=4),
    )
    settings = ViewConfiguration(occlusion=0, warp=UPRIGHT)
    for prepared in (prepare(large, 320), prepare(doubled, 320)):
        pair = ViewSampler(settings, [prepared], []).draw(np.random.default_rng(0))
        assert np.count_nonzero(pair.a.mask > 127) == pytest.approx(np.pi * 60**2, rel=0.02)


def test_backgrounds_change_and_the_object_stays() -> None:
    background = np.full((200, 200, 3), 255, np.uint8)
    other = BackgroundConfiguration(keep=0, image=1, noise=0, plain=0)
    settings = ViewConfiguration(
        occlusion=0, texture=AS_IT_IS, colour=PLAIN_COLOURS, background=other
    )
    dark = replace(source(), image=np.zeros_like(source().image))
    view = ViewSampler(settings, [dark], [background]).draw(np.random.default_rng(3)).a
    assert (view.image[view.mask == 0] > 250).mean() > 0.9
    assert not view.image[view.mask == 255].any()


@pytest.mark.parametrize('kind', ['image', 'noise', 'plain'])
def test_a_texture_lies_on_the_object_alone_and_is_the_same_in_both_views(kind: str) -> None:
    weights = {'image': 0.0, 'noise': 0.0, 'plain': 0.0, kind: 1.0}
    settings = ViewConfiguration(
        occlusion=0,
        warp=UPRIGHT,
        texture=TextureConfiguration(probability=1, strength=(1, 1), **weights),
        colour=PLAIN_COLOURS,
        background=KEPT,
    )
    background = np.random.default_rng(0).integers(0, 256, (99, 99, 3), dtype=np.uint8)
    pairs = [
        ViewSampler(chosen, [source()], [background]).draw(np.random.default_rng(0))
        for chosen in (settings, replace(settings, texture=AS_IT_IS))
    ]
    textured, bare = pairs
    np.testing.assert_array_equal(textured.a.image, textured.b.image)
    outside = textured.a.mask == 0
    np.testing.assert_array_equal(textured.a.image[outside], bare.a.image[outside])
    changed = np.abs(textured.a.image.astype(int) - bare.a.image).max(axis=2)
    assert (changed[textured.a.mask == 255] > 8).mean() > 0.5


def test_a_textured_object_keeps_its_light_and_shade() -> None:
    image = np.full((240, 320, 3), 40, np.uint8)
    image[:, 160:] = 80
    mask = np.zeros((240, 320), np.uint8)
    mask[90:150, 130:190] = 255
    prepared = prepare(Sample(Path('halves.png'), image, mask), 320)
    settings = ViewConfiguration(
        occlusion=0,
        warp=UPRIGHT,
        texture=TextureConfiguration(probability=1, strength=(1, 1), noise=0, plain=0),
        colour=PLAIN_COLOURS,
    )
    # The only background there is, at most 150 bright: 4/3 of it is still a colour.
    sampler = ViewSampler(settings, [prepared], [np.full((320, 320, 3), 150, np.uint8)])
    seen = set()
    for seed in range(40):
        view = sampler.draw(np.random.default_rng(seed)).a.image[40:88, 40:88]
        halves = (int(np.median(view[:, :20])), int(np.median(view[:, -20:])))
        if np.ptp(view[:, :20]) == 0:
            seen.add(halves)
    assert (100, 200) in seen


def test_a_kept_background_shows_the_object_once() -> None:
    v, u = np.indices((240, 320))
    mask = ((u - 40) ** 2 + (v - 30) ** 2 < 25**2).astype(np.uint8) * 255  # beside two borders
    image = np.zeros((240, 320, 3), np.uint8)
    image[mask > 0] = 255
    prepared = prepare(Sample(Path('corner.png'), image, mask), 320)
    settings = ViewConfiguration(size=192, occlusion=0, colour=PLAIN_COLOURS, background=KEPT)
    rng = np.random.default_rng(0)
    for _ in range(20):
        view = ViewSampler(settings, [prepared], []).draw(rng).a
        outside = cv2.dilate(view.mask, np.ones((5, 5), np.uint8)) == 0
        assert view.image[outside].max() < 128


def test_a_patch_hides_what_lies_where_patches_may() -> None:
    settings = ViewConfiguration(
        size=96, occlusion=1, occlusion_size=(0.1, 0.1), occlusion_place=(0.5, 0.5), warp=UPRIGHT
    )
    view, bare = drawn(settings).a, drawn(replace(settings, occlusion=0)).a
    hidden = (bare.mask > 127) & (view.mask < 128)
    v, u = np.indices(hidden.shape)
    away = np.hypot(u - 48, v - 48)
    assert hidden[away < 8].all()
    assert not hidden[away > 11].any()


def test_hidden_points_are_no_correspondences() -> None:
    settings = ViewConfiguration(occlusion=1, queries=32)
    sampler = ViewSampler(settings, [source()], [])
    rng = np.random.default_rng(0)
    for _ in range(20):
        pair = sampler.draw(rng)
        for view, uv in ((pair.a, pair.uv_a), (pair.b, pair.uv_b)):
            u, v = np.rint(uv).astype(int).T
            assert (view.mask[v, u] > 0).all()


def test_grey_and_saturation() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    grey = change_colours(image, replace(PLAIN_COLOURS, grey=1), rng)
    assert (np.ptp(grey, axis=2) <= 1).all()
    assert np.array_equal(change_colours(image, PLAIN_COLOURS, rng), image)


def test_batches_depend_on_seed_and_number_alone() -> None:
    sampler = ViewSampler(ViewConfiguration(size=64, queries=8), [source()], [])

    def images(seed: int, first: int, workers: int, number: int) -> list[torch.Tensor]:
        batches = iter(PairStream(sampler, 2, seed, first).loader(workers))
        return [next(batches)['images'] for _ in range(number)]

    reference = images(0, 0, 0, 4)
    assert reference[0].shape == (4, 3, 64, 64)
    for other in (images(0, 0, 2, 4), [*images(0, 0, 1, 2), *images(0, 2, 1, 2)]):
        assert all(torch.equal(a, b) for a, b in zip(reference, other, strict=True))
    assert not torch.equal(reference[0], images(1, 0, 0, 1)[0])
    shares = [next(iter(PairStream(sampler, 2, 0, 0, k, 2)))['images'] for k in range(2)]
    assert all(torch.equal(a, b) for a, b in zip(reference, shares, strict=False))


@pytest.mark.parametrize(
    ('mapping', 'part'),
    [
        ({'size': 100}, 'size is 100'),
        ({'warp': {'rotation': 200}}, 'rotation is 200'),
        ({'warp': {'scale': [2, 1]}}, 'scale is'),
        ({'colour': {'noise': 1.5}}, 'noise is 1.5'),
        ({'background': {'keep': 0, 'image': 0, 'noise': 0, 'plain': 0}}, 'keep, image'),
    ],
)
def test_values_out_of_range_are_named(mapping: dict[str, object], part: str) -> None:
    with pytest.raises(ConfigurationError, match=part):
        configuration.read(ViewConfiguration, mapping, 'test')
