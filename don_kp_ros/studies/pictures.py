"""Splits a data folder: the object of each picture, and folders with some of the pictures."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from don_kp_ros.data.folder import INDEX, DataError, ImageFolder, Sample, read_sample
from don_kp_ros.data.posed import PosedFolder

OBJECTS = 'objects.txt'
ALIKE = 0.25  # Bhattacharyya distance of colour histograms below which two pictures show the same


@dataclass(frozen=True)
class Pictures:
    """A folder's pictures with their masks and depths (none, or one each).

    told: the object in each, if the folder names it; mask_values: of the object's pixels, if masks
    have more than two.
    """

    root: Path
    images: tuple[Path, ...]
    masks: tuple[Path, ...]
    depths: tuple[Path, ...]
    negatives: tuple[Path, ...]
    told: tuple[str, ...] | None
    mask_values: tuple[int, ...] = ()

    @classmethod
    def open(cls, root: Path, mask_values: tuple[int, ...] = ()) -> Pictures:
        """List a folder's files; raises DataError."""
        own: PosedFolder | ImageFolder
        told: tuple[str, ...] | None = None
        if (root / INDEX).exists():
            own = PosedFolder.open(root)
            told = tuple(view.object for view in own.views)
        else:
            own = ImageFolder.open(root)
            if (root / OBJECTS).exists():
                told = read_objects(root / OBJECTS, own.images)
        return cls(root, own.images, own.masks, own.depths, own.negatives, told, mask_values)

    @property
    def posed(self) -> bool:
        """Tell whether the folder holds posed views."""
        return (self.root / INDEX).exists()

    def objects(self) -> tuple[str, ...]:
        """Name each picture's object, by its colours if the folder doesn't; raises DataError."""
        if self.told is not None:
            return self.told
        files = zip(self.images, self.masks, strict=True)
        return alike([read_sample(*own, mask_values=self.mask_values) for own in files])

    def write(
        self, target: Path, places: Iterable[int], negatives: Iterable[Path], poses: bool
    ) -> None:
        """Make a folder of links to some of the pictures, by index, and to some negatives.

        poses: keep the poses of posed views; otherwise make a folder of single pictures.
        """
        shutil.rmtree(target, ignore_errors=True)
        places = list(places)
        depths = self.depths if poses or not self.posed else ()
        parts = {'rgbs': self.images, 'masks': self.masks, 'depths': depths}
        files = {name: [own[i] for i in places if own] for name, own in parts.items()}
        for name, paths in {**files, 'negatives': list(negatives)}.items():
            if not paths:
                continue
            (target / name).mkdir(parents=True)
            for path in paths:
                (target / name / path.name).symlink_to(path.resolve())
        if self.posed and poses:
            content = json.loads((self.root / INDEX).read_text(encoding='utf-8'))
            content['views'] = [content['views'][i] for i in places]
            shown = {view['object'] for view in content['views']}
            if 'points' in content:
                points = content['points'].items()
                content['points'] = {name: own for name, own in points if name in shown}
            (target / INDEX).write_text(json.dumps(content, indent=1) + '\n', encoding='utf-8')


def read_objects(path: Path, images: Sequence[Path]) -> tuple[str, ...]:
    """Read lines of a picture's name and its object; raises DataError."""
    known = sorted((image.name for image in images), key=len)
    told: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding='utf-8').splitlines(), 1):
        text = line.strip()
        if not text:
            continue
        # Names may have spaces; where several fit, the longest is meant.
        fits = [own for own in known if text.startswith(own) and text[len(own) :][:1].isspace()]
        name = fits[-1] if fits else text.split()[0]
        shown = text.removeprefix(name).strip()
        if not shown:
            raise DataError(
                f'{path}: line {number} is {line!r}; the name of a picture and of its object are '
                'expected'
            )
        if name in told:
            raise DataError(f'{path}: line {number} names {name} again; remove one of the lines')
        told[name] = shown
    for image in images:
        if image.name not in told:
            raise DataError(f'{path}: does not say what {image} shows; add the line')
    for name in told:
        if name not in known:
            raise DataError(f'{path}: names {name}, but there is no such picture; remove the line')
    return tuple(told[image.name] for image in images)


def alike(samples: Sequence[Sample]) -> tuple[str, ...]:
    """Group pictures by the colours in their masks; each group has its first picture's name.

    Two pictures that others link, each like the next, are of one group: of two groups, no picture
    is like one of the other.
    """
    histograms = [_histogram(sample) for sample in samples]
    distances = [
        [cv2.compareHist(own, other, cv2.HISTCMP_BHATTACHARYYA) for other in histograms]
        for own in histograms
    ]
    _, groups = connected_components(np.array(distances) < ALIKE, directed=False)
    return tuple(samples[int(np.argmax(groups == group))].path.stem for group in groups)


def _histogram(sample: Sample) -> NDArray[np.float32]:
    histogram = cv2.calcHist([sample.image], [0, 1, 2], sample.mask, [12] * 3, [0, 256] * 3)
    return np.asarray(histogram / histogram.sum(), np.float32)
