"""What is told of a camera, against pictures and times whose faults are known."""

import cv2
import numpy as np
import pytest

from don_kp_ros.calibration.camera_health import (
    Finding,
    Shot,
    alignment,
    distances,
    holes,
    pairing,
    timing,
)

TOPIC, PROFILE = '/camera/color', 'rgb_camera.color_profile'
EVEN = np.arange(90) / 30.0


def objects(shift: tuple[int, int] = (0, 0), seed: int = 0) -> Shot:
    """Boxes and discs before a wall; depth is shifted (dx, dy) pixels against colour."""
    rng = np.random.default_rng(seed)
    colour = np.full((240, 320, 3), 120, np.uint8)
    depth = np.full((240, 320), 0.8, np.float32)
    for _ in range(6):
        u, v, r = int(rng.integers(40, 280)), int(rng.integers(40, 200)), int(rng.integers(12, 30))
        tint = tuple(int(x) for x in rng.integers(0, 255, 3))
        z = float(rng.uniform(0.5, 0.7))
        if rng.random() < 0.5:
            cv2.circle(colour, (u, v), r, tint, -1)
            cv2.circle(depth, (u + shift[0], v + shift[1]), r, z, -1)
        else:
            corner = (u + r, v + r // 2)
            cv2.rectangle(colour, (u, v), corner, tint, -1)
            ends = ((u + shift[0], v + shift[1]), (corner[0] + shift[0], corner[1] + shift[1]))
            cv2.rectangle(depth, *ends, z, -1)
    noisy = colour + rng.normal(0, 4, colour.shape)
    depth[rng.random(depth.shape) < 0.01] = np.nan
    return Shot(np.clip(noisy, 0, 255).astype(np.uint8), depth)


@pytest.mark.parametrize('shift', [(0, 0), (6, 0), (-5, 3), (0, -9), (1, 1)])
def test_the_shift_of_depth_against_colour_is_found(shift: tuple[int, int]) -> None:
    found = alignment([objects(shift, seed) for seed in range(3)])
    assert found.seen == f'off by {shift} pixels'
    assert ('align_depth' in found.fault) == (max(map(abs, shift)) > 2)


def test_without_edges_nothing_is_concluded() -> None:
    flat = Shot(objects().colour, np.full((240, 320), 0.8, np.float32))
    told = '0 pixels of edges in depth: too few, show it some objects'
    assert alignment([flat]) == Finding('depth on colour', told, judged=False)
    tiny = Shot(flat.colour[:60, :40], flat.depth[:60, :40])
    assert not alignment([tiny]).judged


def test_depth_of_another_field_of_view_is_not_judged_to_be_right() -> None:
    """As a D435's depth is before it is aligned: smaller about the middle, or far aside."""
    turned = np.array([[0.75, 0, 40], [0, 0.75, 30]])
    aside = np.array([[1.0, 0, 40], [0, 1.0, 0]])
    for warp in (turned, aside):
        shots = []
        for seed in range(3):
            shot = objects(seed=seed)
            depth = cv2.warpAffine(
                np.nan_to_num(shot.depth, nan=0.8),
                warp,
                (320, 240),
                flags=cv2.INTER_NEAREST,
                borderValue=0.8,
            )
            shots.append(Shot(shot.colour, depth.astype(np.float32)))
        found = alignment(shots)
        assert found.fault or not found.judged
        assert 'align_depth' in found.fault + found.seen


def test_edges_of_other_things_are_not_taken_for_the_same() -> None:
    """The colours are of another scene: whatever fits best by chance does not count."""
    strange = [Shot(objects(seed=seed + 50).colour, objects(seed=seed).depth) for seed in range(4)]
    assert not alignment(strange).fault


@pytest.mark.parametrize(
    ('stamps', 'late', 'after', 'told', 'fault'),
    [
        (EVEN, 0.04, 0.0, '30.0 Hz, longest gap 33 ms, 40 ms old', ''),
        (np.delete(EVEN, [20, 21, 50]), 0.04, 0.0, '30.0 Hz', '3 of 90 are lost'),
        (
            EVEN * 10,
            0.04,
            0.0,
            '3.0 Hz',
            'slower than 4 Hz, for an arm: give rgb_camera.color_profile',
        ),
        (EVEN, 0.5, 0.0, '500 ms old', 'older than 300 ms'),
        (np.concatenate([EVEN, EVEN]), 0.04, 0.0, '', 'do not increase'),
        (EVEN[:2], 0.04, 0.0, '2 came', 'measure for longer'),
        (EVEN, 0.04, 1.5, 'longest gap 1500 ms', 'nothing has come for the last 1.5 s'),
    ],
)
def test_times(stamps: np.ndarray, late: float, after: float, told: str, fault: str) -> None:
    found = timing(TOPIC, stamps, stamps + late, stamps[-1] + late + after, PROFILE)
    assert told in found.seen
    assert fault in found.fault and bool(fault) == bool(found.fault)


def test_what_the_driver_does_not_pair_is_told() -> None:
    assert not pairing(EVEN, EVEN + 1e-4).fault
    off = pairing(EVEN, EVEN + 0.014)
    assert off.seen == 'stamps differ by 14.0 ms, at most 14.0'
    assert 'enable_sync:=true' in off.fault


def test_holes_and_distances() -> None:
    depth = np.linspace(0.4, 1.4, 240 * 320, dtype=np.float32).reshape(240, 320)
    assert holes([depth]) == Finding('holes', '0.0% of the depth')
    assert distances([depth]) == Finding('distances', '0.450 to 1.350 m, middle 0.900')
    depth[:120] = np.nan
    assert holes([depth]).seen == '50.0% of the depth' and 'emitter' in holes([depth]).fault
    assert '--depth-unit' in distances([10 * depth]).fault
    assert 'lens' in distances([np.full_like(depth, np.nan)]).fault
