"""shards -> features of a frozen vision tower, computed once for every run that reads them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from upath import UPath

from ifas_model.config import FeaturesConfig
from scf_pipeline.checkpoints import Checkpoint, lend
from scf_pipeline.engine import Engine, Resources
from scf_pipeline.files import local_folder
from scf_pipeline.settings import settings
from scf_pipeline.store import Artifact, ArtifactWriter


def run(
    config: FeaturesConfig,
    *,
    tower: Artifact | Checkpoint,
    shards: Sequence[Artifact],
    out: UPath,
    engine: Engine,
    resources: Resources = Resources(),  # noqa: B008 - frozen
) -> Artifact:
    """Compute the features of every face of some shards; a face in several counts once."""
    writer = ArtifactWriter(out, None, settings=settings(config, tower=tower, shards=tuple(shards)))
    if (sealed := writer.sealed()) is not None:
        return sealed
    made = writer.scratch / "features"
    rows = engine.call(
        compute,
        resources,
        config=config,
        tower=tower,
        shards=[local_folder(one.path) for one in shards],
        out=made,
    )
    writer.adopt(made)
    return writer.seal(notes={"faces": rows})


def compute(
    config: FeaturesConfig, tower: Artifact | Checkpoint, shards: Sequence[Path], out: Path
) -> int:
    """Compute on one worker and return the number of faces."""
    from ifas_model import features

    with lend(tower) as folder:
        return len(features.compute(config, tower=folder, shards=shards, out=out).rows)
