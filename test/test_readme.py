"""What README has users type, where the simulation shows its first scene."""

import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from don_kp_ros.geometry import rigid
from don_kp_ros.grasping.candidates import clearance
from don_kp_ros.grasping.taught import grasp_between
from don_kp_ros.robots.preset import load_preset
from don_kp_ros.simulation.camera import D435
from don_kp_ros.simulation.instances import UNSEEN
from don_kp_ros.simulation.renderer import Renderer
from don_kp_ros.simulation.scene import SUBJECT, Layout
from don_kp_ros.simulation.world import World

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / 'README.md').read_text() + (ROOT / 'docs/grasping.md').read_text()

Pixels = list[tuple[int, int]]


@pytest.fixture(scope='module')
def shown() -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """What the camera shows at first: where the cap is (H, W), and places (H, W, 3), metres."""
    world = World(Layout.draw(0, UNSEEN[0]), load_preset('panda'))
    renderer = Renderer(world.model)
    pose = world.camera_pose()
    mask = renderer.mask(world.data, pose, SUBJECT)
    depth = renderer.render(world.data, pose).depth.astype(np.float64)
    renderer.close()
    v, u = np.mgrid[: D435.height, : D435.width]
    places = D435.deproject(np.stack([u, v], axis=-1).astype(np.float64), depth)
    return mask, rigid.apply(pose, places.reshape(-1, 3)).reshape(*depth.shape, 3)


def clicks() -> Pixels:
    """The pixels of what is stored, ranked and taught."""
    told = re.findall(r'name: [\w/]+, u: (\d+), v: (\d+)\}|"\{u: (\d+), v: (\d+),', TEXT)
    told += re.findall(r'don_kp (?:store \S+|teach object cap) (\d+) (\d+)(?! --add).*--sim', TEXT)
    return [(int(u), int(v)) for u, v in (filter(None, one) for one in told)]


def fingers() -> list[Pixels]:
    """The two pixels of each grasp that is taught so."""
    told = re.findall(r'u: \[(\d+), (\d+)\], v: \[(\d+), (\d+)\]', TEXT)
    found = [[(int(a), int(c)), (int(b), int(d))] for a, b, c, d in told]
    told = re.findall(r'--pixels (\d+) (\d+) (\d+) (\d+)', TEXT)
    return found + [[(int(a), int(b)), (int(c), int(d))] for a, b, c, d in told]


def test_what_is_clicked_on_is_the_cap(
    shown: tuple[NDArray[np.bool_], NDArray[np.float64]],
) -> None:
    mask, _ = shown
    assert len(clicks()) == 5
    assert all(mask[v, u] for u, v in clicks())


def test_a_grasp_that_is_taught_by_two_pixels_is_free(
    shown: tuple[NDArray[np.bool_], NDArray[np.float64]],
) -> None:
    mask, places = shown
    assert len(fingers()) == 4
    for pixels in fingers():
        assert all(mask[v, u] for u, v in pixels)
        T, _ = grasp_between(*(places[v, u] for u, v in pixels))
        assert clearance(T, places.reshape(-1, 3)) > 0.005
