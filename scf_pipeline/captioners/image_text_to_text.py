"""Any image-to-text checkpoint of transformers: what `AutoModelForImageTextToText` loads.

Its prompt is a user's turn beside the picture where the processor has a template of conversations.
Elsewhere it stands as it is: a model that wants a mark where the picture goes, such as ``<image>``,
wants it in the prompt of ``captioner.json``. How to decode is said there too, never by the
checkpoint's ``generation_config.json``, of which the ids of special tokens alone are kept.

Against `blip2` it does without three things: pictures are brought to the model's size with the
batch and not ahead of it, ``SCF_VISION_CACHE`` is not used, and `scf finetune` does not train it.

Shapes in this file:
    B batch, T new tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from transformers import AutoModelForImageTextToText, AutoProcessor, GenerationConfig

from ifas_model.checkpoint import BROKEN, unsound
from scf_pipeline.captioners import Backend, Caption, Model
from scf_pipeline.captioners._checkpoint import checkpoint_folder, resolve
from scf_pipeline.captioners._instructions import (
    Decoding,
    Instructions,
    describe,
    read_instructions,
)
from scf_pipeline.captioners._saying import (
    INSIST_PENALTY,
    SeededSampling,
    lack_of_memory_is_said,
    tidy,
)
from scf_pipeline.errors import CaptionerError

NAME = "image_text_to_text"
INSTRUCTIONS = Instructions(
    prompt="Describe what you see in one sentence.",
    decoding=Decoding(num_beams=1, min_new_tokens=1, max_new_tokens=64),
)
"""Of checkpoints that bring none of their own."""

SPECIAL_TOKENS = (
    "bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id", "forced_bos_token_id",
)  # fmt: skip
"""What is kept of a ``generation_config.json``."""

SEES = 1e-5
"""Least difference of logits by which a black and a white picture count as told apart."""

Pixels = NDArray[np.uint8]


class ImageTextCaptioner:
    """A loaded checkpoint.

    Args:
        model: In evaluation mode.
        processor: Its tokenizer and image processor.
        instructions: Prompt and decoding.
    """

    def __init__(self, model: Any, processor: Any, instructions: Instructions) -> None:  # noqa: ANN401 - of any class
        self.model, self.processor, self.instructions = model, processor, instructions
        tokenizer = processor.tokenizer
        tokenizer.padding_side = "left"  # so that what is written follows what was asked
        told = model.generation_config
        ids = {name: getattr(told, name) for name in SPECIAL_TOKENS}
        ends = tokenizer.eos_token_id if told.eos_token_id is None else told.eos_token_id
        self.end_tokens: list[int] = [ends] if isinstance(ends, int) else list(ends)
        if ids["pad_token_id"] is None:
            spare = tokenizer.pad_token_id
            ids["pad_token_id"] = self.end_tokens[0] if spare is None else spare
        self.special_tokens = ids | {"eos_token_id": self.end_tokens}
        model.generation_config = GenerationConfig(**self.special_tokens)  # type: ignore[no-untyped-call]

    def prepare(self, picture: Pixels) -> Pixels:
        """Return a picture as it is: sizes and tiles are the processor's affair, batch by batch."""
        return picture

    @torch.inference_mode()
    def caption(
        self, pictures: Sequence[Pixels], seeds: Sequence[int], *, insist: bool = False
    ) -> list[Caption]:
        """Caption one batch; see `Captioner.caption`."""
        if not pictures:
            return []
        decoding = self.instructions.decoding
        options = {
            "num_beams": decoding.num_beams,
            "min_new_tokens": decoding.min_new_tokens,
            "max_new_tokens": decoding.max_new_tokens,
            "repetition_penalty": INSIST_PENALTY if insist else decoding.repetition_penalty,
            "length_penalty": decoding.length_penalty,
        }
        with lack_of_memory_is_said():
            written = self.write(pictures, options, self._samplers(seeds, insist=insist))
            told: Tensor = self.model.compute_transition_scores(
                written.sequences,
                written.logits,
                getattr(written, "beam_indices", None),
                normalize_logits=True,
            )  # (B, T)
        tokens = written.sequences[:, written.sequences.shape[1] - told.shape[1] :]
        is_end = torch.isin(tokens, torch.tensor(self.end_tokens, device=tokens.device))
        lengths = (is_end.cumsum(1) == 0).sum(1).tolist()
        return [
            self._caption(tokens[row, :length], told[row, :length])
            for row, length in enumerate(lengths)
        ]

    @torch.inference_mode()
    def sees(self) -> bool:
        """Tell whether the picture has a say in the first token at all."""
        extremes = [np.full((64, 64, 3), shade, dtype=np.uint8) for shade in (0, 255)]
        black, white = self.write(extremes, {"max_new_tokens": 1}).logits[0]
        return not torch.allclose(black, white, rtol=0, atol=SEES)

    def write(
        self,
        pictures: Sequence[Pixels],
        options: dict[str, Any],
        samplers: Sequence[SeededSampling] = (),
    ) -> Any:  # noqa: ANN401 - an output of transformers
        """Return what the model writes of a batch, with the logits of each new token.

        Args:
            pictures: RGB, (H, W, 3) each.
            options: Of `GenerationConfig`.
            samplers: Change the scores that `options` left.
        """
        inputs = ask(self.processor, self.instructions.prompt, pictures)
        config = GenerationConfig(  # type: ignore[no-untyped-call]
            **self.special_tokens,
            **options,
            do_sample=False,
            output_logits=True,
            return_dict_in_generate=True,
        )
        return self.model.generate(
            **inputs.to(self.model.device, self.model.dtype),
            generation_config=config,
            logits_processor=list(samplers),
        )

    def _samplers(self, seeds: Sequence[int], *, insist: bool) -> list[SeededSampling]:
        decoding = self.instructions.decoding
        if decoding.temperature is None:
            return []
        # The second try draws anew: the same noise could end an empty caption as early again.
        anew = [seed ^ int(insist) for seed in seeds]
        return [SeededSampling(anew, temperature=decoding.temperature, top_p=decoding.top_p)]

    def _caption(self, tokens: Tensor, log_probabilities: Tensor) -> Caption:
        text = self.processor.tokenizer.decode(tokens, skip_special_tokens=True)
        return Caption(
            text=tidy(text, prompt=self.instructions.prompt),
            num_tokens=len(tokens),
            mean_log_probability=float(log_probabilities.mean()) if len(tokens) else 0.0,
        )


def ask(processor: Any, prompt: str, pictures: Sequence[Pixels]) -> Any:  # noqa: ANN401 - of any class
    """Return the inputs of a model that is asked the same of each picture."""
    images = [Image.fromarray(picture) for picture in pictures]
    if getattr(processor, "chat_template", None) is None:
        return processor(
            images=[[image] for image in images],
            text=[prompt] * len(images),
            return_tensors="pt",
            padding=True,
        )
    words = {"type": "text", "text": prompt}
    turns = [
        [{"role": "user", "content": [{"type": "image", "image": image}, words]}]
        for image in images
    ]
    return processor.apply_chat_template(
        turns,
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        processor_kwargs={"padding": True},
    )


def load(model: Model) -> ImageTextCaptioner:
    """Load a checkpoint: in bfloat16 onto a GPU where there is one, else in float32.

    Raises:
        CaptionerError: If it cannot be loaded, or its captions do not depend on the picture.
    """
    transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    on_gpu = torch.cuda.is_available()
    with checkpoint_folder(model) as folder:
        try:
            # PIL pixels differ from torchvision's: one backend gives the same ones everywhere.
            processor = AutoProcessor.from_pretrained(  # type: ignore[no-untyped-call]
                folder, backend="pil", local_files_only=True, trust_remote_code=False
            )
            loaded: Any = AutoModelForImageTextToText.from_pretrained(
                folder,
                dtype=torch.bfloat16 if on_gpu else torch.float32,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
            weights, report = loaded
            if not (hasattr(processor, "tokenizer") and hasattr(processor, "image_processor")):
                raise ValueError("it must have a processor of pictures and text, but has none")
            if (problem := unsound(weights, report["missing_keys"])) is not None:
                raise ValueError(problem)
        except BROKEN as error:
            raise CaptionerError(
                f"A captioner must be a sound image-to-text checkpoint, but loading it failed: "
                f"{error}.",
                where=model.location,
                fix="Check that the folder is complete, that `AutoModelForImageTextToText` knows "
                "its kind, and that what its processor asks for is installed.",
            ) from error
        instructions = read_instructions(folder, INSTRUCTIONS)
    captioner = ImageTextCaptioner(
        weights.eval().to("cuda" if on_gpu else "cpu"), processor, instructions
    )
    check_sight(captioner, where=model.location)
    return captioner


def check_sight(captioner: ImageTextCaptioner, *, where: str) -> None:
    """Check that the prompt makes the model look at its picture.

    Raises:
        CaptionerError: If it has no place for a picture, or a picture there changes nothing.
    """
    try:
        problem = None if captioner.sees() else "a black and a white one are the same to it"
    except BROKEN as error:
        problem = str(error).rstrip(".")
    if problem is not None:
        raise CaptionerError(
            f"A captioner must look at its picture, but does not: {problem}.",
            where=where,
            fix="Put the mark of its processor's image token, such as `<image>`, into the prompt "
            "of its captioner.json.",
        )


BACKEND = Backend(
    title="any image-to-text model of transformers",
    prompt=INSTRUCTIONS.prompt,
    resolve=partial(resolve, backend=NAME),
    describe=partial(describe, default=INSTRUCTIONS),
    load=load,
)
