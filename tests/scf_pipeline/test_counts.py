from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from upath import UPath

from scf_pipeline.counts import Counts, Tally, count_rows
from scf_pipeline.errors import ArtifactError

numbers = st.integers(0, 10**6)
reasons = st.dictionaries(st.text(min_size=1), st.integers(1, 10**6), max_size=4)
tallies = st.builds(
    Tally, numbers, reasons.map(Counter), st.none() | numbers, st.integers(-10, 10**6)
)
balanced = st.builds(
    lambda live, rejected, over: Tally(
        live, Counter(rejected), live + sum(rejected.values()) + over, over
    ),
    numbers,
    reasons,
    numbers,
)
by_dataset = st.dictionaries(st.text(), tallies, max_size=4)
counts = st.builds(Counts, by_dataset, st.none() | st.builds(Counts, by_dataset))
rows = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([None, "missing", "no_frame"])))


def write(folder: Path, *parts: list[tuple[str, str | None]]) -> list[UPath]:
    files = []
    for number, part in enumerate(parts):
        table = pa.table(
            {
                "dataset": pa.array([dataset for dataset, _ in part], pa.string()),
                "reject": pa.array([reject for _, reject in part], pa.string()),
            }
        )
        files.append(UPath(folder / f"{number}.parquet"))
        pq.write_table(table, files[-1], row_group_size=3)  # groups of other words, as in shards
    return files


@given(balanced)
def test_a_tally_balances_exactly_where_no_row_is_lost_or_made_twice(tally: Tally) -> None:
    assert tally.balances()
    tally.live += 1
    assert not tally.balances()
    tally.live -= 1
    tally.rejected["late"] += 1
    assert not tally.balances()
    tally.rows_in = None
    assert tally.balances()


@given(numbers, reasons, st.integers(max_value=-1))
def test_rows_that_came_from_nowhere_do_not_balance(live: int, rejected, over: int) -> None:
    assert not Tally(live, Counter(rejected), None, over).balances()


@given(counts)
def test_counts_survive_plain_data(told: Counts) -> None:
    again = Counts.from_dict(told.to_dict())
    assert again == told
    assert again.to_dict() == told.to_dict()


@given(counts)
def test_totals_are_the_sums_over_the_datasets(told: Counts) -> None:
    found = told.datasets.values()
    assert told.live == sum(tally.live for tally in found)
    assert told.rejected.total() == sum(tally.rejected.total() for tally in found)
    assert told.passed_over == sum(tally.passed_over for tally in found)
    assert (told.rows_in is None) is any(tally.rows_in is None for tally in found)


@given(st.dictionaries(st.text(), balanced))
def test_balanced_datasets_make_balanced_totals(datasets: dict[str, Tally]) -> None:
    found = Counts(datasets)
    assert found.imbalance() is None
    assert found.rows_in == found.live + found.rejected.total() + found.passed_over


@given(st.dictionaries(st.text(), balanced, min_size=1))
def test_one_dataset_that_does_not_balance_is_named(datasets: dict[str, Tally]) -> None:
    name, tally = sorted(datasets.items())[-1]
    tally.live += 1
    problem = Counts(datasets).imbalance()
    assert problem is not None
    assert problem.startswith(f"{name or 'the table'} has {tally.rows_in} rows in, {tally.live}")
    assert Counts({}, Counts(datasets)).imbalance() == problem


def test_totals_are_not_trusted_but_computed_again() -> None:
    data = Counts({"a": Tally(live=2)}).to_dict()
    assert Counts.from_dict(data | {"live": 3}).live == 2


def test_the_summary_is_one_line_for_people() -> None:
    assert Counts({"a": Tally(live=2)}).summary() == "2 kept, 0 rejected (none)"
    tally = Tally(2, Counter({"no_frame": 1, "missing": 3}), 10, 4)
    assert Counts({"a": tally}).summary() == (
        "2 kept, 4 rejected (3 missing, 1 no_frame), 4 passed over"
    )


@given(st.lists(rows, max_size=3))
def test_every_row_of_the_files_is_counted_once(tmp_path_factory, parts) -> None:
    files = write(tmp_path_factory.getbasetemp(), *parts)
    every = Counter(row for part in parts for row in part)
    found = count_rows(files, rows_in=None, inputs=None)
    assert {d: t.live for d, t in found.datasets.items()} == {
        dataset: every[dataset, None] for dataset, _ in every
    }
    assert {d: dict(t.rejected) for d, t in found.datasets.items()} == {
        dataset: {r: n for (d, r), n in every.items() if d == dataset and r is not None}
        for dataset, _ in every
    }
    assert found.rows_in == (None if every else 0)


@given(rows, st.integers(0, 5))
def test_what_is_not_found_in_the_files_was_passed_over(tmp_path_factory, part, over: int) -> None:
    files = write(tmp_path_factory.getbasetemp(), part)
    rows_in = {name: sum(dataset == name for dataset, _ in part) + over for name in "ab"}
    found = count_rows(files, rows_in=rows_in, inputs=None)
    assert found.imbalance() is None
    assert {name: tally.passed_over for name, tally in found.datasets.items()} == {
        "a": over,
        "b": over,
    }


def test_more_rows_than_came_in_do_not_balance(tmp_path: Path) -> None:
    files = write(tmp_path, [("a", None), ("a", "missing"), ("b", None)])
    assert count_rows(files, rows_in={"a": 2, "b": 1}, inputs=None).imbalance() is None
    problem = count_rows(files, rows_in={"a": 1, "b": 1}, inputs=None).imbalance()
    assert problem == "a has 1 rows in, 1 live, 1 rejected and -1 passed over"
    stranger = count_rows(files, rows_in={"a": 2}, inputs=None).imbalance()
    assert stranger == "b has 0 rows in, 1 live, 0 rejected and -1 passed over"
    assert count_rows(files, rows_in={}, inputs=None).imbalance() is not None


def test_a_table_that_names_neither_dataset_nor_reason_is_counted(tmp_path: Path) -> None:
    file = UPath(tmp_path / "0.parquet")
    pq.write_table(pa.table({"word": ["a", "b"]}), file)
    found = count_rows([file], rows_in=None, inputs=None)
    assert found.to_dict()["datasets"] == {
        "": {"in": None, "live": 2, "passed_over": 0, "rejected": {}}
    }


def test_a_part_whose_datasets_are_no_words_is_named(tmp_path: Path) -> None:
    file = UPath(tmp_path / "0.parquet")
    pq.write_table(pa.table({"dataset": [["a"]], "reject": ["missing"]}), file)
    with pytest.raises(ArtifactError, match="must be a readable Parquet file") as caught:
        count_rows([file], rows_in=None, inputs=None)
    assert caught.value.where == str(file)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no table at all"])
def test_a_file_that_is_no_parquet_is_named(tmp_path: Path, content: bytes) -> None:
    file = UPath(tmp_path / "0.parquet")
    file.write_bytes(content)
    with pytest.raises(ArtifactError, match="must be a readable Parquet file") as caught:
        count_rows([file], rows_in=None, inputs=None)
    assert caught.value.where == str(file)
