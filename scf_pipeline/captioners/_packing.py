"""Weights of a language model on a CPU, kept in the order that a step of decoding multiplies in.

A step multiplies all weights by one row for each caption. A CPU's routines bring a matrix into an
order of their own first, every time: with a handful of rows that takes as long as the rest. oneDNN
keeps the order. Other orders round differently, so logits differ in their last bits from those of
plain layers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

LEAST_WEIGHTS = 1 << 17
"""Size of a matrix from which it is reordered; smaller ones stay in a processor's cache."""

ROWS = 8
"""Rows that the order is made for. It serves any number of them."""


OPERATIONS: Any = torch.ops.mkldnn
"""What torch's compiler writes; they have no other names."""


def reorder(weight: Tensor) -> Tensor:
    """Return a matrix in oneDNN's own order, (outputs, inputs)."""
    found: Tensor = OPERATIONS._reorder_linear_weight(weight, ROWS)  # noqa: SLF001
    return found


def multiply(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return rows times a reordered matrix plus bias, (..., inputs) -> (..., outputs)."""
    found: Tensor = OPERATIONS._linear_pointwise(rows, weight, bias, "none", [], "")  # noqa: SLF001
    return found


class Packed(nn.Module):
    """A linear layer that only infers, in float32 on a CPU.

    Args:
        layer: The layer whose weights it takes.
    """

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self._weight = reorder(layer.weight.detach())
        self._bias = None if layer.bias is None else layer.bias.detach()

    def forward(self, rows: Tensor) -> Tensor:
        """Return rows times weights plus bias, (..., inputs) -> (..., outputs)."""
        return multiply(rows, self._weight, self._bias)


def pack(language: nn.Module, *, least: int = LEAST_WEIGHTS) -> None:
    """Replace the large linear layers of a model, in place; it can only infer from then on.

    Nothing is done where torch lacks oneDNN, and to layers that are not in float32 on a CPU.

    Args:
        language: The language model.
        least: Size of a matrix from which it is reordered.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return
    for name, part in list(language.named_children()):
        if type(part) is nn.Linear and _gains(part.weight, least):
            setattr(language, name, Packed(part))
        else:
            pack(part, least=least)


def _gains(weight: Tensor, least: int) -> bool:
    is_plain = weight.device.type == "cpu" and weight.dtype == torch.float32
    return is_plain and weight.numel() >= least
