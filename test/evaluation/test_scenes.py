"""The protocol of scenes: each plate's points are where geometry puts them in the other view."""

from pathlib import Path

import numpy as np
import pytest
from plates import CAMERA, PLATES, hit, poses, scene_of_plates, seen

from don_kp_ros.data.folder import DataError
from don_kp_ros.data.mask_options import MaskOptions
from don_kp_ros.data.posed import write_depth
from don_kp_ros.evaluation.figures import independent, space_figures
from don_kp_ros.evaluation.matchers import Found
from don_kp_ros.evaluation.protocols.registry import read_protocol
from don_kp_ros.evaluation.protocols.scenes import Scenes
from don_kp_ros.evaluation.reading import Reader
from don_kp_ros.geometry import rigid


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return scene_of_plates(tmp_path / 'scenes')


def test_every_object_is_looked_for_among_the_others(root: Path) -> None:
    (condition,) = Scenes(queries=40).conditions(root, 0, Reader())
    pairs = condition.data.pairs
    assert len(pairs) == 2 and not condition.curve
    T_b_scene = rigid.inverse(poses()[1])
    for pair, (z, *_) in zip(pairs, PLATES.values(), strict=True):
        u, v = pair.uv_a.astype(int).T
        expected = CAMERA.project(rigid.apply(T_b_scene, hit(poses()[0], z)[v, u]))
        np.testing.assert_allclose(pair.uv_b, expected, atol=0.1)
    # Both pairs show the same picture, so their errors are not independent.
    assert len(set(independent([condition]))) == 1
    ideal = [np.zeros(len(pair.uv_b)) for pair in pairs]
    exact = Found([pair.uv_b for pair in pairs], ideal, [])
    in_space = space_figures(condition, exact)
    assert in_space is not None and in_space['median_mm'] == 0


def test_views_that_miss_each_other_by_more_than_the_tolerance_share_nothing(root: Path) -> None:
    _, _, depth = seen(poses()[1])
    write_depth(root / 'depths' / 's_b.png', depth + np.float32(0.006))
    with pytest.raises(DataError, match=r'no object shares .* within 0\.003 m.*raise tolerance'):
        Scenes().conditions(root, 0, Reader())
    (condition,) = Scenes(tolerance=0.01).conditions(root, 0, Reader())
    assert len(condition.data.pairs) == 2


def test_the_shipped_configuration_is_read() -> None:
    assert isinstance(read_protocol(Path('scenes')), Scenes)


def test_what_cannot_be_measured_is_refused_with_the_reason(root: Path) -> None:
    with pytest.raises(DataError, match=r'number their objects.*2 would.*leave out --mask-value'):
        Scenes().conditions(root, 0, Reader(masks=MaskOptions(values=(2,))))
    (root / 'depths' / 's_b.png').write_bytes(b'')
    with pytest.raises(DataError, match=r's_b\.png.*--skip-broken leaves it out'):
        Scenes().conditions(root, 0, Reader())
    reader = Reader(skip_broken=True)
    with pytest.raises(DataError, match='none of its scenes can be read'):
        Scenes().conditions(root, 0, reader)
    assert len(reader.skipped) == 1
