"""Depth along the optical axis, metres, float32, NaN where there is none (REP 118)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

MILLIMETRE = 1e-3  # metres; the unit of a 16-bit depth image, unless something else is said


@dataclass(frozen=True)
class DepthImage:
    """A depth image in its raw form; it is converted to metres only where it is read.

    raw (H, W): uint16 counts of ``unit`` metres, or float32 metres. 0, negative, NaN and infinite
    values are none. Raises ValueError for any other array or unit.
    """

    raw: NDArray[np.uint16] | NDArray[np.float32]
    unit: float = MILLIMETRE  # metres, of a count

    def __post_init__(self) -> None:
        if self.raw.ndim != 2 or self.raw.dtype not in (np.uint16, np.float32):
            raise ValueError(
                f'depth is {self.raw.dtype} of shape {self.raw.shape}; (H, W) of 16-bit counts or '
                'of float metres is expected'
            )
        if not 0 < self.unit <= 1:
            raise ValueError(f'the unit of depth is {self.unit} m; allowed is above 0, up to 1 m')

    @property
    def shape(self) -> tuple[int, int]:
        """The size (H, W), pixels."""
        height, width = self.raw.shape
        return height, width

    def metres(
        self, rows: slice = slice(None), columns: slice = slice(None)
    ) -> NDArray[np.float32]:
        """Convert some rows and columns, or all: (h, w) metres, NaN where there is none."""
        return self._converted(self.raw[rows, columns])

    def _converted(self, raw: NDArray[np.uint16] | NDArray[np.float32]) -> NDArray[np.float32]:
        # In double precision: 750 mm are .75 m, and no bit more.
        depth = (raw * self.unit if raw.dtype == np.uint16 else raw).astype(np.float32)
        with np.errstate(invalid='ignore'):
            depth[~((depth > 0) & np.isfinite(depth))] = np.nan
        return depth

    def medians(self, uv: ArrayLike, window: int = 5) -> NDArray[np.float32]:
        """Return the median of the valid depths in a window about each pixel, metres.

        A single pixel of a stereo camera is unreliable: it may be a hole or a flying pixel.
        uv (K, 2) pixels; ``window`` is the odd side of the window in pixels. Returns (K,), NaN
        where there is none.
        """
        u, v = np.rint(np.asarray(uv, dtype=np.float64)).astype(np.int64).reshape(-1, 2).T
        steps = np.arange(window) - window // 2
        rows, columns = (v[:, None] + steps)[:, :, None], (u[:, None] + steps)[:, None]
        height, width = self.shape
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        patches = self._converted(self.raw[rows.clip(0, height - 1), columns.clip(0, width - 1)])
        patches[~inside] = np.nan
        patches = patches.reshape(len(u), window**2)
        patches.sort(axis=1)  # NaN comes last
        count = np.isfinite(patches).sum(axis=1)
        every = np.arange(len(u))
        lower, upper = patches[every, np.maximum(count - 1, 0) // 2], patches[every, count // 2]
        return (lower + upper) / 2

    def median(self, uv: ArrayLike, window: int = 5) -> float:
        """Return that of one pixel; see `medians`."""
        return float(self.medians(np.reshape(uv, (1, 2)), window)[0])
