"""Drawings of the objects of scenes, by the meshes that lie beside them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from don_kp_ros.configuration import ConfigurationError
from don_kp_ros.data.drawn_pairs import Draw, Drawn
from don_kp_ros.data.folder import DataError
from don_kp_ros.data.homography import Matrix
from don_kp_ros.data.scenes import SceneFolder
from don_kp_ros.errors import RefusedError
from don_kp_ros.geometry.camera import Camera

_GROUND = 128  # grey


def drawing(folder: SceneFolder) -> Draw:
    """Read the meshes of a folder's objects; raises DataError for one that is missing or broken.

    They are drawn on a plain ground, in plain light. Raises ConfigurationError where the extra
    `meshes` is not installed.
    """
    try:
        from don_kp_ros.meshes.picture import drawn_together
        from don_kp_ros.meshes.reading import read
        from don_kp_ros.meshes.simplification import reduced
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"views.drawn is set, but {error.name} is not installed: pip install '.[meshes]' in "
            'the checkout'
        ) from error
    names = folder.objects
    if missing := [name for name in names if name not in folder.meshes]:
        raise DataError(
            f'{folder.root / "meshes"}: {missing[0]}.glb is missing (of {len(names)} objects '
            f'{len(missing)} have no mesh); views.drawn needs one of each, in metres and in the '
            'frame of its pose'
        )
    try:
        meshes = {name: reduced(read(folder.meshes[name]).in_metres()) for name in names}
    except RefusedError as error:
        raise DataError(str(error)) from error

    def draw(objects: Sequence[str], T: Sequence[Matrix], camera: Camera) -> Drawn:
        ground = np.full((camera.height, camera.width, 3), _GROUND, np.uint8)
        return drawn_together(ground, [meshes[name] for name in objects], T, camera)

    return draw
