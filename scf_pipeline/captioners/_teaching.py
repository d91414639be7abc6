"""What BLIP-2 is taught: captions as token batches, and their loss.

Shapes in this file:
    B batch, S sequence, P image patches and class token, V vision width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from transformers import Blip2ForConditionalGeneration, Blip2Processor

from scf_pipeline.captioners._instructions import Instructions

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
        image = self.tokenizer.convert_tokens_to_ids("<image>")
        # Image tokens come before the start token, as `Blip2Processor` puts them.
        self.start = [image] * processor.num_query_tokens + self._ids(self.prompt)

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


def pixel_values(processor: Blip2Processor, pictures: Sequence[NDArray[np.uint8]]) -> Tensor:
    """Return pictures as the vision tower wants them, (B, 3, side, side)."""
    images = [Image.fromarray(picture) for picture in pictures]
    values: Tensor = processor.image_processor(images, return_tensors="pt")["pixel_values"]
    return values


def see(model: Blip2ForConditionalGeneration, pixels: Tensor) -> Tensor:
    """Return the vision tower's features, (B, 3, side, side) -> (B, P, V)."""
    seen: Tensor = model.vision_model(pixel_values=pixels).last_hidden_state
    return seen


def image_token(model: Blip2ForConditionalGeneration) -> int:
    """Return the id at which the language model sees a query's answer."""
    found = model.config.image_token_index
    if found is None:
        raise ValueError("`image_token_index` must be set in the model's config, but is None.")
    return found


def summed_loss(model: Blip2ForConditionalGeneration, features: Tensor, lesson: Lesson) -> Tensor:
    """Return the negative log-likelihood of a lesson, summed over its targets.

    Args:
        model: BLIP-2 whose language model is a decoder.
        features: Of the vision tower, (B, P, V).
        lesson: One caption for each picture.
    """
    queries = model.query_tokens.expand(len(features), -1, -1)
    answers = model.qformer(query_embeds=queries, encoder_hidden_states=features)
    soft = model.language_projection(answers.last_hidden_state)
    embeddings = model.get_input_embeddings()(lesson.input_ids)
    is_image = torch.eq(lesson.input_ids, image_token(model)).unsqueeze(-1)
    embeddings = embeddings.masked_scatter(is_image, soft.to(embeddings.dtype))
    logits = model.language_model(
        inputs_embeds=embeddings, attention_mask=lesson.attention_mask, use_cache=False
    ).logits
    return F.cross_entropy(
        logits[:, :-1].flatten(0, 1).float(),
        lesson.labels[:, 1:].flatten(),
        ignore_index=IGNORED,
        reduction="sum",
    )
