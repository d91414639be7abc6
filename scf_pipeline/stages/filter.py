"""captions -> D_S: captions of attacks that name their own attack stay, the others are rejected."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc
from pydantic.dataclasses import dataclass
from upath import UPath

from ifas_model import rows
from ifas_model.strict import STRICT
from ifas_model.vocabulary import Label
from scf_pipeline import progress
from scf_pipeline.engine import Engine, Kernel, Resources
from scf_pipeline.keywords import KeywordDictionary
from scf_pipeline.keywords.file import ConflictPolicy
from scf_pipeline.schema import CAPTION_SCHEMA, FILTER_SCHEMA, Reject, coded
from scf_pipeline.settings import settings
from scf_pipeline.store import Artifact, ArtifactWriter


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class FilterConfig:
    """Settings that change which captions are kept."""

    stage: ClassVar[str] = "filter"
    version: ClassVar[int] = 1

    dictionary: Path
    """YAML keyword dictionary, K of Algorithm 1."""


def run(config: FilterConfig, *, captions: Artifact, out: UPath, engine: Engine) -> Artifact:
    """Filter the captions of attacks into D_S; bona fide captions are passed over."""
    dictionary = KeywordDictionary.load(config.dictionary)
    writer = ArtifactWriter(out, coded(FILTER_SCHEMA), settings=settings(config, captions=captions))
    if (sealed := writer.sealed()) is not None:
        return sealed
    todo = writer.missing(captions.parts(coded(CAPTION_SCHEMA)))
    kernel = partial(_make_kernel, dictionary)
    done = engine.map_parts(kernel, todo, writer.write, Resources(is_cheap=True))
    progress.consume(done, total=len(todo), label=config.stage)
    rows_in = {name: tally.live for name, tally in captions.counts.datasets.items()}
    return writer.seal(rows_in=rows_in)


def _make_kernel(dictionary: KeywordDictionary) -> Kernel:
    return partial(keep_spoof_aware, dictionary=dictionary)


def keep_spoof_aware(captions: pa.Table, dictionary: KeywordDictionary) -> pa.Table:
    """Mark each caption of an attack with its keywords, and reject it if it has none of its own.

    Args:
        captions: Live rows of ``CAPTION_SCHEMA``, `coded` or not.
        dictionary: K of Algorithm 1.

    Returns:
        The rows of attacks in the same order, as ``FILTER_SCHEMA``, coded where the captions are.
        None is dropped: a caption without a keyword of its own PAI species has
        ``reject="no_keyword"``; one that also names another has ``reject="conflict"`` if the
        dictionary drops such captions.

    Source: I-FAS, Algorithm 1, lines 2 to 9.
    """
    is_attack = rows.ask(captions["label"], partial(pc.equal, Label.ATTACK.value))
    attacks = captions if pc.all(is_attack).as_py() else captions.filter(is_attack)
    own, other = dictionary.match_columns(
        attacks["caption"], attacks["pai_species"], attacks["fine_type"]
    )
    is_own, is_other = (pc.greater(pc.list_value_length(words), 0) for words in (own, other))
    is_dropped = pc.and_(is_other, pa.scalar(dictionary.policy is ConflictPolicy.DROP))
    # PAPER: Algorithm 1 does not say what becomes of a caption that also names another species;
    # the dictionary's `conflict_policy` decides, and keeps it by default.
    conflict = pc.if_else(is_dropped, Reject.CONFLICT.value, pa.scalar(None, pa.string()))
    columns = {
        "reject": pc.if_else(is_own, conflict, Reject.NO_KEYWORD.value),
        "keywords": own,
        "other_keywords": other,
    }
    kept = [columns[n] if n in columns else attacks[n] for n in FILTER_SCHEMA.names]
    fields = [
        field.with_type(column.type) for field, column in zip(FILTER_SCHEMA, kept, strict=True)
    ]
    return pa.table(kept, schema=pa.schema(fields))
