"""A folder of one scene whose truth is known: two upright plates, seen twice."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from don_kp_ros.data.posed import write_depth
from don_kp_ros.data.scenes import Entry, write_scenes
from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera

CAMERA = Camera(160, 120, 150.0, 150.0, 79.5, 59.5)
# Two upright plates, at z = .5 and .6 m of the scene, each coloured by its place on it.
PLATES = {1: (0.5, (-0.12, -0.01), (-0.08, 0.08)), 2: (0.6, (0.02, 0.14), (-0.09, 0.05))}


def poses() -> tuple[np.ndarray, np.ndarray]:
    turn = rigid.rotation_about([0.2, 1, 0.1], 0.12)
    return np.eye(4), rigid.transform(turn, [-0.06, 0.01, 0.02])


def hit(T_scene_camera: np.ndarray, z: float) -> np.ndarray:
    """Where each pixel's ray meets a plane of the scene: (H, W, 3)."""
    rays = (
        CAMERA.deproject_image(np.ones((CAMERA.height, CAMERA.width))) @ T_scene_camera[:3, :3].T
    )
    eye = T_scene_camera[:3, 3]
    return eye + rays * ((z - eye[2]) / rays[..., 2:])


def seen(T_scene_camera: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Picture, numbers and depth of the plates; the nearer hides the other."""
    shape = (CAMERA.height, CAMERA.width)
    image = np.full((*shape, 3), 90, np.uint8)
    numbers, depth = np.zeros(shape, np.uint8), np.full(shape, np.nan, np.float32)
    for number, (z, (left, right), (top, bottom)) in sorted(PLATES.items(), reverse=True):
        at = hit(T_scene_camera, z)
        on = (
            (at[..., 0] > left) & (at[..., 0] < right) & (at[..., 1] > top) & (at[..., 1] < bottom)
        )
        numbers[on] = number
        depth[on] = ((at - T_scene_camera[:3, 3]) @ T_scene_camera[:3, 2])[on]
        image[on] = np.stack(
            [(at[..., 0] + 0.2) * 600, (at[..., 1] + 0.2) * 600, np.full(shape, 90 * number)], -1
        )[on].astype(np.uint8)
    return image, numbers, depth


def scene_of_plates(folder: Path) -> Path:
    """Write the folder."""
    for name in ('rgbs', 'masks', 'depths', 'lone'):
        (folder / name).mkdir(parents=True)
    for name, T in zip(('s_a', 's_b'), poses(), strict=True):
        image, numbers, depth = seen(T)
        cv2.imwrite(str(folder / 'rgbs' / f'{name}.png'), image[..., ::-1])
        cv2.imwrite(str(folder / 'masks' / f'{name}.png'), numbers)
        write_depth(folder / 'depths' / f'{name}.png', depth)
    image, numbers, _ = seen(poses()[0])
    for number in PLATES:
        lone = np.where((numbers == number)[..., None], image, np.uint8(128))
        cv2.imwrite(str(folder / 'lone' / f's_a_{number}.png'), lone[..., ::-1])
    placed = tuple(rigid.transform(translation=[0, 0, PLATES[number][0]]) for number in (1, 2))
    entry = Entry('s', ('left-1', 'right-1'), placed, ('s_a', 's_b'), poses())
    write_scenes(folder, CAMERA, [entry])
    return folder
