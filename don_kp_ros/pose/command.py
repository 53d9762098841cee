"""`don_kp refine`: refine the pose of an object with a mesh in a picture."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from don_kp_ros.arguments import Parser
from don_kp_ros.errors import RefusedError
from don_kp_ros.meshes.units import UNITS
from don_kp_ros.networks.device import check_device
from don_kp_ros.outputs import check_writable

if TYPE_CHECKING:
    from don_kp_ros.pose.estimate import Pose


def main(argv: list[str]) -> int:
    """Refine the pose of an object in IMAGE until its mesh looks like what the picture shows.

    Without a start, the object is looked for by views of the mesh from all sides.
    """
    options = _parser().parse_args(argv)
    # Only now: torch, numba and trimesh take seconds to import.
    import cv2
    import numpy as np

    from don_kp_ros.data.folder import DataError, read_depth
    from don_kp_ros.data.picture_file import read_image, write_image
    from don_kp_ros.geometry.camera import Camera
    from don_kp_ros.matching.pictures import draw_caption, side_by_side
    from don_kp_ros.matching.view import View
    from don_kp_ros.meshes.picture import drawn_over
    from don_kp_ros.meshes.reading import read
    from don_kp_ros.networks.checkpoint import CheckpointError
    from don_kp_ros.networks.model import DescriptorModel
    from don_kp_ros.pose.close_up import refine_close_up
    from don_kp_ros.pose.mesh_descriptors import Subject
    from don_kp_ros.pose.render_and_compare import middle
    from don_kp_ros.pose.templates import find_by_templates, views_of
    from don_kp_ros.resources import shipped_model

    try:
        check_writable(options.output)
        check_device(options.device)
        image = read_image(options.image)
        height, width = image.shape[:2]
        camera = Camera(width, height, *options.intrinsics)
        depth = None
        if options.depth is not None:
            depth = read_depth(options.depth, UNITS['mm'] * options.depth_unit)
        view = View((height, width), depth, camera, 'there is no depth')
        mesh = read(options.mesh).in_metres(UNITS[options.unit], options.diameter)
        start = None if options.pose is None else _pose(options.pose, middle(mesh.vertices))
        model = DescriptorModel.load(options.model or shipped_model(), options.device)
        subject = Subject.of(mesh)
        if start is None:
            cells = model.describe(image).cpu()
            views = views_of(subject.mesh, camera, model)
            by_views = find_by_templates(views, cells, view, model.match_threshold)
            if by_views.refused is not None:
                raise RefusedError(
                    f'{options.mesh}: is not found in {options.image}: {by_views.refused}; give '
                    'a start with --pose, or a model that knows the object with --model'
                )
            start = by_views.T_camera_object
            print(_told(by_views, len(views)))
        metres = None if depth is None else depth.metres()
        found = refine_close_up(subject, start, image, camera, metres, model)
        pictures = []
        for name, T in (('before', start), ('after', found.T_camera_object)):
            drawn, raster = drawn_over(image, mesh, T, camera)
            picture = np.asarray(cv2.addWeighted(image, 0.5, drawn, 0.5, 0), np.uint8)
            outline, _ = cv2.findContours(
                raster.mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE
            )
            cv2.drawContours(picture, outline, -1, (64, 255, 96), 1)
            draw_caption(picture, name)
            pictures.append(picture)
        options.output.parent.mkdir(parents=True, exist_ok=True)
        write_image(options.output, side_by_side(pictures[0], pictures[1]))
    except (CheckpointError, DataError, RefusedError, OSError, ValueError) as error:
        print(f'don_kp refine: {error}', file=sys.stderr)
        return 1
    print(f'picture: {options.output}')
    if found.refused is None or options.pose is None:
        print('\n'.join(' '.join(f'{x: .8f}' for x in row) for row in found.T_camera_object))
    if found.refused is not None:
        print(f'The start stays: {found.refused}.', file=sys.stderr)
        return 1
    deviations = np.sqrt(np.diag(found.covariance))
    print(
        f'{found.like:.0%} of {found.cells} cells are like it; standard deviations to '
        f'{1000 * deviations[:3].max():.1f} mm and {np.rad2deg(deviations[3:].max()):.1f} degrees'
    )
    return 0


def _told(pose: Pose, views: int) -> str:
    """Say how a start was found."""
    text = (
        f'start, by {views} views of the mesh: {pose.inliers.sum()} places agree, '
        f'{pose.share:.0%} of what the best one shows'
    )
    return f'{text}; another turn fits as well' if pose.ambiguous else text


def _pose(path: Path, middle: Any) -> Any:
    """Read a transform (4, 4) of 16 numbers, of a mesh about a point (3,); raises RefusedError."""
    import numpy as np

    from don_kp_ros.geometry import rigid

    try:
        T = np.array(path.read_text(encoding='utf-8').split(), np.float64).reshape(4, 4)
    except (OSError, ValueError) as error:
        raise RefusedError(
            f'{path}: is not a pose of 16 numbers, T_camera_object row by row ({error})'
        ) from error
    R = T[:3, :3]
    turn = np.abs(R @ R.T - np.eye(3)).max() < 1e-3 and np.linalg.det(R) > 0
    if not turn or not np.allclose(T[3], [0, 0, 0, 1]) or not np.isfinite(T).all():
        raise RefusedError(
            f'{path}: is no rigid transform; T_camera_object maps points in the frame of the mesh '
            'to the optical frame, in metres, its last row is 0 0 0 1'
        )
    away = rigid.apply(T, middle)[2]
    if not away > 0:
        raise RefusedError(
            f'{path}: puts the middle of the mesh {away:g} m before the camera; z is forward in '
            'the optical frame, and must be above 0'
        )
    return T


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog='don_kp refine',
        description=main.__doc__,
        epilog='Prints the refined T_camera_object. The exit status is 1 where the start stays.',
    )
    parser.add_argument('image', metavar='IMAGE', type=Path)
    parser.add_argument('--mesh', type=Path, required=True, help='.obj, .glb or .ply')
    parser.add_argument(
        '--pose',
        type=Path,
        help='file of the start, 4x4 numbers, T_camera_object; left out: the object is looked for',
    )
    parser.add_argument(
        '--intrinsics',
        type=float,
        nargs=4,
        metavar=('FX', 'FY', 'CX', 'CY'),
        required=True,
        help='of the camera, pixels; the picture must not be distorted',
    )
    parser.add_argument('--unit', choices=UNITS, default='m', help="of the mesh's numbers, m")
    parser.add_argument('--diameter', type=float, help='of the object, metres: checks the mesh')
    parser.add_argument('--depth', type=Path, help='depth image, aligned to the picture')
    parser.add_argument(
        '--depth-unit', type=float, default=1.0, help='of its counts, millimetres, %(default)s'
    )
    parser.add_argument('--model', type=Path, help='checkpoint; the shipped one if left out')
    parser.add_argument(
        '--output', type=Path, default=Path('output/refine.png'), help='picture, %(default)s'
    )
    parser.add_argument('--device', default='cpu', help='to describe on: cpu, cuda, ...')
    return parser
