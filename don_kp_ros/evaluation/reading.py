"""Reads pictures to measure on; a broken one is an error, or is left out and named."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from don_kp_ros.data.folder import DataError, Image, ImageFolder, Sample, read_sample
from don_kp_ros.data.mask_check import MaskCheck
from don_kp_ros.data.mask_options import MaskOptions
from don_kp_ros.data.picture_file import read_image
from don_kp_ros.data.posed import PosedFolder, PosedSample
from don_kp_ros.data.scenes import Scene, SceneFolder
from don_kp_ros.data.source import prepare_background
from don_kp_ros.evaluation.pairs import SIDE

_MOST_BACKGROUNDS = 64


@dataclass
class Reader:
    """Reads pictures: a broken one is a DataError, or left out and named in `skipped`.

    say: is told what a user should know of what is read.
    """

    skip_broken: bool = False
    masks: MaskOptions = field(default_factory=MaskOptions)
    say: Callable[[str], None] = lambda line: None
    skipped: list[str] = field(default_factory=list)

    def samples(self, folder: ImageFolder, most: int | None = None) -> dict[int, Sample]:
        """Read a folder's pictures with their masks, by index; raises DataError.

        most: greatest number of pictures, evenly spread (None: all).
        """
        for note in folder.notes:
            self.say(note)
        places = spread(len(folder.images), most or len(folder.images))
        index = dict(zip(folder.images, range(len(folder.images)), strict=True))
        check = MaskCheck(folder.root, self.masks, self.say)
        read = check.watch(self._each(folder, places), len(places))
        found = {index[sample.path]: sample for sample in read}
        if not found:
            raise DataError(f'{folder.root}: none of its pictures can be read')
        return found

    def _each(self, folder: ImageFolder, places: Iterable[int]) -> Iterator[Sample]:
        for place in places:
            files = (folder.images[place], folder.masks[place])
            try:
                yield read_sample(*files, None, self.masks.values, folder.bits)
            except DataError as error:
                self._skip(error, files)

    def posed(self, folder: PosedFolder, places: Iterable[int]) -> list[PosedSample]:
        """Read some of a folder's posed views, by index; raises DataError."""
        places = list(places)
        check = MaskCheck(folder.root, self.masks, self.say)
        found = list(check.watch(self._each_view(folder, places), len(places)))
        if not found:
            raise DataError(f'{folder.root}: none of its views can be read')
        return found

    def _each_view(self, folder: PosedFolder, places: Iterable[int]) -> Iterator[PosedSample]:
        for i in places:
            try:
                yield folder.sample(i, self.masks.values)
            except DataError as error:
                self._skip(error, (folder.images[i], folder.masks[i], folder.depths[i]))

    def scenes(self, folder: SceneFolder, places: Iterable[int]) -> list[Scene]:
        """Read some of a folder's scenes, by index; raises DataError."""
        folder.refuse_values(self.masks.values)
        found = list(self._each_scene(folder, places))
        if not found:
            raise DataError(f'{folder.root}: none of its scenes can be read')
        views = [view.whole() for scene in found for view in (scene.a, scene.b)]
        for _ in MaskCheck(folder.root, self.masks, self.say).watch(views, len(views)):
            pass
        return found

    def _each_scene(self, folder: SceneFolder, places: Iterable[int]) -> Iterator[Scene]:
        for i in places:
            try:
                yield folder.scene(i)
            except DataError as error:
                self._skip(error, folder.files_of(i))

    def backgrounds(self, folder: ImageFolder) -> list[Image]:
        """Read a folder's pictures without the object, evenly spread ones of many."""
        found = []
        for place in spread(len(folder.negatives), _MOST_BACKGROUNDS):
            path = folder.negatives[place]
            try:
                found.append(prepare_background(read_image(path, folder.bits), SIDE))
            except DataError as error:
                self._skip(error, (path,))
        return found

    def _skip(self, error: DataError, files: Sequence[Path]) -> None:
        if not any(_is_broken(path) for path in files):
            raise error  # the files can be read, but their content is wrong
        if not self.skip_broken:
            raise DataError(f'{error}; --skip-broken leaves it out') from error
        self.skipped.append(str(error))


def spread(total: int, wanted: int) -> list[int]:
    """Choose at most so many indices of range(total), evenly spread, both ends among them."""
    if total == 0:
        return []
    return [int(i) for i in np.unique(np.linspace(0, total - 1, wanted).round())]


def _is_broken(path: Path) -> bool:
    try:
        read_image(path)
    except DataError:
        return True
    return False
