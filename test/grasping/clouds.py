"""Point clouds of simple things on a table, as a camera straight above sees them."""

import numpy as np


def seen(height, generator, centre=(0.5, 0.0), half=0.16, step=0.001, noise=0.0015, holes=0.05):
    """Sample height(x, y) on pixels 1 mm apart, with noise along z and missing pixels."""
    axis = np.arange(-half, half, step)
    x, y = np.meshgrid(centre[0] + axis, centre[1] + axis, indexing='ij')
    points = np.stack((x, y, height(x, y)), axis=-1).reshape(-1, 3)
    points[:, 2] += generator.normal(0.0, noise, len(points))
    return points[generator.random(len(points)) > holes]


def turned(x, y, centre, yaw):
    """Return coordinates along and across a direction, from a centre."""
    dx, dy = x - centre[0], y - centre[1]
    return dx * np.cos(yaw) + dy * np.sin(yaw), -dx * np.sin(yaw) + dy * np.cos(yaw)


def box(centre, yaw, size):
    def height(x, y):
        a, b = turned(x, y, centre, yaw)
        return np.where((np.abs(a) <= size[0] / 2) & (np.abs(b) <= size[1] / 2), size[2], 0.0)

    return height


def cap(centre, yaw, radius=0.06, crown=0.06, width=0.062, length=0.05, arch=0.024, edge=0.010):
    """Make a dome and an arched tongue in front of it, along yaw."""

    def height(x, y):
        a, b = turned(x, y, centre, yaw)
        r2 = (a**2 + b**2) / radius**2
        dome = np.where(r2 < 1, crown * np.sqrt(np.clip(1 - r2, 0, 1)), 0.0)
        tongue = (a > 0) & (a < radius + length) & (np.abs(b) <= width / 2)
        arched = edge + (arch - edge) * (1 - (2 * b / width) ** 2)
        return np.maximum(dome, np.where(tongue, arched, 0.0))

    return height


def brim(centre, yaw, radius=0.06, length=0.05, arch=0.024):
    """Return the middle of the cap's tongue."""
    a = radius + length / 2
    return np.array([centre[0] + a * np.cos(yaw), centre[1] + a * np.sin(yaw), arch])
