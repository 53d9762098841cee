"""Pictures of a grasp trial."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from don_kp_ros.demo.judge import Judge


def end_of(path: Path) -> Path:
    """Return where the last picture of a trial lies, whose view has a path."""
    return path.with_suffix('.end.jpg')


class Pictures:
    """The camera's view before the grasp, and an animation of the arm or how it all ended."""

    def __init__(self, judge: Judge, path: Path, animated: bool = True) -> None:
        self._judge, self._animated = judge, animated
        self._view, self._animation = path.with_suffix('.png'), path.with_suffix('.gif')
        self._end = end_of(path)
        for file in (self._view, self._animation, self._end):
            file.unlink(missing_ok=True)  # an earlier run's must not pass for this one's
        self._scenes: Sequence[NDArray[np.uint8]] = ()

    def record(self) -> None:
        """Record the scene from now on."""
        self._judge.look()
        self._scenes = self._judge.record(None if self._animated else 1)

    def save_view(self) -> None:
        """Save the camera's view beside the heatmap with the chosen point."""
        if halves := self._judge.seen():
            Pillow.fromarray(np.concatenate(halves, axis=1)).save(self._view)

    def save(self) -> None:
        """Save what has been recorded."""
        self._judge.scenes = None
        if not self._view.exists():
            self.save_view()
        if not self._scenes:
            return
        if not self._animated:
            Pillow.fromarray(self._scenes[-1]).save(self._end)
            return
        # It takes a second, in which the next trial can begin.
        threading.Thread(target=self._animate, args=(self._scenes,)).start()

    def _animate(self, scenes: Sequence[NDArray[np.uint8]]) -> None:
        frames = [Pillow.fromarray(scene) for scene in scenes]
        palette = frames[len(frames) // 2].quantize(255)  # one for all: colours must not flicker
        first, *rest = (frame.quantize(palette=palette) for frame in frames)
        # Milliseconds: twice as fast as the simulation's spectator looks.
        first.save(self._animation, save_all=True, append_images=rest, duration=300, loop=0)
