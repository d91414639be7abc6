"""Weights of a language model on a CPU, kept in the order that a step of decoding multiplies in.

A step multiplies all weights by one row for each caption. A CPU's routines bring a matrix into an
order of their own first, every time: with a handful of rows that takes as long as the rest. oneDNN
keeps the order. Other orders round differently, so logits differ in their last bits from those of
plain layers.
"""

from __future__ import annotations

from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

LEAST_WEIGHTS = 1 << 17
"""Size of a matrix from which it is reordered; smaller ones stay in a processor's cache."""

ALIKE = ("q_proj", "k_proj", "v_proj")
"""Layers of an attention, all of which read the same rows."""

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
        layers: The layers whose weights it takes, all with a bias or none. Several give their
            results side by side.
    """

    def __init__(self, *layers: nn.Linear) -> None:
        super().__init__()
        biases = [layer.bias.detach() for layer in layers if layer.bias is not None]
        self._weight = reorder(torch.cat([layer.weight.detach() for layer in layers]))
        self._bias = torch.cat(biases) if biases else None

    def forward(self, rows: Tensor) -> Tensor:
        """Return rows times weights plus bias, (..., inputs) -> (..., outputs)."""
        return multiply(rows, self._weight, self._bias)


class Together:
    """Layers that read the same rows: the first that is asked multiplies for all of them.

    Args:
        layers: As `Packed` takes them.
    """

    def __init__(self, *layers: nn.Linear) -> None:
        self._packed = Packed(*layers)
        self._sizes = [layer.out_features for layer in layers]
        self._rows: Tensor | None = None
        self._waiting: dict[int, Tensor] = {}

    def part(self, number: int, rows: Tensor) -> Tensor:
        """Return what one layer makes of the rows, which may not change before all were asked."""
        if rows is not self._rows or number not in self._waiting:
            parts = torch.split(self._packed(rows), self._sizes, dim=-1)
            self._rows, self._waiting = rows, dict(enumerate(parts))
        found = self._waiting.pop(number)
        if not self._waiting:
            self._rows = None
        return found


class Part(nn.Module):
    """One of the layers that are multiplied together."""

    def __init__(self, together: Together, number: int) -> None:
        super().__init__()
        self._together, self._number = together, number

    def forward(self, rows: Tensor) -> Tensor:
        """Return rows times weights plus bias, (..., inputs) -> (..., outputs)."""
        return self._together.part(self._number, rows)


def pack(language: nn.Module, *, least: int = LEAST_WEIGHTS) -> None:
    """Replace the large linear layers of a model, in place; it can only infer from then on.

    Nothing is done where torch lacks oneDNN, and to layers that are not in float32 on a CPU.

    Args:
        language: The language model.
        least: Size of a matrix from which it is reordered.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return
    large = {name: part for name, part in language.named_children() if _gains(part, least)}
    alike = [large[name] for name in ALIKE if name in large]
    if len(alike) == len(ALIKE) and len({layer.bias is None for layer in alike}) == 1:
        together = Together(*alike)
        for number, name in enumerate(ALIKE):
            setattr(language, name, Part(together, number))
            del large[name]
    for name, layer in large.items():
        setattr(language, name, Packed(layer))
    for part in language.children():
        pack(part, least=least)


def _gains(part: nn.Module, least: int) -> TypeGuard[nn.Linear]:
    if type(part) is not nn.Linear:
        return False
    weight = part.weight
    is_plain = weight.device.type == "cpu" and weight.dtype == torch.float32
    return is_plain and weight.numel() >= least
