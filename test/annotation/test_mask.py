"""`don_kp mask`: masks by depth and by colour against what was drawn."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from disk import full_disk
from masked import TURNS, photo, pillow, truth, write
from numpy.typing import NDArray
from truth import CAMERA, Scene

from don_kp_ros.annotation.mask_command import main
from don_kp_ros.data.folder import ImageFolder
from don_kp_ros.data.mask_file import read_mask
from don_kp_ros.data.picture_file import write_image

Mask = NDArray[np.bool_]
INTRINSICS = ['--intrinsics', *(str(x) for x in (CAMERA.fx, CAMERA.fy, CAMERA.cx, CAMERA.cy))]
TWO = Scene.of((-0.12, 0.0, 0.4), (0.02, 0.01, 1.2))  # the second is near the middle


def overlap(mask: Mask, true: Mask) -> float:
    return float((mask & true).sum() / (mask | true).sum())


def run(root: Path, *more: str) -> int:
    return main([str(root), '--sheet', str(root / 'sheet.png'), *more])


def made(root: Path, name: str) -> Mask:
    return np.asarray(read_mask(root / 'masks' / f'{name}.png') > 0)


def colourful(shown: Mask, seed: int = 0) -> NDArray[np.uint8]:
    """Paint a red thing on grey ground, both with noise."""
    rng = np.random.default_rng(seed)
    ground, thing = np.array([110, 115, 110]), np.array([200, 60, 50])
    image = np.where(shown[..., None], thing, ground) + rng.normal(0, 8, (*shown.shape, 3))
    return np.clip(image, 0, 255).astype(np.uint8)


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """A folder of one picture with depth, in millimetres."""
    for name in ('rgbs', 'depths'):
        (tmp_path / name).mkdir()
    view = TWO.view()
    assert view.depth is not None
    write_image(tmp_path / 'rgbs' / '0.png', colourful(TWO.mask(1)))
    steps = np.rint(1000 * view.depth.metres()).astype(np.uint16)
    write_image(tmp_path / 'depths' / '0.png', steps)
    return tmp_path


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """A folder of two pictures without depth."""
    (tmp_path / 'rgbs').mkdir()
    for number in range(2):
        write_image(tmp_path / 'rgbs' / f'{number}.png', colourful(truth(number), number))
    return tmp_path


class TestByDepth:
    def test_what_is_nearest_to_the_middle_gets_a_mask(
        self, scene: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(scene, *INTRINSICS) == 0
        assert overlap(made(scene, '0'), TWO.mask(1)) > 0.97
        assert 'doubtful:' not in capsys.readouterr().out
        assert (scene / 'sheet.png').is_file()

    def test_a_place_chooses_another_thing(self, scene: Path) -> None:
        u, v = TWO.click(0)
        assert run(scene, *INTRINSICS, '--at', str(u), str(v)) == 0
        assert overlap(made(scene, '0'), TWO.mask(0)) > 0.97

    def test_where_two_things_are_as_near_the_mask_is_doubtful(
        self, scene: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        both = Scene.of((-0.07, 0.0, 0.4), (0.07, 0.0, 0.4), tilt=0.0)
        depth = both.view().depth
        assert depth is not None
        write_image(scene / 'depths' / '0.png', np.rint(1000 * depth.metres()).astype(np.uint16))
        assert run(scene, *INTRINSICS) == 0
        assert 'doubtful: another thing is nearly as near' in capsys.readouterr().out

    def test_things_that_touch_are_doubtful(
        self, scene: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        hidden = Scene.of((0.0, -0.05, 0.0), (0.0, 0.07, 0.0), tilt=0.9)
        depth = hidden.view().depth
        assert depth is not None
        write_image(scene / 'depths' / '0.png', np.rint(1000 * depth.metres()).astype(np.uint16))
        u, v = hidden.click(0)
        assert run(scene, *INTRINSICS, '--at', str(u), str(v)) == 0
        assert 'touches it' in capsys.readouterr().out

    @pytest.mark.parametrize(
        ('arguments', 'said'),
        [
            ([], 'its camera is not known: give --intrinsics'),
            ([*INTRINSICS, '--at', '20', '20'], r'nothing stands above the table at \(20, 20\)'),
            ([*INTRINSICS, '--at', '700', '20'], 'outside of the picture, which is 640x480'),
            ([*INTRINSICS, '--box', '1', '1', '90', '90'], '--box and --off are for masks'),
        ],
    )
    def test_what_cannot_be_done_leaves_no_mask(
        self, scene: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(scene, *arguments) == 1
        assert not (scene / 'masks').exists()
        capsys.readouterr()
        run(scene, *arguments)
        assert re.search(said, capsys.readouterr().out)

    def test_an_empty_table_is_refused(
        self, scene: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        depth = Scene.of().view().depth
        assert depth is not None
        write_image(scene / 'depths' / '0.png', np.rint(1000 * depth.metres()).astype(np.uint16))
        assert run(scene, *INTRINSICS) == 1
        assert 'no mask: nothing stands above the table' in capsys.readouterr().out


class TestByColour:
    def test_what_differs_from_the_border_gets_a_mask(
        self, flat: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(flat) == 0
        assert min(overlap(made(flat, str(n)), truth(n)) for n in range(2)) > 0.97
        assert '2 masks, 0 doubtful' in capsys.readouterr().out

    def test_boxes_and_clicks_are_for_all_or_for_one(self, flat: Path) -> None:
        shown = np.zeros((120, 160), np.bool_)
        shown[40:80, 20:60] = shown[50:70, 100:130] = True  # two things of one colour
        for number in range(2):
            write_image(flat / 'rgbs' / f'{number}.png', colourful(shown, number))
        assert run(flat, '--at', '0', '115', '60', '--box', '1', '10', '30', '60', '60') == 0
        left, right = shown.copy(), shown.copy()
        left[:, 80:] = right[:, :80] = False
        assert overlap(made(flat, '0'), right) > 0.95
        assert overlap(made(flat, '1'), left) > 0.95

    def test_a_click_on_the_last_column_of_a_large_picture_is_on_the_object(
        self, flat: Path
    ) -> None:
        shown = np.zeros((750, 1000), np.bool_)
        shown[200:600, 500:] = shown[300:500, 100:250] = True
        for number in range(2):
            write_image(flat / 'rgbs' / f'{number}.png', colourful(shown, number))
        clicked = ('--at', '999', '400', '--box', '50', '100', '950', '600')
        assert run(flat, *clicked) == 0
        right = shown.copy()
        right[:, :300] = False
        assert min(overlap(made(flat, str(n)), right) for n in range(2)) > 0.95

    def test_a_mask_that_is_not_made_anew_stays_and_is_told(
        self, flat: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(flat) == 0
        before = (flat / 'masks' / '0.png').read_bytes()
        capsys.readouterr()
        assert run(flat, '--overwrite', '--box', '0', '150', '110', '90', '90') == 1
        told = capsys.readouterr().out
        assert '0.png: its old mask stays: the box' in told and '1 pictures got none' in told
        assert (flat / 'masks' / '0.png').read_bytes() == before

    def test_two_things_without_a_box_are_doubtful(
        self, flat: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        shown = np.zeros((120, 160), np.bool_)
        shown[40:80, 30:70] = shown[45:80, 100:130] = True
        write_image(flat / 'rgbs' / '0.png', colourful(shown))
        assert run(flat) == 0
        line = capsys.readouterr().out.splitlines()[0]
        assert "other things are cut out as well; it is not in the picture's middle" in line

    def test_a_place_beside_the_object_is_kept_out(self, flat: Path) -> None:
        shown = np.zeros((120, 160), np.bool_)
        shown[30:90, 30:70] = True
        both = shown.copy()
        both[30:90, 70:130] = True  # a second thing, of nearly that colour, touches the first
        image = colourful(both)
        image[30:90, 70:130, 1] += 60
        write_image(flat / 'rgbs' / '0.png', image)
        clicks = [('--at', '50', '60'), *(('--off', u, '60') for u in ('85', '100', '115'))]
        assert run(flat, *(text for click in clicks for text in click)) == 0
        assert overlap(made(flat, '0'), shown) > 0.95

    def test_a_picture_without_an_object_is_doubtful_or_has_none(
        self, flat: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for number in range(2):
            write_image(flat / 'rgbs' / f'{number}.png', photo(number))
        run(flat)
        lines = capsys.readouterr().out.splitlines()[:2]
        assert all('doubtful: ' in line or 'no mask: ' in line for line in lines)

    @pytest.mark.parametrize(
        ('arguments', 'said'),
        [
            (['--box', '0', '0', '160', '120'], 'is the whole picture'),
            (['--box', '100', '0', '100', '50'], 'is not in the picture, which is 160x120'),
            (['--by', 'depth'], 'has no depth'),
            (['--at', '200', '5'], 'outside of the picture'),
            (['--at', 'nan', '5'], '2 numbers of at least 0 are expected'),
            (['--at', '5'], '2 numbers'),
            (['--at', 'x', '5', '5'], 'is for x, which is none of the 2 pictures'),
        ],
    )
    def test_what_cannot_be_done_leaves_no_mask(
        self, flat: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(flat, *arguments) == 1
        told = capsys.readouterr()
        assert said in told.out + told.err
        assert not (flat / 'masks').exists()


class TestExistingMasks:
    def test_stay_unless_told(self, flat: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (flat / 'masks').mkdir()
        by_hand = pillow(truth(0).astype(np.uint8) * 255)[1]
        own = write(flat, 'masks', '0_mask.png', content=by_hand)
        assert run(flat) == 0
        assert own.read_bytes() == by_hand
        assert sorted(path.name for path in (flat / 'masks').iterdir()) == ['0_mask.png', '1.png']
        assert run(flat) == 0
        assert 'every picture has a mask' in capsys.readouterr().out
        assert run(flat, '--overwrite') == 0
        assert sorted(path.name for path in (flat / 'masks').iterdir()) == ['0.png', '1.png']


@pytest.mark.parametrize('tag', [1, 6])
def test_a_mask_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, tag: int, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {} if tag == 1 else {'exif': tag}
    stored = pillow(np.ascontiguousarray(TURNS[tag](colourful(truth(0)))), **options)[1]
    write(tmp_path, 'rgbs', '0.png', content=stored)
    assert run(tmp_path) == 0
    mask = tmp_path / 'masks' / '0.png'
    before = mask.read_bytes()
    with full_disk():
        assert run(tmp_path, '--overwrite') == 1
    assert f'{mask}: cannot be written (File too large)' in capsys.readouterr().err
    assert mask.read_bytes() == before
    assert list(mask.parent.iterdir()) == [mask]


@pytest.mark.parametrize('tag', TURNS)
def test_a_turned_picture_and_its_mask_fit(tmp_path: Path, tag: int) -> None:
    """A mask is read as it lies on its picture, whatever the picture's EXIF tag."""
    shown = cv2.resize(truth(0).astype(np.uint8), (128, 128)) > 0  # square: the size tells nothing
    stored = pillow(np.ascontiguousarray(TURNS[tag](colourful(shown))), exif=tag)[1]
    write(tmp_path, 'rgbs', '0.png', content=stored)
    assert run(tmp_path) == 0
    (sample,) = ImageFolder.open(tmp_path).samples()
    assert overlap(sample.mask > 0, shown) > 0.97
