"""A mask that was made, and why it may be wrong."""

from __future__ import annotations

from dataclasses import dataclass

from don_kp_ros.data.folder import SMALLEST_OBJECT
from don_kp_ros.data.mask_check import faults
from don_kp_ros.data.picture_file import Image
from don_kp_ros.errors import RefusedError
from don_kp_ros.pose.segmentation import Mask


@dataclass(frozen=True)
class Proposal:
    """A mask (H, W) uint8, 0 or 255, and the reasons to doubt it, in words."""

    mask: Image
    doubts: tuple[str, ...]

    @classmethod
    def of(cls, image: Image, shown: Mask, doubts: list[str]) -> Proposal:
        """Judge a mask as every mask is judged; raises RefusedError for a tiny one."""
        area = int(shown.sum())
        if area < SMALLEST_OBJECT:
            raise RefusedError(
                f'the object would have {area} pixels, at least {SMALLEST_OBJECT} are needed; '
                'point at it, by a click or by --at U V'
            )
        mask = (shown * 255).astype('uint8')
        if shown[0].any() or shown[-1].any() or shown[:, 0].any() or shown[:, -1].any():
            doubts = [*doubts, 'the object touches the border']
        every = [*doubts, *(f'{fault.what} it' for fault in faults(image, mask))]
        return cls(mask, tuple(every))


def check_inside(image: Image, u: float, v: float) -> None:
    """Raise RefusedError for a pixel outside of a picture (H, W, 3)."""
    height, width = image.shape[:2]
    if not (0 <= u <= width - 1 and 0 <= v <= height - 1):
        raise RefusedError(
            f'({u:g}, {v:g}) is outside of the picture, which is {width}x{height}; point into it'
        )
