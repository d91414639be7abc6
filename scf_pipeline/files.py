"""Files that appear whole or not at all, local or at any fsspec URL, and where artifacts keep them.

An artifact is a folder::

    <folder>/settings.json    written first: stage, version, config, inputs, fingerprint
    <folder>/data/part-00000.parquet ...
    <folder>/scratch/         checkpoints and temporary files, until it is sealed
    <folder>/remarks/         what workers remark on parts, until it is sealed
    <folder>/lock.json        who is writing it, until it is sealed
    <folder>/manifest.json    written last: the settings, counts, the SHA-256 of every file, and the
                              seal, which is that of the manifest itself

A stage of weights or media puts its files beside these, in their own layout.
"""

from __future__ import annotations

import base64
import hashlib
import os
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from scf_pipeline import reach
from scf_pipeline.errors import ArtifactError
from scf_pipeline.reach import as_local
from scf_pipeline.schema import plain

SETTINGS, MANIFEST, DATA, SCRATCH = "settings.json", "manifest.json", "data", "scratch"
LOCK, REMARKS = "lock.json", "remarks"
PARTIAL = ".partial"

ARROW_SCHEMA = b"ARROW:schema"
"""Key of a Parquet file under which Arrow looks for the types of its columns."""

MAX_DICTIONARY_BYTES = 1 << 16
"""Largest dictionary of a Parquet column. Ids, captions and pictures do not repeat: their column
gives up its dictionary early, which spares a fifth of the time of writing and of reading."""


def local_folder(path: UPath) -> Path:
    """Return an artifact's folder as a path of this machine, for libraries that know no other.

    Raises:
        ArtifactError: If it lies elsewhere.
    """
    path = as_local(path)
    if not isinstance(path, Path):
        raise ArtifactError(
            "What training reads must lie on a local disk, but does not.",
            where=str(path),
            fix="Copy it to a local folder; the curation may stay where it is.",
        )
    return Path(path)


def part_name(number: int) -> str:
    """Return the file name of a part."""
    return f"part-{number:05d}.parquet"


def part_number(name: str) -> int:
    """Return the number in a part's path."""
    return int(name.rsplit("-", 1)[1].removesuffix(".parquet"))


def part_files(folder: UPath) -> list[UPath]:
    """Return the parts that lie in an artifact's folder, sealed or not, in order."""
    found = reach.inside(folder / DATA)
    return [file for file in found if file.name.startswith("part-") and file.suffix == ".parquet"]


def write_parquet(path: UPath, table: pa.Table, *, row_group_rows: int | None = None) -> None:
    """Write a Parquet file whole, with page checksums and page index.

    Columns that are dictionaries in memory are plain in the file. Arrow would store the table's
    schema, and make dictionaries of them again for every reader; so the plain one is stored.
    """
    schema = plain(table.schema)
    buffer = pa.BufferOutputStream()
    with pq.ParquetWriter(
        buffer,
        table.schema,
        store_schema=False,
        compression="zstd",
        dictionary_pagesize_limit=MAX_DICTIONARY_BYTES,
        write_page_checksum=True,
        write_page_index=True,
    ) as writer:
        writer.write_table(table, row_group_rows)
        stored = {ARROW_SCHEMA: base64.b64encode(schema.serialize())}
        writer.add_key_value_metadata({**(schema.metadata or {}), **stored})
    write_whole(path, memoryview(buffer.getvalue()))


def write_whole(path: UPath, data: bytes | memoryview) -> None:
    """Write a file so that a reader sees all of it or nothing.

    On a local disk: beside, synced, renamed, the folder synced. Elsewhere: one put, which object
    stores make visible whole.

    Raises:
        ArtifactError: If the disk or the store refuses; the file is then whole or as it was before.
    """
    path = as_local(path)
    if not isinstance(path, Path):
        reach.put(path, bytes(data))
        return
    with _refusals(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_beside(path, data)


@contextmanager
def _refusals(path: UPath) -> Iterator[None]:
    """Say in our words that a disk is full or a folder locked."""
    try:
        yield
    except OSError as error:
        raise ArtifactError(
            f"A file must be written, but cannot be: {error.strerror or error}.",
            where=str(path),
            fix="Free the disk, or mend access to it, and rerun; what is finished is kept.",
        ) from error


def _write_beside(path: Path, data: bytes | memoryview) -> None:
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}{PARTIAL}")
    with partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    try:
        partial.replace(path)
    except FileNotFoundError:
        if not path.is_file():  # else a writer beside this one swept up and has its own
            raise
    sync(path.parent)


def remove(folder: UPath) -> None:
    """Remove a folder and all below it, if it is there."""
    if reach.is_folder(folder):
        with reach.reaching(folder):
            folder.fs.rm(folder.path, recursive=True)


def read_sealed(path: UPath, sha256: str) -> bytes:
    """Return a file's bytes if they are the ones that were sealed.

    Raises:
        ArtifactError: If the file is gone, its content is another, or its store fails.
    """
    try:
        raw = reach.read(path)
    except OSError as error:
        raise ArtifactError(
            f"A sealed file must be readable, but is not: {error}.",
            where=str(path),
            fix="Delete the artifact and rerun the stage that writes it.",
        ) from error
    if hashlib.sha256(raw).hexdigest() != sha256:
        raise ArtifactError(
            "A sealed file must have the hash that its manifest lists, but has another: it was "
            "edited, truncated or damaged.",
            where=str(path),
            fix="Delete the artifact and rerun the stage that writes it.",
        )
    return raw


def hash_files(folder: UPath) -> dict[str, dict[str, Any]]:
    """Return hash and size of every file of an artifact, by its path below the folder."""
    names = list_files(folder)
    with ThreadPoolExecutor(max_workers=4) as pool:
        entries = list(pool.map(lambda name: hash_file_entry(folder / name), names))
    return dict(zip(names, entries, strict=True))


def list_files(folder: UPath) -> list[str]:
    """Return the paths of an artifact's files below its folder, sorted, bookkeeping left out."""
    root = str(folder).rstrip("/")
    found = [str(path)[len(root) + 1 :] for path in reach.below(folder)]
    return sorted(
        name
        for name in found
        if name not in (SETTINGS, MANIFEST, LOCK)
        and name.split("/", 1)[0] not in (SCRATCH, REMARKS)
        and not name.endswith(PARTIAL)
    )


def hash_file_entry(path: UPath) -> dict[str, Any]:
    """Return hash and size of one file, as a manifest lists them."""
    size, sha = 0, hashlib.sha256()
    with reach.reaching(path), path.open("rb") as file:
        while chunk := file.read(1 << 20):
            sha.update(chunk)
            size += len(chunk)
    return {"sha256": sha.hexdigest(), "bytes": size}


def sync(path: Path) -> None:
    """Wait until a file or folder of this disk has reached it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
