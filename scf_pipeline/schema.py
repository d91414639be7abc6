"""The rows of every table: `Sample` as adapters yield it, and the Arrow schema of each stage."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ifas_model import rows
from ifas_model.vocabulary import Label, PaiSpecies, Split
from scf_pipeline.errors import SchemaError


class Reject(StrEnum):
    """Why a row goes no further."""

    MISSING = "missing"
    """The annotation names a media file that is not on disk."""
    UNREADABLE = "unreadable"
    """The media file is damaged, disguised, oversized or of no known format."""
    NO_FRAME = "no_frame"
    """The video decodes to no frame."""
    DEGENERATE = "degenerate"
    """The captioner gave an empty or looping caption, twice."""
    NO_KEYWORD = "no_keyword"
    """The caption does not name its own attack (Algorithm 1, line 5)."""
    CONFLICT = "conflict"
    """The caption also names another attack, and the dictionary's policy drops such captions."""


FAILURES = frozenset({Reject.MISSING, Reject.UNREADABLE, Reject.NO_FRAME})
"""Rejections that speak of broken input; the others are decisions."""


def is_below(path: str) -> bool:
    """Tell whether a path, followed from some folder, names something below that folder.

    Links on the disk are the user's own affair; a path that somebody wrote down must not leave.
    """
    parts = Path(path)
    return bool(parts.name) and not parts.anchor and ".." not in parts.parts and "\0" not in path


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One presentation as its dataset ships it: a photo, or one video."""

    sample_id: str
    """Stable id, ``<dataset>/<path without suffix>``; never derived from scan order."""

    dataset: str
    """Adapter name, e.g. ``oulu_npu``."""

    media_path: str
    """Path relative to the dataset root, POSIX separators; a folder where frames are files."""

    split: Split
    """Train, dev or test, as the dataset defines it."""

    subject_id: str | None
    """Identity, unique within the dataset; ``None`` when the dataset does not say."""

    label: Label
    """Bona fide or attack."""

    pai_species: PaiSpecies | None
    """``None`` exactly when `label` is bona fide."""

    fine_type: str | None
    """Our finer kind, e.g. ``replay_photo``; ``None`` exactly when `label` is bona fide."""

    native_label: str
    """The dataset's own wording, verbatim, so that no distinction is lost."""

    def __post_init__(self) -> None:
        if not is_below(self.media_path):
            raise ValueError(
                f"`media_path` must lie below the dataset's root, but is {self.media_path!r}."
            )
        bona_fide = self.label is Label.BONA_FIDE
        for name in ("pai_species", "fine_type"):
            value = getattr(self, name)
            if (value is None) is not bona_fide:
                raise ValueError(
                    f"`{name}` must be None exactly for bona fide samples, "
                    f"but is {value!r} with label {self.label!r} in {self.sample_id!r}."
                )


def _required(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


_IDENTITY = [
    _required("dataset", pa.string()),
    _required("split", pa.string()),
    pa.field("subject_id", pa.string()),
    _required("label", pa.string()),
    pa.field("pai_species", pa.string()),
    pa.field("fine_type", pa.string()),
]
_REJECT = pa.field("reject", pa.string())

SAMPLE_SCHEMA = pa.schema(
    [
        _required("sample_id", pa.string()),
        *_IDENTITY,
        _required("native_label", pa.string()),
        _required("media_path", pa.string()),
        pa.field("media_bytes", pa.int64()),
        _REJECT,
    ]
)
"""Rows of ingest. `media_bytes` is the size found on disk, null where there is no file."""

FACE_SCHEMA = pa.schema(
    [
        _required("face_id", pa.string()),
        _required("sample_id", pa.string()),
        *_IDENTITY,
        _required("native_label", pa.string()),
        _required("frame", pa.int32()),
        pa.field("box", pa.list_(pa.int32(), 4)),
        pa.field("box_source", pa.string()),
        pa.field("image", pa.binary()),
        pa.field("sha256", pa.string()),
        _REJECT,
    ]
)
"""Rows of crop. `image` is a square RGB PNG; `box` is x0, y0, x1, y1 in source pixels."""

CAPTION_SCHEMA = pa.schema(
    [
        _required("face_id", pa.string()),
        _required("sample_id", pa.string()),
        *_IDENTITY,
        pa.field("caption", pa.string()),
        pa.field("num_tokens", pa.int32()),
        pa.field("mean_log_probability", pa.float32()),
        _required("captioner", pa.string()),
        _REJECT,
    ]
)
"""Rows of caption. `mean_log_probability` is in nats for each token, under the plain model."""

FILTER_SCHEMA = pa.schema(
    [
        *CAPTION_SCHEMA,
        pa.field("keywords", pa.list_(pa.string())),
        pa.field("other_keywords", pa.list_(pa.string())),
    ]
)
"""Rows of filter: hits of the caption's own species, and of every other one."""


_FEW = ("dataset", "split", "subject_id", "label", "pai_species", "fine_type", "captioner")
"""Columns whose values repeat from row to row."""


def coded(schema: pa.Schema) -> pa.Schema:
    """Return a schema whose columns of few values are dictionaries, for rows in memory alone.

    They cost less to read, check and write; a file has plain columns either way.
    """
    code = pa.dictionary(pa.int32(), pa.string())
    fields = [field.with_type(code) if field.name in _FEW else field for field in schema]
    return pa.schema(fields, schema.metadata)


def plain(schema: pa.Schema) -> pa.Schema:
    """Return a schema whose dictionaries are the columns that they stand for."""
    fields = [
        field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field
        for field in schema
    ]
    return pa.schema(fields, schema.metadata)


def coded_columns(schema: pa.Schema, names: Sequence[str]) -> list[str]:
    """Return which of some columns are dictionaries in a schema; see `coded`."""
    fields = (field for field in schema if field.name in names)
    return [field.name for field in fields if pa.types.is_dictionary(field.type)]


REJECT = "reject"
"""Column of the reason why a row goes no further."""

_LIVE = ("image", "sha256", "caption")
"""Columns in which rejected rows alone may have nothing."""

_BLANKS = " \t\n\r\f."
"""Signs of which no caption is made alone."""

_AFTER_BLANKS = chr(ord(max(_BLANKS)) + 1)
"""First of the signs that come after all of these; texts of these alone come before it."""

_WORDS: Mapping[str, type[StrEnum]] = {
    "split": Split,
    "label": Label,
    "pai_species": PaiSpecies,
    REJECT: Reject,
}
"""Columns of known words."""


def check_columns(
    found: pa.Schema, wanted: pa.Schema, names: Sequence[str] | None, *, where: str
) -> None:
    """Check that a table that is about to be read has the columns of a schema, in its types.

    Other columns may be there too. Types are taken as the schema names them: dictionaries,
    `large_string` and `string_view` are others.

    Args:
        found: Schema of the file.
        wanted: Schema of the rows; dictionaries are for memory, a file has none.
        names: Columns that will be read; all without it.
        where: The file, for the message.

    Raises:
        SchemaError: If one is absent, there twice or of another type.
    """
    for field in plain(wanted):
        if names is not None and field.name not in names:
            continue
        index = found.get_field_index(field.name)
        if index < 0 or found.field(index).type != field.type:
            told = "absent or there twice" if index < 0 else str(found.field(index).type)
            raise SchemaError(
                f"Column `{field.name}` must be {field.type}, but is {told}.",
                where=where,
                fix="Name the artifact that this stage reads; if it is, delete it and rerun the "
                "stage that writes it.",
            )


def check_rows(table: pa.Table, wanted: pa.Schema, *, where: str) -> None:
    """Check that rows which were read keep what the stages rest on.

    A stage wrote them, so little is asked: keys that are there once, known words, nothing that is
    absent and needed, pictures that are square PNGs of one size.

    Args:
        table: Rows, rejected ones included; some columns of the schema, whose types fit.
        wanted: The schema; its first column is the key.
        where: The file, for the message.

    Raises:
        SchemaError: If one does not.
    """
    problem = rows.breach(table, _claims(table, wanted), key=wanted.names[0])
    if problem is not None:
        raise SchemaError(
            f"Rows must be as a stage wrote them, but one is not: {problem}.",
            where=where,
            fix="Delete the artifact and rerun the stage that writes it.",
        )


def _claims(table: pa.Table, wanted: pa.Schema) -> Iterator[rows.Claim]:
    there = [field for field in wanted if field.name in table.column_names]
    names = [field.name for field in there]
    yield from rows.given(table, [field.name for field in there if not field.nullable])
    for name in filter(_WORDS.__contains__, names):
        yield rows.one_of(table, name, list(_WORDS[name]))
    if REJECT in names:
        for name in filter(_LIVE.__contains__, names):
            broken = pc.and_(pc.is_null(table[name]), pc.is_null(table[REJECT]))
            yield rows.Claim(column=name, rule="given in live rows", broken=broken)
        if "caption" in names:
            broken = pc.and_(_is_blank(table["caption"]), pc.is_null(table[REJECT]))
            yield rows.Claim(column="caption", rule="of words in live rows", broken=broken)
    if "label" in names and "pai_species" in names:
        is_bona_fide = rows.ask(table["label"], partial(pc.equal, Label.BONA_FIDE.value))
        yield rows.null_exactly_for(table, "pai_species", is_bona_fide, who="bona fide faces")
    if wanted.names[0] in names:
        yield rows.unique(table, wanted.names[0])
    yield from rows.numbers(table)
    if "image" in names:
        yield from rows.square_pngs(table, "image")


def _is_blank(captions: pa.ChunkedArray) -> Any:  # noqa: ANN401 - a mask
    may_be = pc.less(captions, _AFTER_BLANKS)  # false of nearly all captions, and cheap to tell
    return pc.equal(pc.ascii_trim(captions, _BLANKS), "") if pc.any(may_be).as_py() else may_be


def conform(table: pa.Table, schema: pa.Schema, *, where: str = "a part") -> pa.Table:
    """Return the table with exactly the schema's columns, types and metadata.

    Args:
        table: Rows; columns that the schema does not name are left out.
        schema: What the rows are to fit.
        where: File that they are for, for the message.

    Raises:
        SchemaError: If a column is absent or of a type that does not fit.
    """
    try:
        return table.select(schema.names).cast(schema)
    except (KeyError, ValueError, pa.ArrowException) as error:
        raise SchemaError(
            f"Rows must fit the schema ({', '.join(schema.names)}), but: {error}.",
            where=where,
            fix="Report it: the stage made rows that it should not.",
        ) from error


def is_held_out(dataset: str, subject: str, fraction: float) -> bool:
    """Tell whether a subject is kept away from the spoof-aware captioner's training.

    The answer depends on the names alone, so that finetune and audit agree on any machine.

    Args:
        dataset: Adapter name.
        subject: `subject_id`, or `sample_id` where the dataset names no subject.
        fraction: Share of subjects to hold out, in [0, 1].
    """
    digest = hashlib.sha256(f"{dataset}/{subject}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < fraction * 2**64
