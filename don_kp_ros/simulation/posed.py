"""Rendered posed views of objects on tables: `don_kp render FOLDER`.

Every view is a new scene: the object stands elsewhere on a new table, among things of other kinds,
in new light. The views share only the object's frame, and the poses are given in it (docs/data.md,
`don_kp_ros.data.posed`). The colours have the camera's noise; the depth is exact.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import mujoco
import numpy as np
from numpy.typing import NDArray

from don_kp_ros.configuration import Range
from don_kp_ros.data.folder import INDEX, DataError, list_images, write_image
from don_kp_ros.data.index_file import camera_entry, read_json
from don_kp_ros.data.posed import FORMAT, PosedView, write_depth, write_index
from don_kp_ros.geometry import rigid
from don_kp_ros.simulation import meshes, objects
from don_kp_ros.simulation.camera import D435, Frame, is_whole, look_at, with_faults
from don_kp_ros.simulation.instances import TRAINING, VALIDATION
from don_kp_ros.simulation.kinds import BUILT_IN, add_object, shape_of
from don_kp_ros.simulation.renderer import StillScene
from don_kp_ros.simulation.rendering import render_all
from don_kp_ros.simulation.scene import SUBJECT, Layout, add_body, build

Array = NDArray[np.float64]

SMALLEST = 400  # pixels of the object in a view
_SHOTS, _SCENES = 25, 4  # attempts
_GAP = 0.001  # metres between table and mesh: a flat mesh would coincide with the table's top


@dataclass(frozen=True)
class Subject:
    """The object to show: a built-in kind with the number of its instance, or a mesh file."""

    kind: str
    instance: int = 0
    size: float | None = None  # metres, of a mesh
    up: str | None = None  # axis of a mesh

    @property
    def name(self) -> str:
        """Its name in the index."""
        return f'{self.kind}-{self.instance}' if self.kind in BUILT_IN else Path(self.kind).stem

    @property
    def mesh(self) -> meshes.Mesh | None:
        """The mesh of the file; None for a built-in kind; raises DataError."""
        return None if self.kind in BUILT_IN else _mesh(self.kind, self.size, self.up)

    @property
    def description(self) -> str:
        """A description of the file's mesh; raises DataError."""
        mesh = self.mesh
        if mesh is None:
            return self.name
        x, y, z = mesh.size
        text = f'{self.kind}: {x:.3f} x {y:.3f} x {z:.3f} m, {mesh.look}'
        return text if 'textured' in mesh.look else f'{text}; it has no texture'

    @property
    def points(self) -> dict[str, Array]:
        """Its named points (3,) in its frame, metres; those of a mesh have no names."""
        return shape_of(self.kind, self.instance).points if self.kind in BUILT_IN else {}

    def add(self, spec: mujoco.MjSpec, body: mujoco.MjsBody) -> None:
        """Add it to a body; its looks and measures depend only on the number."""
        mesh = self.mesh
        if mesh is not None:
            meshes.add(spec, body, mesh)
        else:
            add_object(spec, body, self.kind, self.instance)


@functools.lru_cache(maxsize=8)  # as many as a scene may have, and more
def _mesh(file: str, size: float | None, up: str | None) -> meshes.Mesh:
    return meshes.load(Path(file), size, up)


@dataclass(frozen=True)
class Viewpoints:
    """Ranges of the camera's position about the object, each drawn uniformly."""

    tilt: Range = (0.0, 60.0)  # degrees between the line of sight and the vertical
    distance: Range = (0.4, 0.8)  # metres from the object's middle
    roll: Range = (-180.0, 180.0)  # degrees about the line of sight; 0: upright
    shift: float = 0.2  # of the object off the picture's middle, fraction of its half height

    def draw(self, middle: Array, rng: np.random.Generator) -> Array:
        """Draw `T_world_optical` (4, 4) of a camera that looks near a point (3,)."""
        tilt, roll = np.deg2rad(rng.uniform(*self.tilt)), np.deg2rad(rng.uniform(*self.roll))
        around, distance = rng.uniform(-np.pi, np.pi), rng.uniform(*self.distance)
        outward = np.array([np.cos(around), np.sin(around), 0.0])
        sight = np.array([0.0, 0.0, np.cos(tilt)]) + np.sin(tilt) * outward
        upright = np.array([0.0, 0.0, np.sin(tilt)]) - np.cos(tilt) * outward
        T_world_optical = look_at(middle + distance * sight, middle, upright)
        T_world_optical[:3, :3] @= rigid.rotation_about([0, 0, 1], roll)
        aside = rng.uniform(-1, 1, 2) * self.shift * D435.height / 2 * distance / D435.fx
        T_world_optical[:3, 3] += T_world_optical[:3, :2] @ aside
        return T_world_optical


@dataclass(frozen=True)
class Shot:
    """A view of a scene: exact images, the object's mask (H, W), and the poses (4, 4)."""

    frame: Frame
    mask: NDArray[np.bool_]
    T_world_optical: Array
    T_world_object: Array

    @property
    def T_object_camera(self) -> Array:
        """Maps points from the camera's optical frame to the object's."""
        return rigid.inverse(self.T_world_object) @ self.T_world_optical


class Stage(StillScene):
    """A scene of an object (or of none) among up to three others, and its renderer."""

    def __init__(
        self, subject: Subject | None, rng: np.random.Generator, absent: Collection[str] = ()
    ) -> None:
        """Draw a scene; no other object is of the subject's kind, or of one that is `absent`."""
        kinds = [kind for kind in BUILT_IN if kind not in absent]
        instances = TRAINING
        if subject is not None:
            kinds = [kind for kind in kinds if kind != subject.kind]
            instances = VALIDATION if subject.instance in VALIDATION else TRAINING
        count = int(rng.integers(4)) if kinds else 0
        layout = Layout.draw(int(rng.integers(2**62)), 0, distractors=count)
        assert layout.subject is not None
        spec = mujoco.MjSpec()
        place, distractors = layout.subject, layout.distractors
        self.T_world_object = place.pose
        if subject is not None:
            if subject.mesh is not None:
                self.T_world_object[2, 3] = _GAP
                clear = meshes.radius(subject.mesh) + 0.06
                distractors = tuple(
                    other
                    for other in distractors
                    if np.hypot(other.x - place.x, other.y - place.y) > clear
                )
            subject.add(spec, add_body(spec, SUBJECT, self.T_world_object))
        for number, other in enumerate(distractors):
            thing = Subject(str(rng.choice(kinds)), int(rng.choice(instances)))
            thing.add(spec, add_body(spec, f'other_{number}', other.pose))
        model, _ = build(replace(layout, subject=None, distractors=()), spec)
        super().__init__(model, None if subject is None else SUBJECT)

    @property
    def middle(self) -> Array:
        """The middle of the object's bounding box in the world, (3,); without one its place."""
        if self.subject is None:
            return np.array(self.T_world_object[:3, 3])
        body = self.model.body(SUBJECT).id
        corners = []
        for geom in np.flatnonzero(self.model.geom_bodyid == body):
            if self.model.geom_group[geom] != objects.DRAWN:
                continue
            centre, half = self.model.geom_aabb[geom].reshape(2, 3)
            signs = np.stack(np.meshgrid(*[[-1, 1]] * 3), axis=-1).reshape(-1, 3)
            T = rigid.transform(self.data.geom_xmat[geom].reshape(3, 3), self.data.geom_xpos[geom])
            corners.append(rigid.apply(T, centre + signs * half))
        every = np.concatenate(corners)
        return np.asarray((every.min(axis=0) + every.max(axis=0)) / 2)

    def shoot(self, T_world_optical: Array) -> Shot:
        """Take the view from a camera pose (4, 4)."""
        frame, mask = self.render(T_world_optical), self.mask(T_world_optical)
        return Shot(frame, mask, T_world_optical, self.T_world_object)

    def find(self, viewpoints: Viewpoints, rng: np.random.Generator) -> Shot | None:
        """Draw views until one shows the whole object large enough; None if none does."""
        for _ in range(_SHOTS):
            T_world_optical = viewpoints.draw(self.middle, rng)
            mask = self.mask(T_world_optical)
            if not is_whole(mask) or mask.sum() < SMALLEST:
                continue
            frame = self.render(T_world_optical)
            shot = Shot(frame, mask, T_world_optical, self.T_world_object)
            if np.isfinite(shot.frame.depth[mask]).all():
                return shot
        return None


def take(subject: Subject, viewpoints: Viewpoints, rng: np.random.Generator) -> Shot:
    """Draw a scene of an object and a view of it; raises DataError if no view shows it."""
    for _ in range(_SCENES):
        with Stage(subject, rng) as stage:
            shot = stage.find(viewpoints, rng)
        if shot is not None:
            return shot
    raise DataError(
        f'{subject.kind}: in {_SCENES * _SHOTS} views none shows it whole, with {SMALLEST} pixels '
        'or more; change --distance or --tilt, or --size of a mesh'
    )


def render(
    folder: Path,
    subjects: list[Subject],
    views: int,
    negatives: int,
    seed: Sequence[int],
    viewpoints: Viewpoints,
    workers: int,
) -> None:
    """Render views, of the objects in turn, and pictures without them; raises DataError.

    Pictures without them show no object of their kinds. Until all are there, the index lists no
    view: so nobody takes them for plain pictures, or for those that are written over.
    """
    for subject in subjects:
        _ = subject.mesh  # read once here, to fail before anything is written
    refuse_leftovers(folder, views, negatives)
    names = [f'{i:06d}' for i in range(views)]
    for name in ('rgbs', 'masks', 'depths', 'negatives'):
        (folder / name).mkdir(parents=True, exist_ok=True)
    write_index(folder, D435, [])
    shown = [subjects[i % len(subjects)] for i in range(views)]
    jobs: list[tuple[Callable[..., object], tuple[object, ...]]] = [
        (_render_view, (folder, name, subject, viewpoints, [*seed, 4, i]))
        for i, (name, subject) in enumerate(zip(names, shown, strict=True))
    ]
    kinds = {subject.kind for subject in subjects}
    jobs += [
        (_render_negative, (folder, f'{i:06d}', kinds, viewpoints, [*seed, 5, i]))
        for i in range(negatives)
    ]
    found = [view for view in render_all(jobs, workers) if isinstance(view, PosedView)]
    points = {subject.name: subject.points for subject in subjects if subject.points}
    write_index(folder, D435, found, points)


def refuse_leftovers(folder: Path, views: int, negatives: int) -> None:
    """Raise DataError for pictures that no rendering made, or that this one would leave there."""
    rendered = _is_rendering(folder)
    for part, suffix, number in (
        ('rgbs', 'jpg', views),
        ('masks', 'png', views),
        ('depths', 'png', views),
        ('negatives', 'jpg', negatives),
    ):
        written = {f'{i:06d}.{suffix}' for i in range(number)} if rendered else set[str]()
        if old := [path for path in list_images(folder / part) if path.name not in written]:
            why = 'which would not be written over' if rendered else 'which no rendering made'
            raise DataError(f'{old[0]}: an earlier picture, {why}; give an empty folder')


def _is_rendering(folder: Path) -> bool:
    """Tell whether the folder's index, of an interrupted rendering too, has the camera of here."""
    if not (folder / INDEX).exists():
        return False
    content = read_json(folder / INDEX, FORMAT, 'posed views')
    return bool(content.get('camera') == camera_entry(D435))


def draw_subjects(kinds: Sequence[str], count: int, seed: int, instances: range) -> list[Subject]:
    """Draw that many different objects, of the kinds in turn."""
    numbers = np.random.default_rng([seed, 6]).choice(instances, count, replace=False)
    return [Subject(kinds[i % len(kinds)], int(number)) for i, number in enumerate(numbers)]


def _render_view(
    folder: Path, name: str, subject: Subject, viewpoints: Viewpoints, seed: list[int]
) -> PosedView:
    rng = np.random.default_rng(seed)
    shot = take(subject, viewpoints, rng)
    write_image(folder / 'rgbs' / f'{name}.jpg', with_faults(shot.frame, rng).colour)
    write_image(folder / 'masks' / f'{name}.png', shot.mask.astype(np.uint8) * 255)
    write_depth(folder / 'depths' / f'{name}.png', shot.frame.depth)
    return PosedView(name, subject.name, shot.T_object_camera)


def _render_negative(
    folder: Path, name: str, kinds: Collection[str], viewpoints: Viewpoints, seed: list[int]
) -> None:
    rng = np.random.default_rng(seed)
    with Stage(None, rng, absent=kinds) as stage:
        shot = stage.shoot(viewpoints.draw(stage.middle, rng))
    write_image(folder / 'negatives' / f'{name}.jpg', with_faults(shot.frame, rng).colour)
