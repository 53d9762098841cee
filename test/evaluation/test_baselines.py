import dataclasses

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from don_kp_ros.data.folder import Image
from don_kp_ros.evaluation import baselines
from don_kp_ros.evaluation.baselines import Baseline, ColourPatches, DenseSift, grid
from don_kp_ros.evaluation.matchers import match_all, not_learned
from don_kp_ros.evaluation.pairs import Pair, PairSet, check
from don_kp_ros.evaluation.pck import pck

KINDS: list[type[Baseline]] = [DenseSift, ColourPatches]
# Small enough not to see the edge of small pictures, which does not move with them.
FINE = [DenseSift(size=3.2, step=1), ColourPatches(step=1)]
each_fine = pytest.mark.parametrize('baseline', FINE, ids=lambda baseline: type(baseline).__name__)


def texture(height: int, width: int, seed: int = 0) -> Image:
    noise = np.random.default_rng(seed).normal(size=(height, width, 3))
    smooth = cv2.GaussianBlur(noise, (0, 0), 1.5)
    return (128 + 60 * smooth / smooth.std()).clip(0, 255).astype(np.uint8)


def moved_views(du: int, dv: int) -> tuple[Image, Image]:
    """Cut two views (64, 96) of one texture; what is at uv in A is at uv - (du, dv) in B."""
    whole = texture(120, 160)
    return whole[20:84, 20:116].copy(), whole[20 + dv : 84 + dv, 20 + du : 116 + du].copy()


def inner_pixels(number: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers([36, 30], [60, 34], (number, 2))


@each_fine
@pytest.mark.parametrize('shift', [(0, 0), (6, -4), (-7, 5)])
def test_points_are_found_where_the_picture_was_moved_to(
    baseline: Baseline, shift: tuple[int, int]
) -> None:
    image_a, image_b = moved_views(*shift)
    uv = inner_pixels(12)
    found = baseline.match(image_a, image_b, uv)
    assert (found.shape, found.dtype) == ((12, 2), np.float32)
    np.testing.assert_array_equal(found, uv - shift)


@pytest.mark.parametrize('size', [4.0, 8.0, 30.0])
def test_sift_agrees_with_the_matcher_of_opencv(size: int) -> None:
    image_a, image_b = texture(48, 64, seed=1), texture(50, 70, seed=2)
    uv = np.random.default_rng(0).uniform(0, [63, 47], (25, 2))
    sift = DenseSift(size, step=3)
    places = grid(image_b, 3)
    grey_a, grey_b = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (image_a, image_b))
    opencv = cv2.SIFT.create()
    keypoints_a, vectors_a = opencv.compute(grey_a, sift.keypoints(uv))
    keypoints_b, vectors_b = opencv.compute(grey_b, sift.keypoints(places))
    assert all(keypoint.angle == 0 and keypoint.size == size for keypoint in keypoints_a)
    matches = cv2.BFMatcher(cv2.NORM_L2).match(vectors_a, vectors_b)
    expected = [keypoints_b[match.trainIdx].pt for match in matches]
    np.testing.assert_allclose(sift.match(image_a, image_b, uv), expected)


def test_colour_patches_agree_with_correlation_written_out() -> None:
    image_a, image_b = texture(20, 24, seed=1), texture(22, 18, seed=2)
    uv = np.array([[5, 6], [12, 9], [20, 15]])
    found = ColourPatches(side=5, step=1).match(image_a, image_b, uv)

    def patch(image: Image, u: int, v: int) -> np.ndarray:
        rows = np.arange(v - 2, v + 3).clip(0, image.shape[0] - 1)
        columns = np.arange(u - 2, u + 3).clip(0, image.shape[1] - 1)
        return image[np.ix_(rows, columns)].astype(float).reshape(-1)

    for (u, v), place in zip(uv, found, strict=True):
        correlation = np.zeros((22, 18))
        for i, j in np.ndindex(22, 18):
            pair = [patch(image_a, u, v), patch(image_b, j, i)]
            correlation[i, j] = np.corrcoef(pair)[0, 1]
        best_v, best_u = np.unravel_index(correlation.argmax(), correlation.shape)
        assert place.tolist() == [best_u, best_v]


@settings(derandomize=True, deadline=None, max_examples=8)
@given(st.sampled_from(KINDS), st.integers(1, 400), st.integers(2, 5))
def test_chunks_change_nothing(kind: type[Baseline], places: int, step: int) -> None:
    image_a, image_b = texture(40, 48, seed=1), texture(36, 52, seed=2)
    uv = np.random.default_rng(0).uniform(0, [47, 39], (600, 2))
    whole = kind(step=step).match(image_a, image_b, uv)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baselines, '_PLACES_AT_ONCE', max(places, 40))
        np.testing.assert_array_equal(kind(step=step).match(image_a, image_b, uv), whole)
    one_by_one = [kind(step=step).match(image_a, image_b, uv[i : i + 1])[0] for i in range(5)]
    np.testing.assert_array_equal(one_by_one, whole[:5])


@settings(derandomize=True, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 9))
def test_the_grid_covers_the_picture_and_stays_in_it(height: int, width: int, step: int) -> None:
    places = grid(np.zeros((height, width, 3), np.uint8), step)
    v, u = np.indices((height, width)).reshape(2, -1)
    gaps = np.abs(places[:, None] - np.stack([u, v], axis=1)[None]).max(axis=2).min(axis=0)
    assert gaps.max() < step
    assert (places >= 0).all() and (places < [width, height]).all()
    assert len(np.unique(places, axis=0)) == len(places)


def test_colours_are_told_apart_where_grey_is_the_same() -> None:
    image = np.zeros((20, 60, 3), np.uint8)
    image[:, :20], image[:, 20:40], image[:, 40:] = (150, 0, 0), (0, 76, 0), (45, 45, 45)
    patches = ColourPatches(side=5)
    red, green, grey = patches.describe(image, [[10, 10], [30, 10], [50, 10]])
    assert np.linalg.norm(red) == pytest.approx(1, abs=1e-5)
    assert red @ green < 0
    assert not grey.any()


@pytest.mark.parametrize('kind', KINDS)
def test_flat_pictures_match_somewhere(kind: type[Baseline]) -> None:
    flat = np.full((30, 40, 3), 90, np.uint8)
    found = kind().match(flat, flat, [[5, 5], [39, 29]])
    assert found.shape == (2, 2)
    assert (found >= 0).all() and (found <= [39, 29]).all()


def pair_set(shift: tuple[int, int] = (6, -4), **changes: object) -> PairSet:
    image_a, image_b = moved_views(*shift)
    uv = inner_pixels(8).astype(np.float32)
    mask = np.full((64, 96), 255, np.uint8)
    pair = Pair(0, 1, uv, uv - np.float32(shift), mask_b=mask)
    return PairSet('two views', [image_a, image_b], [dataclasses.replace(pair, **changes)], [])


@each_fine
def test_errors_are_those_of_each_pair(baseline: Baseline) -> None:
    (errors,) = match_all(pair_set(), not_learned(baseline)).errors
    np.testing.assert_array_equal(errors, np.zeros(8))
    wrong = pair_set(uv_b=inner_pixels(8).astype(np.float32) - np.float32([6, -4]) + [3, 0])
    (own,) = match_all(wrong, not_learned(baseline)).errors
    np.testing.assert_allclose(own, 3 * 640 / 96)
    (given_width,) = match_all(dataclasses.replace(wrong, width=640), not_learned(baseline)).errors
    np.testing.assert_allclose(given_width, 3)


@each_fine
def test_swapped_axes_are_noticed(baseline: Baseline) -> None:
    data = pair_set()
    swapped = pair_set(uv_a=data.pairs[0].uv_a[:, ::-1])
    (errors,) = match_all(swapped, not_learned(baseline)).errors
    assert pck(errors, 5) < 0.5


def test_pairs_that_cannot_be_measured_are_named() -> None:
    empty = np.zeros((0, 2), np.float32)
    with pytest.raises(ValueError, match='two views: there are no pairs'):
        check(dataclasses.replace(pair_set(), pairs=[]))
    with pytest.raises(ValueError, match=r'pair 0 \(pictures 0 and 1\) has no correspondences'):
        check(pair_set(uv_a=empty, uv_b=empty))
    with pytest.raises(ValueError, match='mask of B has no pixels'):
        match_all(pair_set(mask_b=np.zeros((64, 96), np.uint8)), not_learned(ColourPatches()))
    with pytest.raises(ValueError, match='8 pixels in A and 0 in B'):
        check(pair_set(uv_b=empty))
    with pytest.raises(ValueError, match='NaN'):
        check(pair_set(uv_b=np.full((8, 2), np.nan, np.float32)))
    check(pair_set(mask_b=None))


def test_what_cannot_be_matched_is_refused() -> None:
    image = texture(20, 30)
    with pytest.raises(ValueError, match=r'\(0, 2\)'):
        ColourPatches().match(image, image, np.zeros((0, 2)))
    with pytest.raises(ValueError, match=r'query \(10, 25\) lies outside of the picture of 30x20'):
        DenseSift().match(image, image, [[3, 3], [10, 25]])
    with pytest.raises(ValueError, match=r'query \(nan, 1\)'):
        DenseSift().match(image, image, [[np.nan, 1]])
    with pytest.raises(ValueError, match=r'float64 of shape \(20, 30, 3\)'):
        ColourPatches().match(image, image / 255, [[3, 3]])
    with pytest.raises(ValueError, match=r'\(20, 30\)'):
        DenseSift().match(image[..., 0], image, [[3, 3]])
    with pytest.raises(ValueError, match='side is 4'):
        ColourPatches(side=4)
    with pytest.raises(ValueError, match='size is 0'):
        DenseSift(size=0)
    with pytest.raises(ValueError, match='step is 0'):
        DenseSift(step=0)
