"""Figures by kind, of descriptors that are colours: what resembles what is known beforehand."""

from typing import cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional

from don_kp_ros.evaluation.kinds import measure_kinds
from don_kp_ros.evaluation.pairs import Pair, PairSet
from don_kp_ros.networks.model import DescriptorModel

SIZE = 64
RED, GREEN, WHITE, BLUE = (255, 0, 0), (0, 255, 0), (255, 255, 255), (0, 0, 255)
Colour = tuple[int, int, int]


class Colours:
    """A model whose descriptors are the colours of the picture, of unit length."""

    def describe(self, image: NDArray[np.uint8]) -> torch.Tensor:
        colours = torch.from_numpy(image).float().permute(2, 0, 1)
        return functional.normalize(functional.avg_pool2d(colours, 4) + 1e-3, dim=0)


def picture(left: int, of: Colour, mark: Colour) -> NDArray[np.uint8]:
    """An object 24 pixels wide with a mark of 8, on blue."""
    image = np.full((SIZE, SIZE, 3), BLUE, np.uint8)
    image[20:44, left : left + 24] = of
    image[28:36, left + 8 : left + 16] = mark
    return image


def pair(kind: str, number: int) -> Pair:
    """A pair of pictures of one object: its mark is looked for, 20 pixels further right."""
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[20:44, 28:52] = 255
    uv = np.array([[19.5, 31.5]], np.float32)
    return Pair(2 * number, 2 * number + 1, uv, uv + [[20, 0]], mask_b=mask, kind=kind)


def figures(*objects: tuple[str, Colour, Colour]) -> dict[str, dict[str, float]]:
    images = [picture(left, of, mark) for _, of, mark in objects for left in (8, 28)]
    pairs = [pair(kind, number) for number, (kind, _, _) in enumerate(objects)]
    model = cast(DescriptorModel, Colours())
    return measure_kinds(model, PairSet('squares', images, pairs, []))


def test_a_point_that_no_other_kind_has_is_not_found_on_it() -> None:
    found = figures(('cap', RED, WHITE), ('mug', GREEN, RED))
    assert list(found) == ['cap', 'mug']
    assert found['cap']['false_finds'] == 0  # nothing of the mug is white
    assert found['mug']['false_finds'] == 1  # the cap is red, as the mug's mark is
    for own in found.values():
        assert own['queries'] == 1
        assert own['median_px'] < 8 * 640 / SIZE  # somewhere in the mark


def test_objects_of_the_same_kind_do_not_count() -> None:
    found = figures(('cap', RED, WHITE), ('cap', GREEN, WHITE), ('mug', GREEN, RED))
    assert found['cap']['false_finds'] == 0  # both caps have a white mark


def test_where_the_own_object_is_not_found_no_threshold_is_low_enough() -> None:
    # Blue is found on the table first: the recall cannot be reached, and everything is similar.
    found = figures(('cap', RED, BLUE), ('mug', GREEN, WHITE))
    assert found['cap']['false_finds'] == 1


@pytest.mark.parametrize('kinds', [('', ''), ('cap', 'cap')])
def test_one_kind_alone_has_no_figures(kinds: tuple[str, str]) -> None:
    assert figures((kinds[0], RED, WHITE), (kinds[1], GREEN, WHITE)) == {}
