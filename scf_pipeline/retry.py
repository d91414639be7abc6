"""`scf retry`: open sealed artifacts again where input was broken, and has been repaired since."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from upath import UPath

from scf_pipeline import lock, reach
from scf_pipeline.errors import ArtifactError
from scf_pipeline.files import MANIFEST, part_files
from scf_pipeline.schema import FAILURES


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What of one artifact is to be made anew."""

    path: str
    """Its folder."""

    parts: int
    """Parts that were removed."""

    rows: int
    """Rejected rows in them."""

    def line(self) -> str:
        """Return this in one line."""
        name = self.path.rsplit("/", 1)[-1]
        if not self.parts:
            return f"{name}: no row was rejected for broken input"
        return (
            f"{name}: {self.rows} rejected rows; {self.parts} parts will be made anew when the "
            "command that wrote them runs again"
        )


def open_again(path: UPath) -> Opened:
    """Remove an artifact's seal and its parts with rows that were rejected for broken input.

    The same command then makes these parts anew and seals the artifact; the others stay. Rows that
    were rejected by decision (no keyword, a conflict) stay as well: a decision would be the same.
    The seal goes first, so that whoever is stopped in between leaves an unfinished artifact.

    Raises:
        ArtifactError: If a part cannot be read, or another run is writing the artifact.
    """
    held = lock.hold(path, open_again)
    try:
        failed: dict[UPath, int] = {}
        for file in part_files(path):
            if count := _count_failures(file):
                failed[file] = count
        if failed:
            reach.discard(path / MANIFEST)
        for file in failed:
            reach.discard(file)
        return Opened(path=str(path), parts=len(failed), rows=sum(failed.values()))
    finally:
        held.release(open_again)


def _count_failures(file: UPath) -> int:
    try:
        with reach.stream(file) as stream:
            table = pq.ParquetFile(stream)
            if "reject" not in table.schema_arrow.names:
                return 0
            reasons = table.read(columns=["reject"])["reject"]
    except (OSError, pa.ArrowException) as error:
        raise ArtifactError(
            f"A part must be readable, but is not: {error}.",
            where=str(file),
            fix="Delete the artifact and rerun the stage that writes it.",
        ) from error
    wanted = pa.array([reason.value for reason in FAILURES], pa.string())
    return int(pc.sum(pc.is_in(reasons.cast(pa.string()), value_set=wanted)).as_py() or 0)
