"""weights + shards -> scores and results of one trained model."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
from upath import UPath

from ifas_model.config import EvaluateConfig
from ifas_model.results import SCORE_SCHEMA, SCORES, TRAINING
from scf_pipeline.engine import Engine, Resources
from scf_pipeline.files import local_folder
from scf_pipeline.settings import settings
from scf_pipeline.store import Artifact, ArtifactWriter


def run(  # noqa: PLR0913 - inputs by name, as every stage
    config: EvaluateConfig,
    *,
    judge: Artifact,
    shards: Artifact,
    out: UPath,
    engine: Engine,
    resources: Resources = Resources(),  # noqa: B008 - frozen
    features: Artifact | None = None,
) -> Artifact:
    """Judge the targets of a trained model's protocol.

    Args:
        config: How.
        judge: The trained model.
        shards: VQA shards; their captions are not read.
        out: Folder of the scores, and of the results beside them.
        engine: Where to run; it is one task.
        resources: What the task needs.
        features: The tower's features of the shards' faces.
    """
    inputs = {"judge": judge, "shards": shards, "features": features}
    writer = ArtifactWriter(out, SCORE_SCHEMA, settings=settings(config, **inputs))
    if (sealed := writer.sealed()) is not None:
        return sealed
    made = writer.scratch / "made"
    engine.call(
        examine,
        resources,
        config=config,
        folders={name: local_folder(one.path) for name, one in inputs.items() if one is not None},
        names={
            "model": judge.name,
            "shards": shards.name,
            "taught": judge.manifest["inputs"]["shards"],
        },
        out=made,
    )
    (made / TRAINING).write_text(json.dumps(dict(judge.notes)) + "\n", encoding="utf-8")
    writer.write(0, pq.read_table(made / SCORES))
    (made / SCORES).unlink()
    writer.adopt(made)
    return writer.seal()


def examine(
    config: EvaluateConfig, folders: dict[str, Path], names: dict[str, str], out: Path
) -> None:
    """Judge on one worker."""
    from ifas_model.evaluate import evaluate

    evaluate(
        config,
        model=folders["judge"],
        shards=folders["shards"],
        features=folders.get("features"),
        out=out,
        inputs=names,
    )
