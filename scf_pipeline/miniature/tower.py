"""generic -> vision towers: small CLIPs, trained from scratch on captioned pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass
from upath import UPath

from ifas_model.strict import STRICT
from scf_pipeline.engine import Engine, Resources
from scf_pipeline.settings import settings
from scf_pipeline.store import Artifact, ArtifactWriter


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class TowerConfig:
    """Settings of one CLIP of the miniature."""

    stage: ClassVar[str] = "tower"
    version: ClassVar[int] = 1

    size: Literal["small", "base"] = "base"
    """Width and depth; stand-ins for ViT-B and ViT-L."""

    steps: int = Field(default=900, ge=1)
    """Updates."""

    batch_size: int = Field(default=128, ge=2)
    """Pictures of one update, each with one of its captions."""

    learning_rate: float = Field(default=1.5e-3, gt=0)
    """Peak of the learning rate."""

    muon_rate: float = Field(default=0.02, gt=0)
    """Peak rate of Muon, which trains the matrices inside transformer blocks, AdamW the rest."""

    contrast: float = Field(default=1.0, ge=0)
    """Weight of CLIP's contrastive loss beside the loss of words."""

    seed: int = Field(default=0, ge=0)
    """Of fresh weights, data order and augmentation."""

    checkpoint_every: int = Field(default=100, ge=1)
    """Updates between checkpoints, and between points of the loss curve."""


def run(config: TowerConfig, *, corpus: Artifact, out: UPath, engine: Engine) -> Artifact:
    """Train a CLIP; `ifas_model.vision.load_tower` reads the folder."""
    writer = ArtifactWriter(out, None, settings=settings(config, corpus=corpus))
    if (sealed := writer.sealed()) is not None:
        return sealed
    notes = engine.call(
        train, Resources(cpus=1), config=config, corpus=corpus, scratch=writer.scratch
    )
    writer.adopt(writer.scratch / "weights")
    return writer.seal(notes=notes)


def train(config: TowerConfig, corpus: Artifact, scratch: Path) -> dict[str, Any]:
    """Train on one worker, from the last checkpoint in `scratch` if there is one.

    Returns:
        The loss curve, and how often test pictures find their caption.
    """
    from scf_pipeline.miniature.pairs import teach_tower

    return teach_tower(config, corpus, scratch)
