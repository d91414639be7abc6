"""Artifacts at rest: parts appear whole or not at all, and the manifest comes last.

Where its files lie in an artifact's folder, `scf_pipeline.files` tells.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from upath import UPath

from scf_pipeline import lock, provenance, reach
from scf_pipeline.config import digest
from scf_pipeline.counts import Counts, count_rows
from scf_pipeline.engine import Part
from scf_pipeline.errors import ArtifactError
from scf_pipeline.files import (
    DATA,
    MANIFEST,
    PARTIAL,
    REMARKS,
    SCRATCH,
    SETTINGS,
    hash_files,
    part_files,
    part_name,
    part_number,
    read_sealed,
    remove,
    sync,
    write_parquet,
    write_whole,
)
from scf_pipeline.manifest import check, to_json, with_seal
from scf_pipeline.reach import as_local
from scf_pipeline.schema import REJECT, check_columns, check_rows, coded_columns, conform
from scf_pipeline.settings import DAMAGE, Settings, read_settings

P = TypeVar("P", bound=Part)


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePart:
    """One part of a sealed artifact: a Parquet file whose hash is known."""

    number: int
    """Number of the part."""

    path: UPath
    """The file."""

    sha256: str
    """Hash that the manifest lists."""

    schema: pa.Schema | None = None
    """What the reader wants of its rows, which hold nothing else then, `coded` or not; without it
    they are taken as they are."""

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Return the live rows: those whose `reject`, if the table has one, is null.

        Raises:
            ArtifactError: If the file is gone, is not the one that was sealed, is no table, or its
                store fails.
            SchemaError: If its columns or rows do not keep the schema.
        """
        table = self.read_all(None if columns is None else list({*columns, REJECT}))
        if REJECT in table.column_names:
            is_live = pc.is_null(table[REJECT])
            table = table if pc.all(is_live).as_py() else table.filter(is_live)  # which copies all
        return table if columns is None else table.select(list(columns))

    def read_all(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Return all rows, rejected ones included.

        Raises:
            ArtifactError: If the file is gone, is not the one that was sealed, or is no table.
            SchemaError: If its columns or rows do not keep the schema.
        """
        raw, where = read_sealed(self.path, self.sha256), str(self.path)
        try:
            # the hash vouches for every byte, pages need no second look; and the bytes are at hand
            file = pq.ParquetFile(pa.BufferReader(raw), pre_buffer=False)
            if self.schema is not None:
                check_columns(file.schema_arrow, self.schema, columns, where=where)
                file = pq.ParquetFile(
                    pa.BufferReader(raw),
                    metadata=file.metadata,
                    pre_buffer=False,
                    read_dictionary=coded_columns(self.schema, file.schema_arrow.names),
                )
            # parts are read side by side where speed matters, so columns need not be
            names = None if columns is None else list(columns)
            table = file.read(columns=names, use_threads=False)
            if table.num_rows != (told := file.metadata.num_rows):
                raise pa.ArrowInvalid(f"it tells of {told} rows and holds {table.num_rows}")
        except (pa.ArrowException, OSError, MemoryError) as error:
            raise ArtifactError(
                f"A part must be a sound Parquet file, but reading it failed: {error}.",
                where=where,
                fix="Delete the artifact and rerun the stage that writes it.",
            ) from error
        if self.schema is None:
            return table
        check_rows(table, self.schema, where=where)
        wanted = [field for field in self.schema if field.name in table.column_names]
        return conform(table, pa.schema(wanted), where=where)


class Artifact:
    """A sealed artifact. `open` is the only way to get one."""

    def __init__(self, path: UPath, manifest: Mapping[str, Any]) -> None:
        self.path, self.manifest = path, manifest

    @classmethod
    def open(cls, path: UPath | Path | str) -> Artifact:
        """Open a sealed artifact.

        Raises:
            ArtifactError: If there is none, its stage did not finish, a listed file is absent or
                of another size, or its store fails. Contents are checked when they are read, or by
                ``scf verify``.
        """
        path = as_local(path)
        if not reach.is_folder(path):
            raise ArtifactError(
                "An artifact must be a folder, but there is none.",
                where=str(path),
                fix="Correct the path, or run the stage that writes it.",
            )
        file = path / MANIFEST
        if not reach.is_file(file):
            raise ArtifactError(
                "An artifact must hold a manifest, but has none: its stage did not finish.",
                where=str(path),
                fix="Rerun the stage that writes it; finished parts are kept.",
            )
        try:
            manifest = reach.read_json(file)
            check(manifest)
        except DAMAGE as error:
            raise ArtifactError(
                f"A manifest must be as a stage wrote it, but is damaged: {error!r}.",
                where=str(file),
                fix="Delete the folder and rerun the stage that writes it.",
            ) from error
        artifact = cls(path, manifest)
        for name, entry in artifact.files.items():
            _check_size(path / name, entry["bytes"])
        return artifact

    @property
    def stage(self) -> str:
        """Name of the stage that wrote it."""
        return str(self.manifest["stage"])

    @property
    def fingerprint(self) -> str:
        """Hash of the settings that it is a result of."""
        return str(self.manifest["fingerprint"])

    @property
    def files(self) -> Mapping[str, Mapping[str, Any]]:
        """``{"sha256": ..., "bytes": ...}`` of each file, by its path below the folder."""
        return {name: self.manifest["files"][name] for name in sorted(self.manifest["files"])}

    @property
    def identity(self) -> str:
        """Hash of the settings and of every file's content: what downstream results rest on."""
        hashes = {name: entry["sha256"] for name, entry in self.files.items()}
        return digest([self.fingerprint, hashes])

    @property
    def name(self) -> str:
        """``<stage>@<identity>``, as the settings of what is made from it hold it."""
        return f"{self.stage}@{self.identity}"

    @cached_property
    def counts(self) -> Counts:
        """Rows, as sealed."""
        return Counts.from_dict(self.manifest["counts"])

    @property
    def notes(self) -> Mapping[str, Any]:
        """What the stage noted beside its rows, e.g. a loss curve."""
        notes: Mapping[str, Any] = self.manifest.get("notes", {})
        return notes

    def parts(self, schema: pa.Schema | None = None) -> list[FilePart]:
        """Return the parts in order.

        Args:
            schema: What their rows are to keep, which is found out when they are read.
        """
        found = [
            FilePart(
                number=part_number(name),
                path=self.path / name,
                sha256=entry["sha256"],
                schema=schema,
            )
            for name, entry in self.files.items()
            if name.startswith(f"{DATA}/part-")
        ]
        return sorted(found, key=lambda part: part.number)

    def read(
        self, columns: Sequence[str] | None = None, *, schema: pa.Schema | None = None
    ) -> pa.Table:
        """Return the live rows of all parts.

        Raises:
            ArtifactError: If it holds no parts, or one is not the one that was sealed.
            SchemaError: If one does not keep the schema.
        """
        parts = self.parts(schema)
        if not parts:
            raise ArtifactError(
                "An artifact must hold parts to be read, but holds none.",
                where=str(self.path),
                fix=f"Name an artifact of rows; this one is of the stage {self.stage!r}.",
            )
        return pa.concat_tables([part.read(columns) for part in parts])


class ArtifactWriter:
    """Writes parts atomically; `seal` writes the manifest last.

    The settings are written first, so parts of two configurations never mix.

    Args:
        path: Folder to write, local or any fsspec URL.
        schema: Schema of the parts; ``None`` for weights, which have none.
        settings: What the artifact is a result of.

    Raises:
        ArtifactError: If the folder holds something else, or results of other settings.
    """

    def __init__(
        self, path: UPath | Path | str, schema: pa.Schema | None, *, settings: Settings
    ) -> None:
        self.path, self.schema, self.settings = as_local(path), schema, settings
        self.asked_for: set[str] = set()
        self._begun = time.monotonic()
        try:
            reach.make_folder(self.path)
        except OSError as error:
            raise ArtifactError(
                f"The place of an artifact must be a folder, but cannot be made one: {error}.",
                where=str(self.path),
                fix="Choose another folder.",
            ) from error
        file = self.path / SETTINGS
        holds_files = any(not path.name.startswith(SETTINGS) for path in reach.inside(self.path))
        if reach.is_file(file):  # looked for second: a writer beside this one writes it first
            self._refuse_others(file)
        elif holds_files:
            raise ArtifactError(
                "A folder to write must be new or belong to the same settings, but holds files "
                "and no settings.json.",
                where=str(self.path),
                fix="Choose another folder.",
            )
        else:  # new, but for what a writer left that broke off here
            write_whole(file, to_json(settings.to_dict()))

    def sealed(self) -> Artifact | None:
        """Return the artifact if an earlier run finished it."""
        return Artifact.open(self.path) if reach.is_file(self.path / MANIFEST) else None

    def claim(self) -> None:
        """Keep every other process from writing the artifact, from now to `seal`.

        `scratch` and `missing` do so too; a stage that writes before either begins with this.

        Raises:
            ArtifactError: If another run is writing it.
        """
        lock.hold(self.path, self)

    @property
    def scratch(self) -> Path:
        """A local folder for checkpoints and temporary files, kept until `seal`."""
        self.claim()
        folder = self._scratch()
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _scratch(self) -> Path:
        if isinstance(self.path, Path):
            return Path(self.path) / SCRATCH
        name = digest([str(self.path), self.settings.fingerprint])
        return _private_folder() / name

    def missing(self, parts: Iterable[P]) -> list[P]:
        """Return the parts that an earlier, interrupted run did not write.

        `seal` will refuse to seal without any of the parts, written then or now.

        Raises:
            ArtifactError: If another run is writing the artifact.
        """
        self.claim()
        wanted = list(parts)
        self.ask_for(part_name(part.number) for part in wanted)
        found = {file.name for file in part_files(self.path)}
        return [part for part in wanted if part_name(part.number) not in found]

    def ask_for(self, names: Iterable[str]) -> None:
        """Refuse to seal without these files below ``data``, whatever a listing says then."""
        self.asked_for |= {f"{DATA}/{name}" for name in names}

    def holds(self, number: int) -> bool:
        """Tell whether a part is written, now or by an earlier run."""
        return reach.is_file(self.path / DATA / part_name(number))

    def write(self, number: int, table: pa.Table) -> None:
        """Write one part; a reader never sees half of it.

        Raises:
            SchemaError: If the rows do not fit the artifact's schema.
        """
        if self.schema is None:
            raise ValueError("`schema` must be given to write parts, but is None.")
        file = self.path / DATA / part_name(number)
        write_parquet(file, conform(table, self.schema, where=str(file)))

    def remark(self, number: int, remark: object) -> None:
        """Keep plain data about a part, from whichever worker made it, for `remarks`.

        It comes before the part is written: what is remarked of a part that stays is never lost.
        """
        write_whole(self.path / REMARKS / f"{part_name(number)}.json", to_json(remark))

    def remarks(self) -> dict[str, Any]:
        """Return what was remarked, by the part's file name; `seal` removes it."""
        return {
            file.name.removesuffix(".json"): reach.read_json(file)
            for file in reach.inside(self.path / REMARKS)
            if file.name.endswith(".json")
        }

    def adopt(self, folder: Path) -> None:
        """Move every file below a folder of this disk into the artifact, each atomically."""
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            target = self.path / file.relative_to(folder).as_posix()
            reach.make_folder(target.parent)
            if isinstance(target, Path):
                sync(file)
                file.replace(target)
                sync(target.parent)
            else:
                with reach.reaching(target):
                    target.fs.put_file(str(file), target.path)
        shutil.rmtree(folder)

    def seal(
        self,
        *,
        rows_in: Mapping[str, int] | None = None,
        inputs: Counts | None = None,
        notes: Mapping[str, Any] | None = None,
    ) -> Artifact:
        """Count the rows, hash the files and declare the artifact complete.

        Args:
            rows_in: Rows that came in, by dataset, where rows out are theirs one to one.
            inputs: Balanced counts of the input's rows, where they are not.
            notes: Plain data to keep beside the counts; not part of the identity.

        Raises:
            ArtifactError: If the counts do not balance, so that rows were lost or made twice; if a
                part is absent; if the artifact was sealed before, with other content; or if
                another run is writing it.
        """
        held = lock.hold(self.path, self)
        try:
            return self._seal(held, rows_in=rows_in, inputs=inputs, notes=notes)
        finally:
            held.release(self)

    def _seal(
        self,
        held: lock.Lock,
        *,
        rows_in: Mapping[str, int] | None,
        inputs: Counts | None,
        notes: Mapping[str, Any] | None,
    ) -> Artifact:
        shutil.rmtree(self._scratch(), ignore_errors=True)
        files = hash_files(self.path)
        if (sealed := self.sealed()) is not None:
            _refuse_changes(sealed, files)
            return sealed
        self._refuse_gaps(files)
        tables = [self.path / name for name in files if name.startswith(f"{DATA}/")]
        counts = count_rows(tables, rows_in=rows_in, inputs=inputs)
        if (problem := counts.imbalance()) is not None:
            raise ArtifactError(
                f"Counts must balance, but {problem}.",
                where=str(self.path),
                fix="Delete the folder and rerun the stage; report it if it happens again.",
            )
        manifest = self.settings.to_dict() | {
            "counts": counts.to_dict(),
            "files": files,
            "notes": dict(notes or {}),
            "packages": provenance.packages(),
            "commit": provenance.commit(),
            "machine": provenance.machine(),
            "seconds": round(time.monotonic() - self._begun, 1),
        }
        held.check()
        write_whole(self.path / MANIFEST, to_json(with_seal(manifest)))
        # Not before: whoever writes beside this one then finds its file gone and nothing there.
        for leftover in reach.below(self.path):
            if leftover.name.endswith(PARTIAL):
                reach.discard(leftover)
        remove(self.path / REMARKS)
        return Artifact.open(self.path)

    def _refuse_gaps(self, files: Mapping[str, object]) -> None:
        if absent := sorted(self.asked_for - files.keys()):
            raise ArtifactError(
                f"Every part must be written, but {len(absent)} of {len(self.asked_for)} are not, "
                f"the first is {absent[0]}.",
                where=str(self.path),
                fix="Rerun the stage; finished parts are kept.",
            )

    def _refuse_others(self, file: UPath) -> None:
        found = read_settings(file)
        if found.fingerprint != self.settings.fingerprint:
            raise ArtifactError(
                f"The folder must be new or belong to these settings, but differs: "
                f"{self.settings.diff(found)}.",
                where=str(self.path),
                fix="Choose another folder, or delete this one.",
            )


def _refuse_changes(sealed: Artifact, files: Mapping[str, object]) -> None:
    for name in sorted(sealed.files.keys() | files.keys()):
        if files.get(name) != sealed.files.get(name):
            raise ArtifactError(
                "A sealed artifact must stay as it is, but one of its files was added, removed or "
                "changed.",
                where=str(sealed.path / name),
                fix="Delete the artifact and rerun the stage that writes it.",
            )


def _check_size(path: UPath, size: int) -> None:
    try:
        found = reach.size_of(path)
    except (OSError, ValueError):  # the latter of a name that no file can have
        found = None
    if found != size:
        raise ArtifactError(
            f"A sealed file must have {size} bytes, but has {'none' if found is None else found}.",
            where=str(path),
            fix="Delete the artifact and rerun the stage that writes it.",
        )


def _private_folder() -> Path:
    """Return this user's own folder among the temporary files, which nobody else can enter.

    A run that goes on must find it again, so that its name is no secret and anybody may have made
    it before.

    Raises:
        ArtifactError: If it is another's, or open to others.
    """
    user = os.getuid() if hasattr(os, "getuid") else 0  # elsewhere the whole place is the user's
    folder = Path(tempfile.gettempdir()) / f"scf-{user}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != user or found.st_mode & 0o077:
        raise ArtifactError(
            "The folder for temporary files must be the user's alone, but is another's or open to "
            "others.",
            where=str(folder),
            fix="Remove it, or name another place by the environment variable TMPDIR.",
        )
    return folder
