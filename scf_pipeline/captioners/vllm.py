"""vLLM, a faster way to run chat models of pictures on a GPU: ``vllm:<folder or hub-id@revision>``.

It has never been run in this project, for want of a GPU beside the package: what is tested is the
requests that it is sent and what is made of its answers. Its limits:

* The package ``vllm`` is no dependency of ours. It needs a GPU, and brings a torch of its own.
* The checkpoint must be one that vLLM knows, with a template of conversations. BLIP-2 has none:
  that is what `blip2` is for.
* No beam search: greedy, or sampled where ``captioner.json`` sets a temperature.
* Which requests share a step is vLLM's affair, so a caption may depend on its neighbours, and with
  that on the part and on a restart. It need not, on the same hardware and version, where the
  environment variable ``VLLM_BATCH_INVARIANT=1`` is set (vLLM's manual, "Reproducibility").
* An engine takes most of a GPU's memory for itself: one worker for each GPU, no fraction. It
  queues what does not fit, so no batch is ever halved.
* ``SCF_VISION_CACHE`` is not used, and `scf finetune` does not train what runs here.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scf_pipeline.captioners import Backend, Caption, Model
from scf_pipeline.captioners._checkpoint import checkpoint_folder
from scf_pipeline.captioners._checkpoint import resolve as resolve_checkpoint
from scf_pipeline.captioners._instructions import (
    Decoding,
    Instructions,
    describe,
    instructions_of,
    read_instructions,
)
from scf_pipeline.captioners._pictures import encode_png
from scf_pipeline.errors import CaptionerError

NAME = "vllm"
INSTRUCTIONS = Instructions(
    prompt="Describe what you see in one sentence.",
    decoding=Decoding(num_beams=1, min_new_tokens=1, max_new_tokens=64),
)
"""Of checkpoints that bring none of their own."""

INSIST_PENALTY = 1.2
"""Repetition penalty of the second try, after a degenerate caption."""

SEED_BITS = 63
"""vLLM takes seeds as signed 64-bit numbers."""

Pixels = NDArray[np.uint8]


class VllmCaptioner:
    """A loaded checkpoint.

    Args:
        engine: `vllm.LLM`.
        sampling: `vllm.SamplingParams`.
        instructions: Prompt and decoding.
    """

    def __init__(self, engine: Any, sampling: Any, instructions: Instructions) -> None:  # noqa: ANN401 - untyped here
        self.engine, self.sampling, self.instructions = engine, sampling, instructions

    def prepare(self, picture: Pixels) -> Pixels:
        """Return a picture as it is: sizes and tiles are the engine's affair."""
        return picture

    def caption(
        self, pictures: Sequence[Pixels], seeds: Sequence[int], *, insist: bool = False
    ) -> list[Caption]:
        """Caption one batch; see `Captioner.caption`."""
        if not pictures:
            return []
        prompt, decoding = self.instructions.prompt, self.instructions.decoding
        found = self.engine.chat(
            [turn(prompt, picture) for picture in pictures],
            [self.sampling(**options(decoding, seed, insist=insist)) for seed in seeds],
            use_tqdm=False,
        )
        return [read_answer(one.outputs[0], prompt) for one in found]


def turn(prompt: str, picture: Pixels) -> list[dict[str, Any]]:
    """Return a conversation of one turn as plain data, its picture as a PNG."""
    data = base64.b64encode(encode_png(picture)).decode()
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
    return [{"role": "user", "content": [image, {"type": "text", "text": prompt}]}]


def options(decoding: Decoding, seed: int, *, insist: bool) -> dict[str, Any]:
    """Return how one picture's request is decoded, as `vllm.SamplingParams` takes it."""
    return {
        "temperature": decoding.temperature or 0.0,  # 0 is greedy
        "top_p": 1.0 if decoding.temperature is None else decoding.top_p,
        "min_tokens": decoding.min_new_tokens,
        "max_tokens": decoding.max_new_tokens,
        "repetition_penalty": INSIST_PENALTY if insist else decoding.repetition_penalty,
        # The second try draws anew: the same noise could end an empty caption as early again.
        "seed": (seed ^ int(insist)) % 2**SEED_BITS,
        "logprobs": 1,
    }


def read_answer(answer: Any, prompt: str) -> Caption:  # noqa: ANN401 - a `vllm.CompletionOutput`
    """Return the caption of an answer.

    Args:
        answer: Its ``text``, ``token_ids``, ``logprobs`` (of the plain model, as vLLM gives them
            unless told otherwise) and ``finish_reason``.
        prompt: Which it may begin with.
    """
    from scf_pipeline.captioners._saying import tidy

    told = [
        step[token].logprob for token, step in zip(answer.token_ids, answer.logprobs, strict=True)
    ]
    if answer.finish_reason == "stop":
        told = told[:-1]  # the end
    return Caption(
        text=tidy(answer.text, prompt=prompt),
        num_tokens=len(told),
        mean_log_probability=sum(told) / len(told) if told else 0.0,
    )


def resolve(text: str) -> Model:
    """Return the model that a folder or ``hub-id@revision`` names; see `_checkpoint.resolve`.

    Raises:
        CaptionerError: If vLLM is not installed, the checkpoint asks for beams, or as there.
    """
    if find_spec("vllm") is None:
        raise CaptionerError(
            "vLLM must be installed where captions are made with it, but is not.",
            where=f"{NAME}:{text}",
            fix="Run `pip install vllm` on a machine with a GPU, or name the same checkpoint as "
            f"`image_text_to_text:{text}`, which needs neither.",
        )
    model = resolve_checkpoint(text, backend=NAME)
    check_decoding(instructions_of(model, INSTRUCTIONS).decoding, where=model.location)
    return model


def check_decoding(decoding: Decoding, *, where: str) -> None:
    """Refuse a search with beams, which vLLM has no room for beside seeds and penalties.

    Raises:
        CaptionerError: If there is more than one beam.
    """
    if decoding.num_beams != 1:
        raise CaptionerError(
            f"With vLLM `decoding.num_beams` must be 1, but is {decoding.num_beams}.",
            where=where,
            fix="Set it to 1 in the checkpoint's captioner.json, or name the checkpoint as "
            "`image_text_to_text:`.",
        )


def load(model: Model) -> VllmCaptioner:
    """Load a checkpoint onto the worker's GPU, in bfloat16."""
    from vllm import LLM, SamplingParams

    with checkpoint_folder(model) as folder:
        instructions = read_instructions(folder, INSTRUCTIONS)
        engine = LLM(
            model=str(folder),
            dtype="bfloat16",
            load_format="safetensors",
            trust_remote_code=False,
            limit_mm_per_prompt={"image": 1},
            seed=0,
        )
    return VllmCaptioner(engine, SamplingParams, instructions)


BACKEND = Backend(
    title="vLLM, on a GPU",
    prompt=INSTRUCTIONS.prompt,
    resolve=resolve,
    describe=partial(describe, default=INSTRUCTIONS),
    load=load,
)
