"""The losses of a batch of scenes (paper 3): what is compared with what."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from don_kp_ros.data.loader import Batch
from don_kp_ros.data.scene_pairs import FIELD_STEP
from don_kp_ros.matching.maps import cell_centres, sample_descriptors
from don_kp_ros.networks.descriptor_network import DescriptorNetwork, unit_parts
from don_kp_ros.training.object_losses import (
    against,
    dissimilarity,
    info_nce,
    mean_info_nce,
    weighed,
)
from don_kp_ros.training.settings import ObjectLossConfiguration


def object_losses(
    network: DescriptorNetwork, identity: Tensor, batch: Batch, settings: ObjectLossConfiguration
) -> dict[str, Tensor]:
    """Compute the weighted losses of a batch of scenes (don_kp_ros.data.loader.collate) by name.

    identity (2B or 3B, D, h, w): float32, the identity layer's output for the views a, the views
    b and, if the batch has them, the objects alone.
    """
    pairs = len(batch['targets'])
    parts = unit_parts(identity, network.configuration.inter)
    scene = _Scenes(batch, (identity.shape[2], identity.shape[3]), settings.apart)
    losses = _intra(parts[0].split(pairs), scene, settings, len(parts) > 1)
    result: dict[str, Tensor] = {}
    if network.uncertainty is None:
        result['intra'] = settings.intra * losses.mean()
    else:
        unsure = network.log_variance(identity[: 2 * pairs])
        result['intra'] = settings.intra * weighed(losses, scene.at_queries(unsure[:pairs]))
        # Within 0 and 1, as SSIM takes them: s / (1 + s) of a confidence s = exp(-u).
        sure = scene.at_field(torch.sigmoid(-unsure))
        window = max(2, round(settings.patch / FIELD_STEP))
        unlike = dissimilarity(*sure, scene.met, window)
        result['repeatability'] = settings.repeatability * unlike
    if len(parts) > 1:
        result['inter'] = settings.inter * _inter(parts[1].split(pairs), scene, settings).mean()
    return result


class _Scenes:
    """Which cells of a batch's views show which objects, and how they lie to the queries.

    same, far (B, Q, n): the cells of b that are on a query's object, and those farther than
    `apart` pixels from its match; alone (B, Q, n): the cells of the object alone, for the queries
    that are on it.
    """

    def __init__(self, batch: Batch, cells: tuple[int, int], apart: float) -> None:
        labels = batch['labels']
        self._size = (labels.shape[1], labels.shape[2])
        self._uv = batch['uv'].chunk(2)
        self._field = batch['field']
        own = functional.interpolate(labels[:, None].float(), cells, mode='nearest-exact')
        of_a, of_b = own.flatten(1).chunk(2)
        u, v = (self._uv[0][..., axis].round().long() for axis in (0, 1))
        first = torch.arange(len(of_a), device=labels.device)[:, None]
        query = labels[first, v, u].float()
        self.same = of_b[:, None] == query[:, :, None]
        across, down = (
            torch.as_tensor(side, dtype=torch.float32, device=labels.device)
            for side in cell_centres(cells, self._size)
        )
        centres = torch.stack(torch.meshgrid(across, down, indexing='xy'), dim=-1).flatten(0, 1)
        self.far = torch.cdist(self._uv[1], centres.expand(len(of_a), -1, -1)) > apart
        targets = batch['targets'][:, None]
        self.on_target = query == targets
        self.alone = self.on_target[:, :, None] & (of_a == targets)[:, None]
        self.met = self._field[len(of_a) :, ..., 0].isfinite()

    def queries(self, maps: Tensor) -> Tensor:
        """Read unit maps (B, C, h, w) of view a, or of the objects alone, at the queries."""
        return sample_descriptors(maps, self._uv[0], self._size)

    def matches(self, maps: Tensor) -> Tensor:
        """Read unit maps (B, C, h, w) of view b where the queries lie there: (B, Q, C)."""
        return sample_descriptors(maps, self._uv[1], self._size)

    def at_queries(self, values: Tensor) -> Tensor:
        """Read values (B, h, w) of view a at the queries: (B, Q)."""
        return _sampled(values, self._uv[0][:, :, None], self._size)[..., 0]

    def at_field(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Read values (2B, h, w) of both views where both show the same points: (B, n, n) each."""
        a, b = _sampled(values, self._field.nan_to_num(0.0), self._size).chunk(2)
        return a, b


def _sampled(values: Tensor, uv: Tensor, size: tuple[int, int]) -> Tensor:
    grid = (2 * uv + 1) / uv.new_tensor([size[1], size[0]]) - 1
    return functional.grid_sample(
        values[:, None], grid, mode='bilinear', padding_mode='border', align_corners=False
    )[:, 0]


def _intra(
    views: tuple[Tensor, ...], scene: _Scenes, settings: ObjectLossConfiguration, branches: bool
) -> Tensor:
    """Compute L_c of where on an object queries are (eq. 7, with `lone` eq. 9): (B, Q)."""
    queries = scene.queries(views[0]) / settings.temperature
    counted = scene.same & scene.far if branches else scene.far
    if settings.negatives == 'random':
        own, far = (scene.same & scene.far).sum(dim=2), scene.far.sum(dim=2).clamp_min(1)
        drawn = torch.rand(counted.shape, device=counted.device)
        counted = scene.far & (drawn < (own / far)[..., None])
    negative = against(queries @ views[1].flatten(2), counted)
    losses = info_nce((queries * scene.matches(views[1])).sum(dim=2), negative)
    if len(views) > 2:
        alone = info_nce((queries * scene.queries(views[2])).sum(dim=2), negative)
        losses = torch.where(scene.on_target, (losses + alone) / 2, losses)
    return losses


def _inter(views: tuple[Tensor, ...], scene: _Scenes, settings: ObjectLossConfiguration) -> Tensor:
    """Compute L_c of which object queries are on (eq. 8, with `lone` eq. 10): (B, Q)."""
    queries = scene.queries(views[0]) / settings.inter_temperature
    logits = queries @ views[1].flatten(2)
    negative = against(logits, ~scene.same)
    losses = mean_info_nce(logits, scene.same, negative)
    if len(views) > 2:
        alone = mean_info_nce(queries @ views[2].flatten(2), scene.alone, negative)
        losses = torch.where(scene.on_target, (losses + alone) / 2, losses)
    return losses
