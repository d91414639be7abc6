"""evaluations + manifests -> one HTML page; it reads all the others, and nothing reads it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from pydantic.dataclasses import dataclass
from upath import UPath

from ifas_model.strict import STRICT
from scf_pipeline import progress
from scf_pipeline.engine import Engine, Resources
from scf_pipeline.keywords import KeywordDictionary
from scf_pipeline.report.material import Material, read_evaluations
from scf_pipeline.report.page import render
from scf_pipeline.settings import settings
from scf_pipeline.store import Artifact, ArtifactWriter

PAGE = "report.html"
"""Name of the page in the artifact."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ReportConfig:
    """Settings of the report."""

    stage: ClassVar[str] = "report"
    version: ClassVar[int] = 1

    dictionary: Path
    """YAML keyword dictionary, K of Algorithm 1: whose words are counted and marked."""


def run(
    config: ReportConfig,
    *,
    evaluations: Sequence[Artifact] = (),
    curation: Sequence[Artifact] = (),
    out: UPath,
    engine: Engine,
) -> Artifact:
    """Write the page.

    Args:
        config: Settings.
        evaluations: Trained models and their results, of the stage ``evaluate``.
        curation: What led to them, in any order: worlds, samples, faces, captions, filtered
            captions, captioners, audits, shards. A section whose inputs are absent says so.
        out: Folder to write.
        engine: Where the page is written.
    """
    inputs = {"evaluations": tuple(evaluations), "curation": tuple(curation)}
    writer = ArtifactWriter(out, None, settings=settings(config, **inputs))
    if (sealed := writer.sealed()) is not None:
        return sealed
    text = engine.call(write, Resources(), config=config, **inputs)
    folder = writer.scratch / "page"
    folder.mkdir(exist_ok=True)
    (folder / PAGE).write_text(text, encoding="utf-8", newline="\n")
    writer.adopt(folder)
    progress.say(f"report: {len(text.encode()) / 1e6:.1f} MB")
    return writer.seal()


def write(
    config: ReportConfig, evaluations: Sequence[Artifact], curation: Sequence[Artifact]
) -> str:
    """Return the text of the page."""
    material = Material(
        evaluations=read_evaluations(evaluations),
        curation=tuple({one.name: one for one in curation}.values()),
        dictionary=KeywordDictionary.load(config.dictionary),
    )
    return render(material)
