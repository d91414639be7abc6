"""`scf verify` and `scf status`: recompute what a manifest says, and tell what lies in a folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from scf_pipeline import keys, reach
from scf_pipeline.counts import Counts, count_rows
from scf_pipeline.errors import ArtifactError, ScfError
from scf_pipeline.files import DATA, MANIFEST, SETTINGS, hash_file_entry, list_files
from scf_pipeline.lock import who_writes
from scf_pipeline.settings import Settings, read_settings
from scf_pipeline.store import Artifact


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What one folder holds."""

    path: str
    """The folder."""

    stage: str
    """Stage that writes it."""

    is_sealed: bool
    """Whether the stage finished."""

    parts: int
    """Parts on disk."""

    counts: Counts | None
    """Rows, once sealed."""

    writer: str | None
    """Process that is writing it."""

    def line(self) -> str:
        """Return the status in one line."""
        name = self.path.rsplit("/", 1)[-1]
        if self.counts is None:
            state = "unfinished" if self.writer is None else f"being written by {self.writer}"
            return f"{name}: {self.stage} {state}, {self.parts} parts on disk"
        return f"{name}: {self.stage} sealed, {self.parts} parts, {self.counts.summary()}"


def find_artifacts(folder: UPath) -> list[UPath]:
    """Return the artifact folders at and directly below a folder, finished or not.

    Raises:
        ArtifactError: If there are none.
    """
    found = [
        path
        for path in (folder, *reach.inside(folder))
        if any(reach.is_file(path / name) for name in (SETTINGS, MANIFEST))
    ]
    if not found:
        raise ArtifactError(
            "A folder must be an artifact or hold some, but holds none.",
            where=str(folder),
            fix="Name a folder that a stage or `scf run` wrote.",
        )
    return found


def find_captions(folder: UPath) -> list[Artifact]:
    """Return the sealed caption artifacts at and directly below a folder.

    Raises:
        ArtifactError: If there are none.
    """
    places = [path for path in find_artifacts(folder) if reach.is_file(path / MANIFEST)]
    found = [made for made in map(Artifact.open, places) if made.stage == "caption"]
    if not found:
        raise ArtifactError(
            "A folder must be or hold sealed captions, but holds none.",
            where=str(folder),
            fix="Run `scf caption` first.",
        )
    return found


def status(path: UPath) -> Status:
    """Return the status of one artifact folder.

    Raises:
        ArtifactError: If its settings or manifest are damaged.
    """
    settings = read_settings(path / SETTINGS)
    sealed = reach.is_file(path / MANIFEST)
    return Status(
        path=str(path),
        stage=settings.stage,
        is_sealed=sealed,
        parts=sum(file.suffix == ".parquet" for file in reach.inside(path / DATA)),
        counts=Artifact.open(path).counts if sealed else None,
        writer=None if sealed else who_writes(path),
    )


def verify_all(paths: Sequence[UPath]) -> list[str]:
    """Verify the artifacts of one folder, each for itself and against its inputs among them.

    Returns:
        One line for each difference; empty if there is none.
    """
    lines, opened, unsound = [], [], set()
    for path in paths:
        found = verify(path)
        lines += found
        try:
            artifact = Artifact.open(path)
        except ScfError:  # of which `verify` has told
            continue
        opened.append(artifact)
        if found:
            unsound.add(artifact.name)
    return [*lines, *dict.fromkeys(keys.compare(opened, unsound=unsound))]


def verify(path: UPath) -> list[str]:
    """Recompute hashes, schemas, counts and settings of a sealed artifact.

    Returns:
        One line for each difference; empty if there is none.
    """
    try:
        artifact = Artifact.open(path)
    except ScfError as error:
        return [f"{error.where}: {error.what}"]
    found = [*_settings(artifact), *_files(artifact)]
    return found or [*_schemas(artifact), *_counts(artifact)]


def _settings(artifact: Artifact) -> Iterator[str]:
    said = Settings.from_dict(artifact.manifest)
    file = artifact.path / SETTINGS
    try:
        kept = read_settings(file)
    except ArtifactError as error:
        yield f"{file}: {error.what}"
        return
    if kept.fingerprint != said.fingerprint:
        yield f"{file}: differs from the manifest: {said.diff(kept)}"


def _files(artifact: Artifact) -> Iterator[str]:
    listed, there = artifact.files, set(list_files(artifact.path))
    for name in sorted(there - listed.keys()):
        yield f"{artifact.path / name}: an orphan that the manifest does not list"
    for name, entry in listed.items():
        if name in there and hash_file_entry(artifact.path / name) != entry:
            yield f"{artifact.path / name}: the content is not the one that was sealed"


def _schemas(artifact: Artifact) -> Iterator[str]:
    first: pa.Schema | None = None
    for name in (name for name in artifact.files if name.startswith(f"{DATA}/")):
        try:
            with reach.stream(artifact.path / name) as stream:
                schema = pq.ParquetFile(stream).schema_arrow
        except (pa.ArrowException, OSError) as error:
            yield f"{artifact.path / name}: no readable Parquet file ({error})"
            continue
        first = first or schema
        if not schema.equals(first):
            yield f"{artifact.path / name}: the schema is not that of the other parts"


def _counts(artifact: Artifact) -> Iterator[str]:
    said = artifact.counts
    if (problem := said.imbalance()) is not None:
        yield f"{artifact.path / MANIFEST}: counts do not balance: {problem}"
    rows_in = {
        name: tally.rows_in for name, tally in said.datasets.items() if tally.rows_in is not None
    }
    files = [artifact.path / name for name in artifact.files if name.startswith(f"{DATA}/")]
    try:
        found = count_rows(files, rows_in=rows_in or None, inputs=said.inputs)
    except ArtifactError as error:
        yield f"{error.where}: {error.what}"
        return
    if found.to_dict() != said.to_dict():
        yield (
            f"{artifact.path / MANIFEST}: the counts say {said.summary()}, "
            f"the rows say {found.summary()}"
        )
