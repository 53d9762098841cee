"""Masks by depth: what stands on the table, nearest to a place."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from don_kp_ros.annotation.proposal import Proposal, check_inside
from don_kp_ros.data.picture_file import Image
from don_kp_ros.geometry.camera import Camera
from don_kp_ros.pose.segmentation import Mask, object_mask, standing, table_plane

_BESIDE = 6  # pixels to what touches the object, over the shadow that a stereo camera has there
_TOUCHED = 0.1  # share of the object's outline
_LEAST_SEEN = 0.5  # share of the object with a depth
_NEARLY, _NEAR = 1.5, 20  # times as far, plus pixels: another thing is as near
_THING = 100  # pixels of the smallest thing that may have been meant


def mask_by_depth(
    image: Image, depth: NDArray[np.float32], camera: Camera, at: tuple[float, float] | None
) -> Proposal:
    """Find the object nearest to a pixel (u, v), or to the middle of the picture.

    image (H, W, 3); depth (H, W): metres, NaN where there is none. Raises RefusedError where there
    is no table, or nothing on it.
    """
    height, width = image.shape[:2]
    click = ((width - 1) / 2, (height - 1) / 2) if at is None else at
    check_inside(image, *click)
    plane = table_plane(camera.deproject_image(depth))
    # A click says where the object is; the middle only about where.
    reach = {} if at is not None else {'reach': np.inf}
    shown = object_mask(depth, camera, plane, click, **reach)
    others = standing(depth, camera, plane) & ~ndimage.binary_dilation(shown, iterations=2)
    doubts = [] if at is not None else _others_as_near(shown, others, click)
    doubts += _beside(shown, others)
    seen = float(np.isfinite(depth[shown]).mean())
    if seen < _LEAST_SEEN:
        doubts.append(f'only {seen:.0%} of the object has a depth')
    return Proposal.of(image, shown, doubts)


def _others_as_near(shown: Mask, others: Mask, click: tuple[float, float]) -> list[str]:
    away = _away(shown, click)
    labels, _ = ndimage.label(others)
    sizes = np.bincount(labels.ravel())
    things = others & (sizes >= _THING)[labels]
    if things.any() and _away(things, click) <= _NEARLY * away + _NEAR:
        return ['another thing is nearly as near to the middle; point at the object by --at U V']
    return []


def _away(shown: Mask, click: tuple[float, float]) -> float:
    rows, columns = np.nonzero(shown)
    return float(np.hypot(rows - click[1], columns - click[0]).min())


def _beside(shown: Mask, others: Mask) -> list[str]:
    outline = shown & ~ndimage.binary_erosion(shown)
    near = ndimage.binary_dilation(others, iterations=_BESIDE)
    share = float((outline & near).sum() / outline.sum())
    return ['another thing, or a part of the object, touches it'] if share > _TOUCHED else []
