"""Muon: an optimiser whose steps are orthogonal matrices (K. Jordan et al., 2024)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT

_QUINTIC = (3.4445, -4.7750, 2.0315)  # a, b, c as published: steep at 0, singular values .7 to 1.2
_ITERATIONS = 5


def orthogonalise(matrices: Tensor) -> Tensor:
    """Bring the singular values of matrices (B, n, m), n <= m, near 1.

    The published iteration X <- (a + b X X^T + c (X X^T)^2) X, five times from X / ||X||. The
    factor before X is always a polynomial of the first X X^T. These n x n factors are multiplied
    with each other, and with the n x m matrix only once, which takes a quarter of the time.
    """
    matrices = matrices / matrices.norm(dim=(1, 2), keepdim=True).clamp_min(1e-12)
    squares = matrices @ matrices.mT
    factor = total = _factor(squares)
    for _ in range(_ITERATIONS - 1):
        squares = factor @ factor @ squares
        factor = _factor(squares)
        total = factor @ total
    return total @ matrices


def _factor(squares: Tensor) -> Tensor:
    a, b, c = _QUINTIC
    factor = torch.baddbmm(squares, squares, squares, beta=b, alpha=c)
    factor.diagonal(dim1=1, dim2=2).add_(a)
    return factor


class Muon(Optimizer):
    """Muon for the weights of dense convolutions; AdamW (beta .9 and .999) for everything else.

    A weight (out, in, height, width) is a matrix of `out` rows, unless each channel is convolved
    by itself (in = 1). Its step is the orthogonalised momentum, scaled to the size of AdamW's by
    0.2 sqrt(max(n, m)) (J. Liu et al., 2025), so that one learning rate and one decoupled weight
    decay serve both.
    """

    def __init__(
        self,
        parameters: ParamsT,
        lr: float,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
    ) -> None:
        defaults = {'lr': lr, 'weight_decay': weight_decay, 'momentum': momentum}
        super().__init__(parameters, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Change every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            trained = [p for p in group['params'] if p.grad is not None]
            for parameter in trained:
                parameter.mul_(1 - group['lr'] * group['weight_decay'])
            self._step_matrices([p for p in trained if _dense(p)], group)
            self._step_others([p for p in trained if not _dense(p)], group)
        return loss

    def _step_matrices(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        for shape, same in groupby(sorted(weights, key=_shape), key=_shape):
            alike = list(same)
            steps = torch.stack([self._moved(weight, group['momentum']) for weight in alike])
            rows, columns = shape
            steps = orthogonalise(steps) if rows <= columns else orthogonalise(steps.mT).mT
            size = 0.2 * max(shape) ** 0.5
            for weight, step in zip(alike, steps, strict=True):
                weight.sub_(step.view(weight.shape), alpha=group['lr'] * size)

    def _moved(self, weight: Tensor, momentum: float) -> Tensor:
        """Update a weight's momentum; return Nesterov's, as a matrix."""
        gradient = cast(Tensor, weight.grad)
        state = self.state[weight]
        if not state:
            state['momentum'] = torch.zeros_like(gradient)
        state['momentum'].lerp_(gradient, 1 - momentum)
        return gradient.lerp(state['momentum'], momentum).reshape(_shape(weight))

    def _step_others(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        for parameter in parameters:
            gradient = cast(Tensor, parameter.grad)
            state = self.state[parameter]
            if not state:
                state.update(step=0, mean=torch.zeros_like(gradient))
                state['square'] = torch.zeros_like(gradient)
            state['step'] += 1
            state['mean'].lerp_(gradient, 0.1)
            state['square'].lerp_(gradient.square(), 0.001)
            mean = state['mean'] / (1 - 0.9 ** state['step'])
            deviation = (state['square'] / (1 - 0.999 ** state['step'])).sqrt_()
            parameter.sub_(mean / (deviation + 1e-8), alpha=group['lr'])


def _shape(weight: Tensor) -> tuple[int, int]:
    return weight.shape[0], weight[0].numel()


def _dense(parameter: Tensor) -> bool:
    return parameter.ndim == 4 and parameter.shape[1] > 1
