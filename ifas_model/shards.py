"""VQA shards: the schema that the pipeline writes to, and the check that a folder keeps it.

A shard folder holds ``data/<split>-xxxxx-of-xxxxx.parquet``, a dataset card and a manifest. It
opens in `datasets` as it is; here it is opened with pyarrow alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from ifas_model.errors import ShardError
from ifas_model.vocabulary import Label, Split

if TYPE_CHECKING:
    from pyarrow.dataset import Dataset

__all__ = [
    "LABEL_CODES",
    "NAME",
    "SHARD_SCHEMA",
    "ShardError",
    "open_shards",
    "shard_files",
    "validate",
]

_TEXT = {"dtype": "string", "_type": "Value"}
_FEATURES = {
    "face_id": _TEXT,
    "sample_id": _TEXT,
    "dataset": _TEXT,
    "subject_id": _TEXT,
    "frame": {"dtype": "int32", "_type": "Value"},
    "split": _TEXT,
    "image": {"_type": "Image"},
    "label": {"names": [label.value for label in Label], "_type": "ClassLabel"},
    "pai_species": _TEXT,
    "fine_type": _TEXT,
    "native_label": _TEXT,
    "question": _TEXT,
    "answer": _TEXT,
    "judgment": _TEXT,
    "interpretation": _TEXT,
    "captioner": _TEXT,
    "keywords": {"feature": _TEXT, "_type": "List"},
}

_TYPES = {
    "frame": pa.int32(),
    "image": pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    "label": pa.int64(),
    "keywords": pa.list_(pa.string()),
}

SHARD_SCHEMA = pa.schema(
    [(name, _TYPES.get(name, pa.string())) for name in _FEATURES],
    metadata={"huggingface": json.dumps({"info": {"features": _FEATURES}})},
)
"""Columns of a shard; the metadata lets `datasets` decode pictures and labels by itself."""

LABEL_CODES = {label: code for code, label in enumerate(Label)}
"""Integer of each label in the `label` column: 0 attack, 1 bona fide."""

NAME = re.compile(r"(?P<split>\w+)-(?P<index>\d+)-of-(?P<of>\d+)\.parquet")
"""Name of a shard file."""


def shard_files(folder: Path, split: Split | None = None) -> list[Path]:
    """Return the Parquet files of a shard folder, in order.

    Args:
        folder: A shard folder, the one that holds ``data/``.
        split: Only this split's files; all of them without it.

    Raises:
        ShardError: If there are none, or not all: the folder was half written or half copied.
    """
    if (folder / "settings.json").is_file() and not (folder / "manifest.json").is_file():
        raise ShardError(
            "Shards must be finished, but manifest.json is absent.",
            where=str(folder),
            fix="Rerun `scf shard`.",
        )
    files = sorted((folder / "data").glob(f"{split or '*'}-*-of-*.parquet"))
    if not files:
        raise ShardError(
            f"A shard folder must hold data/{split or '<split>'}-*-of-*.parquet, but holds none.",
            where=str(folder),
            fix="Point at the folder that `scf shard` printed.",
        )
    _refuse_gaps(files)
    return files


def _refuse_gaps(files: Sequence[Path]) -> None:
    """Refuse files that are not, for each split, exactly those that their names promise."""
    found: dict[tuple[str, str], set[str]] = {}
    for file in files:
        match = NAME.fullmatch(file.name)
        if match is None:
            raise ShardError(
                f"A shard must be named like train-00000-of-00004.parquet, but is {file.name}.",
                where=str(file),
                fix="Rename it or move it out of the folder.",
            )
        found.setdefault((match["split"], match["of"]), set()).add(file.name)
    for (split, of), names in found.items():
        same = [other for other, _ in found if other == split]
        wanted = (f"{split}-{n:0{len(of)}}-of-{of}.parquet" for n in range(len(names)))
        if len(same) > 1 or len(names) != int(of) or names != set(wanted):
            raise ShardError(
                f"The files of a split must be those of one set, all {int(of)} of them, but are "
                f"{len(names)} of {split}-*-of-{of}.parquet"
                f"{', and others' if len(same) > 1 else ''}.",
                where=str(files[0].parent),
                fix="Copy the folder again, or rerun `scf shard`.",
            )


def validate(files: Iterable[Path]) -> None:
    """Check that Parquet files keep `SHARD_SCHEMA`.

    Raises:
        ShardError: If a file is unreadable, lacks a column, or holds one of another type.
    """
    for file in files:
        try:
            schema = pq.read_schema(file)
        except (pa.ArrowException, OSError) as error:
            raise ShardError(
                f"A shard must be a Parquet file, but reading it failed: {str(error).rstrip('.')}.",
                where=str(file),
                fix="Copy it again, or run `scf verify` on the folder it came from.",
            ) from error
        for field in SHARD_SCHEMA:
            index = schema.get_field_index(field.name)
            if index < 0 or schema.field(index).type != field.type:
                found = "absent" if index < 0 else str(schema.field(index).type)
                raise ShardError(
                    f"Column `{field.name}` must be {field.type}, but is {found}.",
                    where=str(file),
                    fix="Write the shards again with this version of `scf shard`.",
                )


def open_shards(folder: Path, split: Split | None = None) -> Dataset:
    """Open a shard folder as a pyarrow dataset, which raises where a page is damaged.

    Args:
        folder: A shard folder, the one that holds ``data/``.
        split: Only this split.

    Raises:
        ShardError: If the folder holds no shards, or one that does not keep the schema.
    """
    import pyarrow.dataset as ds  # takes pandas along, half a second that few commands need

    files = shard_files(folder, split)
    validate(files)
    options = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
    form = ds.ParquetFileFormat(default_fragment_scan_options=options)
    return ds.dataset([str(file) for file in files], schema=SHARD_SCHEMA, format=form)
