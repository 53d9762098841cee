"""`don_kp match` with a checkpoint of random weights: a picture matches itself."""

import dataclasses

import cv2
import numpy as np
import pytest

from don_kp_ros.data.picture_file import read_image
from don_kp_ros.matching.command import main
from don_kp_ros.matching.pictures import FOUND
from don_kp_ros.networks.checkpoint import Checkpoint, Preprocessing
from don_kp_ros.networks.descriptor_network import NetworkConfiguration


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('match')
    network = NetworkConfiguration('resnet18', channels=8, dimension=8)
    model = Checkpoint(network, Preprocessing(96), {}, 0.0).untrained()
    model.save(folder / 'tiny.safetensors')
    dataclasses.replace(model, match_threshold=0.9999).save(folder / 'strict.safetensors')
    noise = np.random.default_rng(0).integers(0, 255, (12, 16, 3), dtype=np.uint8)
    picture = cv2.resize(noise, (128, 96), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(folder / 'a.png'), picture)
    cv2.imwrite(str(folder / 'large.png'), cv2.resize(picture, (2560, 1920)))
    cv2.imwrite(str(folder / 'b.png'), np.full((60, 70, 3), 90, dtype=np.uint8))
    return folder


def run(
    folder, u, v, *more, image_b='a.png', image_a='a.png', model='tiny.safetensors', out='m.png'
):
    paths = [str(folder / image_a), str(u), str(v), str(folder / image_b)]
    options = ['--model', str(folder / model), '--output', str(folder / out), *more]
    return main([*paths, *options])


def test_a_picture_matches_itself(folder, capsys):
    assert run(folder, 80, 40, out='new/m.png') == 0
    output = capsys.readouterr().out
    assert 'u 80  v 40  similarity 1.000\n' in output
    assert read_image(folder / 'new' / 'm.png').shape == (96, 128 * 2 + 8, 3)


def test_pictures_of_other_sizes_are_matched_too(folder, capsys):
    assert run(folder, 127, 95, image_b='b.png') == 0
    assert 'similarity' in capsys.readouterr().out


def test_pictures_of_16_bits_are_read_by_one_range(folder, capsys):
    picture = cv2.imread(str(folder / 'a.png')).astype(np.uint16)
    cv2.imwrite(str(folder / 'dim.png'), picture << 2)
    cv2.imwrite(str(folder / 'bright.png'), picture << 4)
    assert run(folder, 80, 40, image_a='dim.png', image_b='bright.png') == 0
    corner = np.s_[66:96, 98:128]  # without cross or legend
    drawn, whole = (read_image(folder / name)[corner] for name in ('m.png', 'a.png'))
    np.testing.assert_array_equal(drawn, whole // 4)


def test_several_points_are_found_at_once(folder, capsys):
    assert run(folder, 80, 40, '--point', '20', '30', '--point', '100', '70') == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == 'match of (80, 40): u 80  v 40  similarity 1.000'
    assert lines[1] == 'match of (20, 30): u 20  v 30  similarity 1.000'
    assert lines[2] == 'match of (100, 70): u 100  v 70  similarity 1.000'


def test_a_point_that_is_not_found_is_a_failure(folder, capsys):
    assert run(folder, 80, 40, model='strict.safetensors') == 0
    assert run(folder, 80, 40, image_b='b.png', model='strict.safetensors') == 1
    output, errors = capsys.readouterr()
    assert 'below the threshold 1.000: not found' in output and errors == ''


def test_one_point_of_several_that_is_not_found_is_a_failure(folder, capsys):
    places = 80, 40, '--point', '100.5', '70'  # the latter between two pixels: no other is as near
    assert run(folder, *places, model='strict.safetensors') == 1
    assert capsys.readouterr().out.count('not found') == 1


def test_large_pictures_are_drawn_small_with_a_cross_that_is_seen(folder):
    assert run(folder, 1600, 800, image_a='large.png', image_b='large.png') == 0
    picture = read_image(folder / 'm.png')
    assert picture.shape == (747, 2000, 3)
    for half in picture[:, :996], picture[:, 1004:]:
        v, u = np.nonzero((half == FOUND).all(axis=2))
        assert abs(u.mean() - 1600 * 996 / 2560) < 1 and abs(v.mean() - 800 * 996 / 2560) < 1
        assert np.ptp(u) > 996 / 30


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'u': 128}, 'outside of'),
        ({'v': -1}, '128x96'),
        ({'u': 'nan'}, 'outside of'),
        ({'image_b': 'none.png'}, 'none.png'),
        ({'image_a': 'tiny.safetensors'}, 'not an image'),
        ({'model': 'none.safetensors'}, 'no such file'),
        ({'model': 'a.png'}, 'not a safetensors file'),
        ({'out': 'm.unknown'}, 'm.unknown'),
        ({'out': '/proc/m.png', 'image_a': 'none.png'}, '/proc/m.png: cannot be written'),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(folder, capsys, arguments, message):
    assert run(folder, **{'u': 5, 'v': 5, **arguments}) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith('don_kp match: ')
    assert error.count('\n') == 1


def test_a_device_that_is_not_here_is_refused(folder, capsys):
    assert run(folder, 5, 5, '--device', 'abacus') == 1
    assert '--device abacus cannot be used' in capsys.readouterr().err
