"""The *bench model*: a BLIP-2 of random weights whose parts have the proportions of the real one.

Vision is ViT-B/32, the Q-Former half of BERT's size, the language model a small OPT with the full
vocabulary. Vision takes some two thirds of the time of a greedy caption, as its share of the
multiplications of BLIP-2 with ViT-g and OPT-2.7B is. Random weights say nothing, so two things are
arranged:

* Weights of vision and Q-Former and position embeddings are large, or pictures would look alike and
  greedy search would repeat one token for ever.
* Eight tokens end a caption, and are raised to where lengths vary as those of captions do.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    Blip2QFormerConfig,
    Blip2VisionConfig,
    BlipImageProcessorPil,
    LogitsProcessorList,
    OPTConfig,
    PreTrainedTokenizerFast,
)

from scf_pipeline.captioners import _blip2
from scf_pipeline.captioners._instructions import Decoding, Instructions
from scf_pipeline.captioners._seeing import prompt_ids
from scf_pipeline.schema import FACE_SCHEMA
from scf_pipeline.settings import Settings
from scf_pipeline.store import Artifact, ArtifactWriter

VOCABULARY = 50_304
ENDS = tuple(range(3, 11))
"""Ids that end a caption."""

PADDING, BOUNDARY = "<pad>", "</s>"
PROMPT = "a photo of"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Sizes of a BLIP-2; the defaults are the bench model's."""

    image_px: int = 224
    patch_px: int = 32
    vision_dim: int = 768
    vision_layers: int = 12
    qformer_dim: int = 768
    qformer_layers: int = 6
    queries: int = 16
    language_dim: int = 512
    language_layers: int = 6
    head_dim: int = 64
    vocabulary: int = VOCABULARY
    end_bias: float = 1.05
    """What the logits of the end tokens are raised by."""


MINIATURE = Sizes(
    image_px=64,
    patch_px=16,
    vision_dim=128,
    vision_layers=5,
    qformer_dim=128,
    qformer_layers=2,
    queries=8,
    language_dim=128,
    language_layers=2,
    head_dim=32,
    vocabulary=512,
    end_bias=0.4,
)
"""The miniature's sizes."""

TINY = Sizes(
    image_px=32,
    patch_px=16,
    vision_dim=64,
    vision_layers=2,
    qformer_dim=64,
    qformer_layers=2,
    queries=4,
    language_dim=64,
    language_layers=2,
    head_dim=32,
    vocabulary=512,
)
"""For trying a script out."""


def build(sizes: Sizes, *, seed: int = 0) -> tuple[Blip2ForConditionalGeneration, Blip2Processor]:
    """Return the bench model and its processor."""
    tokenizer = build_tokenizer(sizes.vocabulary)
    side = {"height": sizes.image_px, "width": sizes.image_px}
    processor = Blip2Processor(
        BlipImageProcessorPil(size=side), tokenizer, num_query_tokens=sizes.queries
    )
    torch.manual_seed(seed)
    model = Blip2ForConditionalGeneration(configure(sizes, tokenizer))
    decoder = model.language_model.model.decoder
    with torch.no_grad():
        model.query_tokens.normal_(0, 0.5)
        model.vision_model.embeddings.position_embedding.normal_(0, 0.1)
        for part in (model.vision_model, model.qformer):
            for weight in part.parameters():
                if weight.ndim == 2:
                    weight.mul_(3)
        model.language_projection.weight.mul_(6)
        decoder.embed_positions.weight.normal_(0, 0.25)
        ends = model.language_model.lm_head.weight[list(ENDS)]
        raised = (ends / ends.norm(dim=1, keepdim=True) ** 2).sum(0)
        decoder.final_layer_norm.bias += sizes.end_bias * raised
    model.generation_config.eos_token_id = list(ENDS)
    return model.eval(), processor


def build_tokenizer(vocabulary: int) -> PreTrainedTokenizerFast:
    """Return a tokenizer of made-up words; all but the prompt's are called by their numbers."""
    words = [PADDING, BOUNDARY, *PROMPT.split()]
    names = words + [f"w{number}" for number in range(len(words), vocabulary - 1)]
    tokenizer = Tokenizer(
        models.WordLevel({name: number for number, name in enumerate(names)}, unk_token=PADDING)
    )
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOUNDARY} $A", special_tokens=[(BOUNDARY, tokenizer.token_to_id(BOUNDARY))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOUNDARY,
        eos_token=BOUNDARY,
        pad_token=PADDING,
        padding_side="left",
    )


def configure(sizes: Sizes, tokenizer: PreTrainedTokenizerFast) -> Blip2Config:
    """Return the model's config; the tokenizer must hold ``<image>`` already."""
    return Blip2Config(
        vision_config=Blip2VisionConfig(
            hidden_size=sizes.vision_dim,
            intermediate_size=4 * sizes.vision_dim,
            num_hidden_layers=sizes.vision_layers,
            num_attention_heads=sizes.vision_dim // sizes.head_dim,
            image_size=sizes.image_px,
            patch_size=sizes.patch_px,
            initializer_range=0.02,
        ),
        qformer_config=Blip2QFormerConfig(
            vocab_size=1,
            hidden_size=sizes.qformer_dim,
            intermediate_size=4 * sizes.qformer_dim,
            num_hidden_layers=sizes.qformer_layers,
            num_attention_heads=sizes.qformer_dim // sizes.head_dim,
            encoder_hidden_size=sizes.vision_dim,
            cross_attention_frequency=2,
        ),
        text_config=OPTConfig(
            vocab_size=sizes.vocabulary,
            hidden_size=sizes.language_dim,
            word_embed_proj_dim=sizes.language_dim,
            ffn_dim=4 * sizes.language_dim,
            num_hidden_layers=sizes.language_layers,
            num_attention_heads=sizes.language_dim // sizes.head_dim,
            max_position_embeddings=128,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=ENDS[0],
        ),
        num_query_tokens=sizes.queries,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )


def build_captioner(sizes: Sizes, decoding: Decoding, *, seed: int = 0) -> _blip2.Blip2Captioner:
    """Return the bench model as a captioner, as `_blip2.load` would return it."""
    instructions = Instructions(prompt=PROMPT, decoding=decoding)
    model, processor = build(sizes, seed=seed)
    screen = _blip2.suit_cpu(model)
    return _blip2.Blip2Captioner(model, processor, instructions, screen=screen)


def generate(
    model: Blip2ForConditionalGeneration,
    captioner: _blip2.Blip2Captioner,
    pixels: torch.Tensor,
    decoding: Decoding,
    seeds: Sequence[int],
) -> torch.Tensor:
    """Return the new tokens of transformers' own `generate` on ready tensors, (B, T).

    Args:
        model: As `build` returned it.
        captioner: Of the same weights.
        pixels: (B, 3, side, side).
        decoding: Options.
        seeds: Of the rows, where tokens are drawn.
    """
    processor = captioner.processor
    start = torch.tensor([prompt_ids(processor, PROMPT)]).expand(len(pixels), -1)
    options: dict[str, Any] = {}
    if decoding.temperature is not None:
        sampling = _blip2.SeededSampling(
            seeds, temperature=decoding.temperature, top_p=decoding.top_p
        )
        options["logits_processor"] = LogitsProcessorList([sampling])
    if decoding.num_beams > 1:
        options["length_penalty"] = decoding.length_penalty
    with torch.inference_mode():
        out = model.generate(
            pixel_values=pixels,
            input_ids=start,
            attention_mask=torch.ones_like(start),
            do_sample=False,
            num_beams=decoding.num_beams,
            min_new_tokens=decoding.min_new_tokens,
            max_new_tokens=decoding.max_new_tokens,
            suppress_tokens=[model.config.image_token_index],
            eos_token_id=captioner.end_tokens,
            pad_token_id=processor.tokenizer.pad_token_id,
            **options,
        )
    return out[:, start.shape[1] :]


def draw_pictures(count: int, side: int, *, seed: int = 0) -> list[np.ndarray]:
    """Return pictures whose PNGs are as large as a photograph's: soft shapes under grain."""
    rng = np.random.default_rng(seed)
    pictures = []
    for _ in range(count):
        soft = Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8))
        shapes = np.asarray(soft.resize((side, side), Image.Resampling.BICUBIC), dtype=np.int16)
        grain = rng.integers(-6, 7, shapes.shape, dtype=np.int16)
        pictures.append(np.clip(shapes + grain, 0, 255).astype(np.uint8))
    return pictures


def write_faces(folder: Path, count: int, side: int, *, rows_of_a_part: int) -> Artifact:
    """Write a sealed face artifact of such pictures, as the crop stage would write it."""
    writer = ArtifactWriter(folder, FACE_SCHEMA, settings=Settings("crop", 1, {}, {}))
    pictures = draw_pictures(count, side)
    for number, start in enumerate(range(0, count, rows_of_a_part)):
        rows = [
            _face(at, pictures[at], side) for at in range(start, min(start + rows_of_a_part, count))
        ]
        writer.write(number, pa.Table.from_pylist(rows, schema=FACE_SCHEMA))
    return writer.seal(rows_in={"siw": count})


def _face(number: int, pixels: np.ndarray, side: int) -> dict[str, object]:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    image = buffer.getvalue()
    return {
        "face_id": f"siw/{number}#0",
        "sample_id": f"siw/{number}",
        "dataset": "siw",
        "split": "train",
        "label": "attack",
        "pai_species": "print",
        "fine_type": "print_flat",
        "native_label": "x",
        "frame": 0,
        "box": [0, 0, side, side],
        "box_source": "whole_frame",
        "image": image,
        "sha256": hashlib.sha256(image).hexdigest(),
    }
