"""Pictures and masks by the names that tools give them, and what is said where none fits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from masked import folder, levels, overlap, photo, pillow, read, truth, write

from don_kp_ros.data.folder import ImageFolder
from don_kp_ros.data.picture_file import DataError

MASKS = [pillow(levels(truth(number), 0, 255))[1] for number in range(3)]
PICTURES = [pillow(photo(number), '.jpg')[1] for number in range(3)]


def named(root: Path, picture: str, mask: str, count: int = 3) -> Path:
    """Write pictures and masks by patterns of their names, of whatever suffix."""
    for number in range(count):
        write(root, 'rgbs', picture.format(number), content=PICTURES[number])
        write(root, 'masks', mask.format(number), content=MASKS[number])
    return root


@pytest.mark.parametrize(
    ('picture', 'mask'),
    [
        ('{}.jpg', '{}.png'),
        ('{}.jpg', '{}.tif'),
        ('{}.jpg', '{}.jpg.png'),
        ('{}.jpg', '{}.jpg_mask.png'),
        ('{}.JPG', '{}.PNG'),
        ('{}.jpg', '{}_mask.png'),
        ('{}.jpg', '{}_mask.tif'),
        ('{}.jpg', '{}_seg.png'),
        ('{}.jpg', '{}-mask.png'),
        ('{}.jpg', '{}.mask.png'),
        ('{}.jpg', 'mask_{}.png'),
        ('{}.jpg', 'mask{}.png'),
        ('{}_rgb.jpg', '{}.png'),
        ('{}_rgb.jpg', '{}_mask.png'),
        ('{}_rgb.jpg', '{}_rgb_mask.png'),
        ('{}_rgb.jpg', '{}_seg.png'),
        ('{}_color.jpg', '{}_mask.png'),
        ('{}_Color.jpg', '{}_Mask.png'),
        ('{}-color.jpg', '{}-label.png'),
        ('rgb_{}.jpg', 'mask_{}.png'),
        ('color_000{}.jpg', 'label_000{}.png'),
        ('frame000{}.jpg', 'mask000{}.png'),
        ('IMG_{}.jpg', 'IMG_{}.png'),
        ('IMG_{}.jpg', 'IMG_{}_mask.png'),
        ('a_{}_leftImg8bit.jpg', 'a_{}_gtFine_labelIds.png'),
        ('image_{}.jpg', 'image_{}_mask.png'),
        ('image_{}_rgb.jpg', 'image_{}_mask.png'),
        ('image{}.jpg', 'label{}.png'),
        ('frame_{}.color.jpg', 'frame_{}.mask.png'),
        ('{}.jpg', '{}-removebg-preview.png'),
        ('ka\u0308ppi{}.jpg', 'k\u00e4ppi{}.png'),
        ('{} (2).jpg', '{} (2).png'),
        ('käppi {}.jpg', 'käppi {}_mask.png'),
    ],
)
def test_names_that_tools_write_are_paired(tmp_path: Path, picture: str, mask: str) -> None:
    masks, told = read(named(tmp_path, picture, mask))
    assert overlap(masks) == 1.0 and len(masks) == 3
    assert told == []


def test_the_nearest_name_belongs_to_a_picture(tmp_path: Path) -> None:
    """IMG_0 and 0 are two pictures, although either mask might be the other's."""
    for number, name in enumerate(('0', 'IMG_0', 'mask_0')):
        write(tmp_path, 'rgbs', f'{name}.jpg', content=PICTURES[number])
        write(tmp_path, 'masks', f'{name}.png', content=MASKS[number])
    assert overlap(read(tmp_path)[0]) == 1.0


@pytest.mark.parametrize(
    ('pictures', 'masks'),
    [
        (['0.jpg'], ['0.png', '0_mask.png']),
        (['0.jpg'], ['0.png', '0.tif']),
        (['0.jpg'], ['0_mask.png', '0_seg.png']),
        (['0.jpg'], ['0.jpg.png', '0.png']),
        (['0_rgb.jpg'], ['0.png', '0_rgb.png']),
        (['0.jpg', '0.png'], ['0.png']),
        (['0_rgb.jpg', '0_color.jpg'], ['0.png']),
        (['image_0_rgb.jpg'], ['image_0.png', '0_rgb.png']),
        (['mask_0.jpg', '0_seg.jpg'], ['mask_0_seg.png']),
    ],
)
def test_two_that_stand_for_one_are_refused_by_name(
    tmp_path: Path, pictures: list[str], masks: list[str]
) -> None:
    for part, names, content in (('rgbs', pictures, PICTURES[0]), ('masks', masks, MASKS[0])):
        for name in names:
            write(tmp_path, part, name, content=content)
    with pytest.raises(DataError, match='stands for the same picture as') as caught:
        ImageFolder.open(tmp_path)
    for name in pictures if len(pictures) > 1 else masks:
        assert name in str(caught.value)


@pytest.mark.parametrize(
    'name', ['._0.jpg', '.DS_Store', 'Thumbs.db', 'desktop.ini', '.ipynb_checkpoints/0.png']
)
def test_files_of_operating_systems_are_skipped(tmp_path: Path, name: str) -> None:
    named(tmp_path, '{}.jpg', '{}.png')
    for part in ('rgbs', 'masks', 'negatives'):
        write(tmp_path, part, *name.split('/'), content=b'\0\5\x16\7')
    masks, told = read(tmp_path)
    assert len(masks) == 3 and told == []


class TestNoMask:
    def refused(self, root: Path) -> str:
        with pytest.raises(DataError) as caught:
            ImageFolder.open(root)
        return str(caught.value)

    def test_names_the_nearest_file(self, tmp_path: Path) -> None:
        named(tmp_path, 'cap{}.jpg', 'kap-{}.png')
        text = self.refused(tmp_path)
        assert 'rgbs/cap0.jpg: has no mask (nor have 2 others)' in text
        assert (
            'masks/cap0.png is expected' in text and 'nearest that lies there is kap-0.png' in text
        )

    def test_names_what_is_no_picture(self, tmp_path: Path) -> None:
        named(tmp_path, '{}.jpg', '{}.txt')
        assert 'nearest that lies there is 0.txt' in self.refused(tmp_path)

    def test_one_of_many(self, tmp_path: Path) -> None:
        named(tmp_path, '{}.jpg', '{}.png')
        (tmp_path / 'masks/1.png').unlink()
        text = self.refused(tmp_path)
        assert 'rgbs/1.jpg: has no mask; ' in text and 'none is left' in text

    @pytest.mark.parametrize('part', ['rgbs', 'masks'])
    def test_polygons_of_labelme_are_to_be_imported(self, tmp_path: Path, part: str) -> None:
        (tmp_path / 'masks').mkdir()
        for number in range(3):
            write(tmp_path, 'rgbs', f'{number}.jpg', content=PICTURES[number])
            content = json.dumps({'version': '5.4.1', 'shapes': []}).encode()
            write(tmp_path, part, f'{number}.json', content=content)
        text = self.refused(tmp_path)
        assert f'{tmp_path / part / "0.json"} lies there' in text
        assert f'`don_kp data import {tmp_path} NEW`' in text

    def test_without_a_folder_of_masks_the_others_are_named(self, tmp_path: Path) -> None:
        named(tmp_path, '{}.jpg', '{}.png')
        (tmp_path / 'masks').rename(tmp_path / 'labels')
        assert 'there is no folder' in self.refused(tmp_path)
        assert 'there are labels, rgbs' in self.refused(tmp_path)


class TestLayout:
    @pytest.mark.parametrize('part', ['rgbs', 'masks'])
    def test_a_part_given_for_the_whole(
        self, tmp_path: Path, part: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        named(tmp_path, '{}.jpg', '{}.png')
        with pytest.raises(DataError, match=f'part of a data folder; .* one, {tmp_path}'):
            ImageFolder.open(tmp_path / part)
        monkeypatch.chdir(tmp_path / part)
        with pytest.raises(DataError, match='part of a data folder'):
            ImageFolder.open(Path('.'))

    def test_pictures_without_a_folder_of_their_own(self, tmp_path: Path) -> None:
        write(tmp_path, '0.jpg', content=PICTURES[0])
        with pytest.raises(DataError, match=r'holds 1 file \(0.jpg\); pictures belong in rgbs'):
            ImageFolder.open(tmp_path)

    def test_other_names_of_folders(self, tmp_path: Path) -> None:
        write(tmp_path, 'images', '0.jpg', content=PICTURES[0])
        write(tmp_path, 'labels', '0.png', content=MASKS[0])
        with pytest.raises(DataError, match='holds the folders images, labels; pictures belong'):
            ImageFolder.open(tmp_path)


def test_depths_are_paired_by_name_too(tmp_path: Path) -> None:
    folder(tmp_path, lambda t: pillow(levels(t, 0, 255)))
    for number in range(3):
        write(tmp_path, 'depths', f'depth_{number}.png', content=b'')
    assert [path.name for path in ImageFolder.open(tmp_path).depths] == [
        'depth_0.png', 'depth_1.png', 'depth_2.png'
    ]  # fmt: skip
