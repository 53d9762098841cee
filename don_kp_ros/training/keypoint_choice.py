"""Keypoints chosen among trained descriptors: what is found at the same place in most pairs.

Keypoints that learn with the descriptors (paper 1) must be the same on every object, and hardly
learn from views turned by any angle. For many kinds of object each has keypoints of its own here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import KDTree
from torch import Tensor

from don_kp_ros.data.pairs import PairSampler, ViewPair
from don_kp_ros.matching.maps import sample_descriptors
from don_kp_ros.networks.checkpoint import Checkpoint
from don_kp_ros.networks.descriptor_network import DescriptorNetwork
from don_kp_ros.networks.expectation import around_peak, expect
from don_kp_ros.networks.keypoint_head import MOST_KEYPOINTS, KeypointConfiguration
from don_kp_ros.networks.model import normalise
from don_kp_ros.training.settings import NEIGHBOURS

Array = NDArray[np.float64]

_PAIRS, _CANDIDATES = 60, 600  # of each kind
_DRAWN, _MOST_DRAWN = 4 * _PAIRS, 40 * _PAIRS  # pairs for each kind; more for one not yet shown
_SCALE = 50.0  # of the similarity, in the probabilities; 25 and 100 do as well
_LOST = 0.2  # an error beyond which how far it is does not matter, fraction of the view's side
_KNOWN = 0.06  # from a correspondence: farther off, view a does not tell; fraction of the side
_APART = 0.7  # of two keypoints in the median, fraction of sqrt(mask area / number)
_TOUCHING = 0.01  # fraction of that, below which two are at one place


def with_chosen_keypoints(
    checkpoint: Checkpoint,
    sampler: PairSampler,
    number: int,
    seed: int,
    device: str | torch.device = 'cpu',
    say: Callable[[str], None] = print,
) -> Checkpoint:
    """Give a network without keypoints the `number` best of each kind of object.

    All kinds have as many: no more than there are candidates of the rarest one, and MOST_KEYPOINTS
    together. Candidates are the descriptors of points in training views. Their error in a pair is
    how far from each other they are found in its views, by the pair's correspondences; one that is
    found where these do not reach counts as lost. The best that lie apart are taken. say: is told
    of kinds that no pair shows, which have none.
    """
    network, radius = checkpoint.build().to(device), checkpoint.network.peak_radius
    groups = _by_kind(sampler, seed)
    if missing := [kind for kind in sampler.kinds if kind not in groups]:
        say(
            f'{", ".join(missing)}: no keypoints, since no pair of views that was drawn shows it; '
            'add views of it'
        )
    fewest = min(sum(len(pair.uv_a) for pair in pairs) for pairs in groups.values())
    number = min(number, fewest, MOST_KEYPOINTS // len(groups))
    chosen = {
        kind: _best(*_look(network, checkpoint, pairs), pairs, radius, number, seed)
        for kind, pairs in groups.items()
    }
    kinds = tuple(chosen) if len(sampler.kinds) > 1 else ()
    keypoints = KeypointConfiguration(number * len(chosen), kinds=kinds)
    own = {
        'keypoints.queries': torch.cat(list(chosen.values())).cpu(),
        'keypoints.log_scale': torch.tensor(_SCALE).log(),
    }
    return replace(
        checkpoint,
        network=replace(checkpoint.network, keypoints=keypoints),
        weights=checkpoint.weights | own,
    )


def _by_kind(sampler: PairSampler, seed: int) -> dict[str, list[ViewPair]]:
    """Draw pairs until there are enough of each kind that is not rare, and some of a rare one."""
    groups: dict[str, list[ViewPair]] = {kind: [] for kind in sorted(sampler.kinds)}
    for drawn in range(_MOST_DRAWN * len(groups)):
        fewest = min(map(len, groups.values()))
        if fewest >= _PAIRS or (fewest > 0 and drawn >= _DRAWN * len(groups)):
            break
        pair = sampler.draw(np.random.default_rng((seed, 2, drawn)))
        if len(groups[pair.kind]) < _PAIRS:
            groups[pair.kind].append(pair)
    return {kind: pairs for kind, pairs in groups.items() if pairs}


def _look(
    network: DescriptorNetwork, checkpoint: Checkpoint, pairs: list[ViewPair]
) -> tuple[Tensor, Tensor]:
    """Describe the views a, then b, of pairs: (2P, D, h, w); and their masks (2P, S, S), bool."""
    views = [pair.a for pair in pairs] + [pair.b for pair in pairs]
    device, maps = next(network.parameters()).device, []
    with torch.inference_mode():
        for view in views:
            pixels = torch.from_numpy(view.image).permute(2, 0, 1)[None].to(device)
            maps.append(network(normalise(pixels, checkpoint.preprocessing)))
    masks = torch.from_numpy(np.stack([view.mask for view in views])) > 127
    return torch.cat(maps)[:, : network.configuration.learned], masks


def _best(
    maps: Tensor,
    masks: Tensor,
    pairs: list[ViewPair],
    radius: float,
    number: int,
    seed: int,
) -> Tensor:
    """Choose the keypoints of a kind, (number, D), by the views of its pairs."""
    count, side = len(pairs), masks.shape[1]
    uv_a = torch.from_numpy(np.stack([pair.uv_a for pair in pairs])).to(maps)
    every = sample_descriptors(maps[:count], uv_a, (side, side)).flatten(0, 1)
    drawn = np.random.default_rng(seed).permutation(len(every))[:_CANDIDATES]
    candidates = every[torch.from_numpy(drawn).to(every.device)]
    places = []
    for cells in maps.split(1):  # (1, D, h, w)
        logits = torch.einsum('nd,bdhw->bnhw', _SCALE * candidates, cells)
        places.append(expect(around_peak(logits, radius), (side, side)).uv[0].cpu().numpy())
    uv = np.stack(places)  # (2P, C, 2)
    cost = np.mean([_errors(pair, uv[i], uv[count + i]) for i, pair in enumerate(pairs)], axis=0)
    apart = _APART * np.sqrt(masks.flatten(1).sum(dim=1).numpy() / number)
    kept = _apart(cost, uv / apart[:, None, None], number)
    return candidates[torch.tensor(kept, device=candidates.device)]


def _errors(pair: ViewPair, uv_a: Array, uv_b: Array) -> Array:
    """Compare where candidates are found in views a and b, (C, 2) each: (C,), 0 to 1 for lost."""
    side = len(pair.a.mask)
    distance, near = KDTree(pair.uv_a).query(uv_a, k=NEIGHBOURS)
    from_a, to_b = pair.uv_a[near].astype(float), pair.uv_b[near].astype(float)  # (C, 8, 2)
    middle_a, middle_b = from_a.mean(axis=1, keepdims=True), to_b.mean(axis=1, keepdims=True)
    from_a, to_b = from_a - middle_a, to_b - middle_b
    # The affine map of the nearest points; a little ridge holds where they lie on a line.
    square = from_a.mT @ from_a + 0.5 * np.eye(2)
    expected = (uv_a[:, None] - middle_a) @ np.linalg.solve(square, from_a.mT @ to_b) + middle_b
    error = np.linalg.norm(uv_b - expected[:, 0], axis=1) / (_LOST * side)
    return np.where(distance[:, 0] <= _KNOWN * side, error.clip(max=1.0), 1.0)


def _apart(cost: Array, uv: Array, number: int) -> list[int]:
    """Take the cheapest candidates (C,) that lie apart; in uv (V, C, 2), 1 is far enough.

    number: C or less; where they do not lie apart, less is far enough.
    """
    order, kept, least = np.argsort(cost, kind='stable'), list[int](), 1.0
    while len(kept) < number:
        for i in order:
            distance = np.linalg.norm(uv[:, kept] - uv[:, [i]], axis=2)
            if i not in kept and (np.median(distance, axis=0) >= least).all():
                kept.append(int(i))
                break
        else:
            least = 0.8 * least if least > _TOUCHING else 0.0
    return kept
