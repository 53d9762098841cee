"""From a folder of pictures to views that can be solved."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from don_kp_ros.calibration.detection import find_corners, pose_of_board
from don_kp_ros.calibration.folder import Recording
from don_kp_ros.calibration.views import Views
from don_kp_ros.data.picture_file import DataError, read_image
from don_kp_ros.errors import RefusedError


def read_views(folder: Path, recording: Recording) -> tuple[Views, dict[str, str]]:
    """Find the board in every picture; return the views, and why others are left out, by name.

    Raises RefusedError where the side of the squares is not known, or the board is in no picture.
    """
    camera, board = recording.camera, recording.board
    try:
        board.side()
    except ValueError as error:
        raise RefusedError(str(error)) from error
    found, left_out = {}, {}
    for view in recording.views:
        try:
            picture = read_image(folder / view.picture)
            if picture.shape[:2] != (camera.height, camera.width):
                raise RefusedError(
                    f'{picture.shape[1]}x{picture.shape[0]} pixels, and the camera has '
                    f'{camera.width}x{camera.height}'
                )
            corners = find_corners(picture, board)
            pose_of_board(corners, board, camera)
            found[view] = corners
        except (DataError, RefusedError) as error:
            left_out[view.picture] = str(error)
    if not found:
        said = '; '.join(f'{name}: {why}' for name, why in list(left_out.items())[:3])
        raise RefusedError(f'{folder}: the board is in none of {len(left_out)} pictures: {said}')
    views = Views.of(
        [view.picture for view in found],
        camera,
        board,
        np.array([recording.T_a_b(view) for view in found]),
        list(found.values()),
    )
    return views, left_out
