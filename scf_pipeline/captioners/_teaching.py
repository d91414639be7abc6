"""What BLIP-2 is taught: captions as token batches, and their loss.

Shapes in this file:
    B batch, S sequence, P image patches and class token, V vision width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import Blip2ForConditionalGeneration, Blip2Processor

from scf_pipeline.captioners._instructions import Instructions
from scf_pipeline.captioners._seeing import embed, prompt_ids

IGNORED = -100
"""Label of positions that are not taught: image tokens, start, prompt, padding."""

MAX_CAPTION_TOKENS = 48
"""Longer captions are cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """Captions as the language model sees them, padded on the right."""

    input_ids: Tensor
    """Image tokens, start, prompt, caption, end, padding; (B, S)."""

    attention_mask: Tensor
    """1 but for padding, (B, S)."""

    labels: Tensor
    """Ids of caption and end, `IGNORED` elsewhere, (B, S)."""

    @property
    def num_targets(self) -> int:
        """Tokens that are taught."""
        return int((self.labels != IGNORED).sum())


class Writer:
    """Turns captions into lessons for one checkpoint.

    Args:
        processor: Of the checkpoint.
        instructions: Its prompt.
        end_token: Id that ends a caption; without it captions would never stop.
    """

    def __init__(
        self, processor: Blip2Processor, instructions: Instructions, end_token: int
    ) -> None:
        self.tokenizer = processor.tokenizer
        self.prompt, self.end_token = instructions.prompt, end_token
        self.start = prompt_ids(processor, self.prompt)

    def write(self, captions: Sequence[str], device: torch.device | str = "cpu") -> Lesson:
        """Return the lesson of some captions; a caption continues the prompt after a space."""
        rows = [self._row(caption) for caption in captions]
        length = max(len(row) for row in rows)
        shape = (len(rows), length)
        input_ids = torch.full(shape, self.tokenizer.pad_token_id, dtype=torch.long)
        mask = torch.zeros(shape, dtype=torch.long)
        for index, row in enumerate(rows):
            input_ids[index, : len(row)] = torch.tensor(row)
            mask[index, : len(row)] = 1
        labels = input_ids.masked_fill(mask == 0, IGNORED)
        labels[:, : len(self.start)] = IGNORED
        return Lesson(
            input_ids=input_ids.to(device),
            attention_mask=mask.to(device),
            labels=labels.to(device),
        )

    def _row(self, caption: str) -> list[int]:
        joined = f"{self.prompt} {caption}" if self.prompt else caption
        written = self._ids(joined)[len(self._ids(self.prompt)) :]
        return [*self.start, *written[:MAX_CAPTION_TOKENS], self.end_token]

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text)["input_ids"]
        return ids


def summed_loss(model: Blip2ForConditionalGeneration, features: Tensor, lesson: Lesson) -> Tensor:
    """Return the negative log-likelihood of a lesson, summed over its targets.

    Args:
        model: BLIP-2 whose language model is a decoder.
        features: Of the vision tower, (B, P, V).
        lesson: One caption for each picture.
    """
    embeddings = embed(model, features, lesson.input_ids)
    logits = model.language_model(
        inputs_embeds=embeddings, attention_mask=lesson.attention_mask, use_cache=False
    ).logits
    return F.cross_entropy(
        logits[:, :-1].flatten(0, 1).float(),
        lesson.labels[:, 1:].flatten(),
        ignore_index=IGNORED,
        reduction="sum",
    )
