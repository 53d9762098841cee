"""Pictures: sizes, places and steadiness."""

import cv2
import numpy as np
import pytest

from don_kp_ros.matching.pictures import (
    FOUND,
    DescriptorColours,
    draw_legend,
    draw_outline,
    heatmap_overlay,
    patch_about,
    side_by_side,
)


def test_overlay_is_brightest_at_the_peak_and_keeps_the_image():
    image = np.full((60, 80, 3), 60, dtype=np.uint8)
    v, u = np.mgrid[:60, :80]
    heatmap = np.exp(-((u - 50) ** 2 + (v - 20) ** 2) / 50).astype(np.float32)
    picture = heatmap_overlay(image, heatmap)
    assert picture.shape == image.shape
    assert picture.dtype == np.uint8
    brightness = picture.sum(axis=2)
    assert np.unravel_index(brightness.argmax(), brightness.shape) == (20, 50)
    assert (image == 60).all()


def test_overlay_marks_the_peak_where_it_is():
    image = np.zeros((60, 80, 3), dtype=np.uint8)
    heatmap = np.zeros((60, 80), dtype=np.float32)
    marked = heatmap_overlay(image, heatmap, (50, 20), found=True).astype(int)
    plain = heatmap_overlay(image, heatmap).astype(int)
    v, u = np.nonzero(np.abs(marked - plain).sum(axis=2) > 100)
    assert (u.mean().round(), v.mean().round()) == (50, 20)
    assert marked[20, 50, 1] > marked[20, 50, 0]
    lost = heatmap_overlay(image, heatmap, (50, 20), found=False)
    assert lost[20, 50, 0] > lost[20, 50, 1]


def test_an_outline_runs_along_the_inner_edge_of_its_mask():
    picture = np.zeros((30, 40, 3), dtype=np.uint8)
    mask = np.ones((12, 20), dtype=bool)
    mask[:4, :6] = False
    mask[6:8, 10:12] = False  # a hole has none
    draw_outline(picture, (15, 10), mask)
    expected = np.zeros((30, 40), dtype=bool)
    filled = mask.copy()
    filled[6:8, 10:12] = True
    around = np.pad(filled, 1)
    inner = around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
    expected[10:22, 15:35] = filled & ~inner
    np.testing.assert_array_equal((picture == FOUND).all(axis=2), expected)
    assert not picture[~expected].any()


def test_caption_with_any_characters_does_not_fail():
    image = np.zeros((60, 80, 3), dtype=np.uint8)
    heatmap_overlay(image, np.zeros((60, 80), dtype=np.float32), (-5, 900), 'Mütze 🧢/☃')


def test_a_legend_has_its_lines_below_each_other_from_the_top():
    def rows(lines):
        picture = np.zeros((240, 320, 3), dtype=np.uint8)
        draw_legend(picture, lines)
        return np.nonzero(picture.any(axis=(1, 2)))[0]

    assert len(rows([])) == 0
    one, three = rows(['HHH']), rows(['HHH'] * 3)
    assert one.max() < 30
    height = (three.max() - one.max()) / 2
    assert height > one.max() - one.min()  # they do not touch
    np.testing.assert_array_equal(
        three, np.concatenate([one + round(number * height) for number in range(3)])
    )


@pytest.mark.parametrize(
    ('uv', 'corner'), [((40, 30), (32, 22)), ((0, 59), (0, 44)), ((79.4, 2), (64, 0))]
)
def test_a_patch_lies_about_its_pixel_and_in_the_picture(uv, corner):
    picture = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    u, v = corner
    np.testing.assert_array_equal(patch_about(picture, uv, 16), picture[v : v + 16, u : u + 16])


def test_a_patch_of_a_smaller_picture_is_all_of_it():
    picture = np.random.default_rng(0).integers(0, 255, (10, 80, 3), dtype=np.uint8)
    np.testing.assert_array_equal(patch_about(picture, (40, 3), 16), picture[:, 32:48])


@pytest.mark.parametrize('dimension', [2, 3, 16])
def test_descriptor_colours_are_steady_when_frames_change_little(dimension):
    rng = np.random.default_rng(0)
    colours = DescriptorColours()
    descriptors = rng.normal(size=(dimension, 12, 16))
    descriptors /= np.linalg.norm(descriptors, axis=0)
    previous = colours(descriptors, (48, 64)).astype(float)
    assert previous.shape == (48, 64, 3)
    assert previous.std() > 20
    for _ in range(5):
        noisy = descriptors + 0.02 * rng.normal(size=descriptors.shape)
        picture = colours(noisy, (48, 64)).astype(float)
        assert np.abs(picture - previous).mean() < 4
        previous = picture


def test_descriptor_colours_survive_a_constant_map():
    picture = DescriptorColours()(np.ones((4, 3, 3)) / 2, (6, 6))
    assert picture.shape == (6, 6, 3)


@pytest.mark.parametrize('dimension', [8, 16, 32])
def test_descriptor_colours_begin_anew_with_another_model(dimension):
    rng = np.random.default_rng(0)
    former, new = rng.normal(size=(16, 12, 16)), rng.normal(size=(dimension, 12, 16))
    colours = DescriptorColours()
    colours(former, (48, 64), 'one model')
    expected = DescriptorColours()(new, (48, 64), 'another')
    np.testing.assert_array_equal(colours(new, (48, 64), 'another'), expected)


def test_side_by_side_pads_the_lower_picture():
    left, right = np.full((10, 20, 3), 9, np.uint8), np.full((30, 5, 3), 7, np.uint8)
    picture = side_by_side(left, right, gap=2)
    assert picture.shape == (30, 27, 3)
    assert (picture[:10, :20] == 9).all()
    assert (picture[10:, :20] == 0).all()
    assert (picture[:, 22:] == 7).all()


def test_the_overlay_is_a_plain_blend_but_for_rounding():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)
    heatmap = rng.uniform(-1, 1, (60, 80)).astype(np.float32)
    strength = (np.clip(heatmap, 0.3, 1.0) - 0.3) / 0.7
    levels = np.round(strength * 255).astype(np.uint8)
    colours = cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO)[..., ::-1]
    opacity = (0.15 + 0.7 * strength)[..., None]
    blended = opacity * colours + (1 - opacity) * image
    assert np.abs(heatmap_overlay(image, heatmap) - blended).max() < 2
