"""What a training would say of a folder's masks, and more, of every picture at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from don_kp_ros.annotation.duplicates import Duplicates
from don_kp_ros.data.folder import INDEX, DataError, ImageFolder, Sample
from don_kp_ros.data.mask_check import MaskCheck, share_of
from don_kp_ros.data.mask_options import MaskOptions
from don_kp_ros.data.picture_file import PictureFile
from don_kp_ros.data.posed import PosedFolder, PosedSample
from don_kp_ros.data.scenes import SCENES, SceneFolder


@dataclass(frozen=True)
class Finding:
    """What looks wrong with a picture; share: of it that the object covers, if that was read."""

    picture: str
    share: float | None
    what: str


@dataclass(frozen=True)
class Verdict:
    """What was found in a folder; refused: why a training would not take it, in sentences."""

    pictures: int
    findings: tuple[Finding, ...]
    refused: tuple[str, ...]


def check(root: Path, options: MaskOptions, sheet: Path, say: Callable[[str], None]) -> Verdict:
    """Read every picture of a folder and draw its mask; raises DataError if there is none.

    say: is told what a training is told.
    """
    folder: ImageFolder | PosedFolder | _SceneViews
    if (root / SCENES).exists():
        folder = _SceneViews(SceneFolder.open(root), options)
    elif (root / INDEX).exists():
        folder = PosedFolder.open(root)
    else:
        folder = ImageFolder.open(root)
        for note in folder.notes:
            say(note)
    examined = _Examination(folder, options)
    masks = MaskCheck(root, options, say, sheet)
    refused = []
    try:
        for sample in masks.watch(examined.readable(), len(folder.images)):
            examined.add(sample)
    except DataError as error:
        refused.append(str(error))
    try:
        folder.validation()
    except DataError as error:
        refused.append(str(error))
    refused = [*examined.unreadable.values(), *refused]
    return Verdict(len(folder.images), tuple(examined.findings(masks)), tuple(refused))


class _SceneViews:
    """The views of a folder of scenes, each with the lone objects that belong to it."""

    def __init__(self, folder: SceneFolder, options: MaskOptions) -> None:
        folder.refuse_values(options.values)
        self.images = [path for pair in folder.images for path in pair]
        self.validation = folder.validation
        self._folder = folder

    def sample(self, index: int, _values: tuple[int, ...]) -> PosedSample:
        scene, side = divmod(index, 2)
        if side == 0:
            self._folder.lone_of(scene)
        return self._folder.view(index).whole()


class _Examination:
    """Goes through a folder's samples, and keeps what each of them is remarkable for."""

    def __init__(
        self, folder: ImageFolder | PosedFolder | _SceneViews, options: MaskOptions
    ) -> None:
        self.unreadable: dict[Path, str] = {}
        self._folder, self._options = folder, options
        self._paths: list[Path] = []
        self._shares: dict[Path, float] = {}
        self._sizes: dict[Path, tuple[int, int]] = {}
        self._tags: dict[Path, int] = {}
        self._duplicates = Duplicates()

    def readable(self) -> Iterator[Sample | PosedSample]:
        """Read the samples one by one; those that cannot be read are kept with the reason."""
        for index, path in enumerate(self._folder.images):
            try:
                yield self._folder.sample(index, self._options.values)
            except DataError as error:
                self.unreadable[path] = str(error)

    def add(self, sample: Sample | PosedSample) -> None:
        self._paths.append(sample.path)
        self._shares[sample.path] = share_of(sample.mask)
        height, width = sample.mask.shape
        self._sizes[sample.path] = (width, height)
        self._tags[sample.path] = PictureFile.open(sample.path).tag
        self._duplicates.add(sample.image)

    def findings(self, masks: MaskCheck) -> Iterator[Finding]:
        """List what is wrong, picture by picture."""
        alike = {
            self._paths[late]: self._paths[early]
            for late, early in self._duplicates.found().items()
        }
        usual = [size for size, _ in Counter(self._sizes.values()).most_common(1)]
        for path in self._folder.images:
            if path in self.unreadable:
                yield Finding(path.name, None, self.unreadable[path])
                continue
            wrong = [f'{fault.what} it' for fault in masks.faults_of(path)]
            if path in alike:
                wrong.append(f'nearly the same picture as {alike[path].name}')
            if self._tags[path] != 1:
                wrong.append(f'turned upright by EXIF orientation {self._tags[path]}')
            if self._sizes[path] not in usual:
                own, other = ('x'.join(map(str, size)) for size in (self._sizes[path], *usual))
                wrong.append(f'{own} pixels, where most have {other}')
            if wrong:
                yield Finding(path.name, self._shares[path], '; '.join(wrong))
