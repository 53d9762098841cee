"""The parameters of the perception node."""

from __future__ import annotations

import math
from dataclasses import dataclass

from don_kp_ros.geometry.depth import MILLIMETRE
from don_kp_ros.nodes.kit.parameters import parameter

_LOWEST_HZ = 0.001


@dataclass(frozen=True)
class PerceptionParameters:
    """What can be set; units in the descriptions."""

    model: str = parameter('', 'checkpoint file; empty: the model that ships with the package')
    autostart: bool = parameter(True, 'begin at once; false: wait for `ros2 lifecycle set`')
    device: str = parameter('cpu', 'where the network runs: cpu, cuda, cuda:1')
    threads: int = parameter(1, 'CPU threads of network and pictures; 0: as the libraries choose')
    match_threshold: float = parameter(
        -1.0, 'cosine similarity from which a point is found; negative: as the model says', True
    )
    pose_of: str = parameter(
        '', 'object whose pose is on don_kp/object_pose; empty: the first', True
    )
    preference_of: str = parameter(
        '', 'object on don_kp/preference; empty: that of the first stored point', True
    )
    preference_eta: float = parameter(
        0.1, 'cosine distance from a stored point at which the preference is 1/e', True
    )
    depth_window: int = parameter(
        5, 'odd side, in pixels, of the window of the median depth', True
    )
    depth_tolerance_s: float = parameter(
        0.015,
        'greatest difference of the stamps of colour and depth, seconds; less than half the time '
        'from image to image, or the depth may be of another one',
        True,
    )
    depth_unit_m: float = parameter(
        MILLIMETRE, 'metres of a count of a 16-bit depth image; 32FC1 is in metres (REP 118)', True
    )
    max_rate_hz: float = parameter(10.0, 'most images a second; 0: as many as can be', True)
    picture_rate_hz: float = parameter(
        5.0, 'most pictures a second that are drawn for viewers; 0: as many as can be', True
    )
    refine_rate_hz: float = parameter(
        0.5, 'most refinements a second of objects that have a mesh; 0: none', True
    )
    heatmap_of: str = parameter('', 'name whose heatmap is drawn; empty: the first', True)
    robot: str = parameter('panda', 'preset in config/robots, or file: where its camera sits')
    camera_mount: str = parameter(
        'none', 'hand: tell on /tf_static that the camera sits there; none: somebody else tells'
    )

    def __post_init__(self) -> None:
        if self.camera_mount not in ('hand', 'none'):
            raise ValueError(f"camera_mount is '{self.camera_mount}'; allowed are hand and none")
        if self.threads < 0:
            raise ValueError(f'threads is {self.threads}; 0 or more are allowed')
        if not 0 < self.preference_eta < math.inf:
            raise ValueError(f'preference_eta is {self.preference_eta}; it must be above 0')
        if self.match_threshold > 1:
            raise ValueError(f'match_threshold is {self.match_threshold}; at most 1 is allowed')
        if self.depth_window < 1 or self.depth_window % 2 == 0:
            raise ValueError(f'depth_window is {self.depth_window}; odd numbers are allowed')
        if not 0 < self.depth_unit_m <= 0.01:
            raise ValueError(
                f'depth_unit_m is {self.depth_unit_m}; allowed is above 0, up to 0.01 m'
            )
        if not 0 <= self.depth_tolerance_s < math.inf:
            raise ValueError(
                f'depth_tolerance_s is {self.depth_tolerance_s}; 0 or more is allowed'
            )
        for name in ('max_rate_hz', 'picture_rate_hz', 'refine_rate_hz'):
            rate = getattr(self, name)
            if rate != 0 and not _LOWEST_HZ <= rate < math.inf:
                raise ValueError(f'{name} is {rate}; allowed are 0 and from {_LOWEST_HZ} on')
