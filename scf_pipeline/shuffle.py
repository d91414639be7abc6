"""An external shuffle in two passes: it needs neither all rows in memory nor a certain engine.

A row's place is the hash of its id. Pass 1 sorts the rows of each part into buckets, a row group
for each split and bucket; pass 2 gathers the buckets of one file from every part and sorts them.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from upath import UPath

from ifas_model.vocabulary import Split
from scf_pipeline.files import write_whole
from scf_pipeline.reach import reaching

PLACE = "place"
"""Column that pass 1 adds and pass 2 drops: 16 hex digits."""

_GROUPS = b"groups"


class Group(NamedTuple):
    """One row group of pass 1."""

    split: str
    """Split of its rows."""

    bucket: int
    """Their bucket."""

    rows: int
    """How many they are."""

    size: int
    """Bytes of their pictures."""


def place(identity: str, seed: int) -> str:
    """Return where a row goes: a hash of its id and the seed, as 16 hex digits."""
    return hashlib.sha256(f"{seed}/{identity}".encode()).hexdigest()[:16]


def write_sorted(file: UPath, table: pa.Table, *, num_buckets: int) -> None:
    """Write one part of pass 1.

    Args:
        file: Where to.
        table: Rows with `split`, `image` (struct with `bytes`) and `place`.
        num_buckets: Buckets that the range of places is cut into.
    """
    buckets = [int(p, 16) * num_buckets >> 64 for p in table[PLACE].to_pylist()]
    table = table.append_column("bucket", pa.array(buckets, pa.int64()))
    table = table.sort_by([("split", "ascending"), (PLACE, "ascending")])
    keys = list(zip(table["split"].to_pylist(), table["bucket"].to_pylist(), strict=True))
    table = table.drop_columns("bucket")
    groups, start = [], 0
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, table.schema, compression="zstd") as writer:
        for (split, bucket), members in groupby(keys):
            rows = table.slice(start, len(list(members)))
            sizes = pc.binary_length(pc.struct_field(rows["image"], "bytes"))
            groups.append(Group(split, bucket, rows.num_rows, pc.sum(sizes).as_py()))
            writer.write_table(rows)
            start += rows.num_rows
        writer.add_key_value_metadata({_GROUPS: json.dumps(groups)})
    write_whole(file, buffer.getvalue())


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePlan:
    """One file of pass 2: the buckets of one split that it gathers from every part."""

    number: int
    """Number of the file over all splits."""

    split: str
    """Split of all its rows."""

    index: int
    """Number of the file within its split."""

    of: int
    """Files of the split."""

    buckets: frozenset[int]
    """Buckets that it gathers."""

    rows: int
    """Rows that it will hold."""

    size: int
    """Bytes of their pictures."""

    sources: tuple[UPath, ...]
    """Files of pass 1."""

    @property
    def name(self) -> str:
        """File name."""
        return f"{self.split}-{self.index:05d}-of-{self.of:05d}.parquet"

    def read(self) -> pa.Table:
        """Return the rows of its buckets, in the order of the parts."""
        return pa.concat_tables(list(self._tables()))

    def _tables(self) -> Iterator[pa.Table]:
        for source in self.sources:
            with reaching(source), source.open("rb") as stream:
                file = pq.ParquetFile(stream)
                wanted = [
                    index
                    for index, group in enumerate(_groups(file))
                    if group.split == self.split and group.bucket in self.buckets
                ]
                if wanted:
                    yield file.read_row_groups(wanted)


def read_column(sources: Sequence[UPath], name: str) -> pa.ChunkedArray:
    """Return a column of text of all files of pass 1."""
    chunks: list[pa.Array] = []
    for source in sources:
        with source.open("rb") as stream:
            chunks += pq.ParquetFile(stream).read(columns=[name])[name].chunks
    return pa.chunked_array(chunks, pa.string())


def plan_files(sources: Sequence[UPath], *, file_bytes: int) -> list[FilePlan]:
    """Cut each split into files of neighbouring buckets, of at most `file_bytes` of pictures."""
    totals: dict[str, Counter[int]] = {}
    rows: dict[str, Counter[int]] = {}
    for source in sources:
        with reaching(source), source.open("rb") as stream:
            for group in _groups(pq.ParquetFile(stream)):
                totals.setdefault(group.split, Counter())[group.bucket] += group.size
                rows.setdefault(group.split, Counter())[group.bucket] += group.rows
    plans: list[FilePlan] = []
    shared = tuple(sources)  # one object: it travels to workers once, not with each plan
    for split in (split.value for split in Split if split in totals):
        files = _fill(sorted(totals[split].items()), file_bytes)
        for index, buckets in enumerate(files):
            plan = FilePlan(
                number=len(plans),
                split=split,
                index=index,
                of=len(files),
                buckets=frozenset(buckets),
                rows=sum(rows[split][bucket] for bucket in buckets),
                size=sum(totals[split][bucket] for bucket in buckets),
                sources=shared,
            )
            plans.append(plan)
    return plans


def gather(rows: pa.Table) -> pa.Table:
    """Sort the rows of one file by their place, and drop the place: the kernel of pass 2."""
    return rows.sort_by(PLACE).drop_columns(PLACE)


def _fill(buckets: Sequence[tuple[int, int]], file_bytes: int) -> list[list[int]]:
    """Cut buckets into few files of about equal size, none above `file_bytes` or one bucket."""
    total = max(1, sum(size for _, size in buckets))
    most = max(file_bytes, *(size for _, size in buckets))
    for num_files in range(-(-total // most), len(buckets)):
        files: dict[int, list[int]] = {}
        sizes: Counter[int] = Counter()
        before = 0
        for bucket, size in buckets:
            index = (2 * before + size) * num_files // (2 * total)  # where its middle falls
            files.setdefault(index, []).append(bucket)
            sizes[index] += size
            before += size
        if max(sizes.values()) <= most:
            return list(files.values())
    return [[bucket] for bucket, _ in buckets]


def _groups(file: pq.ParquetFile) -> list[Group]:
    return [Group(*group) for group in json.loads(file.metadata.metadata[_GROUPS])]
