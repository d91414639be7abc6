"""The card of a shard folder: splits for `datasets`, and where the rows come from, for people."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ifas_model import plugins, prompt
from ifas_model.shards import SHARD_SCHEMA
from ifas_model.text import folded
from scf_pipeline import adapters
from scf_pipeline.config import hash_file
from scf_pipeline.counts import Counts
from scf_pipeline.shuffle import FilePlan
from scf_pipeline.store import Artifact

_INTRODUCTION = """\
# Spoof-aware captions for face anti-spoofing

One row is a face crop, the question "{question}", and an answer in two segments: a judgment
(`Yes` or `No`) and an interpretation (`This is <caption>`). Captions of bona fide faces come from
a general captioner, captions of attacks from one that was fine-tuned on captions which name their
own attack (I-FAS, Algorithm 1). Captions are made by models and may be wrong; the label is the
dataset's own.

The folder opens in `datasets.load_dataset` and in Ray Data; `data/` opens in pyarrow, pandas,
polars and dask; `data/*.parquet` in DuckDB.
"""

_MARKUP = re.compile(r"[\\`*\[\]<>|~$]")
"""Characters that may begin markup of Markdown or HTML, or end a cell."""

_DATA_PROTECTION = """\
The rows hold pictures of faces. Each dataset's own licence governs its rows, this folder included:
nobody who has not accepted it may be given them.
"""


def dataset_card(
    plans: Sequence[FilePlan],
    counts: Counts,
    *,
    captions: Sequence[Artifact],
    dictionary: Path,
) -> str:
    """Return the card as Markdown with the YAML header that `datasets` reads.

    Args:
        plans: The files of the folder.
        counts: Faces that came in, by dataset.
        captions: The caption artifacts that the answers hold.
        dictionary: Keyword dictionary of the column `keywords`.
    """
    rows: Counter[str] = Counter()
    for plan in plans:
        rows[plan.split] += plan.rows
    header = ["---", "configs:", "- config_name: default", "  data_files:"]
    for split in rows:
        header += [f"  - split: {split}", f"    path: data/{split}-*.parquet"]
    sections = [
        "\n".join([*header, "---", ""]),
        _INTRODUCTION.format(question=prompt.QUESTION),
        _section("Splits", _table(("split", "rows"), rows.items())),
        _section("Faces by dataset", _faces(counts)),
        _section(
            "Captioners", _table(("captioner", "prompt", "captions", "of"), _captioners(captions))
        ),
        _section(
            "Keywords",
            f"{_code(dictionary.name)}, SHA-256 {_code(hash_file(dictionary, field='dictionary'))}",
        ),
        _section("Columns", ", ".join(f"`{name}`" for name in SHARD_SCHEMA.names)),
        _section("Licences", _DATA_PROTECTION + "\n" + _licences(counts)),
    ]
    return "\n".join(sections)


def _section(title: str, body: str) -> str:
    return f"## {title}\n\n{body.rstrip()}\n"


def _table(names: Sequence[str], rows: Any) -> str:  # noqa: ANN401 - rows of any cells
    lines = [names, ["---"] * len(names), *(map(_cell, row) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


class _Code(str):
    """Markup of a code span; any other string is text."""

    __slots__ = ()


def _code(text: str) -> _Code:
    """Return text as a code span, which ends at no sign of the text's own."""
    return _Code(f"`{folded(text).translate({ord('`'): chr(39), ord('|'): '/'})}`")


def _cell(content: object) -> str:
    """Return what a cell holds, in one line, with nothing that Markdown or HTML would act on."""
    if isinstance(content, _Code):
        return content
    return _MARKUP.sub(r"\\\g<0>", folded(str(content)))


def _faces(counts: Counts) -> str:
    rows = [
        (
            name,
            tally.rows_in,
            tally.live,
            ", ".join(f"{n} {reason}" for reason, n in sorted(tally.rejected.items())) or "0",
            tally.passed_over,
        )
        for name, tally in sorted(counts.datasets.items())
    ]
    return _table(("dataset", "faces", "rows here", "caption rejected", "not captioned"), rows)


def _captioners(captions: Sequence[Artifact]) -> list[tuple[str, str, int, str]]:
    return [
        (
            _code(_name(artifact.manifest["inputs"])),
            str(artifact.notes.get("instructions", {}).get("prompt", "")),
            artifact.counts.live,
            str(artifact.manifest["config"].get("label") or "all faces"),
        )
        for artifact in captions
    ]


def _name(inputs: Mapping[str, Any]) -> str:
    return str(inputs.get("model", "unknown"))


def _licences(counts: Counts) -> str:
    known = {name: plugins.load(adapters, "ADAPTER", name) for name in sorted(counts.datasets)}
    rows = [(adapter.title, adapter.license, adapter.citation) for adapter in known.values()]
    return _table(("dataset", "licence", "cite"), rows)
