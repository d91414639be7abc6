"""Muon: momentum whose update of each matrix is made orthogonal.

From scratch, and counted in processor time, small transformers here learn about twice as fast with
it as with AdamW alone. PyTorch's own computes in bfloat16, which processors without instructions
for it emulate ten times slower; this one follows the machine.

Source: Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the Newton-Schulz iteration, chosen by its authors to converge fast, not exactly."""

ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov momentum and decoupled weight decay.

    Args:
        matrices: Parameters of two dimensions, inside a network: no embeddings, no heads.
        lr: Size of an update: its singular values are near this, times (rows / columns) ** 0.5
            where there are more rows than columns.
        momentum: Decay rate of the mean gradient.
        weight_decay: Decay of the weights, times `lr`.
        dtype: Precision of the iteration.
    """

    def __init__(
        self,
        matrices: Iterable[nn.Parameter],
        *,
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(matrices, defaults)
        self.precision = dtype

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # noqa: ANN401
        """Update every matrix that has a gradient."""
        if closure is not None:
            raise ValueError("`closure` must be None, but is given.")
        for group in self.param_groups:
            alike: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
            for matrix in group["params"]:
                if matrix.grad is not None:
                    alike[matrix.shape].append(matrix)
            for matrices in alike.values():
                self._update(matrices, group)

    def _update(self, matrices: Sequence[nn.Parameter], group: dict[str, Any]) -> None:
        """Update matrices of one shape; their small products are taken together."""
        wanted = torch.stack([self._direction(matrix, group["momentum"]) for matrix in matrices])
        directions = orthogonalize(wanted.to(self.precision)).to(wanted.dtype)
        rows, columns = matrices[0].shape
        size = group["lr"] * max(1.0, rows / columns) ** 0.5
        for matrix, direction in zip(matrices, directions, strict=True):
            matrix.mul_(1 - group["lr"] * group["weight_decay"])
            matrix.add_(direction, alpha=-size)

    def _direction(self, matrix: nn.Parameter, momentum: float) -> Tensor:
        gradient = matrix.grad
        if gradient is None:
            raise ValueError("`matrix` must have a gradient, but has none.")
        mean = self.state[matrix].setdefault("mean", torch.zeros_like(matrix))
        mean.lerp_(gradient, 1 - momentum)
        return gradient.lerp(mean, momentum)


def orthogonalize(matrices: Tensor) -> Tensor:
    """Return matrices of the same singular vectors whose singular values are all near one.

    Args:
        matrices: (N, rows, columns).
    """
    a, b, c = COEFFICIENTS
    is_tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if is_tall else matrices
    x = (x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)).contiguous()
    for _ in range(ITERATIONS):
        square = torch.bmm(x, x.mT)
        polynomial = torch.baddbmm(square, square, square, beta=b, alpha=c)
        x = torch.baddbmm(x, polynomial, x, beta=a)
    return x.mT if is_tall else x
