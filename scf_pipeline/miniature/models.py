"""The miniature's models as transformers' own classes, small and untrained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    Blip2QFormerConfig,
    Blip2VisionConfig,
    BlipImageProcessorPil,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPProcessor,
    CLIPTextConfig,
    CLIPVisionConfig,
    OPTConfig,
    PreTrainedTokenizerFast,
)

from ifas_model.vision import Clip
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipSizes:
    """Sizes of a small CLIP."""

    image_px: int = 64
    """Side of the picture that the tower sees."""

    stem_widths: tuple[int, ...] = (24, 48, 96)
    """Channels of the convolutional stem; three make patches of 16 px."""

    vision_dim: int = 128
    """Width of the vision tower."""

    vision_layers: int = 5
    """Blocks of the vision tower."""

    vision_heads: int = 4
    """Attention heads of the vision tower."""

    text_dim: int = 64
    """Width of the text half."""

    text_layers: int = 2
    """Blocks of the text half."""

    text_heads: int = 2
    """Attention heads of the text half."""

    shared_dim: int = 64
    """Width of the space in which pictures meet captions."""

    @property
    def patch_px(self) -> int:
        """Side of a patch."""
        return int(2 ** (len(self.stem_widths) + 1))


CLIP_SIZES: Mapping[str, ClipSizes] = {
    "small": ClipSizes(stem_widths=(16, 32, 64), vision_dim=96, vision_layers=4),
    "base": ClipSizes(),
}
"""Stand-ins for ViT-B and ViT-L."""


def build_clip(
    tokenizer: PreTrainedTokenizerFast, sizes: ClipSizes, *, seed: int
) -> tuple[Clip, CLIPProcessor]:
    """Return an untrained CLIP and its processor.

    Args:
        tokenizer: From `learn_clip_tokenizer`.
        sizes: Widths and depths.
        seed: Of the fresh weights.
    """
    stem: dict[str, Any] = {"stem_widths": list(sizes.stem_widths)}
    vision = CLIPVisionConfig(
        hidden_size=sizes.vision_dim,
        intermediate_size=4 * sizes.vision_dim,
        num_hidden_layers=sizes.vision_layers,
        num_attention_heads=sizes.vision_heads,
        image_size=sizes.image_px,
        patch_size=sizes.patch_px,
        **stem,
    )
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=sizes.text_dim,
        intermediate_size=4 * sizes.text_dim,
        num_hidden_layers=sizes.text_layers,
        num_attention_heads=sizes.text_heads,
        max_position_embeddings=tokenizer.model_max_length,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    torch.manual_seed(seed)
    model = Clip(
        CLIPConfig(
            vision_config=vision.to_dict(),
            text_config=text.to_dict(),
            projection_dim=sizes.shared_dim,
        )
    )
    side = sizes.image_px
    images = CLIPImageProcessorPil(
        size={"shortest_edge": side}, crop_size={"height": side, "width": side}
    )
    return model, CLIPProcessor(images, tokenizer)  # type: ignore[no-untyped-call]


def _token_id(tokenizer: PreTrainedTokenizerFast, token: str) -> int:
    found = tokenizer.convert_tokens_to_ids(token)
    if not isinstance(found, int):
        raise TypeError(f"`token` must be one token, but is {token!r}.")
    return found
