"""`don_kp inspect`: what is pointed at in one picture is shown where it is in the other."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Page

from don_kp_ros.data.picture_file import write_image
from don_kp_ros.networks.model import DescriptorModel
from don_kp_ros.page.inspect_command import main
from don_kp_ros.page.inspection import Inspection
from don_kp_ros.resources import shipped_model
from don_kp_ros.robots.preset import load_preset
from don_kp_ros.simulation.instances import UNSEEN
from don_kp_ros.simulation.renderer import Renderer
from don_kp_ros.simulation.scene import Layout
from don_kp_ros.simulation.world import World

NEAR_PX = 8.0


@pytest.fixture(scope='module')
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path, NDArray]]:
    """A view of an unseen cap, the same turned by half a turn, and pixels (3, 2) on the cap."""
    folder = tmp_path_factory.mktemp('pictures')
    world = World(Layout.draw(1, UNSEEN[42]), load_preset('panda'))
    renderer = Renderer(world.model)
    view = renderer.render_colour(world.data, world.camera_pose())
    renderer.close()
    write_image(folder / 'a.png', view)
    write_image(folder / 'b.png', np.ascontiguousarray(view[::-1, ::-1]))
    brim = np.array(world.truth().taught_uv)
    return folder / 'a.png', folder / 'b.png', np.round(brim)


def turned(u: float, v: float) -> tuple[float, float]:
    return 639 - u, 479 - v


def test_the_pointer_on_a_point_marks_it_in_the_other_picture(
    pictures: tuple[Path, Path, NDArray], served: Callable, page: Page, tmp_path: Path
) -> None:
    a, b, (u, v) = pictures
    with served('-m', 'don_kp_ros.cli', 'inspect', str(a), str(b), '--port', '0') as one:
        page.goto(one.url)
        left, right = page.locator('#a[data-stamp]'), page.locator('#b[data-stamp]')
        left.wait_for()
        right.wait_for()
        box = left.bounding_box()
        left.hover(
            position={'x': (u + 0.5) / 640 * box['width'], 'y': (v + 0.5) / 480 * box['height']}
        )
        first = page.locator('.mode').first
        first.wait_for()
        found = [float(x) for x in re.findall(r'-?[\d.]+', first.inner_text())[1:]]
        assert math.dist(found[:2], turned(u, v)) < NEAR_PX
        assert found[3] == 1.0  # its own share
        page.wait_for_function('document.getElementById("b").dataset.marks.includes("1: ")')
        ((x, y, *_), *_) = json.loads(right.get_attribute('data-marks'))['points']
        assert math.dist((x, y), turned(u, v)) < NEAR_PX
        assert 'ambiguity' in page.locator('.what').inner_text()
        page.screenshot(path=tmp_path / 'inspect.png')

        # A lower temperature is a narrower kernel: the probability covers less of the picture.
        def spread() -> float:
            return float(re.search(r'over ([\d.]+) %', page.locator('.what').inner_text())[1])

        wide = spread()
        page.locator('.temperature [tabindex="0"]').focus()
        while spread() >= wide / 2:
            page.keyboard.press('ArrowLeft')
            page.wait_for_timeout(20)
        assert 'Traceback' not in ''.join(one.said)


@pytest.fixture(scope='module')
def inspection(pictures: tuple[Path, Path, NDArray]) -> Inspection:
    return Inspection(*pictures[:2], DescriptorModel.load(shipped_model()))


def test_shares_are_those_of_equation_8(
    inspection: Inspection, pictures: tuple[Path, Path, NDArray]
) -> None:
    u, v = pictures[2]
    for temperature in (1.1, 0.0, -1.0):
        found = inspection.look((u, v), temperature, 0.05)
        best = found.modes[0]
        for mode in found.modes:
            # Eq. 8, with the distance of unit vectors from their cosine.
            kernel, largest = (
                math.exp(-((math.sqrt(2 - 2 * c) / math.exp(temperature)) ** 2))
                for c in (mode.similarity, best.similarity)
            )
            assert mode.share == pytest.approx(kernel / largest, rel=1e-6)
        assert all(0.05 <= mode.share <= 1 for mode in found.modes)
        assert 0 < found.spread <= 1
    cold, hot = (inspection.look((u, v), t, 0.05) for t in (-2.0, 1.1))
    assert cold.spread < hot.spread and cold.ambiguity < hot.ambiguity
    assert len(cold.modes) <= len(hot.modes)


def test_a_share_of_one_shows_the_best_mode_alone(
    inspection: Inspection, pictures: tuple[Path, Path, NDArray]
) -> None:
    u, v = pictures[2]
    few, many = (inspection.look((u, v), 1.1, share) for share in (1.0, 0.05))
    assert len(few.modes) == 1 < len(many.modes)
    assert few.modes[0] == many.modes[0]
    assert few.ambiguity == many.ambiguity == many.modes[1].share


def test_what_is_no_picture_is_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / 'a.png').write_text('no picture')
    assert main([str(tmp_path / 'a.png'), str(tmp_path / 'b.png')]) == 1
    assert 'a.png' in capsys.readouterr().err
