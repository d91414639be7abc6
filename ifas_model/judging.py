"""What training and evaluation need of a model, be it I-FAS or a baseline.

Shapes in this file:
    B batch, S side of a picture, N image patches, L encoder layers, V vision width.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, TypedDict

from torch import Tensor


class Item(TypedDict, total=False):
    """One face as a data loader hands it to `Judge.collate`."""

    pixels: Tensor
    """The crop, uint8 (3, S, S), RGB; absent where features are given."""

    patches: Tensor
    """X_V of a frozen tower, (N, V)."""

    class_tokens: Tensor
    """G_V of a frozen tower, (L, V)."""

    label: int
    """1 bona fide, 0 attack, as in the shards."""

    interpretation: str
    """``This is <caption>``; empty where only the judgment is learnt."""

    caption: str
    """What a picture of no known label shows; only where a model learns to describe."""


class Judged(NamedTuple):
    """What a model says of a batch."""

    margin: Tensor
    """Log-odds of bona fide, float32 (B,); `p_yes` is its sigmoid."""

    loss: Tensor | None = None
    """What to minimize, a scalar; only where the batch holds labels."""

    judgment: Tensor | None = None
    """The loss of the judgment alone, a scalar, for the log."""

    interpretation: Tensor | None = None
    """The loss of the interpretation alone, a scalar, for the log; only of I-FAS."""


class Judge(Protocol):
    """A model that judges faces; each is a `transformers.PreTrainedModel`."""

    needs_features: bool
    """Whether its tower is frozen, so that cached features can stand in for pixels."""

    def begin(self, phase: str) -> None:
        """Let learn what a phase of training lets learn; see `PhaseConfig.name`."""
        ...

    def collate(self, items: Sequence[Item]) -> dict[str, Tensor]:
        """Make a batch; with labels and texts if the items hold them."""
        ...

    def forward(self, **batch: Tensor) -> Judged:
        """Judge a batch, as `collate` made it."""
        ...

    def conclude(self, items: Sequence[Item]) -> None:
        """Take from the training faces what a trained model still needs (FLIP's prototypes).

        Args:
            items: Some of the training faces: label and interpretation only.
        """
        ...

    def save_pretrained(self, save_directory: str | Path) -> None:
        """Save in the Hugging Face layout."""
        ...
