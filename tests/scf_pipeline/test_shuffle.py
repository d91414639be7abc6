import pickle
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from upath import UPath

from ifas_model.vocabulary import Split
from scf_pipeline.shuffle import (
    PLACE,
    FilePlan,
    gather,
    place,
    plan_files,
    read_column,
    write_sorted,
)

SPLITS = [split.value for split in Split]
NUM_BUCKETS = 8

Row = tuple[str, str, int]
"""Id, split, bytes of the picture."""


def table(rows: Sequence[Row], seed: int = 0) -> pa.Table:
    ids = [identity for identity, _, _ in rows]
    return pa.table(
        {
            "face_id": pa.array(ids, pa.string()),
            "split": pa.array([split for _, split, _ in rows], pa.string()),
            "image": pa.array(
                [{"bytes": b"." * size, "path": identity} for identity, _, size in rows],
                pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
            ),
            PLACE: pa.array([place(identity, seed) for identity in ids], pa.string()),
        }
    )


def first_pass(folder: Path, *parts: Sequence[Row], num_buckets: int = NUM_BUCKETS) -> list[UPath]:
    files = [UPath(folder / f"part-{number:05d}.parquet") for number in range(len(parts))]
    for file, rows in zip(files, parts, strict=True):
        write_sorted(file, table(rows), num_buckets=num_buckets)
    return files


def rows(number: int, *, size: int = 10, splits: Sequence[str] = SPLITS) -> list[Row]:
    return [(f"id{n}", splits[n % len(splits)], size) for n in range(number)]


def ids(plan: FilePlan) -> list[str]:
    found: list[str] = gather(plan.read())["face_id"].to_pylist()
    return found


# Places


def test_a_place_is_16_hex_digits_of_id_and_seed() -> None:
    assert re.fullmatch(r"[0-9a-f]{16}", place("siw/a#0", 0))
    assert place("siw/a#0", 0) == place("siw/a#0", 0)
    assert place("siw/a#0", 0) != place("siw/a#0", 1) != place("siw/b#0", 1)


def test_a_place_is_the_same_in_every_version() -> None:
    """A resumed run and another machine must sort alike."""
    assert place("siw/a#0", 7) == "b07c84a195dc103a"


def test_neighbouring_ids_are_spread_evenly() -> None:
    quarters = Counter(place(f"siw/{n}", 0)[0] for n in range(1600))
    assert len(quarters) == 16
    assert 60 < min(quarters.values()) <= max(quarters.values()) < 140


# Pass 1


def test_a_row_group_holds_one_split_and_one_bucket(tmp_path: Path) -> None:
    (file,) = first_pass(tmp_path, rows(60))
    parquet = pq.ParquetFile(file)
    keys = []
    for number in range(parquet.num_row_groups):
        group = parquet.read_row_group(number)
        buckets = {int(p, 16) * NUM_BUCKETS >> 64 for p in group[PLACE].to_pylist()}
        keys.append((set(group["split"].to_pylist()), buckets))
    assert all(len(splits) == len(buckets) == 1 for splits, buckets in keys)
    assert len(keys) == len({(*splits, *buckets) for splits, buckets in keys})


def test_a_part_without_rows_takes_part(tmp_path: Path) -> None:
    files = first_pass(tmp_path, rows(6), [])
    plans = plan_files(files, file_bytes=1000)
    assert sorted(identity for plan in plans for identity in ids(plan)) == [
        f"id{n}" for n in range(6)
    ]


def test_parts_without_any_row_plan_no_file(tmp_path: Path) -> None:
    assert plan_files(first_pass(tmp_path, [], []), file_bytes=1000) == []


# Plans


def test_files_are_named_and_numbered_split_by_split(tmp_path: Path) -> None:
    plans = plan_files(first_pass(tmp_path, rows(120)), file_bytes=250)
    assert [plan.number for plan in plans] == list(range(len(plans)))
    assert list(dict.fromkeys(plan.split for plan in plans)) == ["train", "dev", "test"]
    for split in SPLITS:
        names = [plan.name for plan in plans if plan.split == split]
        of = len(names)
        assert of >= 2
        assert names == [f"{split}-{n:05d}-of-{of:05d}.parquet" for n in range(of)]


def test_a_split_without_rows_has_no_file(tmp_path: Path) -> None:
    plans = plan_files(first_pass(tmp_path, rows(9, splits=["test"])), file_bytes=1000)
    assert [plan.split for plan in plans] == ["test"]


def test_a_plan_tells_rows_and_bytes_of_its_file(tmp_path: Path) -> None:
    given_rows = [(f"id{n}", "train", n) for n in range(1, 40)]
    for plan in plan_files(first_pass(tmp_path, given_rows[:9], given_rows[9:]), file_bytes=300):
        held = plan.read()
        assert plan.rows == held.num_rows
        assert plan.size == sum(len(image["bytes"]) for image in held["image"].to_pylist())


def test_files_of_a_split_are_about_equal_and_few(tmp_path: Path) -> None:
    """A greedy cut would leave a remainder: 1000, 1000 and 100 bytes, say."""
    files = first_pass(tmp_path, rows(210, splits=["train"]), num_buckets=32)
    sizes = [plan.size for plan in plan_files(files, file_bytes=1000)]
    assert sum(sizes) == 2100
    assert len(sizes) == 3
    assert min(sizes) > 500
    assert max(sizes) <= 1000


def test_a_bucket_above_the_limit_does_not_make_the_others_small(tmp_path: Path) -> None:
    heavy = [(f"id{n}", "train", 10) for n in range(200)] + [("heavy", "train", 5000)]
    plans = plan_files(first_pass(tmp_path, heavy, num_buckets=32), file_bytes=200)
    assert sorted(identity for plan in plans for identity in ids(plan)) == sorted(
        identity for identity, _, _ in heavy
    )
    assert len(plans) <= 3


def test_pictures_without_bytes_are_no_reason_to_fail(tmp_path: Path) -> None:
    plans = plan_files(first_pass(tmp_path, rows(9, size=0)), file_bytes=1000)
    assert [(plan.rows, plan.size) for plan in plans] == [(3, 0)] * 3


def test_plans_share_their_sources_so_that_workers_get_them_once(tmp_path: Path) -> None:
    plans = plan_files(first_pass(tmp_path, *[rows(60)] * 4), file_bytes=20)
    assert len(plans) > 9
    one, all_ = len(pickle.dumps(plans[:1])), len(pickle.dumps(plans))
    assert all_ - one < len(plans) * 200


# Both passes


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    parts=st.lists(
        st.lists(st.tuples(st.sampled_from(SPLITS), st.integers(1, 50)), max_size=12),
        min_size=1,
        max_size=4,
    ),
    file_bytes=st.integers(1, 300),
    num_buckets=st.integers(1, 9),
)
def test_every_row_comes_out_once_in_its_split_and_in_order(
    tmp_path_factory: pytest.TempPathFactory,
    parts: list[list[tuple[str, int]]],
    file_bytes: int,
    num_buckets: int,
) -> None:
    named = [
        [(f"{part}/{n}", *row) for n, row in enumerate(held)] for part, held in enumerate(parts)
    ]
    files = first_pass(tmp_path_factory.mktemp("shuffle"), *named, num_buckets=num_buckets)
    plans = plan_files(files, file_bytes=file_bytes)
    for split in SPLITS:
        found = [identity for plan in plans if plan.split == split for identity in ids(plan)]
        wanted = [identity for held in named for identity, of, _ in held if of == split]
        assert found == sorted(wanted, key=lambda identity: place(identity, 0))


def test_gathered_rows_lose_their_place(tmp_path: Path) -> None:
    (plan,) = plan_files(first_pass(tmp_path, rows(5, splits=["train"])), file_bytes=1000)
    assert gather(plan.read()).column_names == ["face_id", "split", "image"]


def test_a_column_can_be_read_from_all_files(tmp_path: Path) -> None:
    some = rows(20)
    found = read_column(first_pass(tmp_path, some[:9], some[9:]), "face_id").to_pylist()
    assert Counter(found) == Counter(identity for identity, _, _ in some)
    assert len(read_column([], "face_id")) == 0
