"""Cut-outs: pictures whose alpha shows the object, as background removers write them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import PIL.Image

from don_kp_ros.annotation.formats.marks import Mark, Marked, Pictures
from don_kp_ros.data.mask_file import mask_of
from don_kp_ros.data.picture_file import PictureFile
from don_kp_ros.pose.segmentation import Mask


def fits(path: Path) -> bool:
    """Tell whether a picture has an alpha channel that varies."""
    try:
        with PIL.Image.open(path) as header:
            if header.mode not in ('RGBA', 'LA', 'PA') and 'transparency' not in header.info:
                return False
            low, high = header.convert('RGBA').getchannel('A').getextrema()
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError):
        return False  # whoever reads it, tells
    return bool(low != high)


def read(paths: Pictures) -> list[Marked]:
    """Read pictures, each with one object."""
    result = []
    for path in paths:
        mark = Mark('', 0, partial(_mask, path))
        result.append(Marked(path.stem, partial(PictureFile.open, path), (mark,), upright=True))
    return result


def _mask(path: Path) -> Mask:
    return mask_of(PictureFile.open(path))[0] > 0
