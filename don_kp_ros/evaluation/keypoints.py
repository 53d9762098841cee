"""How well predicted keypoints stay where they are, lie on the object, and cover it."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.data.folder import Image
from don_kp_ros.data.homography import project
from don_kp_ros.evaluation.pairs import PairSet
from don_kp_ros.evaluation.pck import pixel_errors
from don_kp_ros.networks.model import DescriptorModel

_MASK_SAMPLES = 500


class NoKeypoints(ValueError):
    """No pair shows keypoints whose true places are known."""


@dataclass(frozen=True)
class KeypointQuality:
    """The quality of a set of keypoints.

    median_px, p90_px: distance in view B between a keypoint and the place of the same keypoint in
    view A, pixels of a 640-pixel-wide picture; inside: share in B's mask; spread: mean distance
    between two keypoints, divided by that between two pixels of the mask.
    """

    keypoints: int
    median_px: float
    p90_px: float
    inside: float
    spread: float

    def rounded(self) -> dict[str, float]:
        """Return the figures as they are reported."""
        return {
            name: value if name == 'keypoints' else round(value, 3)
            for name, value in asdict(self).items()
        }


def measure_keypoints(model: DescriptorModel, data: PairSet, turns: int = 1) -> KeypointQuality:
    """Find the keypoints of every pair with a homography and a mask, and compare.

    turns: as in DescriptorModel.keypoints.

    Keypoints of A that B does not show count neither as errors nor as hits, nor do those of other
    kinds of object than the pair's, where that is known. Raises NoKeypoints if no pair that has
    keypoints has both a homography and a mask, or none of them lies within its view B.
    """
    found: dict[int, NDArray[np.float32]] = {}
    errors, inside, spread = [], [], []
    kinds = np.array(model.keypoint_kinds)
    for pair in data.pairs:
        own = np.isin(kinds, ('', pair.kind)) | (pair.kind == '')
        if pair.homography is None or pair.mask_b is None or not own.any():
            continue
        for index in (pair.image_a, pair.image_b):
            if index not in found:
                found[index] = model.keypoints(data.images[index], turns)[0].cpu().numpy()
        uv_a, uv_b = found[pair.image_a][own], found[pair.image_b][own]
        height, width = pair.mask_b.shape
        expected = project(pair.homography, uv_a)
        shown = np.all((expected >= 0) & (expected <= [width - 1, height - 1]), axis=1)
        errors.append(pixel_errors(uv_b[shown], expected[shown], data.width or width))
        u, v = np.rint(uv_b).astype(int).T
        inside.append(pair.mask_b[v.clip(0, height - 1), u.clip(0, width - 1)] > 127)
        spread.append(_mean_distance(uv_b) / _mean_distance(_mask_pixels(pair.mask_b)))
    if not errors:
        raise NoKeypoints('no pair has a homography and a mask; keypoints need both')
    every = np.concatenate(errors)
    if not len(every):
        raise NoKeypoints(f'{data.origin}: no keypoint of a view A lies within its view B')
    return KeypointQuality(
        model.number_of_keypoints,
        float(np.median(every)),
        float(np.quantile(every, 0.9)),
        float(np.mean(inside)),
        float(np.mean(spread)),
    )


def keypoint_figures(model: DescriptorModel, data: PairSet) -> dict[str, float] | None:
    """Measure keypoints as they are reported; None where pairs show none of them."""
    try:
        return measure_keypoints(model, data).rounded()
    except NoKeypoints:
        return None


def _mask_pixels(mask: Image) -> NDArray[np.float32]:
    v, u = np.nonzero(mask > 127)
    chosen = np.random.default_rng(0).choice(len(u), min(_MASK_SAMPLES, len(u)), replace=False)
    return np.stack([u[chosen], v[chosen]], axis=1).astype(np.float32)


def _mean_distance(points: NDArray[np.float32]) -> float:
    """Average the distances between different points (N, 2)."""
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1)
    return float(distances.sum() / (len(points) * (len(points) - 1)))
