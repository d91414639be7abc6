"""A language model that reads prompts, and then one token of each beam at a time.

Shapes in this file:
    B pictures, K beams, S tokens of the prompt, W vocabulary, D width.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

from scf_pipeline.captioners._screening import Screen


class Buffer(DynamicLayer):  # type: ignore[no-untyped-call]
    """Keys and values of a layer, with room for all tokens to come."""

    def __init__(self, room: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.room, self.length = room, 0

    def update(
        self,
        key_states: Tensor,
        value_states: Tensor,
        *_: Any,  # noqa: ANN401 - whatever else a version of transformers passes
        **__: Any,  # noqa: ANN401
    ) -> tuple[Tensor, Tensor]:
        """Add keys and values, (B, heads, added, width), and return all so far."""
        if self.keys is None or self.values is None:
            rows, heads, _added, width = key_states.shape
            self.keys = key_states.new_empty((rows, heads, self.room, width))
            self.values = torch.empty_like(self.keys)
            self.is_initialized = True
        start, self.length = self.length, self.length + key_states.shape[-2]
        self.keys[..., start : self.length, :] = key_states
        self.values[..., start : self.length, :] = value_states
        return self.keys[..., : self.length, :], self.values[..., : self.length, :]

    def move(self, rows: Tensor, places: Tensor, *, count: int) -> None:
        """Copy some rows, (R,), into the places of others, (R,), and keep the first ``count``."""
        if self.keys is None or self.values is None:
            return
        for kept in (self.keys, self.values):
            kept[places, :, : self.length] = kept[rows, :, : self.length]
        self.keys, self.values = self.keys[:count], self.values[:count]

    def get_seq_length(self) -> int:
        """Return how many tokens there are."""
        return self.length


class Reader:
    """Runs a language model over prompts, and then over one token of each beam at a time.

    Args:
        language: The language model.
        room: Tokens of the prompt and of all beams.
        buffer: Class of what keeps a layer's keys and values.
        screen: Of the output matrix. With it, what that multiplies is returned in place of logits,
            and has D numbers in place of W.
    """

    def __init__(
        self,
        language: Any,  # noqa: ANN401 - a causal language model of transformers
        *,
        room: int,
        buffer: type[Buffer] = Buffer,
        screen: Screen | None = None,
    ) -> None:
        self.language, self.length, self.screen = language, 0, screen
        self.layers = [buffer(room) for _ in range(language.config.num_hidden_layers)]
        self.cache = Cache(layers=list(self.layers))
        # transformers 5.24 calls `cache` what was `past_key_values`.
        known = inspect.signature(type(language).forward).parameters
        self.cache_name = "cache" if "cache" in known else "past_key_values"

    def read(self, prompt: Tensor) -> Tensor:
        """Return the logits after a prompt, (B, S, D) -> (B, W)."""
        self.length = prompt.shape[1]
        return self._run(1, inputs_embeds=prompt)[:, 0]

    def read_tokens(self, tokens: Tensor, seen: Tensor | None = None) -> Tensor:
        """Return the logits after each beam's next token, (B, K) -> (B, K, W).

        Args:
            tokens: The next token of each beam.
            seen: Which tokens each beam sees, (B, K, all so far); ``None`` where K is 1.
        """
        mask = None
        if seen is not None:
            dtype = self.language.dtype
            mask = torch.zeros(seen.shape, dtype=dtype, device=seen.device)
            mask = mask.masked_fill(~seen, torch.finfo(dtype).min).unsqueeze(1)
        positions = torch.full_like(tokens, self.length)
        self.length += 1
        return self._run(
            tokens.shape[1], input_ids=tokens, attention_mask=mask, position_ids=positions
        )

    def keep(self, rows: Tensor) -> None:
        """Let all rows but these leave the batch; they take this order, in which none is twice."""
        places = (rows != torch.arange(len(rows), device=rows.device)).nonzero()[:, 0]
        for layer in self.layers:
            layer.move(rows[places], places, count=len(rows))

    def _run(self, count: int, **inputs: Any) -> Tensor:  # noqa: ANN401
        """Return what is said of the last ``count`` tokens."""
        inputs |= {self.cache_name: self.cache, "use_cache": True}
        if self.screen is not None:
            return self.language.base_model(**inputs).last_hidden_state[:, -count:]
        return self.language(**inputs, logits_to_keep=count).logits.float()


def close_ranks(going: Tensor) -> Tensor:
    """Return rows that go on, rising, in an order that leaves most of them in their places, (R,).

    The last ones take the places of those that have left, so a cache has little to copy.
    """
    stay, rest = going[going < len(going)], going[going >= len(going)]
    found = torch.arange(len(going), device=going.device)
    free = torch.isin(found, stay, invert=True)
    found[free] = rest
    return found
