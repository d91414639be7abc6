"""shards -> weights of I-FAS or a baseline."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from upath import UPath

from ifas_model.config import TrainConfig
from scf_pipeline.checkpoints import Checkpoint, lend
from scf_pipeline.engine import Engine, Resources
from scf_pipeline.settings import settings
from scf_pipeline.store import Artifact, ArtifactWriter

LANGUAGE = "language"
"""Folder, in a captioner, of its language model alone."""


def run(  # noqa: PLR0913 - inputs by name, as every stage
    config: TrainConfig,
    *,
    shards: Artifact,
    tower: Artifact | Checkpoint,
    out: UPath,
    engine: Engine,
    resources: Resources = Resources(),  # noqa: B008 - frozen
    captioner: Artifact | None = None,
    language: Artifact | Checkpoint | None = None,
    features: Artifact | None = None,
) -> Artifact:
    """Train one model.

    Args:
        config: What and how.
        shards: VQA shards.
        tower: CLIP.
        out: Folder of the weights, in the Hugging Face layout.
        engine: Where to run; it is one task.
        resources: What the task needs.
        captioner: The captioner whose language model I-FAS begins with; or
        language: a language model of its own, OPT.
        features: The tower's features of the shards' faces.
    """
    inputs = {
        "shards": shards,
        "tower": tower,
        "captioner": captioner,
        "language": language,
        "features": features,
    }
    writer = ArtifactWriter(out, None, settings=settings(config, **inputs))
    if (sealed := writer.sealed()) is not None:
        return sealed
    made = writer.scratch / "weights"
    notes = engine.call(
        teach,
        resources,
        config=config,
        sources={name: one for name, one in inputs.items() if one is not None},
        out=made,
        scratch=writer.scratch / "phases",
    )
    writer.adopt(made)
    return writer.seal(notes=notes)


def teach(
    config: TrainConfig, sources: dict[str, Artifact | Checkpoint], out: Path, scratch: Path
) -> dict[str, Any]:
    """Train on one worker, from the last checkpoint in `scratch` if there is one."""
    from ifas_model.train import train

    with ExitStack() as stack:
        folders = {name: stack.enter_context(lend(one)) for name, one in sources.items()}
        if "captioner" in folders:
            folders["language"] = folders["captioner"] / LANGUAGE
        return train(
            config,
            shards=folders["shards"],
            tower=folders["tower"],
            language=folders.get("language"),
            features=folders.get("features"),
            out=out,
            scratch=scratch,
        )
