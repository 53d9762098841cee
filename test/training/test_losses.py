import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from don_kp_ros.matching.maps import interpolated, sample_descriptors
from don_kp_ros.networks.descriptor_network import unit_length
from don_kp_ros.training.losses import (
    bilinear_targets,
    contrastive,
    nt_xent,
    nt_xent_sampled,
    segmentation,
    shortness,
)
from don_kp_ros.training.objective import non_matches


def unit(*shape: int) -> Tensor:
    return functional.normalize(torch.randn(*shape, dtype=torch.float64), dim=1)


def brute_force(
    maps_a: Tensor, maps_b: Tensor, uv_a: Tensor, uv_b: Tensor, side: int, t: float,
    extras: list[Tensor],
) -> float:  # fmt: skip
    """Compute the loss one query, one direction and one cell at a time; extras: of each pair."""
    losses = []
    stride = side / maps_a.shape[-1]
    for source, target, uv_s, uv_t in ((maps_a, maps_b, uv_a, uv_b), (maps_b, maps_a, uv_b, uv_a)):
        for b in range(len(source)):
            for q in range(uv_s.shape[1]):

                def corners(uv: Tensor) -> list[tuple[int, int, float]]:
                    x, y = ((uv.numpy() + 0.5) / stride - 0.5).tolist()
                    i, j = int(np.floor(y)), int(np.floor(x))
                    a, c = y - i, x - j
                    return [
                        (i, j, (1 - a) * (1 - c)),
                        (i, j + 1, (1 - a) * c),
                        (i + 1, j, a * (1 - c)),
                        (i + 1, j + 1, a * c),
                    ]

                cells = [w * source[b, :, i, j] for i, j, w in corners(uv_s[b, q])]
                query = torch.stack(cells).sum(dim=0)
                query = query / query.norm()
                exponentials = np.exp((torch.einsum('d,dij->ij', query, target[b]) / t).numpy())
                total = exponentials.sum() + np.exp((extras[b] @ query / t).numpy()).sum()
                losses.append(
                    -sum(w * np.log(exponentials[i, j] / total) for i, j, w in corners(uv_t[b, q]))
                )
    return float(np.mean(losses))


@pytest.mark.parametrize('negatives', [0, 6])
def test_nt_xent_equals_brute_force(negatives: int) -> None:
    torch.manual_seed(0)
    maps_a, maps_b, extra = unit(2, 5, 6, 6), unit(2, 5, 6, 6), unit(negatives, 5)
    uv_a, uv_b = (2 + 18 * torch.rand(2, 4, 2, dtype=torch.float64) for _ in range(2))
    loss = nt_xent(torch.cat([maps_a, maps_b]), torch.cat([uv_a, uv_b]), (24, 24), 0.1, extra)
    expected = brute_force(maps_a, maps_b, uv_a, uv_b, 24, 0.1, [extra, extra])
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_each_pair_is_held_against_the_negatives_that_count_for_it() -> None:
    torch.manual_seed(0)
    maps_a, maps_b, extra = unit(2, 5, 6, 6), unit(2, 5, 6, 6), unit(6, 5)
    uv_a, uv_b = (2 + 18 * torch.rand(2, 4, 2, dtype=torch.float64) for _ in range(2))
    of_pairs = torch.tensor([[True, False, True, True, False, False], [False] * 6])
    maps = torch.cat([maps_a, maps_b]).requires_grad_()
    counted = of_pairs.repeat(2, 1)
    loss = nt_xent(maps, torch.cat([uv_a, uv_b]), (24, 24), 0.1, extra, counted)
    extras = [extra[counts] for counts in of_pairs]
    expected = brute_force(maps_a, maps_b, uv_a, uv_b, 24, 0.1, extras)
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    (gradient,) = torch.autograd.grad(loss, maps)
    assert gradient.isfinite().all()  # also where none counts


def test_true_matches_lower_the_loss_and_negatives_raise_it() -> None:
    torch.manual_seed(0)
    maps = unit(1, 32, 8, 8)
    uv = torch.tensor([[[5.5, 9.5], [21.5, 13.5]]], dtype=torch.float64)  # cell centres
    maps, matches = maps.expand(2, -1, -1, -1), uv.expand(2, -1, -1)
    true = nt_xent(maps, matches, (32, 32), 0.05)
    wrong = nt_xent(maps, torch.cat([uv, uv.flip(1)]), (32, 32), 0.05)
    assert true < 0.01 < wrong
    held_against = nt_xent(maps, matches, (32, 32), 0.05, maps[0, :, 2, 1][None])
    assert held_against > true


def test_targets_spread_bilinearly() -> None:
    uv = torch.tensor([[5.5, 1.5], [7.5, 1.5], [0.0, 0.0], [31.0, 31.0]])
    indices, weights = bilinear_targets(uv, (8, 8), (32, 32))
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(4))
    dense = torch.zeros(4, 64).scatter_add_(1, indices, weights)
    assert dense[0, 1] == 1
    assert dense[1, 1] == dense[1, 2] == 0.5
    assert dense[2, 0] == dense[3, 63] == 1


def test_gradients_are_those_of_finite_differences() -> None:
    torch.manual_seed(0)
    maps = unit(2, 3, 4, 4).requires_grad_()
    uv = 1 + 13 * torch.rand(2, 3, 2, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda m: nt_xent(m, uv, (16, 16), 0.5), (maps,))


def test_unit_length_is_what_torch_makes_of_it() -> None:
    torch.manual_seed(0)
    vectors = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(unit_length(vectors), functional.normalize(vectors, dim=1))
    assert torch.autograd.gradcheck(unit_length, (vectors,))


def test_sampled_nt_xent_is_that_of_a_loop() -> None:
    torch.manual_seed(0)
    queries_a, queries_b = torch.randn(2, 2, 3, 4, dtype=torch.float64)  # of any length
    descriptors, partners = [], []
    for b in range(2):
        for q in range(3):
            partners += [len(descriptors) + 1, len(descriptors)]
            descriptors += [queries_a[b, q].numpy(), queries_b[b, q].numpy()]

    def kernel(i: int, j: int) -> float:
        x, y = descriptors[i], descriptors[j]
        return float(np.exp(x @ y / np.linalg.norm(x) / np.linalg.norm(y) / 0.3))

    losses = [
        -np.log(kernel(i, partners[i]) / sum(kernel(i, k) for k in range(12) if k != i))
        for i in range(12)
    ]
    loss = nt_xent_sampled(queries_a, queries_b, 0.3)
    assert loss.item() == pytest.approx(np.mean(losses))


def test_sampled_nt_xent_holds_other_pictures_against_a_match() -> None:
    torch.manual_seed(0)
    queries = unit(1, 3, 16).expand(2, 3, 16)
    loss = nt_xent_sampled(queries[:1], queries[:1], 0.05)
    assert nt_xent_sampled(queries, queries, 0.05) > loss + 0.5


def test_contrastive_is_that_of_a_loop() -> None:
    torch.manual_seed(0)
    maps_a, maps_b = unit(2, 3, 4, 4), unit(2, 3, 4, 4)
    uv_a, uv_b = 1 + 13 * torch.rand(2, 2, 3, 2, dtype=torch.float64)
    others = torch.randint(16, (2, 3, 5))
    margin = 1.2

    def read(maps: Tensor, b: int, uv: Tensor) -> Tensor:
        return sample_descriptors(maps[b : b + 1], uv[None, None], (16, 16))[0, 0]

    match, non_match, hard = 0.0, 0.0, 0
    for b in range(2):
        for q in range(3):
            query = read(maps_a, b, uv_a[b, q])
            match += float((query - read(maps_b, b, uv_b[b, q])).square().sum()) / 6
            for m in range(5):
                lacking = margin - float((query - maps_b[b].flatten(1)[:, others[b, q, m]]).norm())
                if lacking > 0:
                    non_match, hard = non_match + lacking**2, hard + 1
    assert 0 < hard < 30
    loss = contrastive(maps_a, maps_b, uv_a, uv_b, others, (16, 16), margin)
    assert loss.item() == pytest.approx(match + non_match / hard)


def test_contrastive_of_equal_descriptors_has_a_finite_gradient() -> None:
    maps = unit(1, 3, 4, 4).requires_grad_()
    uv = torch.tensor([[[5.5, 9.5]]], dtype=torch.float64)
    loss = contrastive(maps, maps, uv, uv, torch.tensor([[[2 * 4 + 1]]]), (16, 16))
    assert loss.item() == pytest.approx(
        0.25, abs=1e-5
    )  # the match is perfect, the non-match is it
    (gradient,) = torch.autograd.grad(loss, maps)
    assert gradient.isfinite().all()


def test_contrastive_counts_no_easy_non_match() -> None:
    maps = torch.zeros(1, 2, 4, 4, dtype=torch.float64)
    maps[:, 0, :, :2], maps[:, 1, :, 2:] = 1, 1
    left = torch.tensor([[[1.5, 5.5]]], dtype=torch.float64)
    assert contrastive(maps, maps, left, left, torch.tensor([[[7]]]), (16, 16)).item() == 0
    both = torch.tensor([[[4, 7, 11]]])  # one of three is hard
    assert contrastive(maps, maps, left, left, both, (16, 16)).item() == pytest.approx(
        0.25, abs=1e-5
    )


def test_gradients_of_both_sampled_losses_are_those_of_finite_differences() -> None:
    torch.manual_seed(0)
    maps_a, maps_b = unit(1, 3, 4, 4).requires_grad_(), unit(1, 3, 4, 4).requires_grad_()
    uv = 1 + 13 * torch.rand(1, 3, 2, dtype=torch.float64)
    others = torch.randint(16, (1, 3, 2))
    assert torch.autograd.gradcheck(
        lambda a, b: contrastive(a, b, uv, uv.flip(1), others, (16, 16), 1.0), (maps_a, maps_b)
    )
    queries = torch.randn(2, 1, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda q: nt_xent_sampled(q[0], q[1], 0.5), queries)


def test_non_matches_are_on_the_object_or_anywhere_but_never_the_match() -> None:
    torch.manual_seed(0)
    masks = torch.zeros(2, 32, 32, dtype=torch.uint8)
    masks[:, :16] = 255
    uv = torch.full((2, 5, 2), 25.5)
    others = non_matches(masks, uv, (8, 8), 40)
    assert others.shape == (2, 5, 40)
    v, u = others // 8, others % 8
    assert not ((v - 6).abs().le(1) & (u - 6).abs().le(1)).any()
    # Half of them lie on the object, which is the picture's upper half, and so does more than half
    # of the others; what is next to the match is below.
    assert 0.7 < float((v < 4).float().mean()) < 0.9
    assert non_matches(torch.zeros_like(masks), uv, (8, 8), 1).shape == (2, 5, 1)


def test_non_matches_can_be_limited_to_the_object() -> None:
    torch.manual_seed(0)
    masks = torch.zeros(2, 32, 32, dtype=torch.uint8)
    masks[0, :16], masks[1, 24:28, 24:28] = 255, 255
    uv = torch.tensor([[9.5, 9.5], [25.5, 25.5]]).expand(2, 2, 2)
    others = non_matches(masks, uv, (8, 8), 200, on_object=1)
    v, u = others // 8, others % 8
    assert (v[0] < 4).all()
    assert not ((v[0, 0] - 2).abs().le(1) & (u[0, 0] - 2).abs().le(1)).any()
    assert len(set(others[0, 1].tolist())) > 28  # nearly all of the 32 that there are
    assert set(others[1, 0].tolist()) == {6 * 8 + 6}
    # All of this object is next to the match: anything else then.
    assert not ((v[1, 1] - 6).abs().le(1) & (u[1, 1] - 6).abs().le(1)).any()


class TestPlaces:
    """Equations 1 to 4 of paper 4: descriptors are places in a space, of any length."""

    def maps(self) -> tuple[Tensor, ...]:
        torch.manual_seed(1)
        a, b = (3 * torch.randn(2, 3, 4, 4, dtype=torch.float64) for _ in range(2))
        uv = 1 + 13 * torch.rand(2, 2, 3, 2, dtype=torch.float64)
        return a, b, uv[0], uv[1], torch.randint(16, (2, 3, 5))

    def test_the_contrast_is_that_of_a_loop(self) -> None:
        maps_a, maps_b, uv_a, uv_b, others = self.maps()
        margin = 5.0

        def read(maps: Tensor, b: int, uv: Tensor) -> np.ndarray:
            x, y = ((uv.numpy() + 0.5) / 4 - 0.5).clip(0, 3).tolist()
            i, j = min(int(y), 2), min(int(x), 2)
            p, q, m = y - i, x - j, maps[b].numpy()
            low = m[:, i, j] * (1 - q) + m[:, i, j + 1] * q
            return np.asarray(
                low * (1 - p) + p * (m[:, i + 1, j] * (1 - q) + m[:, i + 1, j + 1] * q)
            )

        positive, negative, hard = 0.0, 0.0, 0
        for b in range(2):
            for q in range(3):
                f = read(maps_a, b, uv_a[b, q])
                positive += ((f - read(maps_b, b, uv_b[b, q])) ** 2).sum() / 6
                for cell in others[b, q].tolist():
                    lacking = margin - np.linalg.norm(
                        f - maps_b[b, :, cell // 4, cell % 4].numpy()
                    )
                    negative, hard = negative + max(0, lacking) ** 2, hard + (lacking > 0)
        assert 0 < hard < 30
        loss = contrastive(*self.maps(), (16, 16), margin, interpolated)
        assert loss.item() == pytest.approx(positive + negative / hard)

    def test_the_background_is_to_be_short(self) -> None:
        maps = self.maps()[0]
        ground = torch.rand(2, 4, 4) > 0.6
        expected = np.mean(
            [
                np.mean([(m[:, i, j] ** 2).sum() for i, j in np.argwhere(g)])
                for m, g in zip(maps.numpy(), ground.numpy(), strict=True)
            ]
        )
        assert shortness(maps, ground).item() == pytest.approx(expected)
        assert shortness(maps, torch.zeros_like(ground)).item() == 0

    def test_segmentation_is_the_cross_entropy_at_the_cells(self) -> None:
        torch.manual_seed(2)
        logits = torch.randn(2, 3, 2, 4, dtype=torch.float64, requires_grad=True)
        classes = torch.randint(3, (2, 8, 8))
        z = logits.detach().numpy()
        expected = [
            np.log(np.exp(z[b, :, i, j]).sum()) - z[b, classes[b, 4 * i + 2, 2 * j + 1], i, j]
            for b in range(2)
            for i in range(2)
            for j in range(4)
        ]
        assert segmentation(logits, classes).item() == pytest.approx(np.mean(expected))
        assert torch.autograd.gradcheck(lambda x: segmentation(x, classes), logits)

    def test_gradients_are_those_of_finite_differences(self) -> None:
        maps_a, maps_b, uv_a, uv_b, others = self.maps()
        maps_a.requires_grad_()
        maps_b.requires_grad_()

        def loss(a: Tensor, b: Tensor) -> Tensor:
            return contrastive(a, b, uv_a, uv_b, others, (16, 16), 5.0, interpolated)

        assert torch.autograd.gradcheck(loss, (maps_a, maps_b))
        ground = torch.rand(2, 4, 4) > 0.5
        assert torch.autograd.gradcheck(lambda a: shortness(a, ground), maps_a)
