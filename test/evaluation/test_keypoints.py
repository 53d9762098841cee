from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from don_kp_ros.data.appearance import ColourConfiguration
from don_kp_ros.data.folder import Sample
from don_kp_ros.data.homography import WarpConfiguration, project
from don_kp_ros.data.pairs import ViewConfiguration
from don_kp_ros.evaluation.keypoints import measure_keypoints
from don_kp_ros.evaluation.matchers import accuracy, centroid, random_pixel
from don_kp_ros.evaluation.pairs import PairSet, mask_centre, synthetic

PLAIN = ColourConfiguration(probability=0, grey=0, gradient=0, blur=0, noise=0)


def pairs(crop: int | None) -> PairSet:
    """Pair views of a picture with a bright square."""
    image = np.full((480, 640, 3), 40, np.uint8)
    mask = np.zeros((480, 640), np.uint8)
    mask[200:280, 300:380] = 255
    image[mask > 0] = 200
    views = ViewConfiguration(occlusion=0, colour=PLAIN, warp=WarpConfiguration(perspective=0))
    sample = Sample(Path('square.png'), image, mask)
    return synthetic([sample], views, [], [], 6, 50, 0, both=True, crop=crop)


class Oracle:
    """Finds each pair's keypoints where they are, and `off` pixels beside in its view B."""

    def __init__(self, data: PairSet, off: float = 0.0, spread: float = 1.0) -> None:
        self.number_of_keypoints, self.keypoint_kinds = 4, ('',) * 4
        self._answers: dict[int, np.ndarray] = {}
        for pair in data.pairs:
            assert pair.homography is not None and pair.mask_b is not None
            v, u = np.nonzero(pair.mask_b)
            corners = np.array([(u.min(), v.mean()), (u.max(), v.mean())])
            corners = np.vstack([corners, [(u.mean(), v.min()), (u.mean(), v.max())]])
            centre = mask_centre(pair.mask_b)
            b = centre + spread * 0.8 * (corners - centre)
            a = project(np.linalg.inv(pair.homography), b.astype(np.float32))
            self._answers[id(data.images[pair.image_a])] = a
            self._answers[id(data.images[pair.image_b])] = b + [off, 0]

    def keypoints(self, image: np.ndarray, turns: int) -> tuple[torch.Tensor, torch.Tensor]:
        uv = torch.from_numpy(self._answers[id(image)].astype(np.float32))
        return uv, torch.ones(len(uv))


@pytest.mark.parametrize('crop', [None, 320])
def test_keypoints_that_keep_their_places_have_no_error(crop: int | None) -> None:
    data = pairs(crop)
    quality = measure_keypoints(Oracle(data), data)  # type: ignore[arg-type]
    assert quality.keypoints == 4
    assert quality.median_px == pytest.approx(0, abs=1e-2)
    assert quality.inside == 1
    assert 1.0 < quality.spread < 1.8


def test_errors_are_in_pixels_of_the_reference_width_whatever_is_cut_out() -> None:
    for crop in (None, 320):
        data = pairs(crop)
        quality = measure_keypoints(Oracle(data, off=5), data)  # type: ignore[arg-type]
        assert quality.median_px == pytest.approx(5, abs=1e-2)
        assert quality.p90_px == pytest.approx(5, abs=1e-2)


def test_clumped_and_straying_keypoints_are_noticed() -> None:
    data = pairs(None)
    clumped = measure_keypoints(Oracle(data, spread=0.1), data)  # type: ignore[arg-type]
    assert clumped.spread < 0.2
    straying = measure_keypoints(Oracle(data, spread=3), data)  # type: ignore[arg-type]
    assert straying.inside == 0 and straying.spread > 2
    with pytest.raises(ValueError, match='homography'):
        measure_keypoints(Oracle(data), PairSet('none', [], [], []))  # type: ignore[arg-type]


def test_keypoints_count_on_their_own_kind_of_object_alone() -> None:
    data = pairs(None)
    known = replace(data, pairs=[replace(pair, kind='cap') for pair in data.pairs])
    oracle = Oracle(known, off=5)
    oracle.keypoint_kinds = ('cap', 'cap', 'mug', 'mug')
    first = known.pairs[0]
    for answer in (known.images[first.image_a], known.images[first.image_b]):
        oracle._answers[id(answer)][2:] += 50  # where there is no mug
    assert measure_keypoints(oracle, known).p90_px == pytest.approx(5, abs=1e-2)  # type: ignore[arg-type]
    oracle.keypoint_kinds = ('can', 'mug', 'mug', 'mug')
    with pytest.raises(ValueError, match='homography'):
        measure_keypoints(oracle, known)  # type: ignore[arg-type]


def test_pairs_show_the_same_points_in_both_views() -> None:
    for crop in (None, 320):
        for pair in (data := pairs(crop)).pairs:
            assert pair.homography is not None
            np.testing.assert_allclose(project(pair.homography, pair.uv_a), pair.uv_b, atol=1e-2)
            for index, uv in ((pair.image_a, pair.uv_a), (pair.image_b, pair.uv_b)):
                u, v = uv.astype(np.float32).T
                seen = cv2.remap(data.images[index], u, v, cv2.INTER_LINEAR)
                assert seen.min() > 100  # on the square, or at its border


def test_blind_guesses_score_what_the_square_says() -> None:
    data = pairs(None)
    # Two random points of a unit square are .521 apart on average, its centre .383 from one.
    side = np.sqrt(np.mean([np.count_nonzero(p.mask_b) for p in data.pairs]))
    assert accuracy(data, random_pixel(np.random.default_rng)).median_px == pytest.approx(
        0.51 * side, rel=0.15
    )
    assert accuracy(data, centroid).median_px == pytest.approx(0.39 * side, rel=0.15)
