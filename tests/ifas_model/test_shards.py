import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ifas_model.shards import (
    LABEL_CODES,
    SHARD_SCHEMA,
    ShardError,
    open_shards,
    shard_files,
    validate,
)
from ifas_model.vocabulary import Label, Split

PLAIN = {"info": {"features": {"label": {"dtype": "int64", "_type": "Value"}}}}
"""What `datasets` writes of a label that has no names."""


def row(number: int, split: str) -> dict[str, Any]:
    name = f"{split}{number}"
    return {
        "face_id": f"siw/{name}#0",
        "sample_id": f"siw/{name}",
        "dataset": "siw",
        "subject_id": None,
        "frame": 0,
        "split": split,
        "image": {"bytes": bytes(number for _ in range(4000)), "path": f"{name}.png"},
        "label": number % 2,
        "pai_species": None,
        "fine_type": None,
        "native_label": "1",
        "question": "Is this photo of a real person?",
        "answer": "Yes. This is a man",
        "judgment": "Yes",
        "interpretation": "This is a man",
        "captioner": "blip2@0",
        "keywords": ["paper"],
    }


def write(folder: Path, name: str, *, num_rows: int = 2) -> Path:
    """Write one shard by hand, as a user would."""
    path = folder / "data" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [row(number, name.split("-")[0]) for number in range(num_rows)]
    table = pa.Table.from_pylist(rows, schema=SHARD_SCHEMA)
    pq.write_table(table, path, write_page_checksum=True)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001"):
        write(tmp_path, f"{name}.parquet")
    return tmp_path


# The schema


def test_columns_are_those_of_the_contract() -> None:
    text = pa.string()
    assert dict(zip(SHARD_SCHEMA.names, SHARD_SCHEMA.types, strict=True)) == {
        "face_id": text,
        "sample_id": text,
        "dataset": text,
        "subject_id": text,
        "frame": pa.int32(),
        "split": text,
        "image": pa.struct([("bytes", pa.binary()), ("path", text)]),
        "label": pa.int64(),
        "pai_species": text,
        "fine_type": text,
        "native_label": text,
        "question": text,
        "answer": text,
        "judgment": text,
        "interpretation": text,
        "captioner": text,
        "keywords": pa.list_(text),
    }


def test_label_codes_are_places_in_the_class_label() -> None:
    features = json.loads(SHARD_SCHEMA.metadata[b"huggingface"])["info"]["features"]
    names = features["label"]["names"]
    assert LABEL_CODES == {Label.ATTACK: 0, Label.BONA_FIDE: 1}
    assert [names[LABEL_CODES[label]] for label in Label] == ["attack", "bona_fide"]


def test_the_metadata_tells_of_every_column() -> None:
    features = json.loads(SHARD_SCHEMA.metadata[b"huggingface"])["info"]["features"]
    assert list(features) == SHARD_SCHEMA.names
    assert features["image"] == {"_type": "Image"}


# Files


def test_files_are_listed_in_order(folder: Path) -> None:
    assert [file.name for file in shard_files(folder)] == [
        "test-00000-of-00001.parquet",
        "train-00000-of-00002.parquet",
        "train-00001-of-00002.parquet",
    ]


def test_files_of_one_split_are_its_own(folder: Path) -> None:
    names = [file.name for file in shard_files(folder, Split.TRAIN)]
    assert names == ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"]


def test_a_split_without_files_is_refused_by_name(folder: Path) -> None:
    with pytest.raises(ShardError, match=r"must hold data/dev-\*-of-\*\.parquet, but holds none"):
        shard_files(folder, Split.DEV)


@pytest.mark.parametrize("inner", ["", "data"], ids=["empty", "the inner folder"])
def test_a_folder_without_shards_is_refused(tmp_path: Path, inner: str) -> None:
    write(tmp_path / "shards", "train-00000-of-00001.parquet")
    place = tmp_path / "shards" / inner if inner else tmp_path
    with pytest.raises(ShardError, match="Point at the folder that `scf shard` printed"):
        shard_files(place)


def test_a_lost_file_is_noticed(folder: Path) -> None:
    (folder / "data/train-00001-of-00002.parquet").unlink()
    with pytest.raises(ShardError, match=r"all 2 of them, but are 1 of train-\*-of-00002"):
        shard_files(folder)
    assert len(shard_files(folder, Split.TEST)) == 1


def test_files_of_two_cuts_are_refused_even_where_both_are_complete(folder: Path) -> None:
    write(folder, "train-00000-of-00001.parquet")
    with pytest.raises(ShardError, match="and others"):
        shard_files(folder)


def test_a_file_beyond_the_last_is_refused(folder: Path) -> None:
    (folder / "data/train-00001-of-00002.parquet").rename(
        folder / "data/train-00002-of-00002.parquet"
    )
    with pytest.raises(ShardError, match="must be those of one set"):
        shard_files(folder)


def test_a_shard_of_another_name_is_refused_by_name(folder: Path) -> None:
    write(folder, "train-a-of-b.parquet")
    with pytest.raises(ShardError, match=r"must be named like .*, but is train-a-of-b\.parquet"):
        shard_files(folder)


def test_an_unfinished_folder_is_refused(folder: Path) -> None:
    """`scf shard` writes settings.json first and manifest.json last."""
    (folder / "settings.json").write_text("{}")
    with pytest.raises(ShardError, match=r"must be finished, but manifest\.json is absent"):
        open_shards(folder)
    list_files(folder)
    assert len(shard_files(folder)) == 3


def list_files(folder: Path) -> None:
    """Write a manifest of the files as they are."""
    files = {f"data/{file.name}": {"bytes": file.stat().st_size} for file in folder.rglob("*-of-*")}
    (folder / "manifest.json").write_text(json.dumps({"files": files}))


def test_a_file_that_is_not_as_long_as_the_manifest_lists_is_refused(folder: Path) -> None:
    list_files(folder)
    path = write(folder, "test-00000-of-00001.parquet", num_rows=3)
    with pytest.raises(ShardError, match=r"must have the \d+ bytes that manifest.json lists, but"):
        shard_files(folder)
    list_files(folder)
    assert path in shard_files(folder)
    path.rename(path.with_name("dev-00000-of-00001.parquet"))
    with pytest.raises(
        ShardError, match=r"must have the no bytes that manifest\.json lists"
    ) as error:
        shard_files(folder)
    assert error.value.where == str(path.with_name("dev-00000-of-00001.parquet"))


def test_a_damaged_manifest_is_refused(folder: Path) -> None:
    for text in ("{", "[]", "{}"):
        (folder / "manifest.json").write_text(text)
        with pytest.raises(ShardError, match=r"manifest\.json must be as .*, but is damaged"):
            shard_files(folder)


# Reading


def test_shards_open_with_their_schema_and_every_row(folder: Path) -> None:
    table = open_shards(folder).to_table()
    assert table.schema.equals(SHARD_SCHEMA)
    assert sorted(table["face_id"].to_pylist()) == [
        *("siw/test0#0", "siw/test1#0"),
        *("siw/train0#0", "siw/train0#0", "siw/train1#0", "siw/train1#0"),
    ]


def test_one_split_can_be_opened_alone(folder: Path) -> None:
    assert set(open_shards(folder, Split.TRAIN).to_table()["split"].to_pylist()) == {"train"}


def without(name: str) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.drop_columns(name)


def retyped(name: str, kind: pa.DataType) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        index = table.schema.get_field_index(name)
        return table.set_column(index, name, table[name].cast(kind))

    return change


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (without("keywords"), r"`keywords` must be list<.*>, but is absent"),
        (retyped("label", pa.string()), "`label` must be int64, but is string"),
        (retyped("frame", pa.int64()), "`frame` must be int32, but is int64"),
        (retyped("answer", pa.large_string()), "`answer` must be string, but is large_string"),
    ],
)
def test_a_column_that_is_absent_or_of_another_type_is_named_with_its_file(
    folder: Path, change: Callable[[pa.Table], pa.Table], told: str
) -> None:
    path = folder / "data/test-00000-of-00001.parquet"
    pq.write_table(change(pq.read_table(path)), path)
    with pytest.raises(ShardError, match=told) as caught:
        open_shards(folder)
    assert caught.value.where == str(path)


def test_columns_that_a_user_added_are_no_reason_to_refuse(folder: Path) -> None:
    path = folder / "data/test-00000-of-00001.parquet"
    table = pq.read_table(path)
    pq.write_table(table.append_column("note", pa.array(["a", "b"])), path)
    assert open_shards(folder).to_table().num_rows == 6


@pytest.mark.parametrize(
    ("features", "told"),
    [
        ({"label": {"names": ["bona_fide", "attack"]}}, "but are named bona_fide, attack"),
        ({"label": {"names": ["attack"]}}, "but are named attack"),
        ({}, "but are named damaged"),
    ],
)
def test_labels_that_are_numbered_in_another_way_are_refused(
    folder: Path, features: dict[str, Any], told: str
) -> None:
    path = folder / "data/test-00000-of-00001.parquet"
    told_by = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(pq.read_table(path).replace_schema_metadata(told_by), path)
    with pytest.raises(ShardError, match=f"must be named attack, bona_fide .*{told}") as caught:
        open_shards(folder)
    assert caught.value.where == str(path)


@pytest.mark.parametrize("metadata", [None, {"huggingface": json.dumps(PLAIN)}, {"pandas": "{}"}])
def test_labels_without_names_are_numbered_as_the_contract_says(
    folder: Path, metadata: dict[str, str] | None
) -> None:
    path = folder / "data/test-00000-of-00001.parquet"
    pq.write_table(pq.read_table(path).replace_schema_metadata(metadata), path)
    assert open_shards(folder).to_table().num_rows == 6


def test_a_file_without_rows_is_refused(folder: Path) -> None:
    path = write(folder, "test-00000-of-00001.parquet", num_rows=0)
    with pytest.raises(ShardError, match="must hold rows, but holds none") as caught:
        validate([path])
    assert caught.value.where == str(path)


def test_a_column_that_is_there_twice_is_refused(folder: Path) -> None:
    path = folder / "data/test-00000-of-00001.parquet"
    table = pq.read_table(path)
    pq.write_table(table.append_column("label", table["label"]), path)
    with pytest.raises(ShardError, match="`label` must be int64, but is absent or there twice"):
        validate([path])


@pytest.mark.parametrize("keep", [0, 3, 0.5], ids=["empty", "three bytes", "half"])
def test_a_truncated_file_is_refused_by_name(folder: Path, keep: float) -> None:
    path = folder / "data/test-00000-of-00001.parquet"
    raw = path.read_bytes()
    path.write_bytes(raw[: int(keep * len(raw)) if keep < 1 else int(keep)])
    with pytest.raises(
        ShardError, match="must be a sound Parquet file, but reading it failed"
    ) as caught:
        validate([path])
    assert caught.value.where == str(path)


def test_a_damaged_page_is_not_read_as_data(folder: Path) -> None:
    path = folder / "data/test-00000-of-00001.parquet"
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"siw/test0")] ^= 1
    path.write_bytes(bytes(raw))
    with pytest.raises(OSError, match="CRC"):
        open_shards(folder).to_table()


def test_opening_shards_takes_pyarrow_and_nothing_heavy() -> None:
    code = "import sys, json, ifas_model.shards; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    loaded = set(json.loads(done.stdout))
    assert "pyarrow" in loaded
    assert not {"torch", "datasets", "transformers", "ray", "scf_pipeline"} & loaded


@pytest.mark.parametrize("name", ["arrow.py_extension_type", "ray.data.arrow_pickled_object"])
def test_a_type_that_is_a_pickle_is_not_read(folder: Path, trap, name: str) -> None:
    """Older pyarrow made a type of whatever a file's metadata held, by unpickling it."""
    file = folder / "data" / "test-00000-of-00001.parquet"
    forged = {"ARROW:extension:name": name, "ARROW:extension:metadata": pickle.dumps(trap)}
    table = pq.read_table(file)
    pickles = pa.array([pickle.dumps(trap)] * table.num_rows, pa.large_binary())
    field = pa.field("captioner", pickles.type, metadata=forged)
    place = table.schema.get_field_index("captioner")
    pq.write_table(table.set_column(place, field, pickles), file)
    with pytest.raises(ShardError, match="Column `captioner` must be string, but is large_binary"):
        open_shards(folder)
    pq.write_table(table.append_column(field.with_name("more"), pickles), file)
    assert "more" not in open_shards(folder).to_table().column_names
    assert not trap.is_sprung
