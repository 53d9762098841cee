"""The objective of a step: the sum of the configured losses of a batch of view pairs."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from don_kp_ros.data.loader import Batch
from don_kp_ros.matching.maps import interpolated, sample_descriptors
from don_kp_ros.networks.descriptor_network import DescriptorNetwork, unit_length
from don_kp_ros.networks.expectation import Expectation, expect
from don_kp_ros.training.keypoint_losses import (
    concentration,
    consistency_camera,
    consistency_world,
    deproject,
    huber,
    relative_pose,
    separation,
    silhouette,
)
from don_kp_ros.training.losses import (
    Reader,
    contrastive,
    nt_xent,
    nt_xent_sampled,
    shortness,
)
from don_kp_ros.training.object_objective import object_losses
from don_kp_ros.training.settings import KeypointLossConfiguration, LossConfiguration

Parts = dict[str, Tensor]


def objective(
    network: DescriptorNetwork,
    identity: Tensor,
    batch: Batch,
    configuration: LossConfiguration,
    keypoints_alone: bool = False,
) -> Parts:
    """Compute the weighted losses of a batch (don_kp_ros.data.loader.collate) by name.

    identity (2B, D, h, w): the identity layer's output for the views a, then the views b (and then
    for the objects alone, if the batch has them). Their sum is minimised. keypoints_alone: the
    keypoints' losses train only their head.
    """
    identity = identity.float()
    if configuration.descriptors == 'objects':
        return object_losses(network, identity, batch, configuration.objects)
    euclidean = network.configuration.euclidean
    maps = identity if euclidean else unit_length(identity)
    parts: Parts = {}
    if configuration.descriptors != 'none':
        read = interpolated if euclidean else sample_descriptors
        parts[configuration.descriptors] = _descriptor_loss(maps, batch, configuration, read)
    if configuration.background > 0:
        ground = ~_shown(batch['masks'], (maps.shape[2], maps.shape[3]))
        # Equation 5 of paper 4 adds both views of a pair.
        parts['background'] = 2 * configuration.background * shortness(maps, ground)
    if network.keypoints is not None:
        settings = configuration.keypoints
        if keypoints_alone:
            identity, maps = identity.detach(), maps.detach()
        logits, depths = network.keypoints(identity, maps)
        masks = batch['masks'] > 127
        size = (masks.shape[1], masks.shape[2])
        found = expect(logits, size, depths, masks)
        alone = configuration.descriptors == 'none'
        weight = 1.0 if alone else settings.weight
        for name, part in keypoint_losses(found, batch, settings).items():
            parts[name] = weight * part
    return parts


def _descriptor_loss(
    maps: Tensor, batch: Batch, configuration: LossConfiguration, read: Reader
) -> Tensor:
    size = (batch['masks'].shape[1], batch['masks'].shape[2])
    if configuration.descriptors == 'nt_xent':
        negatives = negative_cells(maps, batch['masks'], batch['kinds'], configuration.negatives)
        return nt_xent(maps, batch['uv'], size, configuration.temperature, *negatives)
    maps_a, maps_b = maps.chunk(2)
    uv_a, uv_b = batch['uv'].chunk(2)
    if configuration.descriptors == 'nt_xent_sampled':
        queries = (
            sample_descriptors(maps_a, uv_a, size),
            sample_descriptors(maps_b, uv_b, size),
        )
        return nt_xent_sampled(*queries, configuration.temperature)
    cells = (maps.shape[2], maps.shape[3])
    masks_b = batch['masks'].chunk(2)[1]
    number, on_object = configuration.non_matches, configuration.on_object
    others = non_matches(masks_b, uv_b, cells, number, on_object)
    return contrastive(maps_a, maps_b, uv_a, uv_b, others, size, configuration.margin, read)


def keypoint_losses(
    found: Expectation, batch: Batch, configuration: KeypointLossConfiguration
) -> Parts:
    """Compute the weighted losses of keypoints (2B, N) found in the views a, then b."""
    height, width = batch['masks'].shape[1:]
    unit = height / 2 if configuration.units == 'relative' else 1.0
    number = found.uv.shape[1]
    assert found.inside is not None
    parts = {}
    if configuration.consistency > 0:
        parts['consistency'] = configuration.consistency * _consistency(
            found, batch, configuration, unit
        )
    if configuration.pose > 0:
        points_a, points_b = _in_space(found, batch)
        parts['pose'] = configuration.pose * relative_pose(points_a, points_b, batch['T_b_a'])
    parts['silhouette'] = configuration.silhouette * silhouette(found.inside)
    parts['variance'] = configuration.variance * concentration(found.variance) / unit**2
    if configuration.margin is None:
        area = (batch['masks'] > 127).float().sum(dim=(1, 2))
        margin = (area / number).sqrt().clamp_min(1)  # an object may be hidden altogether
        # Divided by margin^2 and summed over the others: of order 1 where keypoints cluster.
        spread = separation(found.uv / margin[:, None, None], 1.0) * number
    else:
        spread = separation(found.uv / unit, configuration.margin / unit)
    parts['separation'] = configuration.separation * spread
    return parts


def _consistency(
    found: Expectation, batch: Batch, configuration: KeypointLossConfiguration, unit: float
) -> Tensor:
    if configuration.truth != 'image':
        points_a, points_b = _in_space(found, batch)
        if configuration.truth == 'camera':
            return consistency_camera(points_a, points_b, batch['T_b_a'], configuration.delta)
        T_world_a, T_world_b = batch['T_world_view'].chunk(2)
        return consistency_world(points_a, points_b, T_world_a, T_world_b, configuration.delta)
    uv_a, uv_b = found.uv.chunk(2)
    mapped = uv_a @ batch['homographies'][:, :, :2].mT + batch['homographies'][:, None, :, 2]
    expected = mapped[..., :2] / mapped[..., 2:].clamp_min(1e-6)
    height, width = batch['masks'].shape[1:]
    last = expected.new_tensor([width - 1, height - 1])
    seen = (mapped[..., 2] > 1e-6) & ((expected >= 0) & (expected <= last)).all(dim=-1)
    return huber(uv_b / unit, expected / unit, configuration.delta, seen)


def _in_space(found: Expectation, batch: Batch) -> tuple[Tensor, Tensor]:
    assert found.depth is not None
    points_a, points_b = deproject(found.uv, found.depth, batch['K']).chunk(2)
    return points_a, points_b


def negative_cells(
    maps: Tensor, masks: Tensor, kinds: Tensor, number: int
) -> tuple[Tensor, Tensor]:
    """Draw descriptors of cells that show no object, or objects of different kinds.

    maps (B, D, h, w); masks (B, S, S) uint8 of the objects; kinds (B,) of them. Returns (M, D), M
    at most `number`, and which count for the points of each map's object (B, M): the cells without
    an object, and those with one of another kind. Objects of the same kind have the same points.
    """
    shown = _shown(masks, (maps.shape[2], maps.shape[3])).flatten(1)
    several = (kinds != kinds[0]).any()
    cells = torch.nonzero((~shown | several).flatten())[:, 0]
    drawn = (number if len(cells) else 0,)
    chosen = cells[torch.randint(max(1, len(cells)), drawn, device=cells.device)]
    owner, cell = chosen // shown.shape[1], chosen % shown.shape[1]
    counted = ~shown[owner, cell] | (kinds[:, None] != kinds[owner])
    return maps.flatten(2)[owner, :, cell], counted


def _shown(masks: Tensor, cells: tuple[int, int]) -> Tensor:
    """Tell which cells (B, h, w) show anything of the objects in masks (B, S, S) uint8."""
    return functional.adaptive_max_pool2d(masks[:, None].float(), cells)[:, 0] > 0


def non_matches(
    masks: Tensor, uv: Tensor, cells: tuple[int, int], number: int, on_object: float = 0.5
) -> Tensor:
    """Draw cells that don't match: a share of them on the objects, the others anywhere.

    masks (B, S, S) uint8; uv (B, Q, 2): the matches, pixels. Returns indices (B, Q, number) into
    the flattened h x w cells. None is the cell of its match, or next to it.
    """
    side, (batch, queries) = masks.shape[2], uv.shape[:2]
    index = torch.arange(cells[0] * cells[1], device=masks.device)
    places = torch.stack([index % cells[1], index // cells[1]], dim=-1)
    match = (uv + 0.5) * (uv.new_tensor([cells[1], cells[0]]) / side) - 0.5
    far = ((places - match[:, :, None]).abs() > 1).any(dim=-1)
    shown = functional.adaptive_max_pool2d(masks[:, None].float(), cells).flatten(1) > 127
    on = far & shown[:, None]
    on = torch.where(on.any(dim=2, keepdim=True), on, far)
    wanted = round(on_object * number)
    drawn = [
        allowed.flatten(0, 1).float().multinomial(count, replacement=True)
        for allowed, count in ((on, wanted), (far, number - wanted))
        if count
    ]
    return torch.cat(drawn, dim=1).view(batch, queries, number)
