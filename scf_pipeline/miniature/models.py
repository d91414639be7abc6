"""The miniature's models as transformers' own classes, small and untrained."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    Blip2QFormerConfig,
    Blip2VisionConfig,
    BlipImageProcessorPil,
    OPTConfig,
    PreTrainedTokenizerFast,
)

from scf_pipeline.miniature.tokenizer import NEWLINE

INITIAL_STD = 0.02
"""Standard deviation of fresh weights; transformers' default for BLIP-2's vision is 1e-10."""

QUERY_STD = 0.5
"""Standard deviation of fresh query tokens; transformers starts them at zero, all alike."""

MAX_POSITIONS = 128
"""Longest sequence of the small language model, image tokens included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blip2Sizes:
    """Sizes of a small BLIP-2."""

    image_px: int = 64
    """Side of the picture that the vision tower sees."""

    patch_px: int = 16
    """Side of a patch."""

    vision_layers: int = 5
    """Blocks of the vision tower."""

    qformer_layers: int = 2
    """Blocks of the Q-Former, each with cross-attention."""

    language_layers: int = 2
    """Blocks of OPT."""

    queries: int = 8
    """Query tokens."""

    dim: int = 128
    """Width of all three."""

    heads: int = 4
    """Attention heads of all three."""


def build_blip2(
    tokenizer: PreTrainedTokenizerFast, sizes: Blip2Sizes, *, seed: int
) -> tuple[Blip2ForConditionalGeneration, Blip2Processor]:
    """Return an untrained BLIP-2 and its processor.

    Args:
        tokenizer: From `learn_opt_tokenizer`; gains ``<image>``.
        sizes: Widths and depths.
        seed: Of the fresh weights.
    """
    side = {"height": sizes.image_px, "width": sizes.image_px}
    processor = Blip2Processor(  # type: ignore[no-untyped-call]
        BlipImageProcessorPil(size=side), tokenizer, num_query_tokens=sizes.queries
    )
    config = Blip2Config(
        vision_config=Blip2VisionConfig(
            hidden_size=sizes.dim,
            intermediate_size=4 * sizes.dim,
            num_hidden_layers=sizes.vision_layers,
            num_attention_heads=sizes.heads,
            image_size=sizes.image_px,
            patch_size=sizes.patch_px,
            initializer_range=INITIAL_STD,
        ),
        qformer_config=Blip2QFormerConfig(
            vocab_size=1,  # it reads no text
            hidden_size=sizes.dim,
            intermediate_size=2 * sizes.dim,
            num_hidden_layers=sizes.qformer_layers,
            num_attention_heads=sizes.heads,
            cross_attention_frequency=1,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        ),
        text_config=OPTConfig(
            vocab_size=len(tokenizer),
            hidden_size=sizes.dim,
            word_embed_proj_dim=sizes.dim,
            ffn_dim=4 * sizes.dim,
            num_hidden_layers=sizes.language_layers,
            num_attention_heads=sizes.heads,
            max_position_embeddings=MAX_POSITIONS,
            dropout=0.0,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=_token_id(tokenizer, NEWLINE),
        ),
        num_query_tokens=sizes.queries,
        image_token_index=_token_id(tokenizer, "<image>"),
    )
    torch.manual_seed(seed)
    model = Blip2ForConditionalGeneration(config)
    torch.nn.init.normal_(model.query_tokens, std=QUERY_STD)
    torch.nn.init.normal_(model.vision_model.embeddings.class_embedding, std=0.1)
    torch.nn.init.normal_(model.vision_model.embeddings.position_embedding, std=0.1)
    return model, processor


def _token_id(tokenizer: PreTrainedTokenizerFast, token: str) -> int:
    found = tokenizer.convert_tokens_to_ids(token)
    if not isinstance(found, int):
        raise TypeError(f"`token` must be one token, but is {token!r}.")
    return found
