"""From a picture to what the language model reads.

Shapes in this file:
    B batch, S sequence, P image patches and class token, V vision width, D language width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from transformers import Blip2ForConditionalGeneration, Blip2Processor

from scf_pipeline.captioners._memory import KEPT_BYTES

LEVELS = 256


class Eye:
    """What a checkpoint's image processor does to a picture, in two halves with the same result.

    The first half, on any thread, brings the picture to the model's size and stays in 8 bits: a
    quarter of what floats take to keep and to move. The second half, where the model is, looks up
    what each of the 256 values becomes: rescaling and normalizing treat all pixels of a channel
    alike.

    Args:
        image_processor: Of the checkpoint, in its PIL form.
    """

    def __init__(self, image_processor: Any) -> None:  # noqa: ANN401 - untyped in transformers
        self.image_processor = image_processor
        ramp = np.repeat(np.arange(LEVELS, dtype=np.uint8)[None, :, None], 3, axis=2)
        values = self._process(ramp, do_resize=False, do_center_crop=False, do_pad=False)
        self.values = torch.from_numpy(values[:, 0])  # (3, LEVELS)
        fitting = (*self._fit(ramp).shape[1:], 3)
        noise = np.random.default_rng(0).integers(0, LEVELS, fitting, dtype=np.uint8)
        is_kept = np.array_equal(self._fit(noise), noise.transpose(2, 0, 1))
        self._fitting = fitting if is_kept else None

    def prepare(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a picture, RGB, (H, W, 3), at the model's size, (3, side, side), in 8 bits."""
        # Crops mostly have that size already, and the processor takes a while to do nothing.
        if picture.shape == self._fitting:
            return np.ascontiguousarray(picture.transpose(2, 0, 1))
        return self._fit(picture)

    def _fit(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        found: NDArray[np.uint8] = self._process(picture, do_rescale=False, do_normalize=False)
        return found

    def pixel_values(
        self, prepared: Sequence[NDArray[np.uint8]], *, device: torch.device, dtype: torch.dtype
    ) -> Tensor:
        """Return prepared pictures as the vision tower wants them, (B, 3, side, side)."""
        pixels = torch.from_numpy(np.stack(prepared)).to(device)
        tables = self.values.to(device, dtype)
        found = torch.empty(pixels.shape, device=device, dtype=dtype)
        # One picture at a time stays in a CPU's cache.
        count = 1 if device.type == "cpu" else len(pixels)
        for some, there in zip(torch.split(pixels, count), torch.split(found, count), strict=True):
            for channel, values in enumerate(tables):
                places = some[:, channel].int().flatten()
                there[:, channel] = values.index_select(0, places).view_as(there[:, channel])
        return found

    def _process(self, picture: NDArray[np.uint8], **options: bool) -> Any:  # noqa: ANN401
        found = self.image_processor(Image.fromarray(picture), return_tensors="np", **options)
        return found["pixel_values"][0]


def prompt_ids(processor: Blip2Processor, prompt: str) -> list[int]:
    """Return the ids that every caption continues: image tokens, start token, prompt."""
    # Image tokens come before the start token, as `Blip2Processor` puts them.
    image: int = processor.tokenizer.convert_tokens_to_ids("<image>")
    words: list[int] = processor.tokenizer(prompt)["input_ids"]
    return [image] * processor.num_query_tokens + words


def pixel_values(processor: Blip2Processor, pictures: Sequence[NDArray[np.uint8]]) -> Tensor:
    """Return pictures as the vision tower wants them, (B, 3, side, side)."""
    images = [Image.fromarray(picture) for picture in pictures]
    values: Tensor = processor.image_processor(images, return_tensors="pt")["pixel_values"]
    return values


def see(model: Blip2ForConditionalGeneration, pixels: Tensor) -> Tensor:
    """Return the vision tower's features, (B, 3, side, side) -> (B, P, V).

    A CPU looks at a few pictures at a time; see `_memory`.
    """
    count = len(pixels)
    if pixels.device.type == "cpu":
        pieces = math.ceil(count / pictures_at_once(model))
        count = math.ceil(count / pieces)
    seen = [
        model.vision_model(pixel_values=some).last_hidden_state
        for some in torch.split(pixels, count)
    ]
    return seen[0] if len(seen) == 1 else torch.cat(seen)


def num_patches(model: Blip2ForConditionalGeneration) -> int:
    """Return how many patches the vision tower makes of a picture, and its class token."""
    config: Any = model.config.vision_config
    return int(1 + (config.image_size // config.patch_size) ** 2)


def pictures_at_once(model: Blip2ForConditionalGeneration) -> int:
    """Return how many pictures fit into `KEPT_BYTES` in the vision tower's widest layers."""
    config: Any = model.config.vision_config
    numbers = num_patches(model) * max(config.intermediate_size, 3 * config.hidden_size)
    return max(1, KEPT_BYTES // (numbers * model.vision_model.dtype.itemsize))


def image_token(model: Blip2ForConditionalGeneration) -> int:
    """Return the id at which the language model sees a query's answer."""
    found = model.config.image_token_index
    if found is None:
        raise ValueError("`image_token_index` must be set in the model's config, but is None.")
    return found


def embed(model: Blip2ForConditionalGeneration, features: Tensor, input_ids: Tensor) -> Tensor:
    """Return what the language model reads: words, and at image tokens what the Q-Former answers.

    Args:
        model: BLIP-2 whose language model is a decoder.
        features: Of the vision tower, (B, P, V).
        input_ids: Image tokens and words, (B, S).

    Returns:
        Embeddings, (B, S, D).
    """
    queries = model.query_tokens.expand(len(features), -1, -1)
    answers = model.qformer(query_embeds=queries, encoder_hidden_states=features)
    soft = model.language_projection(answers.last_hidden_state)
    embeddings = model.get_input_embeddings()(input_ids)
    is_image = torch.eq(input_ids, image_token(model)).unsqueeze(-1)
    return embeddings.masked_scatter(is_image, soft.to(embeddings.dtype))
