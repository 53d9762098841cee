"""The keypoint network's losses against loops, and their gradients where they could break."""

import numpy as np
import pytest
import torch
from scipy.linalg import expm, logm
from torch import Tensor

from don_kp_ros.geometry.camera import Camera
from don_kp_ros.networks.expectation import expect
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


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def twist(rho: list[float], phi: list[float]) -> Tensor:
    """Return the transform (4, 4) of a twist."""
    x, y, z = phi
    generator = np.array([[0, -z, y, 0], [z, 0, -x, 0], [-y, x, 0, 0], [0, 0, 0, 0.0]])
    generator[:3, 3] = rho
    return torch.from_numpy(expm(generator))


POSES = torch.stack([twist([0.1, 0.2, -0.3], [0.5, 0.1, -0.9]), twist([1, 0, 2], [0, 2.5, 1])])


def moved(T: Tensor, points: Tensor) -> Tensor:
    """Transform points (B, N, 3) by T (B, 4, 4), one at a time."""
    rows = [
        [(t @ torch.cat([p, torch.ones(1, dtype=p.dtype)]))[:3] for p in item]
        for t, item in zip(T, points, strict=True)
    ]
    return torch.stack([torch.stack(row) for row in rows])


def huber_by_hand(predicted: Tensor, expected: Tensor, delta: float, valid: Tensor) -> float:
    costs = []
    for p, e in zip(predicted[valid].tolist(), expected[valid].tolist(), strict=True):
        differences = [abs(x - y) for x, y in zip(p, e, strict=True)]
        costs.append(sum(d * d / (2 * delta) if d < delta else d - delta / 2 for d in differences))
    return float(np.mean(costs))


def test_lifting_is_the_cameras_deprojection() -> None:
    cameras = [Camera(640, 480, 615, 614, 321.5, 238), Camera(320, 240, 300, 310, 150, 130)]
    uv = 100 + 30 * normal(2, 4, 2)
    depth = 0.5 + normal(2, 4, seed=1).abs()
    points = deproject(uv, depth, torch.stack([torch.from_numpy(c.K) for c in cameras]))
    for camera, u, d, p in zip(cameras, uv, depth, points, strict=True):
        np.testing.assert_allclose(p, camera.deproject(u, d), atol=1e-12)


def test_a_point_without_depth_is_nan_and_leaves_no_nan_in_gradients() -> None:
    K = torch.tensor([[600.0, 0, 320], [0, 600, 240], [0, 0, 1]])[None]
    uv = torch.tensor([[[1.0, 2], [300, 200], [5, 6]]], requires_grad=True)
    depth = torch.tensor([[1.0, float('nan'), 2.0]], requires_grad=True)
    points = deproject(uv, depth, K)
    assert points.isnan().all(dim=2).tolist() == [[False, True, False]]
    valid = points.isfinite().all(dim=2)
    loss = huber(points, torch.ones(1, 3, 3), 0.01, valid)
    for gradient in torch.autograd.grad(loss, (uv, depth)):
        assert gradient.isfinite().all() and not gradient[0, 1].any() and gradient[0, 0].any()


def test_huber_is_that_of_a_loop() -> None:
    predicted, expected = normal(3, 4, 3), normal(3, 4, 3, seed=1)
    valid = normal(3, 4, seed=2) > 0
    assert 0 < valid.sum() < 12
    for mask in (valid, torch.ones_like(valid)):
        assert huber(predicted, expected, 0.7, mask).item() == pytest.approx(
            huber_by_hand(predicted, expected, 0.7, mask)
        )
    everything = huber_by_hand(predicted, expected, 0.7, torch.ones_like(valid))
    assert huber(predicted, expected, 0.7).item() == pytest.approx(everything)


def test_huber_of_nothing_valid_is_zero_with_a_graph() -> None:
    predicted = torch.full((2, 3, 3), torch.nan, requires_grad=True)
    loss = huber(predicted, torch.zeros(2, 3, 3), 0.1, torch.zeros(2, 3, dtype=torch.bool))
    assert loss.item() == 0
    loss.backward()
    assert predicted.grad is not None and not predicted.grad.any()


def test_consistency_is_measured_in_the_second_camera() -> None:
    points_a, points_b = normal(2, 5, 3), normal(2, 5, 3, seed=1)
    valid = normal(2, 5, seed=2) > 0
    expected = huber_by_hand(points_b, moved(POSES, points_a), 0.3, valid)
    actual = consistency_camera(points_a, points_b, POSES, 0.3, valid)
    assert actual.item() == pytest.approx(expected)
    assert consistency_camera(points_a, moved(POSES, points_a), POSES, 0.3).item() < 1e-20


def test_consistency_is_measured_in_the_world() -> None:
    points_a, points_b, T_world_b = normal(2, 5, 3), normal(2, 5, 3, seed=1), POSES.flip(0)
    valid = normal(2, 5, seed=2) > 0
    expected = huber_by_hand(moved(POSES, points_a), moved(T_world_b, points_b), 0.3, valid)
    actual = consistency_world(points_a, points_b, POSES, T_world_b, 0.3, valid)
    assert actual.item() == pytest.approx(expected)
    T_b_world = torch.linalg.inv(T_world_b)
    same = moved(T_b_world, moved(POSES, points_a))
    assert consistency_world(points_a, same, POSES, T_world_b, 0.3).item() < 1e-20


@pytest.mark.parametrize('flat', [False, True])
def test_the_relative_pose_is_the_norm_of_scipys_logarithm(flat: bool) -> None:
    points_a = normal(2, 6, 3)
    if flat:
        points_a[..., 2] = 1.5
    errors = [twist([0.02, 0.01, -0.03], [0.2, -0.3, 0.1]), twist([0, 0.5, 0], [1.5, 0, 2])]
    T_predicted = POSES @ torch.stack(errors)
    loss = relative_pose(points_a, moved(T_predicted, points_a), POSES)
    norms = []
    for T_b_a, T in zip(POSES, T_predicted, strict=True):
        logarithm = np.real(logm(np.linalg.inv(T_b_a.numpy()) @ T.numpy()))
        turn = logarithm[[2, 0, 1], [1, 2, 0]]
        norms.append(np.linalg.norm([*logarithm[:3, 3], *turn]))
    assert loss.item() == pytest.approx(np.mean(norms), rel=1e-7)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_a_perfect_pose_has_no_gradient_that_is_not_a_number(dtype: torch.dtype) -> None:
    points = torch.tensor([[[1.0, 1, 2], [1, -1, 2], [-1, 1, 2], [-1, -1, 2]]], dtype=dtype)
    points.requires_grad_()
    loss = relative_pose(points, points.detach(), torch.eye(4, dtype=dtype)[None])
    loss.backward()
    assert loss.item() == 0
    assert points.grad is not None and points.grad.isfinite().all()


def test_descending_the_relative_pose_finds_the_motion() -> None:
    points_a = normal(2, 6, 3)
    points_b = (moved(POSES, points_a) + 0.3 * normal(2, 6, 3, seed=1)).requires_grad_()
    before = relative_pose(points_a, points_b, POSES).item()
    for rate in (0.5, 0.1, 0.02):
        for _ in range(20):
            (gradient,) = torch.autograd.grad(relative_pose(points_a, points_b, POSES), points_b)
            points_b = (points_b - rate * gradient).detach().requires_grad_()
    assert relative_pose(points_a, points_b, POSES).item() < 0.2 * before


def test_pairs_of_too_few_valid_points_do_not_count() -> None:
    points_a, points_b = normal(2, 5, 3), normal(2, 5, 3, seed=1)
    alone = relative_pose(points_a[:1, :4], points_b[:1, :4], POSES[:1])
    points_a[0, 4], points_b[1, 2:] = torch.nan, torch.nan
    points_b.requires_grad_()
    valid = torch.tensor([[1, 1, 1, 1, 0], [1, 1, 0, 0, 0]]).bool()
    loss = relative_pose(points_a, points_b, POSES, valid)
    assert loss.item() == pytest.approx(alone.item())
    (gradient,) = torch.autograd.grad(loss, points_b)
    assert gradient[0, :4].any() and not gradient[1].any() and gradient.isfinite().all()
    nothing = relative_pose(points_a, points_b, POSES, torch.zeros_like(valid))
    assert nothing.item() == 0 and nothing.requires_grad


def test_pose_gradients_are_those_of_finite_differences() -> None:
    points_a = normal(2, 4, 3)
    points_a[..., 2] = 1  # of a plane
    points_b = moved(POSES, points_a) + 0.1 * normal(2, 4, 3, seed=1)
    assert torch.autograd.gradcheck(
        lambda a, b: relative_pose(a, b, POSES),
        (points_a.requires_grad_(), points_b.requires_grad_()),
    )


def test_the_silhouette_is_the_mean_negative_logarithm() -> None:
    inside = torch.tensor([[1.0, 0.5], [0.25, 1e-5]], dtype=torch.float64)
    expected = -np.mean(np.log([1.0, 0.5, 0.25, 1e-5]))
    assert silhouette(inside).item() == pytest.approx(expected)
    assert silhouette(torch.ones(2, 3)).item() == 0


def test_a_keypoint_off_the_mask_still_falls_towards_it() -> None:
    inside = torch.tensor([[0.0, 1e-12, 1e-6, 0.5]], requires_grad=True)
    loss = silhouette(inside)
    (gradient,) = torch.autograd.grad(loss, inside)
    assert torch.isfinite(loss) and loss > 5
    torch.testing.assert_close(gradient * 4, torch.tensor([[-1e6, -1e6, -1e6, -2.0]]))
    values = torch.linspace(0, 3e-6, 50, dtype=torch.float64)
    losses = torch.stack([silhouette(x[None, None]) for x in values])
    assert (losses.diff() < 0).all() and (losses.diff().diff() > -1e-9).all()


@pytest.mark.parametrize('channels', [2, 3])
def test_separation_is_that_of_a_loop(channels: int) -> None:
    points = 0.5 * normal(2, 5, channels)
    margins = torch.tensor([1.1, 0.9], dtype=torch.float64)
    costs = []
    for item, margin in zip(points.numpy(), margins.tolist(), strict=True):
        pairs = [(i, j) for i in range(5) for j in range(5) if i != j]
        gaps = [margin**2 - np.sum((item[i] - item[j]) ** 2) for i, j in pairs]
        assert min(gaps) < 0 < max(gaps)
        costs.append(sum(max(0.0, gap) for gap in gaps) / 25)
    assert separation(points, margins).item() == pytest.approx(np.mean(costs))
    each = [separation(p[None], m).item() for p, m in zip(points, margins.tolist(), strict=True)]
    assert each == pytest.approx(costs)
    assert torch.autograd.gradcheck(lambda x: separation(x, margins), points.requires_grad_())


def test_separation_of_points_apart_of_one_and_of_equal_ones() -> None:
    far = torch.tensor([[[0.0, 0], [5, 0], [0, 5]]])
    assert separation(far, 4.9).item() == 0
    assert separation(far[:, :1], 4.9).item() == 0
    together = torch.zeros(1, 3, 2, requires_grad=True)
    loss = separation(together, 2.0)
    loss.backward()
    assert loss.item() == pytest.approx(6 * 4 / 9)
    assert together.grad is not None and not together.grad.any()


def test_separation_keeps_its_digits_far_from_the_origin() -> None:
    line = torch.stack([1e5 + torch.arange(40.0), torch.full((40,), 5e4)], dim=1)[None]
    # Each of the 39 neighbouring pairs, counted twice, lacks 4 - 1; the next are 2 apart.
    assert separation(line, 2.0).item() == pytest.approx(2 * 39 * 3 / 40**2, rel=1e-6)


def test_the_variance_loss_is_that_of_two_equal_peaks() -> None:
    logits = torch.full((1, 2, 8, 8), -1e4)
    logits[0, 0, 4, [1, 6]] = 0.0  # 2.5 pixels to either side of their mean
    logits[0, 1, 4, 3] = 0.0
    variance = expect(logits, (8, 8)).variance
    torch.testing.assert_close(concentration(variance[:, :1]), torch.tensor(2.5**2))
    torch.testing.assert_close(concentration(variance), torch.tensor(2.5**2 / 2))
