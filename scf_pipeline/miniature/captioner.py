"""generic -> C_G: a small BLIP-2 that learns from scratch to describe everyday pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass
from upath import UPath

from ifas_model.strict import STRICT
from scf_pipeline.engine import Engine, Resources
from scf_pipeline.settings import settings
from scf_pipeline.store import Artifact, ArtifactWriter


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class CaptionerConfig:
    """Settings of the miniature's general captioner."""

    stage: ClassVar[str] = "captioner"
    version: ClassVar[int] = 1

    word_steps: int = Field(default=900, ge=1)
    """Updates of the vision tower, which first learns the words of captions."""

    word_batch_size: int = Field(default=128, ge=1)
    """Pictures of one such update."""

    word_learning_rate: float = Field(default=1.5e-3, gt=0)
    """Peak of its learning rate."""

    caption_steps: int = Field(default=700, ge=1)
    """Updates of Q-Former and language model on captions, the tower frozen."""

    caption_batch_size: int = Field(default=64, ge=1)
    """Captions of one such update."""

    caption_learning_rate: float = Field(default=1.5e-3, gt=0)
    """Peak of its learning rate."""

    muon_rate: float = Field(default=0.02, gt=0)
    """Peak rate of Muon, which trains the matrices inside transformer blocks, AdamW the rest."""

    temperature: float = Field(default=0.7, gt=0)
    """Of the sampled captions. The most probable caption hardly ever names paper or screens: such
    mentions are spread over many sentences."""

    top_p: float = Field(default=0.95, gt=0, le=1)
    """Probability mass of the tokens that may be sampled."""

    seed: int = Field(default=0, ge=0)
    """Of fresh weights, data order and augmentation."""

    checkpoint_every: int = Field(default=100, ge=1)
    """Updates between checkpoints, and between points of the loss curves."""


def run(config: CaptionerConfig, *, corpus: Artifact, out: UPath, engine: Engine) -> Artifact:
    """Train C_G and judge its captions on the corpus's test pictures."""
    writer = ArtifactWriter(out, None, settings=settings(config, corpus=corpus))
    if (sealed := writer.sealed()) is not None:
        return sealed
    notes = engine.call(
        train, Resources(cpus=1), config=config, corpus=corpus, scratch=writer.scratch
    )
    writer.adopt(writer.scratch / "weights")
    return writer.seal(notes=notes)


def train(config: CaptionerConfig, corpus: Artifact, scratch: Path) -> dict[str, Any]:
    """Train on one worker, from the last checkpoint in `scratch` if there is one.

    Returns:
        Loss curves, and how right the captions of the test pictures are.
    """
    from scf_pipeline.miniature.sentences import judge, teach_captioner

    notes = teach_captioner(config, corpus, scratch)
    return notes | judge(scratch / "weights", corpus)
