"""Teach a fresh vision tower the words of captions: a bag of phrases, before any sentence.

From random weights the loss of sentences alone finds colours and backgrounds, and nothing else.

Shapes in this file:
    B batch, S side of a picture, W phrases, V vision width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from scf_pipeline.captioners._training import History, Schedule, fit, narrow
from scf_pipeline.miniature.corpus import Corpus, bag_of_phrases, common_phrases

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
"""CLIP's and BLIP's normalization."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """Random changes of a picture that leave its captions true."""

    shift_px: int = 3
    """Largest shift in each direction; the border is repeated."""

    jitter: float = 0.06
    """Largest change of each colour channel's gain and offset."""


def augment(pictures: Tensor, how: Augmentation, generator: torch.Generator) -> Tensor:
    """Return shifted, mirrored and tinted pictures, normalized.

    Args:
        pictures: uint8, (B, S, S, 3).
        how: How far.
        generator: Source of all randomness.

    Returns:
        float32, (B, 3, S, S).
    """
    batch, side = pictures.shape[:2]

    def shifted() -> Tensor:
        offsets = torch.randint(-how.shift_px, how.shift_px + 1, (batch, 1), generator=generator)
        return (offsets + torch.arange(side)).clamp(0, side - 1)

    rows, columns = shifted(), shifted()
    is_mirrored = torch.rand(batch, 1, generator=generator) < 0.5
    columns = torch.where(is_mirrored, columns.flip(1), columns)
    moved = pictures[torch.arange(batch)[:, None, None], rows[:, :, None], columns[:, None, :]]
    shape = (batch, 1, 1, 3)
    gain = 1 + how.jitter * (2 * torch.rand(shape, generator=generator) - 1)
    offset = how.jitter * (2 * torch.rand(shape, generator=generator) - 1)
    return _normalized(moved.float() * (gain / 255) + offset)


def normalize(pictures: Tensor) -> Tensor:
    """Return pictures as the vision tower wants them: uint8 (B, S, S, 3) -> (B, 3, S, S)."""
    return _normalized(pictures.float() / 255)


def _normalized(pictures: Tensor) -> Tensor:
    return ((pictures - torch.tensor(MEAN)) / torch.tensor(STD)).permute(0, 3, 1, 2).contiguous()


def teach_words(
    look: nn.Module,
    width: int,
    corpus: Corpus,
    schedule: Schedule,
    *,
    batch_size: int,
    checkpoint: Path,
) -> History:
    """Train a tower to tell which phrases its pictures' captions hold.

    Args:
        look: Pictures (B, 3, S, S) -> pooled features (B, V).
        width: V.
        corpus: Pictures and captions to learn from.
        schedule: How long and how fast.
        batch_size: B.
        checkpoint: File to resume from.
    """
    vocabulary = common_phrases(corpus.captions)
    bags = torch.from_numpy(bag_of_phrases(corpus.captions, vocabulary)).float()
    taught = nn.ModuleDict({"look": look, "head": word_head(width, bags.mean(0))})
    pictures = torch.from_numpy(corpus.pictures)
    how = Augmentation()

    def losses_at(step: int) -> Iterator[Tensor]:
        taught.train()
        rows, generator = draw(len(pictures), batch_size, schedule.seed, step)
        with narrow():
            features = look(augment(pictures[rows], how, generator))
        yield word_loss(taught["head"](features.float()), bags[rows])

    return fit(taught, losses_at, schedule, checkpoint=checkpoint)


def word_head(width: int, shares: Tensor) -> nn.Linear:
    """Return a fresh linear map to phrases that starts with the share of each, (W,)."""
    head = nn.Linear(width, len(shares))
    nn.init.normal_(head.weight, std=0.02)
    with torch.no_grad():
        head.bias.copy_(torch.logit(shares, eps=1e-3))
    return head


def word_loss(logits: Tensor, bags: Tensor) -> Tensor:
    """Return the binary cross-entropy, summed over phrases and averaged over pictures."""
    losses = F.binary_cross_entropy_with_logits(logits, bags, reduction="none")
    return losses.sum(1).mean()


def draw(
    num_rows: int, batch_size: int, seed: int, step: int
) -> tuple[NDArray[np.int64], torch.Generator]:
    """Return the rows of a step, without repetition, and a generator for all else that varies."""
    rng = np.random.default_rng([seed, step])
    rows = rng.choice(num_rows, size=min(batch_size, num_rows), replace=False)
    return rows, torch.Generator().manual_seed(int(rng.integers(2**63)))
