"""Counts of rows that must balance: rows in = live + rejected + passed over, for each dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from scf_pipeline import reach
from scf_pipeline.errors import ArtifactError

_COUNTED = ["dataset", "reject"]
"""Columns by which rows are counted; a table may have one of them, or none."""


@dataclass(slots=True)
class Tally:
    """Rows of one dataset."""

    live: int = 0
    """Rows that go on."""

    rejected: Counter[str] = field(default_factory=Counter)
    """Rows that do not, by reason."""

    rows_in: int | None = None
    """Rows that came in, where rows out are theirs one to one."""

    passed_over: int = 0
    """Rows that came in and were not asked for."""

    def balances(self) -> bool:
        """Tell whether no row was lost or made twice."""
        out = self.live + self.rejected.total() + self.passed_over
        return self.passed_over >= 0 and (self.rows_in is None or self.rows_in == out)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "in": self.rows_in,
            "live": self.live,
            "passed_over": self.passed_over,
            "rejected": dict(sorted(self.rejected.items())),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Tally:
        """Read plain data back."""
        return cls(data["live"], Counter(data["rejected"]), data["in"], data["passed_over"])


@dataclass(slots=True)
class Counts:
    """Rows of an artifact, by dataset; of its inputs too where they are not one to one."""

    datasets: dict[str, Tally] = field(default_factory=dict)
    """Rows out, by dataset; one entry ``""`` for tables that name no dataset."""

    inputs: Counts | None = None
    """Rows in, balanced for themselves."""

    @property
    def live(self) -> int:
        """Live rows of all datasets."""
        return sum(tally.live for tally in self.datasets.values())

    @property
    def rejected(self) -> Counter[str]:
        """Rejected rows of all datasets, by reason."""
        return sum((tally.rejected for tally in self.datasets.values()), Counter[str]())

    @property
    def passed_over(self) -> int:
        """Rows of all datasets that were not asked for."""
        return sum(tally.passed_over for tally in self.datasets.values())

    @property
    def rows_in(self) -> int | None:
        """Rows that came in, where that is known of every dataset."""
        known = [tally.rows_in for tally in self.datasets.values()]
        return None if None in known else sum(n for n in known if n is not None)

    def imbalance(self) -> str | None:
        """Return in words what does not balance, or ``None``."""
        for name, tally in self.datasets.items():
            if not tally.balances():
                return (
                    f"{name or 'the table'} has {tally.rows_in} rows in, {tally.live} live, "
                    f"{tally.rejected.total()} rejected and {tally.passed_over} passed over"
                )
        return self.inputs.imbalance() if self.inputs else None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, totals included."""
        data: dict[str, Any] = {
            "in": self.rows_in,
            "live": self.live,
            "passed_over": self.passed_over,
            "rejected": dict(sorted(self.rejected.items())),
            "datasets": {name: tally.to_dict() for name, tally in sorted(self.datasets.items())},
        }
        if self.inputs is not None:
            data["inputs"] = self.inputs.to_dict()
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Counts:
        """Read plain data back; totals are not trusted but computed again."""
        return cls(
            {name: Tally.from_dict(tally) for name, tally in data["datasets"].items()},
            cls.from_dict(data["inputs"]) if "inputs" in data else None,
        )

    def summary(self) -> str:
        """Return one line for people: kept, and rejected by reason."""
        if not self.datasets:
            return "no rows"
        reasons = ", ".join(f"{n} {reason}" for reason, n in sorted(self.rejected.items()))
        over = f", {self.passed_over} passed over" if self.passed_over else ""
        return f"{self.live} kept, {self.rejected.total()} rejected ({reasons or 'none'}){over}"


def count_rows(
    files: Iterable[UPath], *, rows_in: Mapping[str, int] | None, inputs: Counts | None
) -> Counts:
    """Count the rows of Parquet files by dataset and by reason of rejection.

    Args:
        files: Parts of one artifact.
        rows_in: Rows that came in, by dataset; what is not found in the files was passed over, and
            a dataset that only the files name has more rows than came in.
        inputs: Counts of the input's rows, where they are not one to one.

    Raises:
        ArtifactError: If a file is no readable Parquet file.
    """
    counts = Counts(inputs=inputs)
    with ThreadPoolExecutor(max_workers=4) as pool:
        counted = list(pool.map(_count_file, files))
    for (dataset, reason), number in chain.from_iterable(file.items() for file in counted):
        tally = counts.datasets.setdefault(dataset, Tally())
        if reason is None:
            tally.live += number
        else:
            tally.rejected[reason] += number
    if rows_in is not None:
        for dataset in {**counts.datasets, **rows_in}:
            tally = counts.datasets.setdefault(dataset, Tally())
            tally.rows_in = rows_in.get(dataset, 0)
            tally.passed_over = tally.rows_in - tally.live - tally.rejected.total()
    return counts


def _count_file(file: UPath) -> Counter[tuple[str, str | None]]:
    try:
        with reach.stream(file) as stream:
            parquet = pq.ParquetFile(stream)
            fields = [field for field in parquet.schema_arrow if field.name in _COUNTED]
            names = [field.name for field in fields]
            # of few words: as dictionaries, which row groups need not share, they cost half
            words = [field.name for field in fields if field.type == pa.string()]
            coded = pq.ParquetFile(stream, metadata=parquet.metadata, read_dictionary=words)
            table: pa.Table = coded.read(columns=names).unify_dictionaries()
        counted = table.group_by(names).aggregate([([], "count_all")])
    except (pa.ArrowException, OSError) as error:
        raise ArtifactError(
            f"A part must be a readable Parquet file, but is not: {str(error).rstrip('.')}.",
            where=str(file),
            fix="Delete the file and rerun the stage; the other parts are kept.",
        ) from error
    rows = counted.to_pylist()
    counts = {(row.get("dataset", ""), row.get("reject")): row["count_all"] for row in rows}
    return +Counter(counts)  # without zeros, as an empty table has
