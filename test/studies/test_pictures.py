"""What pictures show, and folders of some of them."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from don_kp_ros.data.folder import DataError, ImageFolder, Sample
from don_kp_ros.data.picture_file import read_image
from don_kp_ros.data.posed import PosedFolder, PosedView, write_depth, write_index
from don_kp_ros.geometry.camera import Camera
from don_kp_ros.studies.pictures import Pictures, alike, read_objects


def posed(root: Path) -> Path:
    """Give a folder poses: objects in turn, each with a named point."""
    shape = cv2.imread(str(root / 'rgbs/0.png')).shape[:2]
    (root / 'depths').mkdir()
    views = []
    for number in range(8):
        write_depth(root / f'depths/{number}.png', np.full(shape, 0.5, np.float32))
        views.append(PosedView(f'{number}', 'one' if number < 5 else 'two', np.eye(4)))
    camera = Camera(shape[1], shape[0], 100.0, 100.0, 64.0, 48.0)
    points = {name: {'top': np.array([0, 0, 0.1])} for name in ('one', 'two')}
    write_index(root, camera, views, points)
    return root


class TestObjects:
    def test_colours_tell_them_where_nothing_else_does(self, folder: Path) -> None:
        pictures = Pictures.open(folder)
        assert pictures.told is None
        assert pictures.objects() == ('0', '1') * 4

    def test_pictures_that_another_links_show_one_object(self) -> None:
        """The first is like the second, and the second like the third: none of them is apart."""
        samples = []
        for name, share in (('a', 0), ('b', 7), ('c', 25), ('d', 100)):  # % of another colour
            image = np.full((100, 100, 3), (200, 0, 0), np.uint8)
            image[:share] = 0, 200, 0
            samples.append(Sample(Path(f'{name}.png'), image, np.full((100, 100), 255, np.uint8)))
        assert alike(samples) == ('a', 'a', 'a', 'd')

    def test_the_folder_may_say_it(self, folder: Path) -> None:
        lines = [f'{i}.png my {"cap" if i < 3 else "mug"}' for i in range(8)]
        (folder / 'objects.txt').write_text('\n'.join([*lines, '']))
        assert Pictures.open(folder).objects() == ('my cap',) * 3 + ('my mug',) * 5

    def test_names_of_pictures_may_have_spaces(self, tmp_path: Path) -> None:
        names = ('IMG 1.png', 'IMG 1.png (copy).png', 'b.png')
        (tmp_path / 'objects.txt').write_text(
            'IMG 1.png cap\nIMG 1.png (copy).png my mug\n  b.png\tcap\n'
        )
        told = read_objects(tmp_path / 'objects.txt', [Path(name) for name in names])
        assert told == ('cap', 'my mug', 'cap')

    def test_posed_views_do(self, folder: Path) -> None:
        assert Pictures.open(posed(folder)).objects() == ('one',) * 5 + ('two',) * 3

    @pytest.mark.parametrize(
        ('change', 'message'),
        [
            (lambda lines: lines[:-1], r'does not say what .*rgbs/7\.png'),
            (lambda lines: [*lines, '8.png cap'], r'names 8\.png, but there is no such'),
            (lambda lines: ['0.png', *lines[1:]], r"line 1 is '0.png'"),
            (lambda lines: [*lines, '0.png mug'], r'line 9 .*0\.png.* again'),
        ],
    )
    def test_what_is_wrong_is_named(self, folder: Path, change, message: str) -> None:  # type: ignore[no-untyped-def]
        lines = [f'{i}.png cap' for i in range(8)]
        (folder / 'objects.txt').write_text('\n'.join(change(lines)))
        with pytest.raises(DataError, match=rf'objects\.txt.*{message}'):
            Pictures.open(folder)


class TestWrite:
    def test_some_pictures_make_a_folder(self, folder: Path, tmp_path: Path) -> None:
        pictures, target = Pictures.open(folder), tmp_path / 'part'
        for places in ((1, 2), (4, 6, 7)):  # what stood there before is gone
            pictures.write(target, places, pictures.negatives[:1], poses=False)
        part = ImageFolder.open(target)
        assert [path.name for path in part.images] == ['4.png', '6.png', '7.png']
        assert [path.name for path in part.negatives] == ['0.png']
        np.testing.assert_array_equal(
            read_image(part.images[1]), read_image(folder / 'rgbs/6.png')
        )
        assert len(ImageFolder.open(folder).images) == 8

    def test_posed_views_keep_their_poses_or_become_single_pictures(
        self, folder: Path, tmp_path: Path
    ) -> None:
        pictures, target = Pictures.open(posed(folder)), tmp_path / 'part'
        pictures.write(target, (0, 3), (), poses=True)
        part = PosedFolder.open(target)
        assert [(view.name, view.object) for view in part.views] == [('0', 'one'), ('3', 'one')]
        assert list(part.points) == ['one'] and len(list(part.samples())) == 2
        assert json.loads((folder / 'views.json').read_text())['views'][7]['object'] == 'two'
        pictures.write(target, (0, 3), (), poses=False)
        assert not (target / 'views.json').exists()
        plain = ImageFolder.open(target)
        assert len(plain.images) == 2 and plain.depths == ()  # depths of another unit
