"""Procedural objects on the table: caps of a crown and a brim; a mug, a can, a bottle, a box.

An object's frame lies at the middle of its base: x forward (a cap's brim), z up, metres. Every
object is drawn by textured meshes and collides as convex pieces: a concave mesh would collide as
its convex hull.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from don_kp_ros.simulation import textures
from don_kp_ros.simulation.shapes import (
    BUTTON,
    HANDLE_RADIUS,
    RECESS,
    BottleShape,
    BoxShape,
    CanShape,
    CapShape,
    MugShape,
    cap_rng,
)

Array = NDArray[np.float64]

DRAWN, COLLIDING = 2, 3  # geom groups: the renderer shows the first, contacts use the second
_ONLY_DRAWN = {'contype': 0, 'conaffinity': 0, 'mass': 0, 'group': DRAWN}


def add_cap(spec: mujoco.MjSpec, body: mujoco.MjsBody, instance: int) -> CapShape:
    """Add cap number ``instance`` to a body and return its measures.

    Shape, colours and print are a function of the number alone.
    """
    rng = cap_rng(instance)
    shape = CapShape.draw(rng)
    base, accent = textures.colour(rng), textures.colour(rng)
    brim_base = base if rng.random() < 0.5 else accent

    azimuth, elevation = np.meshgrid(
        np.linspace(-np.pi, np.pi, 49), np.linspace(np.pi / 2, 0, 17), indexing='xy'
    )
    dome = shape.crown(azimuth, elevation)
    add_drawn(spec, body, 'crown', dome, textures.crown(rng, base, accent))
    add_hull(spec, body, 'crown', dome[::2, ::3].reshape(-1, 3), mass=0.07)

    root = -0.45 * shape.length / shape.brim_length
    stations = np.concatenate([np.linspace(root, 0.65, 8), np.linspace(0.72, 1.0, 8)])
    along, across = np.meshgrid(stations, np.linspace(-1, 1, 17), indexing='ij')
    upper = shape.brim(along, across)
    lower = upper - [0, 0, shape.thickness]
    # Drawn as a tube that runs across the upper side and back below it.
    tube = np.concatenate([upper, lower[:, ::-1], upper[:, :1]], axis=1)
    add_drawn(spec, body, 'brim', tube, textures.brim(rng, brim_base, accent), tube=True)
    along, across = np.meshgrid([root, 0.0, 0.35, 0.65, 0.9], np.linspace(-1, 1, 6), indexing='ij')
    upper = shape.brim(along, across)
    corners = np.stack([upper, upper - [0, 0, shape.thickness]])
    for i in range(4):
        for j in range(5):
            piece = corners[:, i : i + 2, j : j + 2].reshape(-1, 3)
            add_hull(spec, body, f'brim_{i}_{j}', piece, mass=0.03 / 20)

    body.add_geom(
        name=f'{body.name}/button',
        type=mujoco.mjtGeom.mjGEOM_ELLIPSOID,
        size=BUTTON,
        pos=[0, 0, shape.height],
        rgba=[*(accent / 255), 1],
        **_ONLY_DRAWN,
    )
    return shape


def add_mug(spec: mujoco.MjSpec, body: mujoco.MjsBody, rng: np.random.Generator) -> None:
    """Add a mug with a handle."""
    shape = MugShape.draw(rng)
    radius, height, wall = shape.radius, shape.height, 0.004
    profile = np.array(
        [
            [radius, 0],
            [radius, height],
            [radius - wall, height],
            [radius - wall, wall],
            [0, wall],
        ]
    )
    add_drawn(spec, body, 'mug', revolve(profile), textures.label(rng, (256, 512)))
    add_cylinder(body, radius, height)
    knots = shape.handle
    rgba = [*(textures.colour(rng) / 255), 1]
    for a, b in zip(knots[:-1], knots[1:], strict=True):
        body.add_geom(
            type=mujoco.mjtGeom.mjGEOM_CAPSULE,
            fromto=[*a, *b],
            size=[HANDLE_RADIUS, 0, 0],
            rgba=rgba,
            mass=0.002,
            group=DRAWN,
        )


def add_can(spec: mujoco.MjSpec, body: mujoco.MjsBody, rng: np.random.Generator) -> None:
    """Add a can."""
    shape = CanShape.draw(rng)
    radius, height = shape.radius, shape.height
    profile = np.array(
        [
            [radius * 0.9, 0],
            [radius, 0.005],
            [radius, height - 0.006],
            [radius * 0.85, height],
            [radius * 0.8, height - RECESS],
            [0, height - RECESS],
        ]
    )
    add_drawn(spec, body, 'can', revolve(profile), textures.label(rng, (256, 512)))
    add_cylinder(body, radius, height)


def add_bottle(spec: mujoco.MjSpec, body: mujoco.MjsBody, rng: np.random.Generator) -> None:
    """Add a bottle with a neck and a printed label."""
    shape = BottleShape.draw(rng)
    radius, height, neck, shoulder = shape.radius, shape.height, shape.neck, shape.shoulder
    profile = np.array(
        [
            [0.85 * radius, 0],
            [radius, 0.006],
            [radius, shoulder],
            [0.8 * radius, shoulder + 0.3 * (0.8 * height - shoulder)],
            [neck, 0.8 * height],
            [neck, height],
            [0, height],
        ]
    )
    add_drawn(spec, body, 'bottle', revolve(profile), textures.label(rng, (384, 512)))
    for part, rings, mass in (('body', profile[:5], 0.19), ('neck', profile[4:6], 0.01)):
        add_hull(spec, body, part, revolve(rings)[:, :-1].reshape(-1, 3), mass)


def add_box(spec: mujoco.MjSpec, body: mujoco.MjsBody, rng: np.random.Generator) -> None:
    """Add a printed box."""
    shape = BoxShape.draw(rng)
    texture = add_texture(spec, f'{body.name}/box', textures.label(rng, (256, 256)))
    body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=[shape.x, shape.y, shape.z],
        pos=[0, 0, shape.z],
        material=texture,
        mass=0.2,
        group=DRAWN,
    )


Adder = Callable[[mujoco.MjSpec, mujoco.MjsBody, np.random.Generator], None]
DISTRACTORS: tuple[Adder, ...] = (add_mug, add_can, add_box)


def revolve(profile: Array, steps: int = 33) -> Array:
    """Turn a profile (n, 2) of radius and height about z: (n, steps, 3), bottom outside first."""
    angle = np.linspace(-np.pi, np.pi, steps)
    r, z = profile[::-1, :1], profile[::-1, 1:]
    return np.stack(
        [r * np.cos(angle), r * np.sin(angle), np.broadcast_to(z, (len(r), steps))], axis=-1
    )


def add_texture(spec: mujoco.MjSpec, name: str, picture: textures.Picture) -> str:
    """Add a picture as a texture and a material of the same name; return the name."""
    height, width, _ = picture.shape
    texture = spec.add_texture(
        name=name, type=mujoco.mjtTexture.mjTEXTURE_2D, width=width, height=height, nchannel=3
    )
    texture.data = np.ascontiguousarray(picture).tobytes()
    material = spec.add_material(name=name, specular=0.1, shininess=0.2)
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name
    return name


def add_drawn(
    spec: mujoco.MjSpec,
    body: mujoco.MjsBody,
    name: str,
    grid: Array,
    picture: textures.Picture,
    tube: bool = False,
) -> None:
    """Add a surface that is drawn but does not collide.

    ``grid`` (n, m, 3): the points of the surface, seen from outside rows go down and columns to
    the right; the picture is spread over it, or (``tube``) over the first half of its columns.
    """
    n, m, _ = grid.shape
    rows, columns = np.meshgrid(np.arange(n), np.arange(m), indexing='ij')
    u = columns / (m - 1)
    if tube:
        u = np.clip(2 * columns / (m - 2), 0, 1)
    texcoord = np.stack([u, rows / (n - 1)], axis=-1)  # MuJoCo counts rows from the top
    i = (rows * m + columns)[:-1, :-1].ravel()
    faces = np.concatenate(
        [np.stack([i, i + m, i + m + 1], axis=-1), np.stack([i, i + m + 1, i + 1], axis=-1)]
    )
    corners = grid.reshape(-1, 3)[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    faces = faces[np.linalg.norm(normal, axis=1) > 1e-12].ravel()
    name = f'{body.name}/{name}'
    texture = {'usertexcoord': texcoord.ravel(), 'userfacetexcoord': faces}
    looks = {'material': add_texture(spec, name, picture)}
    add_mesh(spec, body, name, looks, uservert=grid.ravel(), userface=faces, **texture)


def add_mesh(
    spec: mujoco.MjSpec, body: mujoco.MjsBody, name: str, looks: dict[str, Any], **mesh: Any
) -> None:
    """Add a mesh that is drawn but does not collide; ``looks``: its rgba or material."""
    shell = mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL
    spec.add_mesh(name=name, inertia=shell, **mesh)
    kind = mujoco.mjtGeom.mjGEOM_MESH
    body.add_geom(name=name, type=kind, meshname=name, **looks, **_ONLY_DRAWN)


def add_hull(
    spec: mujoco.MjSpec, body: mujoco.MjsBody, name: str, points: Array, mass: float
) -> None:
    """Add an invisible solid, the convex hull of points (n, 3), that things collide with."""
    name = f'{body.name}/{name}_solid'
    spec.add_mesh(name=name, uservert=points.ravel())
    body.add_geom(
        name=name,
        type=mujoco.mjtGeom.mjGEOM_MESH,
        meshname=name,
        mass=mass,
        friction=[0.9, 0.005, 0.0001],
        group=COLLIDING,
    )


def add_cylinder(body: mujoco.MjsBody, radius: float, height: float) -> None:
    """Add an invisible upright cylinder of 0.2 kg that things collide with."""
    body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_CYLINDER,
        size=[radius, height / 2, 0],
        pos=[0, 0, height / 2],
        mass=0.2,
        group=COLLIDING,
    )
