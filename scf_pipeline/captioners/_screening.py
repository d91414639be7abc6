"""The best next token of a large vocabulary, found in bfloat16 and settled in float32.

Half of what a small language model multiplies for a token is its output matrix. A processor with
matrix units for bfloat16 needs a third to a quarter of the time for it in that precision. By the
inequality of Cauchy and Schwarz it is known beforehand how far such a score can be from the exact
one. So only few tokens can be the best of a row: those are multiplied again, in float32. The token
is the one that float32 alone would choose; its log-probability alone, a sum over all scores, is
that of the estimates.

Shapes in this file:
    R rows, W vocabulary, D width, N tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import OPTForCausalLM

from scf_pipeline.captioners._packing import multiply, reorder

LEAST_WEIGHTS = 1 << 22
"""Size of an output matrix from which it is screened: a core's cache does not hold it."""

BLOCK = 32
"""Scores whose best is looked at first; OPT's vocabulary is a multiple of it."""

FEW = 8
"""Share of the vocabulary, one of so many, to which multiplying token by token pays."""

ROUNDING = 2.0**-8
"""Largest step between neighbours in bfloat16, relative; rounding is off by half of it at most."""


class Screen:
    """An output matrix without bias.

    Args:
        weight: In float32 on a CPU, (W, D); it is kept, and a copy of half its size.
    """

    def __init__(self, weight: Tensor) -> None:
        self.weight = weight.detach()
        short = self.weight.bfloat16()
        self._short = reorder(short)
        self._largest = float(self.weight.norm(dim=1).max())
        self._largest_loss = float((self.weight - short).norm(dim=1).max())
        self._block = math.gcd(len(weight), BLOCK)

    def choose(self, hidden: Tensor, banned: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return the best token of each row, and its log-probability under the plain model.

        Args:
            hidden: What the matrix multiplies, in float32, (R, D).
            banned: Tokens that may not be chosen, at least one.

        Returns:
            Tokens, (R,), the first of those that are equally good, and log-probabilities in nats,
            (R,).
        """
        scores = multiply(hidden.bfloat16(), self._short).float()  # (R, W)
        scores[:, banned] = -torch.inf
        rows, tokens = self._hopeful(scores, hidden)
        if len(tokens) > len(self.weight) // FEW:
            return self._choose_of_all(hidden, banned)
        exact = (hidden[rows] * self.weight[tokens]).sum(-1)  # (N,)
        best = torch.zeros_like(hidden[:, 0])
        best = best.scatter_reduce(0, rows, exact, "amax", include_self=False)
        equal = exact == best[rows]
        chosen = torch.zeros_like(best, dtype=torch.long)
        chosen = chosen.scatter_reduce(0, rows[equal], tokens[equal], "amin", include_self=False)
        scores[rows, tokens] = exact
        scores[:, banned] = hidden @ self.weight[banned].T
        largest = torch.maximum(best, scores[:, banned].amax(-1))
        # `logsumexp`, but in place: it would make tensors of this size for what lies between
        total = scores.sub_(largest.unsqueeze(-1)).exp_().sum(-1).log() + largest
        return chosen, best - total

    def _choose_of_all(self, hidden: Tensor, banned: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Do the same without estimates; for rows that these do not tell enough of."""
        scores = nn.functional.linear(hidden, self.weight)
        total = scores.logsumexp(-1)
        scores[:, banned] = -torch.inf
        best, chosen = scores.max(-1)
        return chosen, best - total

    def _hopeful(self, scores: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Return rows and tokens, (N,) each, among which the best token of every row is."""
        blocks = scores.view(len(scores), -1, self._block)
        tops = blocks.amax(-1)
        best = tops.amax(-1, keepdim=True)
        least = best - self._doubt(hidden, best)  # (R, 1)
        rows, at = (tops >= least).nonzero().unbind(1)
        hits, places = (blocks[rows, at] >= least[rows]).nonzero().unbind(1)
        return rows[hits], at[hits] * self._block + places

    def _doubt(self, hidden: Tensor, best: Tensor) -> Tensor:
        """Return how far below the best estimate that of the best token can be, (R, 1).

        What rounding took from the weights and from the row, what is lost by adding up, twice over
        for two scores; and what rounding took from these two themselves.
        """
        length = hidden.norm(dim=-1, keepdim=True)
        lost = (hidden - hidden.bfloat16()).norm(dim=-1, keepdim=True)
        adding = 2 * hidden.shape[-1] * torch.finfo(torch.float32).eps * self._largest * length
        off = self._largest_loss * length + (self._largest + self._largest_loss) * lost + adding
        return (2 * off + ROUNDING * best.abs()) * (1 + ROUNDING)


def screen_of(language: nn.Module) -> Screen | None:
    """Return the screen of a language model's output matrix, or ``None`` where none pays.

    That is: OPT with a large vocabulary, in float32, on a processor with matrix units.
    """
    if not isinstance(language, OPTForCausalLM) or not has_matrix_units():
        return None
    weight = language.lm_head.weight
    is_plain = weight.device.type == "cpu" and weight.dtype == torch.float32
    return Screen(weight) if is_plain and weight.numel() >= LEAST_WEIGHTS else None


def has_matrix_units() -> bool:
    """Tell whether the processor multiplies matrices of bfloat16 in units of their own (AMX)."""
    known: Any = torch.cpu  # torch 2.9 has no public name for it
    found: bool = torch.backends.mkldnn.is_available() and known._is_amx_tile_supported()  # type: ignore[no-untyped-call]  # noqa: SLF001
    return found
