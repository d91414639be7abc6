"""Ingest: list the presentations of native datasets as `Sample` rows; nothing is decoded."""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import fields, replace
from itertools import islice, zip_longest
from pathlib import Path
from stat import S_ISDIR
from typing import Any, ClassVar, Literal

import pyarrow as pa
from pydantic import Field
from pydantic.dataclasses import dataclass
from upath import UPath

from ifas_model.strict import STRICT
from ifas_model.vocabulary import PaiSpecies
from scf_pipeline import progress, reach
from scf_pipeline.datasets_file import known_adapter, read_roots, select_roots
from scf_pipeline.engine import Engine
from scf_pipeline.errors import ArtifactError, DatasetLayoutError
from scf_pipeline.files import MANIFEST, part_files, part_name
from scf_pipeline.schema import SAMPLE_SCHEMA, Sample
from scf_pipeline.settings import settings
from scf_pipeline.store import Artifact, ArtifactWriter

ROOTS = "roots"
"""Note of the manifest that tells later stages where the datasets lie; not part of identity."""

WRITERS = 4
"""Parts that are written at a time: a disk or a store is waited for, not worked for."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class IngestConfig:
    """Settings that change which samples are listed, and as what."""

    stage: ClassVar[str] = "ingest"
    version: ClassVar[int] = 1

    datasets: tuple[str, ...] = Field(min_length=1)
    """Adapter names, in the order in which their parts are numbered."""

    contested: Literal["recommended", "mask", "print"] = "recommended"
    """Species of paper masks and cut photos, on which published code disagrees: each dataset's
    recommended reading, or all of them ``mask``, or all of them ``print``."""

    part_samples: int = Field(default=128, ge=1)
    """Samples in one part, the unit of work and of resume; a part holds one dataset only."""


def run(
    config: IngestConfig,
    *,
    out: UPath,
    engine: Engine,
    roots: Mapping[str, Path] | None = None,
    world: Artifact | None = None,
) -> Artifact:
    """List every sample of the datasets.

    The datasets are listed again even where the artifact is sealed, and compared with it: where
    they lie is no part of its identity.

    Args:
        config: Settings.
        out: Folder to write.
        engine: Not used: listing is done here, where the annotation files are read once.
        roots: Where each dataset lies; or
        world: a drawn world that brings its own.

    Raises:
        ArtifactError: If the sealed artifact no longer matches what lies at the roots.
        DatasetLayoutError: If a dataset is not in its native layout, holds no sample, or names one
            twice.
    """
    del engine
    if world is not None:
        roots = read_roots(Path(str(world.path)) / "datasets.yaml")
    found = select_roots(roots or {}, config.datasets, where="the roots of the datasets")
    writer = ArtifactWriter(out, SAMPLE_SCHEMA, settings=settings(config, world=world))
    tables = _tables(config, found)
    notes = {ROOTS: {name: str(root) for name, root in found.items()}}
    if (sealed := writer.sealed()) is None:
        return writer.seal(rows_in=_write(writer, tables), notes=notes)
    _refuse_changes(sealed, tables)
    if sealed.notes == notes:
        return sealed
    rows_in = {name: tally.live for name, tally in sealed.counts.datasets.items()}
    reach.discard(
        writer.path / MANIFEST
    )  # the same datasets, moved: only the note of where is stale
    return writer.seal(rows_in=rows_in, notes=notes)


def settle(sample: Sample, policy: str) -> Sample:
    """Apply a policy to the species of paper masks and cut photos; leave the others as they are."""
    fine = sample.fine_type or ""
    contested = fine == "print_cut" or fine.startswith("paper_mask")
    if policy == "recommended" or not contested:
        return sample
    return replace(sample, pai_species=PaiSpecies(policy))


def _write(writer: ArtifactWriter, tables: Iterator[pa.Table]) -> Counter[str]:
    """Write all parts and return the samples of each dataset.

    Each part waits for the disk to hold it; meanwhile the next ones are listed.
    """
    rows: Counter[str] = Counter()
    written = set()
    spoken = time.monotonic()
    waiting: deque[Future[None]] = deque()
    with ThreadPoolExecutor(max_workers=WRITERS) as pool:
        for number, table in enumerate(tables):
            waiting.append(pool.submit(writer.write, number, table))
            if len(waiting) > 2 * WRITERS:
                waiting.popleft().result()
            written.add(part_name(number))
            rows[table["dataset"][0].as_py()] += table.num_rows
            if time.monotonic() - spoken > progress.EVERY_S:
                spoken = time.monotonic()
                progress.say(f"{IngestConfig.stage}: {rows.total()} samples")
        for future in waiting:
            future.result()
    for file in part_files(writer.path):
        if file.name not in written:  # an interrupted run listed more than there is now
            reach.discard(file)
    return rows


def _tables(config: IngestConfig, roots: Mapping[str, Path]) -> Iterator[pa.Table]:
    for name, root in roots.items():
        adapter = known_adapter(name, where="datasets")
        seen: set[str] = set()
        samples = adapter.scan(root)
        while chunk := list(islice(samples, config.part_samples)):
            _refuse_second(chunk, seen, root)
            yield _table([settle(sample, config.contested) for sample in chunk], root)
        if not seen:
            raise DatasetLayoutError(
                f"{adapter.title} must hold samples, but holds none.",
                where=str(root),
                fix=f"Point the root at the dataset; `scf datasets {name}` shows its layout.",
            )


def _refuse_second(chunk: Iterable[Sample], seen: set[str], root: Path) -> None:
    """Refuse a sample whose id another one had, in this part or an earlier one."""
    for sample in chunk:
        if sample.sample_id in seen:
            raise DatasetLayoutError(
                f"A sample's path without its suffix must be unique, but "
                f"{sample.sample_id!r} occurs twice.",
                where=str(root / sample.media_path),
                fix="Remove or rename one of the two files.",
            )
        seen.add(sample.sample_id)


def _table(samples: Sequence[Sample], root: Path) -> pa.Table:
    """Return the rows of one part, column by column: a million rows are no dictionaries."""
    columns: dict[str, list[Any]] = {
        field.name: [getattr(sample, field.name) for sample in samples] for field in fields(Sample)
    }
    columns["media_bytes"] = [_size(f"{root}/{path}") for path in columns["media_path"]]
    columns["reject"] = [None] * len(samples)
    return pa.Table.from_pydict(columns, schema=SAMPLE_SCHEMA)


def _size(path: str) -> int | None:
    """Return a file's size, or the sum over a folder's files; ``None`` where there is nothing."""
    try:
        found = os.stat(path)  # noqa: PTH116 - to make a million `Path`s costs more than the looks
        if S_ISDIR(found.st_mode):
            return sum(file.stat().st_size for file in Path(path).iterdir() if file.is_file())
    except OSError:
        return None
    return found.st_size


def _refuse_changes(sealed: Artifact, tables: Iterator[pa.Table]) -> None:
    was: dict[str, dict[str, Any]] = {}
    now: dict[str, dict[str, Any]] = {}
    for part, table in zip_longest(sealed.parts(), tables):
        before = None if part is None else part.read_all()
        if before is None or table is None or not before.equals(table):
            was |= _inventory(before)
            now |= _inventory(table)
    changed = [
        f"{key} ({_difference(was.get(key), now.get(key))})"
        for key in sorted(was.keys() | now.keys())
        if was.get(key) != now.get(key)
    ]
    if changed:
        raise ArtifactError(
            f"The datasets must be as they were ingested, but {len(changed)} samples changed: "
            f"{'; '.join(changed[:5])}.",
            where=str(sealed.path),
            fix="Restore the files, or delete this artifact and those made from it.",
        )


def _inventory(table: pa.Table | None) -> dict[str, dict[str, Any]]:
    rows = [] if table is None else table.to_pylist()
    return {f"{row['dataset']}: {row['media_path']}": row for row in rows}


def _difference(was: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> str:
    if was is None or now is None:
        return "was not there" if was is None else "is gone"
    names = [name for name in was if was[name] != now[name]]
    return ", ".join(f"{name} was {was[name]!r}, is {now[name]!r}" for name in names)
