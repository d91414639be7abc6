"""captions -> the audit of captioners: how often each names the attack, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
from pydantic import Field
from pydantic.dataclasses import dataclass
from upath import UPath

from ifas_model.strict import STRICT
from scf_pipeline import progress, stats
from scf_pipeline.engine import Engine, Resources
from scf_pipeline.keywords import KeywordDictionary
from scf_pipeline.settings import settings
from scf_pipeline.store import Artifact, ArtifactWriter

_COUNTS = ("rows", "judged")
_NAMES = ("captioner", "dataset", "kind")

AUDIT_SCHEMA = pa.schema(
    [
        pa.field(name, pa.string() if name in _NAMES else pa.int64(), nullable=False)
        for name in (*_NAMES, *_COUNTS)
    ]
    + [
        pa.field(name, pa.float64())
        for name in (
            "own_rate", "other_rate", "any_rate", "degenerate_rate",
            "mean_words", "distinct_1", "distinct_2",
        )
    ]
)  # fmt: skip
"""One row for each captioner, dataset and kind; see `scf_pipeline.stats.AuditRow`."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class StatsConfig:
    """Settings of the audit."""

    stage: ClassVar[str] = "stats"
    version: ClassVar[int] = 1

    dictionary: Path
    """YAML keyword dictionary, K of Algorithm 1."""

    hold_out_fraction: float | None = Field(default=None, ge=0, le=1)
    """Count only the subjects that fine-tuning at this share never saw; ``None`` counts all."""


def run(
    config: StatsConfig, *, captions: Sequence[Artifact], out: UPath, engine: Engine
) -> Artifact:
    """Audit caption artifacts of one captioner or several."""
    identity = settings(config, captions=tuple(captions))
    writer = ArtifactWriter(out, AUDIT_SCHEMA, settings=identity)
    if (sealed := writer.sealed()) is not None:
        return sealed
    rows = engine.call(audit, Resources(), config=config, captions=tuple(captions))
    writer.write(0, pa.Table.from_pylist(rows, schema=AUDIT_SCHEMA))
    progress.say(f"stats: {len(rows)} rows")
    return writer.seal()


def audit(config: StatsConfig, captions: Sequence[Artifact]) -> list[dict[str, object]]:
    """Return the rows of the audit as plain data."""
    dictionary = KeywordDictionary.load(config.dictionary)
    rows = stats.audit(captions, dictionary, held_out=config.hold_out_fraction)
    return [asdict(row) for row in rows]
