"""VQA shards: the schema that the pipeline writes to, and the check that a folder keeps it.

A shard folder holds ``data/<split>-xxxxx-of-xxxxx.parquet``, a dataset card and a manifest. It
opens in `datasets` as it is; here it is opened with pyarrow alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from ifas_model import json_data
from ifas_model.errors import ShardError
from ifas_model.vocabulary import Label, Split

if TYPE_CHECKING:
    from pyarrow.dataset import Dataset

__all__ = [
    "IMAGE",
    "LABEL_CODES",
    "NAME",
    "SHARD_SCHEMA",
    "ShardError",
    "open_shards",
    "reading",
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

IMAGE = "image"
"""Column of the pictures."""

LABEL_CODES = {label: code for code, label in enumerate(Label)}
"""Integer of each label in the `label` column: 0 attack, 1 bona fide."""

NAME = re.compile(r"(?P<split>\w+)-(?P<index>\d+)-of-(?P<of>\d+)\.parquet")
"""Name of a shard file."""

_COPY = "Copy it again, or run `scf verify` on the folder it came from."
_WRITE = "Write the shards again with this version of `scf shard`."


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
    _refuse_edits(folder, files)
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


def _refuse_edits(folder: Path, files: Sequence[Path]) -> None:
    """Refuse files that are not as long as the manifest, if there is one, lists them.

    Contents are compared by `scf verify`.
    """
    manifest = folder / "manifest.json"
    if not manifest.is_file():
        return
    try:
        sizes = {name: one["bytes"] for name, one in json_data.read(manifest)["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError) as error:
        raise ShardError(
            f"manifest.json must be as `scf shard` wrote it, but is damaged: {error!r}.",
            where=str(manifest),
            fix="Copy the folder again, or rerun `scf shard`.",
        ) from error
    for file in files:
        size, found = sizes.get(f"data/{file.name}"), file.stat().st_size
        if size != found:
            raise ShardError(
                f"A shard must have the {size or 'no'} bytes that manifest.json lists, but has "
                f"{found}: it was added, edited or cut off.",
                where=str(file),
                fix="Copy the folder again, or rerun `scf shard`; shards of your own need a folder "
                "without manifest.json.",
            )


def validate(files: Iterable[Path]) -> None:
    """Check that Parquet files keep `SHARD_SCHEMA`; columns that it does not name may be there too.

    Types are taken as the contract names them: dictionaries, `large_string` and `string_view` are
    others. Rows are not read.

    Raises:
        ShardError: If a file is unreadable or empty, lacks a column, holds one of another type, or
            numbers the labels in another way.
    """
    for file in files:
        with reading(file):
            metadata = pq.read_metadata(file)
            schema = metadata.schema.to_arrow_schema()
            groups = (metadata.row_group(n).num_rows for n in range(metadata.num_row_groups))
            if (found := sum(groups)) != metadata.num_rows:
                raise pa.ArrowInvalid(f"it tells of {metadata.num_rows} rows and holds {found}")
        for field in SHARD_SCHEMA:
            index = schema.get_field_index(field.name)
            if index < 0 or schema.field(index).type != field.type:
                found = "absent or there twice" if index < 0 else str(schema.field(index).type)
                raise ShardError(
                    f"Column `{field.name}` must be {field.type}, but is {found}.",
                    where=str(file),
                    fix=_WRITE,
                )
        _refuse_other_labels(schema, file)
        if not metadata.num_rows:
            raise ShardError(
                "A shard must hold rows, but holds none.",
                where=str(file),
                fix="Remove it and number the others anew, or write the shards again.",
            )


@contextmanager
def reading(file: Path) -> Iterator[None]:
    """Say of what goes wrong inside the block that a shard is damaged.

    Raises:
        ShardError: If the block raises what pyarrow raises of a broken file.
    """
    try:
        yield
    except (pa.ArrowException, OSError, MemoryError) as error:
        problem = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise ShardError(
            f"A shard must be a sound Parquet file, but reading it failed: {problem}.",
            where=str(file),
            fix=_COPY,
        ) from error


def _refuse_other_labels(schema: pa.Schema, file: Path) -> None:
    """Refuse a file whose metadata for `datasets` number the labels in another way.

    Without such metadata, as other tools write files, the numbers mean what the contract says.
    """
    text = (schema.metadata or {}).get(b"huggingface")
    if text is None:
        return
    names = [label.value for label in LABEL_CODES]
    try:
        found = json_data.parse(text)["info"]["features"]["label"].get("names", names)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        found = "damaged"
    if found != names:
        raise ShardError(
            f"The labels 0 and 1 must be named {', '.join(names)} in the metadata `huggingface`, "
            f"but are named {', '.join(found) if isinstance(found, list) else found}.",
            where=str(file),
            fix="Number the labels as the contract does, or write the shards again.",
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
