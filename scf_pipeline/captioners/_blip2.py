"""A loaded BLIP-2, what it is made of, and how it is written: the part of `blip2` that has torch.

Prompt and decoding belong to the checkpoint: a folder may hold ``captioner.json``.

Shapes in this file:
    B batch, P image patches and class token, V vision width.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from torch import Tensor
from transformers import Blip2ForConditionalGeneration, Blip2Processor

from ifas_model.checkpoint import BROKEN, unsound
from scf_pipeline.captioners import Caption, Model
from scf_pipeline.captioners._checkpoint import checkpoint_folder
from scf_pipeline.captioners._decoding import reader_for, write
from scf_pipeline.captioners._instructions import (
    Instructions,
    read_instructions,
    write_instructions,
)
from scf_pipeline.captioners._memory import overwrite_activations, use_large_pages
from scf_pipeline.captioners._packing import pack
from scf_pipeline.captioners._rules import Rules
from scf_pipeline.captioners._saying import (
    INSIST_PENALTY,
    SeededSampling,
    lack_of_memory_is_said,
    tidy,
)
from scf_pipeline.captioners._screening import Screen, screen_of
from scf_pipeline.captioners._seeing import Eye, embed, image_token, prompt_ids, see
from scf_pipeline.captioners._vision_cache import VisionCache, open_cache
from scf_pipeline.errors import CaptionerError


class Blip2Captioner:
    """A loaded checkpoint.

    Args:
        model: BLIP-2, in evaluation mode.
        processor: Its tokenizer and image processor.
        instructions: Prompt and decoding.
        cache: Remembers what the vision tower saw.
        screen: Of the language model's output matrix, where that pays.
    """

    def __init__(
        self,
        model: Blip2ForConditionalGeneration,
        processor: Blip2Processor,
        instructions: Instructions,
        cache: VisionCache | None = None,
        screen: Screen | None = None,
    ) -> None:
        self.cache, self.screen = cache, screen
        self.model, self.processor, self.instructions = model, processor, instructions
        self.end_tokens = end_tokens(model)
        self.eye = Eye(processor.image_processor)
        self.prompt_ids = torch.tensor([prompt_ids(processor, instructions.prompt)])

    def prepare(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Bring a picture to the size that the model sees; see `Captioner.prepare`."""
        return self.eye.prepare(picture)

    @torch.inference_mode()
    def look(self, pictures: Sequence[NDArray[np.uint8]]) -> Tensor:
        """Return what the vision tower sees in prepared pictures, (B, P, V)."""
        device, dtype = self.model.device, self.model.dtype
        return see(self.model, self.eye.pixel_values(pictures, device=device, dtype=dtype))

    @torch.inference_mode()
    def caption(
        self, pictures: Sequence[NDArray[np.uint8]], seeds: Sequence[int], *, insist: bool = False
    ) -> list[Caption]:
        """Caption one batch; see `Captioner.caption`."""
        if not pictures:
            return []
        with lack_of_memory_is_said():
            return self._caption_batch(pictures, seeds, insist=insist)

    def _caption_batch(
        self, pictures: Sequence[NDArray[np.uint8]], seeds: Sequence[int], *, insist: bool
    ) -> list[Caption]:
        look = self.look if self.cache is None else partial(self.cache.features, look=self.look)
        ids = self.prompt_ids.to(self.model.device).expand(len(pictures), -1)
        prompt = embed(self.model, look(pictures), ids)
        rules, sampler = self._rules(insist=insist), self._sampler(seeds, insist=insist)
        reader = reader_for(self.model.language_model, prompt, rules, sampler, self.screen)
        written = write(reader, prompt, ids, rules, sampler)
        tokens, log_probabilities = written.tokens, written.log_probabilities
        is_end = torch.isin(tokens, torch.tensor(self.end_tokens, device=tokens.device))
        lengths = (is_end.cumsum(1) == 0).sum(1).tolist()
        return [
            self._caption(tokens[row, :length], log_probabilities[row, :length])
            for row, length in enumerate(lengths)
        ]

    def _rules(self, *, insist: bool) -> Rules:
        decoding = self.instructions.decoding
        return Rules(
            end_tokens=self.end_tokens,
            pad_token=self.processor.tokenizer.pad_token_id,
            suppressed=image_token(self.model),
            min_new_tokens=decoding.min_new_tokens,
            max_new_tokens=decoding.max_new_tokens,
            repetition_penalty=INSIST_PENALTY if insist else decoding.repetition_penalty,
            num_beams=decoding.num_beams,
            length_penalty=decoding.length_penalty,
        )

    def _sampler(self, seeds: Sequence[int], *, insist: bool) -> SeededSampling | None:
        decoding = self.instructions.decoding
        if decoding.temperature is None:
            return None
        # The second try draws anew: the same noise could end an empty caption as early again.
        return SeededSampling(
            [seed ^ int(insist) for seed in seeds],
            temperature=decoding.temperature,
            top_p=decoding.top_p,
        )

    def _caption(self, tokens: Tensor, log_probabilities: Tensor) -> Caption:
        text = self.processor.tokenizer.decode(tokens, skip_special_tokens=True)
        return Caption(
            text=tidy(text, prompt=self.instructions.prompt),
            num_tokens=len(tokens),
            mean_log_probability=float(log_probabilities.mean()) if len(tokens) else 0.0,
        )


def end_tokens(model: Blip2ForConditionalGeneration) -> list[int]:
    """Return the ids that end a caption: newline for published OPT checkpoints."""
    text_config: Any = model.config.text_config
    generation: Any = model.generation_config
    ends = text_config.eos_token_id if generation.eos_token_id is None else generation.eos_token_id
    return [ends] if isinstance(ends, int) else list(ends)


def load_parts(
    model: Model, *, dtype: torch.dtype
) -> tuple[Blip2ForConditionalGeneration, Blip2Processor, Instructions]:
    """Load weights, processor and instructions of a checkpoint, and check that they agree.

    Args:
        model: As `resolve` returned it.
        dtype: Precision of the weights in memory.

    Raises:
        CaptionerError: If the checkpoint cannot be loaded, or model and processor disagree.
    """
    transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    with checkpoint_folder(model) as folder:
        try:
            # PIL pixels differ from torchvision's: one backend gives the same ones everywhere.
            processor = Blip2Processor.from_pretrained(
                folder, backend="pil", local_files_only=True, trust_remote_code=False
            )
            loaded: Any = Blip2ForConditionalGeneration.from_pretrained(
                folder,
                dtype=dtype,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
        except BROKEN as error:
            raise CaptionerError(
                f"A captioner must be a BLIP-2 checkpoint, but loading it failed: {error}.",
                where=model.location,
                fix="Check that the folder is complete, or fetch it again.",
            ) from error
        instructions = read_instructions(folder)
    weights, report = loaded
    if (problem := unsound(weights, report["missing_keys"])) is not None:
        raise CaptionerError(
            f"A captioner must be a sound checkpoint, but is not: {problem}.",
            where=model.location,
            fix="Fetch the checkpoint again.",
        )
    complete(weights, processor)
    check_agreement(weights, processor, where=model.location)
    return weights.eval(), processor, instructions


def complete(model: Blip2ForConditionalGeneration, processor: Blip2Processor) -> None:
    """Add what checkpoints that were published before image tokens leave unsaid.

    Both follow from what they hold: the weights have so many query tokens, and the processor puts
    ``<image>`` behind its tokenizer's words, into a row that OPT's padded vocabulary has to spare.
    """
    if processor.num_query_tokens is None:
        processor.num_query_tokens = model.config.num_query_tokens
    if model.config.image_token_index is None:
        found: int = processor.tokenizer.convert_tokens_to_ids("<image>")
        model.config.image_token_index = found


def check_agreement(
    model: Blip2ForConditionalGeneration, processor: Blip2Processor, *, where: str
) -> None:
    """Check that the model knows every token, and that prompts will hold its image tokens.

    A prompt without them is captioned without a look at the picture, and without an error.

    Raises:
        CaptionerError: If the number of query tokens or the id of the image token differ, or the
            tokenizer knows more words than the model.
    """
    text_config: Any = model.config.text_config
    if len(processor.tokenizer) > text_config.vocab_size:
        raise CaptionerError(
            f"A tokenizer must know at most the {text_config.vocab_size} words of its model, but "
            f"knows {len(processor.tokenizer)}.",
            where=where,
            fix="Restore the tokenizer's files that belong to these weights.",
        )
    pairs = {
        "num_query_tokens": (model.config.num_query_tokens, processor.num_query_tokens),
        "image_token_index": (
            model.config.image_token_index,
            processor.tokenizer.convert_tokens_to_ids("<image>"),
        ),
    }
    for name, (of_model, of_processor) in pairs.items():
        if of_model != of_processor:
            raise CaptionerError(
                f"`{name}` must be the same in model and processor, "
                f"but is {of_model} and {of_processor}.",
                where=where,
                fix="Use a revision of the checkpoint whose processor_config.json is up to date.",
            )


def save_parts(
    folder: Path,
    model: Blip2ForConditionalGeneration,
    processor: Blip2Processor,
    instructions: Instructions,
) -> None:
    """Write a checkpoint folder that `resolve` and `load_parts` read."""
    transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    write_instructions(folder, instructions)


def load(model: Model) -> Blip2Captioner:
    """Load a checkpoint: in bfloat16 onto a GPU where there is one, else in float32."""
    on_gpu = torch.cuda.is_available()
    if not on_gpu:
        use_large_pages()
    weights, processor, instructions = load_parts(
        model, dtype=torch.bfloat16 if on_gpu else torch.float32
    )
    if on_gpu:
        weights.to("cuda")  # type: ignore[arg-type]
    screen = None if on_gpu else suit_cpu(weights)
    cache = open_cache(weights, Eye(processor.image_processor))
    return Blip2Captioner(weights, processor, instructions, cache, screen)


def suit_cpu(model: Blip2ForConditionalGeneration) -> Screen | None:
    """Let a model in float32 infer fast on a CPU, in place, and return the screen that suits it."""
    overwrite_activations(model)
    screen = screen_of(model.language_model)
    pack(model.language_model)
    return screen
