"""Data-Juicer's side of `peer.py`: runs in an environment of its own, and takes orders by line.

An order is a JSON object on stdin, ``{"do": <function below>, ...arguments}``; the answer is one on
stdout. Whatever libraries print goes to stderr.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from data_juicer.ops.mapper.image_captioning_mapper import ImageCaptioningMapper
from data_juicer.utils.model_utils import get_model
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    Blip2QFormerConfig,
    Blip2VisionConfig,
    BlipImageProcessor,
    OPTConfig,
    PreTrainedTokenizerFast,
)

VOCABULARY = 50_304
"""Of OPT."""

IMAGE_TOKEN = 50_265
"""The id that the mapper expects; the published checkpoints have it."""

PADDING, BOUNDARY, END = 0, 1, 2
QUERIES = 16
WIDTH = 768
IMAGE_PX = 224


def build(folder: str, end_logit: float, spread: float) -> dict[str, Any]:
    """Write a BLIP-2 of random weights: ViT-B at patches of 32 px, Q-Former and OPT of six layers.

    Random weights say nothing, so some are scaled: pictures must not look alike, and captions must
    end, whether tokens are drawn or chosen, after about as many words as captions have.

    Args:
        folder: Where.
        end_logit: What the logit of the end token is raised by.
        spread: Factor of the other logits.
    """
    tokenizer = build_tokenizer()
    pixels = BlipImageProcessor(size={"height": IMAGE_PX, "width": IMAGE_PX})
    processor = Blip2Processor(pixels, tokenizer, num_query_tokens=QUERIES)
    torch.manual_seed(0)
    model = Blip2ForConditionalGeneration(configure()).eval()
    decoder = model.language_model.model.decoder
    with torch.no_grad():
        model.query_tokens.normal_(0, 0.5)
        model.vision_model.embeddings.position_embedding.normal_(0, 0.1)
        for part in (model.vision_model, model.qformer):
            for weight in part.parameters():
                if weight.ndim == 2:
                    weight.mul_(3)
        model.language_projection.weight.mul_(2)
        decoder.embed_positions.weight.normal_(0, 0.3)
        end = model.language_model.lm_head.weight[END]
        decoder.final_layer_norm.weight.mul_(spread)
        decoder.final_layer_norm.bias.add_(end_logit * end / end.norm() ** 2)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return {"parameters": model.num_parameters()}


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer of made-up words, with ``<image>`` where OPT checkpoints have it."""
    words = ["<pad>", "</s>", "<end>", *(f"w{number}" for number in range(3, VOCABULARY))]
    words[IMAGE_TOKEN] = "<image>"
    numbers = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(numbers, unk_token=words[PADDING]))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{words[BOUNDARY]} $A", special_tokens=[(words[BOUNDARY], BOUNDARY)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=words[BOUNDARY],
        eos_token=words[END],
        pad_token=words[PADDING],
        padding_side="left",
    )


def configure() -> Blip2Config:
    """Return the model's config."""
    return Blip2Config(
        vision_config=Blip2VisionConfig(
            hidden_size=WIDTH,
            intermediate_size=4 * WIDTH,
            num_hidden_layers=12,
            num_attention_heads=12,
            image_size=IMAGE_PX,
            patch_size=32,
            initializer_range=0.02,
        ).to_dict(),
        qformer_config=Blip2QFormerConfig(
            vocab_size=1,
            hidden_size=WIDTH,
            intermediate_size=4 * WIDTH,
            num_hidden_layers=6,
            num_attention_heads=12,
            encoder_hidden_size=WIDTH,
        ).to_dict(),
        text_config=OPTConfig(
            vocab_size=VOCABULARY,
            hidden_size=WIDTH,
            word_embed_proj_dim=WIDTH,
            ffn_dim=4 * WIDTH,
            num_hidden_layers=6,
            num_attention_heads=12,
            max_position_embeddings=256,
            pad_token_id=PADDING,
            bos_token_id=BOUNDARY,
            eos_token_id=END,
        ).to_dict(),
        num_query_tokens=QUERIES,
        image_token_index=IMAGE_TOKEN,
    )


class Captioning:
    """The mapper with its defaults, and with the decoding of ours.

    Args:
        model: Checkpoint folder.
        pictures: PNG files.
        batch_sizes: Pictures that are captioned together where decoding is matched.
        max_new_tokens: Most tokens of a caption where decoding is matched.
    """

    def __init__(
        self, model: str, pictures: Sequence[str], batch_sizes: Sequence[int], max_new_tokens: int
    ) -> None:
        self.pictures, self.max_new_tokens = list(pictures), max_new_tokens
        make = partial(ImageCaptioningMapper, model, keep_original_sample=False, memory="1GB")
        self.mappers = {None: make()} | {
            size: make(batch_size=size, gpu_batch_size=size) for size in batch_sizes
        }
        for mapper in self.mappers.values():
            mapper.model_key = self.mappers[None].model_key  # one copy in memory

    def run(self, batch_size: int | None, seed: int) -> dict[str, Any]:
        """Caption all pictures once, as the mapper's own `run` maps them over a dataset.

        Args:
            batch_size: With it, decoding is that of ours; without it, the mapper's defaults.
            seed: For what is drawn.
        """
        mapper = self.mappers[batch_size]
        model, _ = get_model(mapper.model_key, None, mapper.use_cuda())
        forced = {"do_sample": False, "max_new_tokens": self.max_new_tokens}
        generate = type(model).generate
        if batch_size is not None:  # the mapper fixes sampling and 128 tokens
            model.generate = lambda **given: generate(model, **(given | forced))
        torch.manual_seed(seed)
        started, worked = time.perf_counter(), time.process_time()
        texts: list[str] = []
        for start in range(0, len(self.pictures), mapper.batch_size):
            some = self.pictures[start : start + mapper.batch_size]
            rows = {"text": ["<__dj__image> "] * len(some), "images": [[path] for path in some]}
            texts += mapper.process(rows)["text"]
        took = {
            "seconds": time.perf_counter() - started,
            "cpu_seconds": time.process_time() - worked,
        }
        model.__dict__.pop("generate", None)
        return took | {"captions": [tidy(text) for text in texts]}


def tidy(text: str) -> str:
    """Return a caption without the mapper's marks."""
    return text.replace("<__dj__image>", "").replace("<|__dj__eoc|>", "").strip()


def main() -> None:
    """Obey, line by line."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    torch.set_num_threads(1)
    captioning: Captioning | None = None
    for line in sys.stdin:
        order = json.loads(line)
        match order.pop("do"):
            case "build":
                answer = build(**order)
            case "load":
                captioning = Captioning(**order)
                answer = {"pictures": len(captioning.pictures)}
            case "run":
                answer = captioning.run(**order)
            case other:
                answer = {"error": f"no such order: {other}"}
        answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
