"""What a checkpoint folder says about its own use: prompt and decoding in ``captioner.json``.

An example::

    {"prompt": "a photo of", "decoding": {"num_beams": 1, "temperature": 0.7, "top_p": 0.95}}

Without that file, or for what it leaves out, the defaults of the backend hold.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass
from upath import UPath

from ifas_model.strict import STRICT, build
from scf_pipeline.captioners import Model
from scf_pipeline.captioners._checkpoint import read_json
from scf_pipeline.config import to_data

PROMPT = "a photo of"
"""PAPER: not stated; LAVIS prompts its captioning checkpoints with it."""

INSTRUCTIONS = "captioner.json"
"""File of a checkpoint folder that says how to prompt and decode it."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Decoding:
    """How tokens are chosen. PAPER: not stated; the defaults are LAVIS's for COCO captions."""

    num_beams: int = Field(default=5, ge=1)
    """Width of the beam search; 1 is greedy, or sampled where `temperature` is set."""

    min_new_tokens: int = Field(default=8, ge=0)
    """Least number of tokens before a caption may end."""

    max_new_tokens: int = Field(default=30, ge=1)
    """Largest number of tokens, the end token included."""

    repetition_penalty: float = Field(default=1.0, ge=1)
    """Factor against tokens that occurred already; 1 is none."""

    length_penalty: float = 1.0
    """Exponent of the length by which the score of a beam is divided."""

    temperature: float | None = Field(default=None, gt=0)
    """Divisor of the logits before sampling; ``None`` decodes deterministically."""

    top_p: float = Field(default=1.0, gt=0, le=1)
    """Probability mass of the tokens that may be sampled."""

    @model_validator(mode="after")
    def _samples_without_beams(self) -> Decoding:
        if self.temperature is not None and self.num_beams != 1:
            raise ValueError(f"`num_beams` must be 1 where sampling, but is {self.num_beams}")
        return self


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Instructions:
    """What a checkpoint folder says about its own use."""

    prompt: str = PROMPT
    """Text that every caption continues."""

    decoding: Decoding = Field(default_factory=Decoding)
    """How tokens are chosen."""


def read_instructions(folder: Path | UPath, default: Instructions | None = None) -> Instructions:
    """Return what the folder says of prompt and decoding, else the defaults.

    Args:
        folder: The checkpoint.
        default: Of the backend; ``None`` is BLIP-2's.
    """
    known = default or Instructions()
    path = UPath(folder) / INSTRUCTIONS
    if not path.is_file():
        return known
    told, held = read_json(path), to_data(known)
    if isinstance(decoding := told.get("decoding"), dict):
        told = {**told, "decoding": {**held["decoding"], **decoding}}
    return build(Instructions, {**held, **told}, where=str(path))


def describe(model: Model, default: Instructions | None = None) -> dict[str, Any]:
    """Return prompt and decoding of a model as plain data; a hub's checkpoint brings none."""
    return to_data(instructions_of(model, default))


def instructions_of(model: Model, default: Instructions | None = None) -> Instructions:
    """Return prompt and decoding of a model before it is loaded."""
    folder = UPath(model.location)
    return read_instructions(folder, default) if folder.is_dir() else default or Instructions()


def write_instructions(folder: Path, instructions: Instructions) -> None:
    """Write the folder's ``captioner.json``."""
    text = json.dumps(to_data(instructions), indent=2, sort_keys=True) + "\n"
    (folder / INSTRUCTIONS).write_text(text, encoding="utf-8")
