import io
from pathlib import Path

import cv2
import numpy as np
import pytest

from don_kp_ros.data.folder import DataError, ImageFolder, read_correspondences


def write(folder: Path, name: str, mask_name: str | None = None, channels: int = 3) -> None:
    (folder / 'rgbs').mkdir(parents=True, exist_ok=True)
    (folder / 'masks').mkdir(exist_ok=True)
    image = np.zeros((40, 60, channels), np.uint8)
    image[:, :, 0] = 200  # blue, as OpenCV writes it
    image[:, :, 3:] = 255
    mask = np.zeros((40, 60), np.uint8)
    mask[10:20, 5:25] = 255
    cv2.imwrite(str(folder / 'rgbs' / name), image)
    cv2.imwrite(str(folder / 'masks' / (mask_name or f'{Path(name).stem}.png')), mask)


def test_pictures_find_their_masks_under_all_names(tmp_path: Path) -> None:
    write(tmp_path, '1.jpg')
    write(tmp_path, '2.png', channels=4)
    write(tmp_path, '03_rgb.png', '03_mask.png')
    folder = ImageFolder.open(tmp_path)
    assert [path.name for path in folder.images] == ['03_rgb.png', '1.jpg', '2.png']
    assert [path.name for path in folder.masks] == ['03_mask.png', '1.png', '2.png']
    for sample in folder.samples():
        assert sample.image.shape == (40, 60, 3)
        assert sample.image[0, 0, 2] > 190 > 20 > sample.image[0, 0, 0]  # RGB
        assert np.count_nonzero(sample.mask == 255) == 200


def test_depth_is_read_in_metres(tmp_path: Path) -> None:
    write(tmp_path, '1.png')
    (tmp_path / 'depths').mkdir()
    depth = np.full((40, 60), 750, np.uint16)
    depth[0] = 0
    cv2.imwrite(str(tmp_path / 'depths' / '1.png'), depth)
    (sample,) = ImageFolder.open(tmp_path).samples()
    assert sample.depth is not None
    assert np.isnan(sample.depth[0]).all()
    np.testing.assert_allclose(sample.depth[1:], 0.75)

    (tmp_path / 'depths' / '1.png').unlink()
    metres = np.where(depth > 0, 0.75, -np.inf)
    np.save(tmp_path / 'depths' / '1_depth.npy', metres)
    (again,) = ImageFolder.open(tmp_path).samples()
    np.testing.assert_array_equal(again.depth, sample.depth)


def test_bad_depth_names_its_file(tmp_path: Path) -> None:
    write(tmp_path, '1.png')
    (tmp_path / 'depths').mkdir()
    path = tmp_path / 'depths' / '1.npy'
    for content, part in (
        (np.full((40, 60), np.nan), '0 pixels of the object'),
        (np.full((40, 61), 0.5), '61x40'),
        (np.full((40, 60), 5), 'float metres'),
        (np.full((40, 60), 600.0), 'the median depth is 600 m, for floats are metres; are these '),
    ):
        np.save(path, content)
        message = bad(tmp_path)
        assert str(path) in message and part in message
    for content in (b'no array', b''):
        path.write_bytes(content)
        assert str(path) in bad(tmp_path)
    path.unlink()
    picture = tmp_path / 'depths' / '1.png'
    cv2.imwrite(str(picture), np.zeros((40, 60), np.uint8))
    assert '16-bit' in bad(tmp_path)
    cv2.imwrite(str(picture), np.ones((40, 60), np.uint16))
    write(tmp_path, '2.png')
    assert '2.png: has no depth' in bad(tmp_path)


def bad(folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        list(ImageFolder.open(folder).samples())
    return str(caught.value)


def test_every_bad_input_names_its_file(tmp_path: Path) -> None:
    assert 'no such folder' in bad(tmp_path / 'none')
    assert 'no pictures' in bad(tmp_path)
    write(tmp_path, 'a.png')
    mask = tmp_path / 'masks' / 'a.png'
    content = mask.read_bytes()

    mask.write_bytes(content[:30])
    assert str(mask) in bad(tmp_path)
    mask.write_bytes(b'')
    assert str(mask) in bad(tmp_path)
    cv2.imwrite(str(mask), np.full((40, 61), 255, np.uint8))
    assert '61x40' in bad(tmp_path) and '60x40' in bad(tmp_path)
    cv2.imwrite(str(mask), np.zeros((40, 60), np.uint8))
    assert 'empty' in bad(tmp_path)
    small = np.zeros((40, 60), np.uint8)
    small[:4, :5] = 255
    cv2.imwrite(str(mask), small)
    assert '20 pixels' in bad(tmp_path)
    other = tmp_path / 'masks' / 'a_mask.png'
    cv2.imwrite(str(other), small)
    assert str(mask) in bad(tmp_path) and str(other) in bad(tmp_path)
    other.unlink()
    mask.unlink()
    assert 'no mask' in bad(tmp_path) and 'a.png' in bad(tmp_path)


def test_correspondences_are_checked(tmp_path: Path) -> None:
    path = tmp_path / 'correspondences.npz'
    with pytest.raises(DataError, match='missing'):
        read_correspondences(path, 2)
    uv = np.zeros((1, 5, 2), np.float32)
    good = {'image_a': [0], 'image_b': [1], 'uv_a': uv, 'uv_b': uv}
    np.savez(path, **good)
    assert read_correspondences(path, 2).uv_a.shape == (1, 5, 2)
    for change in (
        {'image_b': [2]},
        {'image_a': [[0]]},
        {'image_a': 0},
        {'uv_a': uv[:, :4]},
        {'image_a': [0, 1]},
        {'uv_b': uv[0]},
    ):
        np.savez(path, **{**good, **change})
        with pytest.raises(DataError, match=r'correspondences\.npz'):
            read_correspondences(path, 2)
    np.savez(path, **good, version=2)
    with pytest.raises(DataError, match='version 2'):
        read_correspondences(path, 2)
    np.savez(path, image_a=[0])
    with pytest.raises(DataError, match='image_b'):
        read_correspondences(path, 2)
    np.savez(path, **good)
    whole = path.read_bytes()
    np.savez_compressed(path, **{**good, 'uv_a': np.random.default_rng(0).random((1, 99, 2))})
    bad = bytearray(path.read_bytes())
    bad[len(bad) // 2] ^= 255
    array = io.BytesIO()
    np.save(array, uv)
    for content in (b'nothing', b'', whole[: len(whole) // 2], bytes(bad), array.getvalue()):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r'correspondences\.npz: cannot be read'):
            read_correspondences(path, 2)
