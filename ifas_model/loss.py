"""The Lopsided Language Model loss (I-FAS, eq. 4), and the plain one it is compared with.

Shapes in this file:
    B batch, S positions of the answer, W words of the vocabulary.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Segment(IntEnum):
    """Which part of the answer a target token belongs to; a partition by construction."""

    IGNORED = 0  # prompt, padding, soft visual tokens
    JUDGMENT = 1  # "Yes" / "No"
    INTERPRETATION = 2  # the rest: ". This is <caption>" and the end token


class LanguageLoss(NamedTuple):
    """The loss to minimize and its two parts, for logging; each a scalar."""

    total: Tensor
    judgment: Tensor
    interpretation: Tensor


def lopsided_lm_loss(
    logits: Tensor, targets: Tensor, segments: Tensor, *, alpha: float
) -> LanguageLoss:
    """Weigh the judgment against the interpretation.

    total = alpha * judgment + (1 - alpha) * interpretation, where each part is the mean
    negative log-likelihood, in nats, of a sample's tokens in its own segment, averaged over
    the batch. A sample without an interpretation (Table 4) counts its judgment alone.

    Args:
        logits: Next-token logits, already aligned with `targets`, (B, S, W).
        targets: Token ids, (B, S). Ids at ignored positions are not read.
        segments: `Segment` of each target, (B, S).
        alpha: Weight of the judgment, in [0, 1].

    Raises:
        ValueError: If `alpha` is outside [0, 1].

    Source: I-FAS, eq. (4).
    """
    if not 0.0 <= alpha <= 1.0:
        raise ValueError(f"`alpha` must be in [0, 1], but is {alpha}.")
    judgment, interpretation, lengths = _parts(logits, targets, segments)
    weight = torch.full_like(judgment, alpha).masked_fill(lengths == 0, 1.0)  # (B,)
    total = weight * judgment + (1.0 - weight) * interpretation
    return LanguageLoss(total.mean(), judgment.mean(), interpretation.mean())


def standard_lm_loss(logits: Tensor, targets: Tensor, segments: Tensor) -> LanguageLoss:
    """Weigh every token of the answer alike: of one sample, `alpha` is 1 / (1 + |Z|).

    Args:
        logits: As in `lopsided_lm_loss`.
        targets: As there.
        segments: As there.

    Source: I-FAS, Table 3, the row without L-LM.
    """
    judgment, interpretation, lengths = _parts(logits, targets, segments)
    total = (judgment + lengths * interpretation) / (1 + lengths)
    return LanguageLoss(total.mean(), judgment.mean(), interpretation.mean())


def _parts(logits: Tensor, targets: Tensor, segments: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean negative log-likelihood of both segments, and |Z|, of each sample: (B,) each."""
    ids = targets.masked_fill(segments == Segment.IGNORED, -100)  # torch's "ignore"
    wide = logits.flatten(0, 1).to(torch.promote_types(logits.dtype, torch.float32))
    nll = F.cross_entropy(wide, ids.flatten(), reduction="none").view_as(targets)  # (B, S)
    told = segments == Segment.INTERPRETATION
    judgment = _mean_per_sample(nll, segments == Segment.JUDGMENT)
    return judgment, _mean_per_sample(nll, told), told.sum(dim=1)


def _mean_per_sample(values: Tensor, mask: Tensor) -> Tensor:
    # PAPER: eq. (4) does not say how a part is averaged; a long caption weighs like a short one.
    return (values * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
