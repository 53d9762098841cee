"""`don_kp match` with a checkpoint of random weights: a picture matches itself."""

import cv2
import numpy as np
import pytest

from don_kp_ros.data.picture_file import read_image
from don_kp_ros.matching.command import main
from don_kp_ros.networks.checkpoint import Checkpoint, Preprocessing
from don_kp_ros.networks.descriptor_network import NetworkConfiguration


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('match')
    network = NetworkConfiguration(channels=8, dimension=8)
    model = Checkpoint(network, Preprocessing(96), {}, 0.0).untrained()
    model.save(folder / 'tiny.safetensors')
    noise = np.random.default_rng(0).integers(0, 255, (12, 16, 3), dtype=np.uint8)
    picture = cv2.resize(noise, (128, 96), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(folder / 'a.png'), picture)
    cv2.imwrite(str(folder / 'b.png'), np.full((60, 70, 3), 90, dtype=np.uint8))
    return folder


def run(folder, u, v, image_b='a.png', image_a='a.png', model='tiny.safetensors', out='m.png'):
    paths = [str(folder / image_a), str(u), str(v), str(folder / image_b)]
    return main([*paths, '--model', str(folder / model), '--output', str(folder / out)])


def test_a_picture_matches_itself(folder, capsys):
    assert run(folder, 80, 40, out='new/m.png') == 0
    output = capsys.readouterr().out
    assert 'u 80  v 40  similarity 1.000\n' in output
    assert read_image(folder / 'new' / 'm.png').shape == (96, 128 * 2 + 8, 3)


def test_pictures_of_other_sizes_are_matched_too(folder, capsys):
    assert run(folder, 127, 95, image_b='b.png') == 0
    assert 'similarity' in capsys.readouterr().out


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
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(folder, capsys, arguments, message):
    assert run(folder, **{'u': 5, 'v': 5, **arguments}) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith('don_kp match: ')
    assert error.count('\n') == 1
