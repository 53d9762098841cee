"""`don_kp outline`: what is clicked on in a browser becomes a mask."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import asynchrony
import cv2
import numpy as np
import pytest
from disk import full_disk
from playwright.sync_api import Page

from don_kp_ros.annotation.making import Task
from don_kp_ros.data.mask_file import read_mask
from don_kp_ros.data.picture_file import write_image
from don_kp_ros.errors import RefusedError
from don_kp_ros.page import telling
from don_kp_ros.page.cutting import Cutting, Shown
from don_kp_ros.page.outlining import Outlining

SIZE = (1200, 1600)  # more than is shown
DISCS = ((500, 700, 160), (1150, 400, 130))  # u, v, radius


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures: red discs on a speckled ground."""
    (tmp_path / 'rgbs').mkdir()
    rng = np.random.default_rng(0)
    for name in ('a.png', 'b.png'):
        image = np.full((*SIZE, 3), (70, 110, 80), np.uint8)
        for u, v, radius in DISCS:
            cv2.circle(image, (u, v), radius, (190, 40, 50), -1)
        noise = cv2.resize(rng.normal(0, 12, (*[x // 4 for x in SIZE], 3)), SIZE[::-1])
        write_image(tmp_path / 'rgbs' / name, np.clip(image + noise, 0, 255).astype(np.uint8))
    return tmp_path


def overlap(found: np.ndarray, *discs: tuple[int, int, int]) -> float:
    v, u = np.indices(SIZE)
    true = np.any([np.hypot(u - x, v - y) <= r for x, y, r in discs], axis=0)
    shown = found > 0
    return float((shown & true).sum() / (shown | true).sum())


def drawn(u: float, v: float) -> tuple[float, float]:
    """Return where the copy that is shown, 960 pixels wide, has a pixel."""
    return (u + 0.5) * 0.6 - 0.5, (v + 0.5) * 0.6 - 0.5


def around(u: float, v: float, r: float) -> list[tuple[float, float]]:
    return [drawn(u - r, v - r), drawn(u + r, v - r), drawn(u + r, v + r), drawn(u - r, v + r)]


def test_what_is_enclosed_and_clicked_on_is_cut_out(folder: Path) -> None:
    outlining = Outlining(Task.open(folder, overwrite=False))
    assert outlining.place == 'a.png, 1 of 2'
    assert outlining.cutting.look().proposal is None
    with pytest.raises(RefusedError, match='no mask to save'):
        outlining.save()
    first, second = DISCS
    outlining.cutting.enclose(around(*first[:2], 1.3 * first[2]))
    seen = outlining.cutting.look()
    assert seen.pixels.shape == (720, 960, 3)
    assert seen.proposal is not None
    assert overlap(seen.proposal.mask, first) > 0.97
    outlining.cutting.undo()
    outlining.cutting.point(drawn(*second[:2]), inside=True)
    outlining.cutting.point(drawn(*first[:2]), inside=False)
    outlining.cutting.point(drawn(800, 100), inside=False)
    seen = outlining.cutting.look()
    assert seen.proposal is not None and overlap(seen.proposal.mask, second) > 0.97
    (mark, other, _) = seen.marks
    assert (mark.u, mark.v) == pytest.approx(drawn(*second[:2]))
    assert mark.sure and not other.sure
    outlining.save()
    assert overlap(read_mask(folder / 'masks' / 'a.png'), second) > 0.97
    assert outlining.place == 'b.png, 2 of 2'
    assert (
        outlining.cutting.look().proposal is None
    )  # what was said of the picture before is forgotten
    assert [path.name for path in Task.open(folder, overwrite=False).pictures] == ['b.png']


def test_who_goes_on_while_a_mask_is_saved_waits(folder: Path) -> None:
    outlining = Outlining(Task.open(folder, overwrite=False))
    cutting, first = outlining.cutting, DISCS[0]
    cutting.enclose(around(*first[:2], 1.3 * first[2]))
    look = cutting.look
    impatient = threading.Thread(target=outlining.move, args=(1,))

    def slow_look() -> Shown:
        impatient.start()
        impatient.join(0.5)  # it must not get through meanwhile
        return look()

    cutting.look = slow_look
    assert outlining.save() == 'a.png has its mask'
    impatient.join()
    assert overlap(read_mask(folder / 'masks' / 'a.png'), first) > 0.97
    assert not (folder / 'masks' / 'b.png').exists()
    assert outlining.look()[0] == 'a.png, 1 of 2'  # the save went on to b, then somebody to a


def test_a_picture_that_cannot_be_read_gets_no_mask_of_another(folder: Path) -> None:
    outlining, first = Outlining(Task.open(folder, overwrite=False)), DISCS[0]
    outlining.cutting.enclose(around(*first[:2], 1.3 * first[2]))
    (folder / 'rgbs' / 'b.png').write_bytes(b'no picture')
    with pytest.raises(RefusedError, match=r'b\.png'):
        outlining.move(1)
    place, shown = outlining.look()
    assert place == 'a.png, 1 of 2' and shown.proposal is not None
    outlining.save()
    assert [path.name for path in (folder / 'masks').iterdir()] == ['a.png']


def test_a_mask_that_cannot_be_written_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outlining, told = Outlining(Task.open(folder, overwrite=False)), []
    outlining.cutting.enclose(around(*DISCS[0][:2], 1.3 * DISCS[0][2]))
    monkeypatch.setattr(telling, 'tell', lambda *said, **_: told.extend(said))

    @telling.refusals_told
    async def save() -> None:
        outlining.save()

    with full_disk():
        asynchrony.run(save())
    assert 'a.png: cannot be written' in told[0]
    assert (outlining.written, outlining.place) == (0, 'a.png, 1 of 2')
    asynchrony.run(save())
    assert (outlining.written, outlining.place) == (1, 'b.png, 2 of 2')


def test_a_picture_whose_old_mask_has_another_name_is_saved_again(folder: Path) -> None:
    (folder / 'masks').mkdir()
    write_image(folder / 'masks' / 'a_mask.png', np.full(SIZE, 255, np.uint8))
    outlining = Outlining(Task.open(folder, overwrite=True))
    for disc in DISCS:
        outlining.cutting.enclose(around(*disc[:2], 1.3 * disc[2]))
        assert outlining.save() == 'a.png has its mask'
        assert overlap(read_mask(folder / 'masks' / 'a.png'), disc) > 0.97
        assert [path.name for path in (folder / 'masks').iterdir()] == ['a.png']
        outlining.move(-1)


def test_pictures_that_cannot_be_read_are_passed_over_and_told(folder: Path) -> None:
    for name in ('0', 'aa', 'c'):
        (folder / 'rgbs' / f'{name}.png').write_bytes(b'no picture')
    outlining, first = Outlining(Task.open(folder, overwrite=False)), DISCS[0]
    assert outlining.place == 'a.png, 2 of 5'
    (told,) = outlining.left_out
    assert 'left out: ' in told and str(folder / 'rgbs' / '0.png') in told
    for _ in range(2):
        outlining.cutting.enclose(around(*first[:2], 1.3 * first[2]))
        told = outlining.save()
        assert told.startswith('a.png has its mask; left out: ') and 'aa.png' in told
        assert outlining.place == 'b.png, 4 of 5'
        told = outlining.move(-1)
        assert 'aa.png' in told and 'c.png' not in told
        assert outlining.place == 'a.png, 2 of 5'
    assert outlining.written == 1  # though it was saved twice
    (folder / 'rgbs' / 'a.png').write_bytes(b'no picture')
    (folder / 'rgbs' / 'b.png').write_bytes(b'no picture')
    with pytest.raises(RefusedError, match=r'0\.png.*a\.png.*b\.png'):
        Outlining(Task.open(folder, overwrite=True))


def test_remedies_are_of_the_page_and_of_the_command(folder: Path) -> None:
    image = Task.open(folder, overwrite=False).read(folder / 'rgbs' / 'a.png')
    cutting = Cutting(image, np.zeros(SIZE, bool))
    assert 'point at it, by a click or by --at U V' in cutting.look().told
    cv2.circle(image, (340, 650), 190, (190, 40, 50), -1)
    cutting = Cutting(image)
    cutting.point(drawn(340, 650), inside=True)
    assert 'guessed box; draw around it, or give --box U V W H' in cutting.look().told


def test_a_mask_that_was_begun_is_corrected_by_clicks(folder: Path) -> None:
    image = Task.open(folder, overwrite=False).read(folder / 'rgbs' / 'a.png')
    first, second = DISCS
    v, u = np.indices(SIZE)
    # Half of one disc, with the ground beside it; nothing of the other.
    begun = (np.abs(u - first[0] + 100) < 120) & (np.abs(v - first[1]) < 100)
    cutting = Cutting(image, begun)
    seen = cutting.look()
    assert seen.proposal is not None
    np.testing.assert_array_equal(seen.proposal.mask > 0, begun)
    cutting.point(drawn(first[0] + 140, first[1]), inside=True)
    seen = cutting.look()
    assert seen.proposal is not None and overlap(seen.proposal.mask, first) > 0.97
    cutting.point(drawn(*second[:2]), inside=True)
    seen = cutting.look()
    assert seen.proposal is not None and overlap(seen.proposal.mask, first, second) > 0.97
    cutting.undo()
    cutting.undo()
    np.testing.assert_array_equal(cutting.look().proposal.mask > 0, begun)
    # One disc, and half as much ground on one side of it.
    wide = Cutting(image, (np.abs(u - first[0] - 60) < 220) & (np.abs(v - first[1]) < 150))
    wide.point(drawn(first[0] + 240, first[1]), inside=False)
    seen = wide.look()
    assert seen.proposal is not None and overlap(seen.proposal.mask, first) > 0.97


def test_a_mask_is_made_by_clicks_in_the_browser(
    folder: Path, served: Callable, page: Page
) -> None:
    first, second = DISCS
    with served('-m', 'don_kp_ros.cli', 'outline', str(folder), '--port', '0') as one:
        page.goto(one.url)
        canvas = page.locator('#picture[data-stamp]')
        canvas.wait_for()
        page.get_by_text('a.png, 1 of 2').wait_for()
        box = canvas.bounding_box()

        def at(u: float, v: float) -> tuple[float, float]:
            x, y = (u + 0.5) / SIZE[1] * box['width'], (v + 0.5) / SIZE[0] * box['height']
            return box['x'] + x, box['y'] + y

        u, v, r = first
        page.mouse.move(*at(u - 1.3 * r, v - 1.3 * r))
        page.mouse.down()
        for corner in ((1.3, -1.3), (1.3, 1.3), (-1.3, 1.3)):
            page.mouse.move(*at(u + corner[0] * r, v + corner[1] * r), steps=4)
        page.mouse.up()
        page.get_by_text('% of the picture').wait_for()
        page.get_by_role('button', name='Save').click()
        page.get_by_text('a.png has its mask').wait_for()
        page.get_by_text('b.png, 2 of 2').wait_for()
        page.get_by_role('button', name='Save').click()
        page.get_by_text('there is no mask to save').wait_for()
        page.mouse.click(*at(*second[:2]))
        page.get_by_text('% of the picture').wait_for()
        page.get_by_text('Not the object', exact=True).click()
        page.mouse.click(*at(*first[:2]))
        page.get_by_role('button', name='Save').click()
        page.get_by_text('b.png has its mask').wait_for()
        assert 'Traceback' not in ''.join(one.said)
    assert overlap(read_mask(folder / 'masks' / 'a.png'), first) > 0.97
    assert overlap(read_mask(folder / 'masks' / 'b.png'), second) > 0.97


def test_an_outline_that_is_drawn_slowly_is_kept_whole(
    folder: Path, served: Callable, page: Page
) -> None:
    with served('-m', 'don_kp_ros.cli', 'outline', str(folder), '--port', '0') as one:
        page.goto(one.url)
        canvas = page.locator('#picture[data-stamp]')
        canvas.wait_for()
        page.evaluate('window.emitEvent = (name, said) => { window.said = said; }')
        box = canvas.bounding_box()
        u, v, r = 480, 360, 150  # of the copy that is shown
        page.mouse.move(box['x'] + u + r, box['y'] + v)
        page.mouse.down()
        for angle in np.linspace(0, 2 * np.pi, 1000):
            page.mouse.move(box['x'] + u + r * np.cos(angle), box['y'] + v + r * np.sin(angle))
        page.mouse.up()
        x, y = np.array(page.evaluate('window.said.corners')).T
        area = abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
        shown = (box['width'] / 960) ** 2
        assert area * shown == pytest.approx(np.pi * r**2, rel=0.01)
        assert len(x) <= 400
