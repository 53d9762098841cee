"""What perception does with an image over the backbone's forward pass alone.

`python -m benchmarks.perception`: a 640x480 view of simulated caps, the shipped model, one thread.
Timed in turn in one run, in processor time; a figure is the median of the ratios of neighbours.
The whole step finds 10 points of the cap and the poses of 2 objects of 64 points, and draws the
heatmap and the descriptor image. Detecting adds to it, for those who listen, what is said of these
points and objects under three names. Memory is the peak of a process that does the step or the
forward pass alone. REPEATS=50 takes more of them (20).
"""

from __future__ import annotations

import os
import resource
import sys
from functools import cached_property, partial
from multiprocessing import get_context
from typing import Any

import mujoco
import numpy as np
import torch

from benchmarks.report import Target, given, in_turn, report
from don_kp_ros.geometry.depth import DepthImage
from don_kp_ros.matching.candidates import find_candidates
from don_kp_ros.matching.detection import Nearest, detect
from don_kp_ros.matching.heatmap import heatmaps, match
from don_kp_ros.matching.maps import describe_at
from don_kp_ros.matching.pictures import DescriptorColours, heatmap_overlay
from don_kp_ros.matching.view import View
from don_kp_ros.networks.model import DescriptorModel
from don_kp_ros.pose.constellation import Constellation
from don_kp_ros.pose.instances import SIMILAR, find_instances
from don_kp_ros.pose.segmentation import object_mask, table_plane
from don_kp_ros.pose.symmetry import form_of
from don_kp_ros.pose.teaching import teach
from don_kp_ros.resources import shipped_model
from don_kp_ros.simulation.camera import D435, Frame, look_at, with_faults
from don_kp_ros.simulation.instances import UNSEEN
from don_kp_ros.simulation.renderer import Renderer
from don_kp_ros.simulation.scene import Layout, build

_SEED = 0
_POINTS, _MANY = 10, 500


class Step:
    """An image, and what perception does with it."""

    def __init__(self, taught: bool = True) -> None:
        """Draw the image, and teach the cap that it shows, as two objects, if that is asked."""
        torch.set_num_threads(1)
        self.model = DescriptorModel.load(shipped_model())
        layout = Layout.draw(_SEED, UNSEEN[_SEED])
        assert layout.subject is not None
        scene, _ = build(layout)
        data = mujoco.MjData(scene)
        mujoco.mj_forward(scene, data)
        place = layout.subject.pose[:3, 3]
        renderer = Renderer(scene)
        T = look_at(place + [-0.25, 0.1, 0.5], place)
        frame = with_faults(renderer.render(data, T), np.random.default_rng(_SEED))
        renderer.close()
        self.picture = frame.colour
        self.view = View(frame.depth.shape, DepthImage(frame.depth), D435)
        if taught:
            self._teach(frame)

    def _teach(self, frame: Frame) -> None:
        cells = self.model.describe(self.picture)
        mask = object_mask(frame.depth, D435, table_plane(self.view.points()), (320.0, 240.0))
        taught = teach(cells, self.view, mask, self.model.fingerprint).constellation
        self.objects: list[Constellation] = [taught, taught]
        self.form = form_of(taught)
        rng = np.random.default_rng(_SEED)
        v, u = rng.permutation(np.argwhere(mask))[:_MANY].T
        uv = torch.from_numpy(np.stack([u, v], axis=1).astype(np.float64))
        self.many = describe_at(cells, uv, self.view.size)
        parts = [self.many[:_POINTS], *(torch.tensor(one.descriptors) for one in self.objects)]
        self.owners = np.repeat([0, 1, 2], [len(part) for part in parts])
        self.queries, self.colours = torch.cat(parts), DescriptorColours()

    def forward(self) -> None:
        """Describe the image alone."""
        self.model.describe(self.picture)

    def whole(self) -> None:
        """Do what perception does with everything subscribed, but for messages and preference."""
        cells = self.model.describe(self.picture)
        least = torch.full((len(self.queries),), SIMILAR)
        least[:_POINTS] = self.model.match_threshold
        nearest = Nearest(self.owners)
        found = find_candidates(cells, self.queries, self.view, least, watch=nearest)
        first = _POINTS
        for one in self.objects:
            own = found.of(first, len(one.points))
            (pose, *_) = find_instances(one, cells, own, self.view, form=self.form)
            assert pose.refused is None, str(pose.refused)
            first += len(one.points)
        heatmap = heatmaps(cells, self.queries[:1], self.view.size)[0].numpy()
        heatmap_overlay(self.picture, heatmap, found.uv[0])
        self.colours(cells, self.view.size)
        self._detect(cells, nearest)

    def detecting(self) -> None:
        """Detect the objects, and what the points are of, once their cosines are known."""
        nearest = Nearest(self.owners)
        nearest(0, self.cosines)
        self._detect(self.cells, nearest)

    def _detect(self, cells: torch.Tensor, nearest: Nearest) -> None:
        threshold, similarity = self.model.match_threshold, nearest.similarity()
        assert detect(cells, self.queries, self.owners, similarity, threshold)

    def matching(self) -> None:
        """Find 500 points."""
        match(self.cells, self.many, self.view.size)

    @cached_property
    def cells(self) -> torch.Tensor:
        """The image's map."""
        return self.model.describe(self.picture)

    @cached_property
    def cosines(self) -> torch.Tensor:
        """Those of all points with the cells, which matching computes."""
        return torch.einsum('qd,dij->qij', self.queries, self.cells)


def _peak_mib(what: str) -> float:
    """Return the peak memory of a process that does something ten times, MiB."""
    step = Step(taught=what != 'forward')
    for _ in range(10):
        getattr(step, what)()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> int:
    """Run, print, write; 1 where a target is missed."""
    repeats = int(os.environ.get('REPEATS') or 20)
    step = Step()
    for act in (step.forward, step.whole, step.matching, step.detecting):
        act()  # warms up
    rows = []
    for name, act in (
        ('whole step: 10 points, 2 objects, pictures', step.whole),
        ('matching 500 points', step.matching),
        ('detecting 3 objects', step.detecting),
    ):
        alone, own, ratio = in_turn(step.forward, act, repeats)
        rows.append(_row(name, f'{1000 * alone:.1f} ms', f'{1000 * own:.1f} ms', ratio))
    with get_context('spawn').Pool(1, maxtasksperchild=1) as pool:
        peaks = [pool.apply(partial(_peak_mib, what)) for what in ('forward', 'whole')]
    forward, whole = (f'{peak:.0f} MiB' for peak in peaks)
    memory = _row('peak memory', forward, whole, peaks[1] / peaks[0])
    met = report(
        'perception',
        f'One image of 640x480, model {step.model.fingerprint}, one thread, processor seconds',
        [*rows, memory],
        [
            Target('whole step over the forward pass', rows[0]['ratio'], 1.2),
            Target('matching 500 points over the forward pass', rows[1]['ratio'], 0.6),
            Target('peak memory of the step over that of the forward pass', memory['ratio'], 1.1),
        ],
        _SEED,
        variables=given('REPEATS'),
    )
    return 0 if met else 1


def _row(what: str, forward: str, own: str, ratio: float) -> dict[str, Any]:
    return {'what': what, 'forward pass': forward, 'own': own, 'ratio': round(ratio, 3)}


if __name__ == '__main__':
    sys.exit(main())
