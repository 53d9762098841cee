"""The interface of a trained network: pictures in, descriptor maps out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from don_kp_ros.networks.checkpoint import Checkpoint, Preprocessing, load
from don_kp_ros.networks.descriptor_network import DescriptorNetwork


@dataclass(frozen=True)
class Keypoints:
    """Keypoints of an image: pixels uv (N, 2), and the probability (N,) about each peak, 0..1."""

    uv: Tensor
    mass: Tensor


@dataclass(frozen=True)
class Described:
    """What a network makes of an image in one pass.

    cells (D, h, w): the descriptor map; keypoints: None for a model without them; confidence
    (h, w): how surely cells are told from others of their object, None for a model that does not
    learn it. It is s / (1 + s), 0..1, of the s = exp(-u) of paper 3: one half where s is 1.
    """

    cells: Tensor
    keypoints: Keypoints | None = None
    confidence: Tensor | None = None


class DescriptorModel:
    """Describe pictures of any size with a trained network.

    fingerprint: descriptors may be compared only if theirs is the same. dimension: D. euclidean:
    whether they are `lifted` places.
    match_threshold: cosine similarity below which a peak is no match. card: how it was trained and
    what it scored. device: where it runs. keypoint_kinds: of object, of each of its N keypoints;
    '' for any.
    """

    def __init__(self, checkpoint: Checkpoint, device: str | torch.device = 'cpu') -> None:
        self.fingerprint: str = checkpoint.fingerprint
        self.dimension: int = checkpoint.network.dimension
        self.euclidean: bool = checkpoint.network.euclidean
        self.match_threshold: float = checkpoint.match_threshold
        self.card: dict[str, Any] = checkpoint.card
        keypoints = checkpoint.network.keypoints
        self.keypoint_kinds: tuple[str, ...] = () if keypoints is None else keypoints.kind_of_each
        self._multiple = checkpoint.network.coarsest_stride
        self._preprocessing = checkpoint.preprocessing
        self.device = torch.device(device)
        network = checkpoint.build()
        if not checkpoint.network.image_statistics:
            fuse_batch_norms(network)
        channels_last(network.to(self.device))
        self._network = network

    @property
    def nothing(self) -> NDArray[np.float32] | None:
        """The descriptor (D,) that the background is trained to have; None for most models."""
        return np.eye(self.dimension, dtype=np.float32)[-1] if self.euclidean else None

    @property
    def number_of_keypoints(self) -> int:
        """N; 0 for a model without keypoints."""
        return len(self.keypoint_kinds)

    @property
    def has_parts(self) -> bool:
        """Tell whether a part of a descriptor says which object it is, another where on it."""
        return self._network.configuration.inter > 0

    @classmethod
    def load(cls, path: Path | str, device: str | torch.device = 'cpu') -> DescriptorModel:
        """Load a checkpoint; raises CheckpointError naming the file, the reason and the remedy."""
        return cls(load(path), device)

    def describe(self, image: NDArray[np.uint8]) -> Tensor:
        """Describe an image (H, W, 3) uint8 RGB; return a map (D, h, w) float32 on the device.

        Every cell has unit length; cell (i, j) describes pixel u = (j + .5) W / w - .5,
        v = (i + .5) H / h - .5.
        """
        with torch.inference_mode(), autocast(self.device):
            result: Tensor = self._network(self._input(image))[0]
        return result

    def look(self, image: NDArray[np.uint8]) -> Described:
        """Describe an image as `describe` does; in the same pass, find what else is learned."""
        network = self._network
        with torch.inference_mode():
            images = self._input(image)
            height, width = images.shape[2:]
            with autocast(self.device):
                identity = network.identity(network.features(images)).float()
            keypoints = confidence = None
            if self.number_of_keypoints:
                found = network.locate(identity, (height, width))
                scale = found.uv.new_tensor([image.shape[1] / width, image.shape[0] / height])
                uv = (found.uv[0] + 0.5) * scale - 0.5
                assert found.inside is not None
                keypoints = Keypoints(uv, found.inside[0])
            if network.configuration.confidence:
                confidence = (-network.log_variance(identity)[0]).sigmoid()
            return Described(network.descriptors(identity)[0], keypoints, confidence)

    def which_object(self, descriptors: Tensor) -> Tensor:
        """Return what descriptors (..., D) say of which object it is, of unit length: (..., C).

        That is their inter part, with how novel they are; of a network without `network.inter`
        they are returned whole.
        """
        network = self._network.configuration
        if not self.has_parts:
            return descriptors
        rest, novelty = descriptors[..., : network.learned], descriptors[..., network.learned :]
        # Both parts are equally long: together as long as the whole of what is learned.
        parts = [rest[..., -network.inter :] * 2**0.5, novelty]
        return functional.normalize(torch.cat(parts, dim=-1), dim=-1)

    def lengths(self, image: NDArray[np.uint8]) -> Tensor:
        """Compute how long an image's descriptors are before they have unit length: (h, w)."""
        with torch.inference_mode(), autocast(self.device):
            identity = self._network.identity(self._network.features(self._input(image)))
        return torch.linalg.vector_norm(identity[0].float(), dim=0)

    def confidence(self, image: NDArray[np.uint8]) -> Tensor:
        """Compute how surely an image's cells are told from others of their object: (h, w).

        It is above 0; what is a keypoint (paper 3) has more than the rest of its object, by a
        quantile. Raises ValueError for a model without `network.confidence`.
        """
        with torch.inference_mode(), autocast(self.device):
            identity = self._network.identity(self._network.features(self._input(image)))
            confidence: Tensor = (-self._network.log_variance(identity.float())[0]).exp()
        return confidence

    def keypoints(self, image: NDArray[np.uint8], turns: int = 1) -> tuple[Tensor, Tensor]:
        """Find the N keypoints of an image (H, W, 3) uint8 RGB.

        turns: look at that many turned copies of the image, evenly spread over a full circle, and
        take the one with the most certain keypoints. A model that has only seen an object upright
        then finds its keypoints at any angle, at the cost of that many passes.

        Returns pixels uv (N, 2) of the image and the standard deviation (N,) of each one's
        probability, pixels. Raises ValueError for a model without keypoints.
        """
        if turns < 1:
            raise ValueError(f'turns is {turns}; it must be at least 1')
        with torch.inference_mode():
            images = self._input(image)
            height, width = images.shape[2:]
            copies, back = turned_copies(images[0], turns)
            with autocast(self.device):
                found = self._network.detect(copies)
            best = int(found.variance.median(dim=1).values.argmin())
            uv = found.uv[best] @ back[best, :, :2].T + back[best, :, 2]
            scale = uv.new_tensor([image.shape[1] / width, image.shape[0] / height])
        return (uv + 0.5) * scale - 0.5, found.variance[best].sqrt() * scale.mean()

    def _input(self, image: NDArray[np.uint8]) -> Tensor:
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(
                f'image has shape {image.shape} and type {image.dtype}; '
                '(H, W, 3) uint8 RGB is expected'
            )
        resized = resize(image, self._preprocessing.input_size, self._multiple)
        pixels = torch.from_numpy(resized).to(self.device).permute(2, 0, 1)[None]
        return normalise(pixels, self._preprocessing)


def turned_copies(image: Tensor, turns: int) -> tuple[Tensor, Tensor]:
    """Turn an image (C, H, W) about its middle by equal angles, its border reflected.

    Returns the copies (turns, C, S, S) on squares of the longer side, so that no quarter turn cuts
    anything off, and for each the affine map (turns, 2, 3) from its pixels uv to the image's. A
    single copy is the image as it is.
    """
    height, width = image.shape[1:]
    if turns == 1:
        return image[None], torch.eye(2, 3, device=image.device)[None]
    side = max(height, width)
    angle = torch.arange(turns, device=image.device) * (2 * torch.pi / turns)
    c, s = angle.cos(), angle.sin()
    rotation = torch.stack([torch.stack([c, -s], dim=1), torch.stack([s, c], dim=1)], dim=1)
    middle = rotation.new_tensor([(width - 1) / 2, (height - 1) / 2])
    shift = middle - rotation @ rotation.new_tensor([(side - 1) / 2, (side - 1) / 2])
    back = torch.cat([rotation, shift[:, :, None]], dim=2)
    # grid_sample's coordinates run from -1 to 1 over the image's extent in both directions.
    extent = rotation.new_tensor([width, height])
    theta = rotation * (side / extent[:, None])
    grid = functional.affine_grid(
        torch.cat([theta, torch.zeros_like(theta[:, :, :1])], dim=2),
        [turns, image.shape[0], side, side],
        align_corners=False,
    )
    copies = functional.grid_sample(
        image.expand(turns, -1, -1, -1),
        grid,
        mode='bilinear',
        padding_mode='reflection',
        align_corners=False,
    )
    return copies.contiguous(memory_format=torch.channels_last), back


def resize(image: NDArray[Any], input_size: int, multiple: int) -> NDArray[Any]:
    """Resize so that the longer side is about `input_size`, both sides multiples of `multiple`."""
    height, width = image.shape[:2]
    scale = input_size / max(height, width)
    size = [max(multiple, round(side * scale / multiple) * multiple) for side in (width, height)]
    shrinks = size[0] <= width
    return cv2.resize(
        image, (size[0], size[1]), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    )


def normalise(pixels: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Turn uint8 pixels (B, 3, H, W) into the network's float input, channels last in memory."""
    mean = pixels.new_tensor(preprocessing.mean, dtype=torch.float32)[:, None, None]
    deviation = pixels.new_tensor(preprocessing.deviation, dtype=torch.float32)[:, None, None]
    images = (pixels.float() / 255 - mean) / deviation
    return images.contiguous(memory_format=torch.channels_last)


def channels_last(network: nn.Module) -> nn.Module:
    """Lay out the convolutions' weights for their fastest kernels, in place."""
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network


def fast_bfloat16(device: torch.device) -> bool:
    """Tell whether bfloat16 convolutions are faster than float32 ones on this device."""
    if device.type == 'cuda':
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != 'cpu':
        return False
    names = ('_is_avx512_bf16_supported', '_is_amx_tile_supported')
    return any(getattr(torch.cpu, name, lambda: False)() for name in names)


def autocast(device: torch.device) -> torch.autocast:
    """Compute in bfloat16 where that is faster."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=fast_bfloat16(device))


def fuse_batch_norms(network: DescriptorNetwork) -> None:
    """Fold every batch norm into the convolution before it; the outputs stay the same."""
    for module in network.modules():
        children = list(module.named_children())
        for (name, child), (norm_name, norm) in zip(children, children[1:], strict=False):
            if isinstance(child, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, name, fuse_conv_bn_eval(child, norm))
                setattr(module, norm_name, nn.Identity())
