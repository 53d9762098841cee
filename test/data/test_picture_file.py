"""Picture files of all kinds, and pictures and masks that EXIF turns."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pillow_heif
import pytest
from masked import TURNS, folder, levels, opencv, overlap, photo, pillow, read, truth, write

from don_kp_ros.data.folder import ImageFolder
from don_kp_ros.data.picture_file import DataError, read_image


def stored(picture: np.ndarray, tag: int) -> np.ndarray:
    """Turn an upright picture as a camera stores it."""
    return np.ascontiguousarray(TURNS[tag](picture))


def tagged(root: Path, tags: tuple[int, int], drawn: int, side: int | None = None) -> Path:
    """Write pictures and masks with EXIF tags (1: without), the masks' pixels stored as `drawn`.

    side: of square pictures.
    """
    for number in range(3):
        height, width = (side, side) if side else (120, 160)
        shape = (height, width)
        mask = stored(levels(truth(number, height, width), 0, 255), drawn)
        for part, array, tag, suffix in (
            ('rgbs', stored(photo(number, shape), tags[0]), tags[0], '.jpg'),
            ('masks', mask, tags[1], '.png'),
        ):
            options = {} if tag == 1 else {'exif': tag}
            _, content = pillow(array, suffix, **options)
            write(root, part, f'{number}{suffix}', content=content)
    return root


@pytest.mark.parametrize('tag', range(2, 9))
@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.webp', '.tif', '.avif'])
def test_a_picture_is_turned_upright(tmp_path: Path, suffix: str, tag: int) -> None:
    large = np.kron(photo(0, (60, 80)), np.ones((2, 2, 1), np.uint8))
    _, content = pillow(stored(large, tag), suffix, exif=tag, quality=95)
    image = read_image(write(tmp_path, f'a{suffix}', content=content))
    assert image.shape == large.shape
    assert np.abs(image.astype(int) - large).mean() < 12


@pytest.mark.parametrize('tag', [1, 6])
@pytest.mark.parametrize('suffix', ['.png', '.webp', '.tif'])
def test_an_alpha_channel_is_ignored(tmp_path: Path, suffix: str, tag: int) -> None:
    picture = photo(0)
    alpha = np.arange(picture.shape[0] * picture.shape[1]).reshape(picture.shape[:2]) % 256
    both = np.dstack([picture, alpha.astype(np.uint8)])
    options = {} if tag == 1 else {'exif': tag}
    _, content = pillow(stored(both, tag), suffix, lossless=True, exact=True, **options)
    image = read_image(write(tmp_path, f'a{suffix}', content=content))
    np.testing.assert_array_equal(image, picture)


class TestTagsThatFit:
    @pytest.mark.parametrize('tag', range(1, 9))
    def test_both_are_turned(self, tmp_path: Path, tag: int) -> None:
        assert overlap(read(tagged(tmp_path, (tag, tag), drawn=tag))[0]) == 1.0

    @pytest.mark.parametrize('tag', range(5, 9))
    def test_a_mask_drawn_on_what_a_viewer_shows_fits_by_its_size(
        self, tmp_path: Path, tag: int
    ) -> None:
        assert overlap(read(tagged(tmp_path, (tag, 1), drawn=1))[0]) == 1.0

    @pytest.mark.parametrize('tag', range(5, 9))
    def test_a_mask_alone_is_turned(self, tmp_path: Path, tag: int) -> None:
        assert overlap(read(tagged(tmp_path, (1, tag), drawn=tag))[0]) == 1.0

    def test_broken_exif_is_none(self, tmp_path: Path) -> None:
        tagged(tmp_path, (6, 6), drawn=6)
        for path in tmp_path.glob('rgbs/*'):
            content = path.read_bytes()
            path.write_bytes(content.replace(b'Exif\0\0MM', b'Exif\0\0XX'))
        with pytest.raises(DataError, match='EXIF'):  # the mask's own tag still turns it
            read(tmp_path)


class TestTagsThatContradict:
    @pytest.mark.parametrize('tag', [2, 3, 4])
    @pytest.mark.parametrize('drawn_upright', [False, True])
    def test_where_no_size_tells(self, tmp_path: Path, tag: int, drawn_upright: bool) -> None:
        self.refused(tagged(tmp_path, (tag, 1), drawn=1 if drawn_upright else tag))

    @pytest.mark.parametrize('tag', range(2, 9))
    @pytest.mark.parametrize('drawn_upright', [False, True])
    def test_of_squares(self, tmp_path: Path, tag: int, drawn_upright: bool) -> None:
        drawn = 1 if drawn_upright else tag
        self.refused(tagged(tmp_path, (tag, 1), drawn, side=160))

    @pytest.mark.parametrize('tag', range(5, 9))
    def test_a_mask_drawn_on_the_stored_pixels(self, tmp_path: Path, tag: int) -> None:
        self.refused(tagged(tmp_path, (tag, 1), drawn=tag))

    @pytest.mark.parametrize('tags', [(1, 3), (6, 8), (6, 3), (8, 5)])
    def test_of_both_files(self, tmp_path: Path, tags: tuple[int, int]) -> None:
        self.refused(tagged(tmp_path, tags, drawn=tags[0]))

    def test_of_a_depth_image(self, tmp_path: Path) -> None:
        tagged(tmp_path, (3, 3), drawn=3)
        for number in range(3):
            _, content = opencv(np.full((120, 160), 500, np.uint16))
            write(tmp_path, 'depths', f'{number}.png', content=content)
        with pytest.raises(DataError, match=r'depths/0\.png: EXIF'):
            read(tmp_path)

    def refused(self, root: Path) -> None:
        with pytest.raises(DataError, match=r'masks/0\.png: .*EXIF.*exiftool.*mogrify'):
            read(root)


class TestFormats:
    @pytest.mark.parametrize(
        'suffix',
        [
            '.webp',
            '.tif',
            '.tiff',
            '.bmp',
            '.gif',
            '.avif',
            '.jp2',
            '.ppm',
            '.jpeg',
            '.JPG',
            '.jfif',
            '.heic',
        ],
    )
    def test_are_read(self, tmp_path: Path, suffix: str) -> None:
        if suffix == '.heic':
            pillow_heif.register_heif_opener()
        folder(tmp_path, lambda t: pillow(levels(t, 0, 255)))
        _, content = pillow(photo(2), suffix.lower())
        (tmp_path / 'rgbs/2.png').unlink()
        write(tmp_path, 'rgbs', f'2{suffix}', content=content)
        masks, told = read(tmp_path)
        assert overlap(masks) == 1.0 and told == []
        last = list(ImageFolder.open(tmp_path).samples())[2]
        far = 40 if suffix == '.gif' else 25  # of few colours
        assert np.abs(last.image.astype(int) - photo(2)).mean() < far

    def test_heic_is_left_out_with_the_remedy(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, 'pillow_heif', None)
        folder(tmp_path, lambda t: pillow(levels(t, 0, 255)), numbers=2)
        heic = b'\0\0\0\x18ftypheic' + bytes(100)
        write(tmp_path, 'rgbs', '2.HEIC', content=heic)
        (line,) = read(tmp_path)[1]
        assert '1 file (2.HEIC)' in line and 'pip install pillow-heif' in line
        write(tmp_path, 'rgbs', '0.png', content=heic)  # whatever it is called
        with pytest.raises(DataError, match=r'0\.png: HEIC, which needs `pip install'):
            read(tmp_path)

    def test_every_file_that_is_left_out_is_counted_and_named(self, tmp_path: Path) -> None:
        folder(tmp_path, lambda t: pillow(levels(t, 0, 255)))
        for number in range(7):
            write(tmp_path, 'rgbs', f'raw{number}.cr2', content=b'raw')
        write(tmp_path, 'masks', '9.png', content=pillow(levels(truth(0), 0, 1))[1])
        write(tmp_path, 'masks', 'classes.txt', content=b'cap')
        write(tmp_path, 'negatives', 'table.dng', content=b'raw')
        told = ' '.join(read(tmp_path)[1])
        for part in (
            'rgbs: left out 7 files (raw0.cr2, raw1.cr2, raw2.cr2, raw3.cr2, ...)',
            'masks: left out 1 file (classes.txt)',
            'masks: left out 1 file (9.png): no picture has such a name',
            'negatives: left out 1 file (table.dng)',
        ):
            assert part in told

    def test_a_folder_without_a_readable_picture_says_what_is_there(self, tmp_path: Path) -> None:
        write(tmp_path, 'rgbs', '0.cr2', content=b'raw')
        with pytest.raises(DataError, match=r'no pictures there; .* left out 1 file \(0\.cr2\)'):
            read(tmp_path)


class TestDeepPictures:
    """Pictures that store 16 bits of which a camera fills fewer."""

    @pytest.mark.parametrize('bits', [8, 10, 12, 14, 16])
    @pytest.mark.parametrize('suffix', ['.png', '.tif'])
    @pytest.mark.parametrize('grey', [False, True])
    def test_are_scaled_by_their_own_range(
        self, tmp_path: Path, bits: int, suffix: str, grey: bool
    ) -> None:
        told = self.write(tmp_path, bits, suffix, grey)
        assert len(told) == (0 if bits == 16 else 1)
        assert all(f'hold {bits}; {2**bits - 1} is white' in line for line in told)
        for number, sample in enumerate(ImageFolder.open(tmp_path).samples()):
            expected = photo(number) // (number + 1)
            expected = expected[..., :1] if grey else expected
            assert np.abs(sample.image.astype(int) - expected).max() <= 1

    @pytest.mark.parametrize('brighter', ['.', 'validation'])
    def test_equal_values_are_read_alike_from_a_folder_and_its_validation(
        self, tmp_path: Path, brighter: str
    ) -> None:
        for part in ('.', 'validation'):
            self.write(tmp_path / part, 12 if part == brighter else 10, '.png', grey=False)
        dim = opencv((photo(0)[..., ::-1].astype(np.uint16) << 2), '.png')[1]
        for part in ('.', 'validation'):
            write(tmp_path / part, 'rgbs', '2.png', content=dim)
            sample = ImageFolder.open(tmp_path / part).sample(2)
            assert np.abs(sample.image.astype(int) - photo(0) // 4).max() <= 1

    def write(self, root: Path, bits: int, suffix: str, grey: bool) -> list[str]:
        """Write pictures the later of which are darker: one range is right for all."""
        folder(root, lambda t: pillow(levels(t, 0, 255)))
        for number in range(3):
            (root / f'rgbs/{number}.png').unlink()
            deep = (photo(number) // (number + 1)).astype(np.uint16) << (bits - 8)
            array = deep[..., 0] if grey else deep[..., ::-1]
            _, content = opencv(np.ascontiguousarray(array), suffix)
            write(root, 'rgbs', f'{number}{suffix}', content=content)
        return read(root)[1]

    def test_one_alone_is_scaled_too(self, tmp_path: Path) -> None:
        _, content = opencv(photo(0).astype(np.uint16) << 4)
        image = read_image(write(tmp_path, 'a.png', content=content))
        np.testing.assert_array_equal(image, photo(0)[..., ::-1])

    def test_floats_are_refused(self, tmp_path: Path) -> None:
        _, content = opencv(photo(0).astype(np.float32), '.tiff')
        with pytest.raises(DataError, match='holds float32; save it with 8 or 16 bits'):
            read_image(write(tmp_path, 'a.tiff', content=content))


def test_a_picture_is_read_as_opencv_reads_it(tmp_path: Path) -> None:
    _, content = pillow(photo(3), '.jpg', quality=80)
    path = write(tmp_path, 'a.jpg', content=content)
    np.testing.assert_array_equal(read_image(path), cv2.imread(str(path))[..., ::-1])
