"""A mesh with a print."""

from pathlib import Path

import cv2
import numpy as np
import trimesh
from PIL import Image


def printed_box(file: Path, rng: np.random.Generator) -> None:
    """Write a box of 12 x 8 x 5 cm about its middle, with a coarse print."""
    box = trimesh.creation.box([0.12, 0.08, 0.05])
    corners = np.asarray(box.vertices)[box.faces].reshape(-1, 3)
    box = trimesh.Trimesh(corners, np.arange(36).reshape(-1, 3), process=False)
    texture = cv2.resize(rng.integers(0, 255, (12, 12, 3), dtype=np.uint8), (192, 192))
    uv = corners[:, :2] * 3 + corners[:, 2:] * [1.7, 0.9] + 0.5
    box.visual = trimesh.visual.TextureVisuals(
        uv, trimesh.visual.material.SimpleMaterial(image=Image.fromarray(texture))
    )
    box.export(file)
