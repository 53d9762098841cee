"""BOP: scenes with the poses of objects, masks and depth.

The scene-wise layout of https://github.com/thodan/bop_toolkit/blob/master/docs/bop_datasets_format.md:
SPLIT/SCENE/{rgb,depth,mask_visib}, scene_gt.json, scene_camera.json. Lengths are millimetres.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from don_kp_ros.annotation.formats.marks import Mark, Marked, Shot
from don_kp_ros.data.folder import read_depth
from don_kp_ros.data.pairing import by_stem
from don_kp_ros.data.picture_file import DataError, PictureFile, list_images
from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera
from don_kp_ros.meshes.bop import MILLIMETRE
from don_kp_ros.pose.segmentation import Mask

TRUTH, CAMERA, MASKS = 'scene_gt.json', 'scene_camera.json', 'mask_visib'
_TURN = 1e-3  # by which a rotation may miss being one, as rounded in a file


def scenes(root: Path) -> list[Path]:
    """Find the scenes in a folder: itself, or those of a split; raises DataError for more."""
    if (root / TRUTH).is_file():
        return [root]
    found = sorted({path.parent for path in root.glob(f'*/{TRUTH}')})
    if found:
        return found
    splits = sorted({path.parent.parent.name for path in root.glob(f'*/*/{TRUTH}')})
    if len(splits) > 1:
        raise DataError(f'{root}: has the splits {", ".join(splits)}; give the folder of one')
    return sorted({path.parent for path in root.glob(f'*/*/{TRUTH}')})


def read(root: Path) -> list[Marked]:
    """Read every picture of all scenes of a folder; raises DataError."""
    found = scenes(root)
    return [marked for scene in found for marked in _scene(scene, alone=len(found) == 1)]


def _scene(scene: Path, alone: bool) -> list[Marked]:
    colours = next((scene / name for name in ('rgb', 'gray') if (scene / name).is_dir()), None)
    if colours is None:
        raise DataError(f'{scene}: has no folder rgb or gray with pictures')
    pictures = by_stem(list_images(colours))
    result = []
    cameras = _json(scene / CAMERA)
    for number, entries in _json(scene / TRUTH).items():
        try:
            image = int(number)
            stem, camera = f'{image:06d}', cameras[number]
            marks = tuple(
                Mark(
                    f'obj_{int(entry["obj_id"]):06d}',
                    int(entry['obj_id']),
                    partial(_mask, scene / MASKS / f'{stem}_{index:06d}.png'),
                    T_camera_object=_pose(entry),
                )
                for index, entry in enumerate(entries)
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f'{scene / TRUTH}: image {number}: {error!r}') from error
        if stem not in pictures:
            raise DataError(f'{colours / stem}.png: missing; {scene / TRUTH} lists image {number}')
        path = pictures[stem]
        result.append(
            Marked(
                name=stem if alone else f'{scene.name}_{stem}',
                open=partial(PictureFile.open, path),
                marks=marks,
                shot=partial(_shot, scene, stem, path, camera),
            )
        )
    return result


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise DataError(f'{path}: cannot be read ({error})') from error
    if not isinstance(content, dict):
        raise DataError(f'{path}: does not list images by their number')
    return content


def _pose(entry: Any) -> NDArray[np.float64]:
    """Read T_camera_object (4, 4), metres; raises ValueError."""
    R = np.array(entry['cam_R_m2c'], np.float64).reshape(3, 3)
    t = np.array(entry['cam_t_m2c'], np.float64).reshape(3) * MILLIMETRE
    off = np.abs(R @ R.T - np.eye(3)).max()
    if not (off < _TURN and np.linalg.det(R) > 0 and np.isfinite(t).all()):
        raise ValueError(f'cam_R_m2c is no rotation (off by {off:.2g}), or cam_t_m2c not finite')
    left, _, right = np.linalg.svd(R)  # the nearest rotation, for the rounding
    return rigid.transform(left @ right, t)


def _mask(path: Path) -> Mask:
    return np.asarray(PictureFile.open(path).decoded(cv2.IMREAD_UNCHANGED) > 0)


def _shot(scene: Path, stem: str, picture: Path, entry: Any) -> Shot:
    header = PictureFile.open(picture).header
    if header is None:
        raise DataError(f'{picture}: is no picture whose size can be read')
    try:
        scale = float(entry['depth_scale'])
        camera = Camera.from_K(entry['cam_K'], header.width, header.height)
        depth = read_depth(scene / 'depth' / f'{stem}.png', scale * MILLIMETRE)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f'{scene / CAMERA}: image {int(stem)}: {error!r}') from error
    return Shot(camera, depth.metres())
