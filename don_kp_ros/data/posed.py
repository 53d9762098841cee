"""Posed views: pictures with masks, depth and the camera's pose; and view pairs of them.

The layout is that of `don_kp_ros.data.folder` with depths and an index beside it (docs/data.md)::

    FOLDER/rgbs/NAME.jpg    picture
    FOLDER/masks/NAME.png   mask, object > 127
    FOLDER/depths/NAME.png  depth along the optical axis, 16 bits, units of the index; 0: none
    FOLDER/views.json       camera, of every view its object and T_object_camera, and where named
                            points lie on the objects, if that is known

Two views of one object are a training pair: a pixel of one is lifted by its depth, moved by the
poses, and projected into the other (Florence et al. 2018, the baseline of paper 2).
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from don_kp_ros.data.folder import (
    INDEX,
    DataError,
    Image,
    Sample,
    by_stem,
    list_images,
    read_sample,
)
from don_kp_ros.data.views import (
    Matrix,
    PairGeometry,
    Source,
    ViewConfiguration,
    ViewPair,
    ViewSampler,
    WarpConfiguration,
    log_uniform,
    prepare,
)
from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera

FORMAT = 'don_kp posed views'
VERSIONS = (1, 2)  # named points came with the second
DEPTH_UNIT = 0.0001  # metres; 16 bits reach 6.5 m
FEWEST_COMMON = 24  # points seen in both views of a pair: as many as there are in paper 1
TOLERANCE = 0.003  # metres by which a seen point may miss the depth of the other view

_ATTEMPTS = 1000
_FIELDS = ('width', 'height', 'fx', 'fy', 'cx', 'cy')


Points = Mapping[str, Mapping[str, Matrix]]  # object, name: a point (3,) in its frame, metres


@dataclass(frozen=True)
class PosedView:
    """One entry of the index.

    T_object_camera (4, 4) maps points from the camera's frame to the object's, metres.
    """

    name: str
    object: str
    T_object_camera: Matrix


@dataclass(frozen=True)
class DepthView:
    """An object as a camera sees it: what correspondences are computed from.

    mask (H, W) uint8, 0 or 255; depth (H, W) float32 metres along the optical axis, NaN where
    there is none; T_object_camera (4, 4) maps points from the camera's frame to the object's.
    """

    mask: Image
    depth: NDArray[np.float32]
    camera: Camera
    T_object_camera: Matrix

    def cropped(self) -> DepthView:
        """Cut out the object, a pixel about it: a camera with fewer pixels and another middle."""
        v, u = np.nonzero(self.mask)
        height, width = self.mask.shape
        top, bottom = max(int(v.min()) - 1, 0), min(int(v.max()) + 2, height)
        left, right = max(int(u.min()) - 1, 0), min(int(u.max()) + 2, width)
        rows, columns = slice(top, bottom), slice(left, right)
        c = self.camera
        camera = Camera(right - left, bottom - top, c.fx, c.fy, c.cx - left, c.cy - top)
        mask, depth = self.mask[rows, columns].copy(), self.depth[rows, columns].copy()
        return DepthView(mask, depth, camera, self.T_object_camera)

    def depth_at(self, uv: ArrayLike) -> Matrix:
        """Interpolate the object's depth, metres, at pixels uv (N, 2): (N,).

        The inverse of the depth is bilinear between the pixels, which is exact on a plane however
        it is inclined. NaN outside of the picture, and where a pixel that counts is not of the
        object or has no depth.
        """
        uv = np.asarray(uv, dtype=np.float64)
        height, width = self.depth.shape
        inside = self.camera.contains(uv)
        uv = np.clip(np.where(inside[:, None], uv, 0), 0, [width - 1, height - 1])
        low = np.floor(uv).astype(int)
        part = uv - low
        inverse = np.zeros(len(uv))
        for du in (0, 1):
            for dv in (0, 1):
                weight = np.abs(1 - du - part[:, 0]) * np.abs(1 - dv - part[:, 1])
                u = np.minimum(low[:, 0] + du, width - 1)
                v = np.minimum(low[:, 1] + dv, height - 1)
                z = np.where(self.mask[v, u] > 0, self.depth[v, u], np.nan)
                inverse += np.where(weight > 0, weight / z, 0)
        return np.where(inside, 1 / inverse, np.nan)


@dataclass(frozen=True)
class PosedSample(DepthView):
    """A view with its picture (H, W, 3) uint8 RGB and the object that it shows."""

    path: Path
    object: str
    image: Image


@dataclass(frozen=True)
class PosedFolder:
    """A data set of posed views; `samples` reads them.

    points: by object and name, (3,) in the object's frame, metres; empty where none are known.
    """

    root: Path
    camera: Camera
    depth_unit: float  # metres
    views: tuple[PosedView, ...]
    images: tuple[Path, ...]
    negatives: tuple[Path, ...]
    points: Points

    @classmethod
    def open(cls, root: Path) -> PosedFolder:
        """Read the index and find every view's files; raises DataError."""
        if not root.is_dir():
            raise DataError(f'{root}: no such folder')
        camera, unit, views, points = read_index(root / INDEX)
        pictures = by_stem(list_images(root / 'rgbs'))
        for view in views:
            if view.name not in pictures:
                expected = root / 'rgbs' / f'{view.name}.jpg'
                raise DataError(f'{expected}: missing; {root / INDEX} lists the view {view.name}')
            for path in (_mask(root, view.name), _depth(root, view.name)):
                if not path.is_file():
                    raise DataError(f'{path}: missing; {root / INDEX} lists the view {view.name}')
        return cls(
            root=root,
            camera=camera,
            depth_unit=unit,
            views=views,
            images=tuple(pictures[view.name] for view in views),
            negatives=tuple(list_images(root / 'negatives')),
            points=points,
        )

    def samples(self) -> Iterator[PosedSample]:
        """Read and check every view, in the order of the index; raises DataError."""
        with ThreadPoolExecutor(2) as pool:
            yield from pool.map(self._read, self.views, self.images)

    def _read(self, view: PosedView, path: Path) -> PosedSample:
        mask_path, depth_path = _mask(self.root, view.name), _depth(self.root, view.name)
        sample = read_sample(path, mask_path)
        depth = read_depth(depth_path, self.depth_unit)
        expected = (self.camera.height, self.camera.width)
        for file, array in ((path, sample.image), (depth_path, depth)):
            if array.shape[:2] != expected:
                raise DataError(
                    f'{file}: {array.shape[1]}x{array.shape[0]} pixels, but the camera of '
                    f'{self.root / INDEX} has {expected[1]}x{expected[0]}'
                )
        known = int(np.isfinite(depth[sample.mask > 0]).sum())
        if known < FEWEST_COMMON:
            raise DataError(
                f'{depth_path}: {known} pixels have a depth where {mask_path} marks the object, '
                f'and pairs share at least {FEWEST_COMMON}; leave the view {view.name} out of '
                f'{INDEX}'
            )
        return PosedSample(
            mask=sample.mask,
            depth=depth,
            camera=self.camera,
            T_object_camera=view.T_object_camera,
            path=path,
            object=view.object,
            image=sample.image,
        )


class Index(NamedTuple):
    """What views.json holds: see PosedFolder."""

    camera: Camera
    depth_unit: float
    views: tuple[PosedView, ...]
    points: Points


def read_index(path: Path) -> Index:
    """Read and check views.json; raises DataError."""
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except FileNotFoundError as error:
        raise DataError(f'{path}: missing; it holds the poses (docs/data.md)') from error
    except (OSError, ValueError) as error:
        raise DataError(f'{path}: cannot be read as JSON ({error})') from error
    if not isinstance(content, dict) or content.get('format') != FORMAT:
        raise DataError(f'{path}: not an index of posed views; "format" must be "{FORMAT}"')
    if content.get('version') not in VERSIONS:
        raise DataError(
            f'{path}: version {content.get("version")} is not known; this program reads versions '
            f'{VERSIONS[0]} and {VERSIONS[1]}: render or record the folder anew, or update the '
            'program'
        )
    unit: Any = content.get('depth_unit_m')
    if not _is_number(unit) or not 0 < unit <= 0.01:
        raise DataError(f'{path}: depth_unit_m is {unit}; allowed is above 0, up to 0.01 m')
    entries = content.get('views')
    if not isinstance(entries, list) or not entries:
        raise DataError(f'{path}: "views" must be a list of at least one view')
    views = tuple(_read_view(path, number, entry) for number, entry in enumerate(entries))
    name, times = Counter(view.name for view in views).most_common(1)[0]
    if times > 1:
        raise DataError(f'{path}: the view {name} is listed {times} times')
    if 'points' in content and content['version'] == VERSIONS[0]:
        raise DataError(f'{path}: "points" came with version {VERSIONS[1]}; set version to it')
    points = _read_points(path, content.get('points', {}), {view.object for view in views})
    return Index(_read_camera(path, content.get('camera')), float(unit), views, points)


def write_index(
    root: Path, camera: Camera, views: Iterable[PosedView], points: Points | None = None
) -> None:
    """Write views.json for depths in DEPTH_UNIT; points: see PosedFolder."""
    named = {
        shown: {name: np.asarray(point, np.float64).tolist() for name, point in own.items()}
        for shown, own in (points or {}).items()
    }
    content = {
        'format': FORMAT,
        'version': VERSIONS[1] if named else VERSIONS[0],
        'depth_unit_m': DEPTH_UNIT,
        'camera': asdict(camera),
        'views': [
            {
                'name': view.name,
                'object': view.object,
                'T_object_camera': view.T_object_camera.tolist(),
            }
            for view in views
        ],
        **({'points': named} if named else {}),
    }
    (root / INDEX).write_text(json.dumps(content, indent=1) + '\n', encoding='utf-8')


def read_depth(path: Path, unit: float = DEPTH_UNIT) -> NDArray[np.float32]:
    """Read a 16-bit depth picture as (H, W) float32 metres, NaN where it is 0; raises DataError.

    unit: metres per step.
    """
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise DataError(f'{path}: cannot be read ({error.strerror})') from error
    try:
        steps = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if len(data) else None
    except cv2.error:
        steps = None
    if steps is None:
        raise DataError(f'{path}: not a picture that can be read; it may be truncated')
    if steps.dtype != np.uint16 or steps.ndim != 2:
        raise DataError(f'{path}: depth must be a PNG of one channel of 16 bits')
    depth = steps.astype(np.float32) * np.float32(unit)
    depth[steps == 0] = np.nan
    return depth


def write_depth(path: Path, depth: NDArray[np.float32]) -> None:
    """Write depth (H, W), metres, NaN where there is none, in steps of DEPTH_UNIT."""
    steps = np.nan_to_num(np.rint(depth / DEPTH_UNIT), nan=0, posinf=0, neginf=0)
    steps[(steps < 0) | (steps > 0xFFFF)] = 0
    if not cv2.imwrite(str(path), steps.astype(np.uint16)):
        raise OSError(f'{path} could not be written')


def correspondences(
    view_a: DepthView, view_b: DepthView, uv_a: ArrayLike, tolerance: float = TOLERANCE
) -> tuple[Matrix, NDArray[np.bool_]]:
    """Find where points of an object, at pixels uv_a (N, 2) of one view, lie in another.

    Returns uv_b (N, 2), NaN where uv_a has no depth or lies beside the object, and which of them
    are seen (N,): inside picture and mask of b, and within `tolerance` metres of its depth there,
    so that nothing is in front of them. Both views must be of the same object.
    """
    uv_a = np.asarray(uv_a, dtype=np.float64)
    points = view_a.camera.deproject(uv_a, view_a.depth_at(uv_a))
    T_b_a = rigid.inverse(view_b.T_object_camera) @ view_a.T_object_camera
    in_b = rigid.apply(T_b_a, points)
    uv_b = view_b.camera.project(in_b)
    gap = np.abs(view_b.depth_at(uv_b) - in_b[:, 2])
    return uv_b, gap <= tolerance  # False for NaN


@dataclass(frozen=True)
class PosedSource:
    """A posed view prepared for warping.

    source: its picture; K (3, 3): intrinsics of that picture, pixels; view: the part of it that
    shows the object; pixels (K, 2): pixels of `view` with the object's depth.
    """

    path: Path
    object: str
    source: Source
    K: Matrix
    view: DepthView
    pixels: NDArray[np.int32]


def prepare_posed(sample: PosedSample, input_size: int, oversampling: float = 1.25) -> PosedSource:
    """Resize a posed view's picture for warping as `prepare` does; its depth stays as it is."""
    source = prepare(Sample(sample.path, sample.image, sample.mask), input_size, oversampling)
    sx, sy = np.array(source.image.shape[1::-1]) / sample.image.shape[1::-1]
    # Pixel centres are at integers: the picture begins at -0.5.
    resize = np.array([[sx, 0, (sx - 1) / 2], [0, sy, (sy - 1) / 2], [0, 0, 1]])
    view = sample.cropped()
    v, u = np.nonzero((view.mask > 0) & np.isfinite(view.depth))
    pixels = np.stack([u, v], axis=1).astype(np.int32)
    return PosedSource(sample.path, sample.object, source, resize @ sample.camera.K, view, pixels)


@dataclass(frozen=True)
class Canvas:
    """The camera that would have taken a warped view: turned about its axis, zoomed, shifted.

    K (3, 3): its intrinsics, pixels; T_canvas_camera (4, 4): from the true camera's frame to its.
    """

    K: Matrix
    T_canvas_camera: Matrix

    def homography(self, K: Matrix) -> Matrix:
        """Map pixels of a picture with intrinsics K (3, 3) to the canvas: (3, 3)."""
        return np.asarray(self.K @ self.T_canvas_camera[:3, :3] @ np.linalg.inv(K))

    def project(self, points: Matrix) -> Matrix:
        """Project points (N, 3) in the true camera's frame to the canvas: (N, 2)."""
        mapped = rigid.apply(self.T_canvas_camera, points) @ self.K.T
        return np.asarray(mapped[:, :2] / mapped[:, 2:])


def random_canvas(
    source: Source, K: Matrix, side: int, warp: WarpConfiguration, rng: np.random.Generator
) -> Canvas:
    """Draw a camera that shows a picture's object near the middle of a square canvas.

    Of rotation, scale and shift; a perspective warp would be a camera that looks elsewhere, at
    sides of the object that the picture does not show. K (3, 3): of the picture, pixels.
    """
    half, middle = side / 2, (side - 1) / 2
    place = middle + rng.uniform(-1, 1, 2) * warp.shift * half
    rotation = rigid.rotation_about(
        [0, 0, 1], np.deg2rad(rng.uniform(-warp.rotation, warp.rotation))
    )
    f = np.sqrt(K[0, 0] * K[1, 1]) * source.zoom * log_uniform(rng, warp.scale)
    ray = rotation @ np.linalg.inv(K) @ [*source.centre, 1.0]
    cx, cy = place - f * ray[:2]
    return Canvas(np.array([[f, 0, cx], [0, f, cy], [0, 0, 1]]), rigid.transform(rotation))


class PosedSampler:
    """Draw view pairs of posed views: two views of one object, each with changed appearance.

    backgrounds are pictures without the object; the views' own surroundings are used besides.
    """

    def __init__(
        self,
        configuration: ViewConfiguration,
        views: Sequence[PosedSource],
        backgrounds: list[Image],
    ) -> None:
        """Group the views by object; raises DataError where no object has two."""
        self._configuration = configuration
        self._sampler = ViewSampler(configuration, [view.source for view in views], backgrounds)
        groups: dict[tuple[Path, str], list[PosedSource]] = defaultdict(list)
        for view in views:
            groups[view.path.parent, view.object].append(view)  # names are a folder's own
        self._groups = [group for group in groups.values() if len(group) > 1]
        if not self._groups:
            where = views[0].path.parent.parent / INDEX if views else 'no views'
            raise DataError(f'{where}: no object has two views; pairs of views are needed')
        self._sizes = np.array([len(group) for group in self._groups])

    def draw(self, rng: np.random.Generator) -> ViewPair:
        """Draw two square views of one object with correspondences seen in both.

        Pairs that share fewer than FEWEST_COMMON points are drawn again; DataError where that
        does not end.
        """
        for _ in range(_ATTEMPTS):
            group = self._groups[
                int(rng.choice(len(self._sizes), p=self._sizes / self._sizes.sum()))
            ]
            first, second = rng.choice(len(group), 2, replace=False)
            pair = self._pair(group[int(first)], group[int(second)], rng)
            if pair is not None:
                return pair
        view = group[0]
        raise DataError(
            f'{view.path.parent.parent}: {_ATTEMPTS} pairs of views in a row share fewer than '
            f'{FEWEST_COMMON} points (the last of {view.object}); take views that differ less, '
            'check poses and depths, raise views.tolerance to how much these miss each other, or '
            'lower views.warp.shift and views.warp.scale'
        )

    def check(self) -> None:
        """Draw a pair once; raises DataError where none can be."""
        self.draw(np.random.default_rng(0))

    def _pair(self, a: PosedSource, b: PosedSource, rng: np.random.Generator) -> ViewPair | None:
        side, wanted = self._configuration.size, self._configuration.queries
        if len(a.pixels) == 0:
            return None
        candidates = a.pixels[rng.integers(len(a.pixels), size=6 * max(wanted, 64))]
        _, seen = correspondences(a.view, b.view, candidates, self._configuration.tolerance)
        if np.count_nonzero(seen) < FEWEST_COMMON:
            return None
        chosen = candidates[seen]
        points = a.view.camera.deproject(chosen, a.view.depth[chosen[:, 1], chosen[:, 0]])
        T_b_a = rigid.inverse(b.view.T_object_camera) @ a.view.T_object_camera
        uv, seen_by, views, canvases = [], np.ones(len(points), bool), [], []
        for source, p in ((a, points), (b, rigid.apply(T_b_a, points))):
            canvas = random_canvas(source.source, source.K, side, self._configuration.warp, rng)
            pixels = canvas.project(p)
            seen_by &= np.all((pixels >= 0) & (pixels <= side - 1), axis=1)
            uv.append(pixels)
            canvases.append(canvas)
        if np.count_nonzero(seen_by) < FEWEST_COMMON:
            return None
        for source, canvas, pixels in zip((a, b), canvases, uv, strict=True):
            homography = canvas.homography(source.K)
            view = self._sampler.view(source.source, homography, (side, side), rng)
            views.append(view)
            u, v = np.rint(pixels[seen_by]).astype(int).T
            seen_by[seen_by] &= view.mask[v, u] > 0  # not behind an occluding patch
        if np.count_nonzero(seen_by) < FEWEST_COMMON:
            return None
        taken = np.resize(np.flatnonzero(seen_by), wanted)
        T_world_a, T_world_b = (
            source.view.T_object_camera @ rigid.inverse(canvas.T_canvas_camera)
            for source, canvas in zip((a, b), canvases, strict=True)
        )
        geometry = PairGeometry(
            K_a=canvases[0].K,
            K_b=canvases[1].K,
            T_b_a=rigid.inverse(T_world_b) @ T_world_a,
            T_world_a=T_world_a,
            T_world_b=T_world_b,
        )
        uv_a, uv_b = (pixels[taken].astype(np.float32) for pixels in uv)
        return ViewPair(views[0], views[1], uv_a, uv_b, homography=None, geometry=geometry)


def _mask(root: Path, name: str) -> Path:
    return root / 'masks' / f'{name}.png'


def _depth(root: Path, name: str) -> Path:
    return root / 'depths' / f'{name}.png'


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _read_camera(path: Path, entry: Any) -> Camera:
    if not isinstance(entry, dict) or set(entry) != set(_FIELDS):
        raise DataError(f'{path}: "camera" must have the numbers {", ".join(_FIELDS)}')
    for name in _FIELDS:
        if not _is_number(entry[name]):
            raise DataError(f'{path}: camera {name} is {entry[name]}; it must be a finite number')
    try:
        return Camera(
            int(entry['width']), int(entry['height']), *(float(entry[n]) for n in _FIELDS[2:])
        )
    except ValueError as error:
        raise DataError(f'{path}: {error}') from error


def _read_points(path: Path, entry: Any, objects: set[str]) -> Points:
    if not isinstance(entry, dict) or not all(isinstance(own, dict) for own in entry.values()):
        raise DataError(
            f'{path}: "points" must map objects to their points: {{"cap-17": {{"button": '
            "[x, y, z]}}, metres in the object's frame"
        )
    result: dict[str, dict[str, Matrix]] = {}
    for shown, own in entry.items():
        if shown not in objects:
            raise DataError(f'{path}: "points" names {shown}, which no view shows; remove it')
        for name, values in own.items():
            numbers = (
                isinstance(values, list) and len(values) == 3 and all(map(_is_number, values))
            )
            if not name or not numbers:
                raise DataError(
                    f'{path}: the point {name!r} of {shown} is {values}; three finite numbers '
                    'under a name are expected'
                )
            result.setdefault(shown, {})[name] = np.array(values, dtype=np.float64)
    return result


def _read_view(path: Path, number: int, entry: Any) -> PosedView:
    if not isinstance(entry, dict):
        raise DataError(f'{path}: view {number} must have name, object and T_object_camera')
    name, shown = entry.get('name'), entry.get('object')
    for key, value in (('name', name), ('object', shown)):
        if not isinstance(value, str) or not value:
            raise DataError(f'{path}: view {number} has no {key}')
    assert isinstance(name, str) and isinstance(shown, str)
    if Path(name).name != name:
        raise DataError(f'{path}: view name {name!r} must be a file name without folder')
    try:
        T = np.array(entry.get('T_object_camera'), dtype=np.float64)
    except (TypeError, ValueError):
        T = np.empty(0)
    if T.shape != (4, 4) or not np.isfinite(T).all():
        raise DataError(f'{path}: T_object_camera of view {name} must be 4x4 finite numbers')
    R = T[:3, :3]
    off = max(np.abs(R @ R.T - np.eye(3)).max(), np.abs(T[3] - [0, 0, 0, 1]).max())
    if off > 1e-4 or np.linalg.det(R) < 0:
        raise DataError(
            f'{path}: T_object_camera of view {name} is not rigid: a rotation without scale or '
            f'mirroring and the last row 0 0 0 1 are needed (off by {off:.2g})'
        )
    return PosedView(name, shown, T)
