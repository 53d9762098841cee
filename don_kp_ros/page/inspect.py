"""Serve the page of two pictures."""

from __future__ import annotations

from pathlib import Path

from don_kp_ros.networks.model import DescriptorModel
from don_kp_ros.page.canvas import Canvas, Picture, Stamp
from don_kp_ros.page.channel import Channel
from don_kp_ros.page.inspect_page import LEFT, RIGHT, root
from don_kp_ros.page.inspection import Inspection
from don_kp_ros.page.server import serve
from don_kp_ros.resources import shipped_model


def inspect(
    path_a: Path, path_b: Path, model: Path | None, device: str, host: str, port: int
) -> None:
    """Serve until a signal comes; model: None for the shipped one.

    Raises CheckpointError, DataError or OSError for files that cannot be read, and RefusedError
    where nobody can be served.
    """
    inspection = Inspection(path_a, path_b, DescriptorModel.load(model or shipped_model(), device))
    left, right = Canvas(), Canvas()
    left.show(Picture(Stamp(0, 0), inspection.left))
    right.show(Picture(Stamp(0, 0), inspection.right))
    channels = {LEFT: Channel(left), RIGHT: Channel(right)}
    serve(root(inspection, left, right), channels, 'don_kp inspect', host, port)
