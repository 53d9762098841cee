"""What every format says of pictures: which objects are marked in them, and where."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.data.picture_file import DataError, PictureFile, list_images
from don_kp_ros.geometry.camera import Camera
from don_kp_ros.pose.segmentation import Mask


@dataclass(frozen=True)
class Mark:
    """One object that is marked in a picture.

    name: of its class, '' where the format has none; number: of its class, or, without a name, of
    the mark; draw: makes the mask (H, W); crowd: of several objects that are not told apart;
    T_camera_object (4, 4): its pose, metres.
    """

    name: str
    number: int | None
    draw: Callable[[], Mask]
    crowd: bool = False
    T_camera_object: NDArray[np.float64] | None = None

    def is_called(self, text: str) -> bool:
        """Tell whether a text is its name or number."""
        return bool(text) and text in (self.name, '' if self.number is None else str(self.number))

    @property
    def told(self) -> str:
        """Its name and number, as a message tells them."""
        number = '' if self.number is None else str(self.number)
        return f'{self.name} ({number})' if self.name and number else self.name or number


@dataclass(frozen=True)
class Shot:
    """How a picture was taken: its camera, and its depth (H, W), metres, NaN for none."""

    camera: Camera
    depth: NDArray[np.float32]


@dataclass(frozen=True)
class Marked:
    """A picture and what is marked in it.

    name: the stem of its files; size (H, W): of the picture that was annotated, if the format says
    so; upright: whether that was turned as its EXIF tag says; none: the size must tell.
    """

    name: str
    open: Callable[[], PictureFile]
    marks: tuple[Mark, ...]
    size: tuple[int, int] | None = None
    upright: bool | None = None
    shot: Callable[[], Shot] | None = None


class Pictures:
    """Finds the pictures that annotations name, in some folders and those in them."""

    def __init__(self, *folders: Path, without: Sequence[Path] = ()) -> None:
        """without: folders in them whose pictures are masks."""
        self.folders, self._without = folders, without

    def __iter__(self) -> Iterator[Path]:
        return iter(self._all)

    @cached_property
    def _all(self) -> list[Path]:
        left_out = {path.resolve() for path in self._without}
        every = [
            inner
            for folder in self.folders
            for inner in (folder, *sorted(path for path in folder.rglob('*') if path.is_dir()))
            if inner.resolve() not in left_out
        ]
        return [path for folder in every for path in list_images(folder)]

    def outside(self, *without: Path) -> Pictures:
        """Leave out what lies in some folders."""
        return Pictures(*self.folders, without=(*self._without, *without))

    def opener(self, name: str, source: Path, stem: bool = False) -> Callable[[], PictureFile]:
        """Return what finds and opens the picture that a source names; it raises DataError."""
        find = self.of_stem if stem else self.named
        return lambda: PictureFile.open(find(name, source))

    def named(self, name: str, source: Path) -> Path:
        """Find the picture that a source names; raises DataError for none or several.

        The longest end of the path counts: of a/0.jpg and b/0.jpg, `b/0.jpg` is the second.
        """
        every = name.replace('\\', '/').split('/')
        parts = [part for part in every if part not in ('', '.', '..')]
        if not parts:
            raise DataError(f'{source}: a picture has no name')
        return self._only(_longest(self._by_name.get(parts[-1], []), parts), name, source)

    def of_stem(self, stem: str, source: Path) -> Path:
        """Find the picture with a stem; raises DataError for none or several."""
        return self._only(self._by_stem.get(stem, []), stem, source)

    @cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        return _grouped((path.name, path) for path in self)

    @cached_property
    def _by_stem(self) -> dict[str, list[Path]]:
        return _grouped((path.stem, path) for path in self)

    def _only(self, found: list[Path], name: str, source: Path) -> Path:
        if len(found) == 1:
            return found[0]
        where = ' and '.join(map(str, self.folders))
        if not found:
            raise DataError(
                f'{source}: names the picture {name}, which does not lie in {where}; say where '
                'pictures lie by --pictures FOLDER'
            )
        raise DataError(
            f'{source}: names the picture {name}, which may be '
            f'{" or ".join(map(str, found[:4]))}; say by --pictures FOLDER which folder counts'
        )


def _grouped(named: Iterable[tuple[str, Path]]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for name, path in named:
        found.setdefault(name, []).append(path)
    return found


def _longest(found: list[Path], parts: list[str]) -> list[Path]:
    """Keep the paths that share the most of their ends with a path's parts."""
    for count in range(2, len(parts) + 1):
        nearer = [path for path in found if list(path.parts[-count:]) == parts[-count:]]
        if not nearer:
            break
        found = nearer
    return found
