"""Cut-outs by colour of what cannot be cut out."""

import numpy as np
import pytest

from don_kp_ros.annotation.by_colour import mask_by_colour
from don_kp_ros.errors import RefusedError

IMAGE = np.full((480, 640, 3), 120, np.uint8)
IMAGE[200:260, 300:380] = (220, 40, 40)
OUTSIDE = np.zeros((480, 640), bool)
OUTSIDE[:50, :50] = True


@pytest.mark.parametrize(
    ('box', 'outside', 'begun'),
    [
        ((100, 100, 9, 9), [(104, 104)], None),  # the click takes all of the box
        ((290, 190, 100, 80), [], OUTSIDE),
    ],
)
def test_where_nothing_or_all_is_the_object_it_is_refused(
    box: tuple[int, ...], outside: list[tuple[int, int]], begun: np.ndarray | None
) -> None:
    with pytest.raises(RefusedError):
        mask_by_colour(IMAGE, box, [], outside, begun)


def test_what_differs_in_the_box_is_cut_out() -> None:
    mask = mask_by_colour(IMAGE, (280, 180, 120, 100), [], []).mask
    assert mask[205:255, 305:375].all() and not mask[:170].any()
