import errno
import json
import os
import pickle
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic.dataclasses import dataclass
from upath import UPath

from ifas_model import json_data
from ifas_model.strict import STRICT
from scf_pipeline import files, lock, store
from scf_pipeline.counts import Counts, Tally
from scf_pipeline.errors import ArtifactError, SchemaError
from scf_pipeline.files import LOCK, MANIFEST, remove, write_parquet
from scf_pipeline.schema import coded
from scf_pipeline.settings import Settings, settings
from scf_pipeline.store import Artifact, ArtifactWriter
from scf_pipeline.verify import verify

SCHEMA = pa.schema(
    [
        pa.field("face_id", pa.string(), nullable=False),
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("size", pa.int32()),
        pa.field("reject", pa.string()),
    ],
    metadata={"made": "by us"},
)


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ToyConfig:
    stage: ClassVar[str] = "toy"
    version: ClassVar[int] = 1

    seed: int = 0


def rows(*names: str, reject: str | None = None, dataset: str = "a") -> pa.Table:
    found = [{"face_id": n, "dataset": dataset, "size": 1, "reject": reject} for n in names]
    return pa.Table.from_pylist(found, schema=SCHEMA)


def writer(folder: UPath | str, seed: int = 0, schema: pa.Schema | None = SCHEMA) -> ArtifactWriter:
    return ArtifactWriter(folder, schema, settings=settings(ToyConfig(seed=seed)))


def part(number: int) -> SimpleNamespace:
    return SimpleNamespace(number=number)


def seal(folder: UPath | str, seed: int = 0) -> Artifact:
    """Seal two parts of three live rows and a rejected one."""
    made = writer(folder, seed)
    made.write(0, pa.concat_tables([rows("x", "y"), rows("z", reject="missing")]))
    made.write(1, rows("w", dataset="b"))
    return made.seal(rows_in={"a": 3, "b": 1}, notes={"loss": [2.0, 1.0]})


@pytest.fixture(params=["disk", "memory", "file-url"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[UPath]:
    """Where an artifact may lie."""
    if request.param == "memory":
        yield UPath("memory://store-under-test/artifact")
        remove(UPath("memory://store-under-test"))
    elif request.param == "disk":
        yield UPath(tmp_path / "artifact")
    else:
        yield UPath(f"file://{tmp_path}/artifact")


@pytest.fixture
def here(tmp_path: Path) -> UPath:
    return UPath(tmp_path / "artifact")


def refusal(act: Callable[[], object]) -> ArtifactError:
    with pytest.raises(ArtifactError) as caught:
        act()
    return caught.value


# An artifact from its beginning to its end


def test_what_was_written_is_read(folder: UPath) -> None:
    artifact = seal(folder)
    assert artifact.stage == "toy"
    assert [p.number for p in artifact.parts()] == [0, 1]
    assert artifact.read()["face_id"].to_pylist() == ["x", "y", "w"]
    assert artifact.parts()[0].read_all()["face_id"].to_pylist() == ["x", "y", "z"]
    assert artifact.notes == {"loss": [2.0, 1.0]}
    again = Artifact.open(folder)
    assert again.manifest == artifact.manifest
    assert again.read().equals(artifact.read())


def test_counts_are_sealed(folder: UPath) -> None:
    counts = seal(folder).counts
    assert (counts.live, dict(counts.rejected), counts.rows_in) == (3, {"missing": 1}, 4)
    assert counts.datasets["a"].to_dict() == {
        "in": 3,
        "live": 2,
        "passed_over": 0,
        "rejected": {"missing": 1},
    }


def test_settings_come_first_and_the_manifest_last(
    here: UPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    real = files.write_whole

    def spy(path: UPath, data: bytes) -> None:
        order.append(path.relative_to(here).as_posix())
        real(path, data)

    for home in (store, files):  # parts are written by the one, the rest by the other
        monkeypatch.setattr(home, "write_whole", spy)
    seal(here)
    parts = ["data/part-00000.parquet", "data/part-00001.parquet"]
    assert order == ["settings.json", *parts, "manifest.json"]


def test_the_manifest_tells_where_the_artifact_comes_from(here: UPath) -> None:
    artifact = seal(here)
    manifest = json.loads((here / "manifest.json").read_bytes())
    assert manifest["packages"]["pyarrow"] == pa.__version__
    assert "cores" in manifest["machine"]
    assert manifest["seconds"] >= 0
    assert manifest["config"] == {"seed": 0}
    assert set(manifest["files"]) == {"data/part-00000.parquet", "data/part-00001.parquet"}
    assert artifact.fingerprint == manifest["fingerprint"]


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    a, b = seal(UPath(tmp_path / "a")), seal(UPath(tmp_path / "b"))
    assert a.files == b.files
    ours, theirs = (json.loads((one.path / "manifest.json").read_bytes()) for one in (a, b))
    told = {"seconds": 0, "seal": ""}  # how long it took, and the hash of all the rest
    assert ours | told == theirs | told


def test_a_file_url_is_a_folder_of_this_disk(tmp_path: Path) -> None:
    """Else its files would not be renamed into their places."""
    artifact = seal(f"file://{tmp_path}/artifact")
    assert artifact.path == Artifact.open(f"local://{tmp_path}/artifact").path
    assert artifact.path == tmp_path / "artifact"
    assert isinstance(artifact.path, Path)


def test_pages_carry_checksums(here: UPath) -> None:
    seal(here)
    raw = bytearray((here / "data/part-00000.parquet").read_bytes())
    place = raw.index(b"x", 4)
    raw[place] ^= 0x01
    file = pq.ParquetFile(pa.BufferReader(bytes(raw)), page_checksum_verification=True)
    with pytest.raises(OSError, match="CRC checksum verification failed"):
        file.read()


def test_a_schema_keeps_its_metadata_and_its_nullability(here: UPath) -> None:
    assert seal(here).parts()[0].read_all().schema.equals(SCHEMA, check_metadata=True)


@pytest.mark.parametrize("columns", [["face_id"], ["face_id", "reject"], ["size", "face_id"]])
def test_columns_can_be_chosen_and_rejected_rows_stay_away(here: UPath, columns: list[str]) -> None:
    table = seal(here).read(columns)
    assert sorted(table.column_names) == sorted(columns)
    assert table["face_id"].to_pylist() == ["x", "y", "w"]


def test_a_table_without_the_column_reject_is_live(here: UPath) -> None:
    made = writer(here, schema=pa.schema([("face_id", pa.string())]))
    made.write(0, rows("x", "y"))
    artifact = made.seal()
    assert artifact.counts.live == 2
    assert artifact.read().column_names == ["face_id"]
    assert artifact.read(["face_id"]).num_rows == 2


def test_parts_are_in_the_order_of_their_numbers(here: UPath) -> None:
    made = writer(here)
    for number in (100_000, 2, 99_999):
        made.write(number, rows(str(number)))
    artifact = made.seal()
    assert [p.number for p in artifact.parts()] == [2, 99_999, 100_000]
    assert artifact.read()["face_id"].to_pylist() == ["2", "99999", "100000"]


def test_an_artifact_of_weights_has_no_rows_to_read(here: UPath) -> None:
    made = writer(here, schema=None)
    (made.scratch / "weights").mkdir()
    (made.scratch / "weights/config.json").write_text("{}")
    made.adopt(made.scratch / "weights")
    artifact = made.seal()
    assert artifact.parts() == []
    assert "holds none" in refusal(artifact.read).what
    with pytest.raises(ValueError, match="`schema` must be given"):
        made.write(0, rows("x"))


def test_parts_and_writers_can_be_sent_to_workers(folder: UPath) -> None:
    made = pickle.loads(pickle.dumps(writer(folder).write))
    made(0, rows("x"))
    artifact = writer(folder).seal()
    sent = pickle.loads(pickle.dumps(artifact.parts()[0]))
    assert sent.read()["face_id"].to_pylist() == ["x"]


# Whole or not at all


@pytest.mark.parametrize("call", ["fsync", "write"])
def test_a_write_that_fails_half_way_leaves_no_part(
    here: UPath, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    made = writer(here)
    real_open = Path.open

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def open_a_full_disk(path: Path, *arguments: object, **options: object) -> object:
        file = real_open(path, *arguments, **options)
        return file if "r" in arguments[0] else FullFile(file)

    class FullFile:
        def __init__(self, file) -> None:
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def write(self, data: bytes) -> None:
            self.file.write(data[:100])
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        if call == "fsync":
            patched.setattr(os, "fsync", fail)
        else:
            patched.setattr(type(here), "open", open_a_full_disk)
        with pytest.raises(ArtifactError, match="No space left on device") as caught:
            made.write(0, rows("x"))
    assert caught.value.where == str(here / "data/part-00000.parquet")
    assert "what is finished is kept" in caught.value.fix
    assert [p.suffix for p in (here / "data").iterdir()] == [".partial"]
    assert made.missing([part(0)]) == [part(0)]
    made.write(0, rows("x"))
    assert made.seal().read()["face_id"].to_pylist() == ["x"]
    assert [p.name for p in (here / "data").iterdir()] == ["part-00000.parquet"]


def test_a_manifest_that_was_not_written_leaves_the_artifact_unfinished(
    here: UPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = writer(here)
    made.write(0, rows("x"))

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", fail)
        with pytest.raises(ArtifactError, match="No space left on device"):
            made.seal()
    assert "its stage did not finish" in refusal(lambda: Artifact.open(here)).what
    assert made.seal().counts.live == 1


def test_missing_resumes_where_an_earlier_run_broke_off(folder: UPath) -> None:
    parts = [part(n) for n in range(4)]
    first = writer(folder)
    assert first.missing(parts) == parts
    first.write(2, rows("x"))
    again = writer(folder)
    assert [p.number for p in again.missing(parts)] == [0, 1, 3]
    for p in again.missing(iter(parts)):
        again.write(p.number, rows(str(p.number)))
    assert [p.number for p in again.seal().parts()] == [0, 1, 2, 3]


def test_a_part_that_was_asked_for_and_not_written_is_not_passed_over(folder: UPath) -> None:
    made = writer(folder)
    made.missing([part(0), part(1), part(2)])
    made.write(1, rows("x"))
    error = refusal(lambda: made.seal(rows_in={"a": 9}))
    assert "2 of 3 are not, the first is data/part-00000.parquet" in error.what
    assert not (folder / "manifest.json").exists()


# Refusals of a writer


def test_a_folder_of_other_settings_is_refused_with_a_diff(folder: UPath) -> None:
    seal(folder, seed=0)
    error = refusal(lambda: writer(folder, seed=1))
    assert "config.seed must be 1 but is 0" in error.what
    assert "fingerprint" not in error.what
    assert Artifact.open(folder).counts.live == 3


def test_an_unfinished_folder_of_other_settings_is_refused_too(folder: UPath) -> None:
    writer(folder, seed=0)
    assert "config.seed must be 1 but is 0" in refusal(lambda: writer(folder, seed=1)).what


def test_a_foreign_folder_is_refused_and_left_as_it_is(folder: UPath) -> None:
    folder.mkdir(parents=True)
    (folder / "holiday.txt").write_bytes(b"mine")
    error = refusal(lambda: writer(folder))
    assert "holds files and no settings.json" in error.what
    assert [p.name for p in folder.iterdir()] == ["holiday.txt"]


def test_an_empty_folder_is_taken(folder: UPath) -> None:
    folder.mkdir(parents=True)
    assert seal(folder).counts.live == 3


def test_a_folder_whose_writer_broke_off_at_the_settings_is_taken(here: UPath) -> None:
    here.mkdir()
    (here / "settings.json.0123abcd.partial").write_bytes(b'{"sta')
    artifact = seal(here)
    assert sorted(p.name for p in here.iterdir()) == ["data", "manifest.json", "settings.json"]
    assert set(artifact.files) == {"data/part-00000.parquet", "data/part-00001.parquet"}


def test_a_file_in_the_place_of_the_folder_is_refused(here: UPath) -> None:
    here.write_text("mine")
    assert "must be a folder" in refusal(lambda: writer(here)).what
    assert "must be a folder" in refusal(lambda: writer(here / "below")).what
    assert here.read_text() == "mine"


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "3", '"x"', "{}", '{"stage": "toy"}', "[" * 100_000, "\udcff"],
)
def test_damaged_settings_are_refused(here: UPath, text: str) -> None:
    writer(here)
    (here / "settings.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    error = refusal(lambda: writer(here))
    assert "settings.json must be as a stage wrote it" in error.what
    assert error.where == str(here / "settings.json")


def test_settings_of_a_wrong_shape_are_damage_and_no_crash(here: UPath) -> None:
    writer(here)
    for config in ("words", None, [1]):
        data = {"stage": "toy", "version": 1, "config": config, "inputs": {}}
        (here / "settings.json").write_text(json.dumps(data))
        assert "`config` must be a mapping" in refusal(lambda: writer(here)).what


def test_counts_that_do_not_balance_are_not_sealed(folder: UPath) -> None:
    made = writer(folder)
    made.write(0, rows("x", "y"))
    error = refusal(lambda: made.seal(rows_in={"a": 1}))
    assert "a has 1 rows in, 2 live, 0 rejected and -1 passed over" in error.what
    assert not (folder / "manifest.json").exists()


def test_rows_of_a_dataset_that_did_not_come_in_are_not_sealed(folder: UPath) -> None:
    made = writer(folder)
    made.write(0, rows("x"))
    made.write(1, rows("y", dataset="b"))
    error = refusal(lambda: made.seal(rows_in={"a": 1}))
    assert "b has 0 rows in, 1 live" in error.what


def test_unbalanced_counts_of_the_input_are_not_sealed(here: UPath) -> None:
    made = writer(here)
    made.write(0, rows("x"))
    unbalanced = Counts({"a": Tally(live=1, rows_in=2)})
    assert "a has 2 rows in" in refusal(lambda: made.seal(inputs=unbalanced)).what


def test_an_unreadable_part_of_a_broken_run_is_named_and_not_sealed(here: UPath) -> None:
    made = writer(here)
    made.write(0, rows("x"))
    file = here / "data/part-00000.parquet"
    file.write_bytes(file.read_bytes()[:-8])
    error = refusal(made.seal)
    assert "must be a readable Parquet file" in error.what
    assert error.where == str(file)


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        (rows("x").drop_columns("size"), "size"),
        (rows("x").set_column(2, "size", pa.array(["no number"])), "no number"),
        (rows("x").set_column(2, "size", pa.array([2**40])), "not in range"),
        (rows("x").set_column(0, "face_id", pa.array([None], pa.string())), "face_id"),
        (rows("x").append_column("size", pa.array([1])), "2 times"),
    ],
    ids=["absent", "type", "range", "null", "twice"],
)
def test_rows_that_do_not_fit_the_schema_are_refused(
    here: UPath, table: pa.Table, problem: str
) -> None:
    with pytest.raises(SchemaError, match=problem) as caught:
        writer(here).write(0, table)
    assert caught.value.where == str(here / "data/part-00000.parquet")
    assert not (here / "data").exists()


# Refusals of a reader


def test_what_is_not_there_is_refused(folder: UPath) -> None:
    assert "there is none" in refusal(lambda: Artifact.open(folder)).what


def test_a_half_written_artifact_is_refused(folder: UPath) -> None:
    writer(folder).write(0, rows("x"))
    error = refusal(lambda: Artifact.open(folder))
    assert error.what == "An artifact must hold a manifest, but has none: its stage did not finish."
    assert error.fix == "Rerun the stage that writes it; finished parts are kept."
    assert writer(folder).sealed() is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "3", "{}", "[" * 100_000, "\udcff", '{"files": {}}']
)
def test_a_damaged_manifest_is_refused(here: UPath, text: str) -> None:
    seal(here)
    (here / "manifest.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    error = refusal(lambda: Artifact.open(here))
    assert error.what.startswith("A manifest must be as a stage wrote it, but is damaged")
    assert error.where == str(here / "manifest.json")
    refusal(lambda: writer(here).sealed())


NEEDED = ["config", "counts", "files", "fingerprint", "inputs", "stage", "version"]


@pytest.mark.parametrize("key", NEEDED)
@pytest.mark.parametrize("value", [None, [], "x", 3, {"x": 3}, {"x": {}}])
def test_a_manifest_with_a_wrong_value_is_refused(here: UPath, key: str, value: object) -> None:
    seal(here)
    manifest = json.loads((here / "manifest.json").read_bytes())
    (here / "manifest.json").write_text(json.dumps(manifest | {key: value}))
    assert "is damaged" in refusal(lambda: Artifact.open(here)).what


@pytest.mark.parametrize(
    "name",
    [
        *("/etc/hostname", "../a", "data/../../a", "", ".", "data/a\0"),
        *("file:///etc/hostname", "http://127.0.0.1:9/x", "memory://elsewhere/x"),
    ],
)
def test_a_manifest_that_leads_out_of_its_folder_is_refused(folder: UPath, name: str) -> None:
    seal(folder)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    del manifest["seal"]  # so that it is not the seal which tells
    manifest["files"][name] = manifest["files"]["data/part-00000.parquet"]
    (folder / "manifest.json").write_bytes(json.dumps(manifest).encode())
    assert "lies elsewhere" in refusal(lambda: Artifact.open(folder)).what


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("inputs", {"faces": {"a": 1}}),
        ("inputs", {"faces": ["a", 1]}),
        ("notes", []),
        ("packages", {"torch": {}}),
        ("commit", ["c0ffee"]),
        ("machine", 3),
        ("seconds", "long"),
    ],
)
def test_what_a_manifest_tells_people_is_of_its_kind_too(
    here: UPath, key: str, value: object
) -> None:
    seal(here)
    manifest = json.loads((here / "manifest.json").read_bytes()) | {key: value}
    del manifest["seal"]  # so that it is not the seal which tells
    found = Settings.from_dict(manifest)
    told = json.dumps(manifest | {"fingerprint": found.fingerprint})
    (here / "manifest.json").write_text(told)
    assert "is damaged" in refusal(lambda: Artifact.open(here)).what


def test_a_manifest_without_end_is_not_read(here: UPath, monkeypatch: pytest.MonkeyPatch) -> None:
    seal(here)
    monkeypatch.setattr(json_data.read_bytes, "__kwdefaults__", {"max_bytes": 100})
    monkeypatch.setattr(json_data.read, "__kwdefaults__", {"max_bytes": 100})
    assert "at most 100 bytes" in refusal(lambda: Artifact.open(here)).what


@pytest.mark.parametrize("key", NEEDED)
def test_a_manifest_that_lacks_a_key_is_refused(here: UPath, key: str) -> None:
    seal(here)
    manifest = json.loads((here / "manifest.json").read_bytes())
    del manifest[key]
    (here / "manifest.json").write_text(json.dumps(manifest))
    assert key in refusal(lambda: Artifact.open(here)).what


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"seed": 0', '"seed": 1'),
        ('"version": 1', '"version": 2'),
        ('"live": 3', '"live": 4'),
        ('"in": 4', '"in": 5'),
        ('"bytes": ', '"bytes": 1'),
        ('"bytes": ', '"size": '),
        ('"data/part-00000.parquet"', '"data/part-none.parquet"'),
        ('"data/part-00000.parquet"', '"../artifact/data/part-00000.parquet"'),
        ('"data/part-00000.parquet"', '"/etc/hostname"'),
    ],
)
def test_an_edited_manifest_is_refused(here: UPath, old: str, new: str) -> None:
    seal(here)
    text = (here / "manifest.json").read_text()
    assert old in text
    (here / "manifest.json").write_text(text.replace(old, new, 1))
    refusal(lambda: Artifact.open(here))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | st.text(max_size=9)
    | st.sampled_from(["..", "/", "data/part-", "data/\0", "\ud800", "x" * 300, 10**30, 3.0]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)  # fmt: skip


def places(data: object) -> list[tuple[dict | list, str | int]]:
    """Return every place of plain data where a value stands: what holds it, and its key."""
    keys = list(data) if isinstance(data, dict) else range(len(data))
    found = [(data, key) for key in keys]
    for key in keys:
        if isinstance(data[key], dict | list):
            found += places(data[key])
    return found


def edit_at(manifest: dict, number: int, how: str, value: object, key: str) -> dict:
    """Return a copy of a manifest in which one value, or one key, is another."""
    edited = json.loads(json.dumps(manifest))
    found = places(edited)
    holder, place = found[number % len(found)]
    if how == "set":
        holder[place] = value
    elif how == "delete":
        del holder[place]
    elif isinstance(holder, dict):
        holder[key] = holder.pop(place) if how == "rename" else value
    else:
        holder.insert(int(place), value)
    return edited


EDITS = st.tuples(
    st.integers(0, 10**6),
    st.sampled_from(["set", "delete", "rename", "insert"]),
    JSON,
    st.text(max_size=9) | st.sampled_from(["..", "data/\0", "\ud800", "data/part-00007.parquet"]),
)


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return seal(UPath(tmp_path_factory.mktemp("intact")))


@given(EDITS)
def test_one_edit_anywhere_in_a_manifest_is_refused(intact: Artifact, edit) -> None:
    edited = edit_at(intact.manifest, *edit)
    with TemporaryDirectory() as copy:
        shutil.copytree(intact.path, copy, dirs_exist_ok=True)
        (Path(copy) / "manifest.json").write_text(json.dumps(edited))
        if "seal" not in edited or edited == intact.manifest:  # all the rest is as before
            assert Artifact.open(copy).identity == intact.identity
        else:
            refusal(lambda: Artifact.open(copy))


@given(st.lists(EDITS, min_size=1, max_size=2))
def test_a_manifest_without_a_seal_is_refused_or_means_the_same(intact: Artifact, edits) -> None:
    edited = {name: value for name, value in intact.manifest.items() if name != "seal"}
    for edit in edits:
        edited = edit_at(edited, *edit)
    with TemporaryDirectory() as copy:
        shutil.copytree(intact.path, copy, dirs_exist_ok=True)
        (Path(copy) / "manifest.json").write_text(json.dumps(edited))
        try:
            opened = Artifact.open(copy)
            rows_read = opened.read()
        except ArtifactError:
            return
        assert opened.fingerprint == intact.fingerprint
        assert all(name in intact.files for name in opened.files)
        assert rows_read.num_rows <= intact.read().num_rows
        assert isinstance(verify(UPath(copy)), list)


def test_a_removed_part_is_found_at_opening(folder: UPath) -> None:
    seal(folder)
    (folder / "data/part-00001.parquet").unlink()
    error = refusal(lambda: Artifact.open(folder))
    assert "but has none" in error.what
    assert error.where.endswith("data/part-00001.parquet")


def test_a_truncated_part_is_found_at_opening(folder: UPath) -> None:
    seal(folder)
    file = folder / "data/part-00000.parquet"
    file.write_bytes(file.read_bytes()[:-1])
    error = refusal(lambda: Artifact.open(folder))
    size = len(file.read_bytes())
    assert error.what == f"A sealed file must have {size + 1} bytes, but has {size}."


def test_a_flipped_byte_is_found_at_reading(folder: UPath) -> None:
    seal(folder)
    file = folder / "data/part-00000.parquet"
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 0x01
    file.write_bytes(bytes(raw))
    artifact = Artifact.open(folder)
    assert artifact.parts()[1].read().num_rows == 1
    for read in (artifact.read, artifact.parts()[0].read, artifact.parts()[0].read_all):
        error = refusal(read)
        assert "must have the hash that its manifest lists" in error.what
        assert error.where.endswith("data/part-00000.parquet")


def test_a_part_that_goes_after_opening_is_found_at_reading(folder: UPath) -> None:
    artifact = seal(folder)
    (folder / "data/part-00000.parquet").unlink()
    assert "must be readable" in refusal(artifact.read).what


def test_a_part_that_was_added_is_not_read(folder: UPath) -> None:
    artifact = seal(folder)
    write_parquet(folder / "data/part-00002.parquet", rows("added"))
    assert Artifact.open(folder).read()["face_id"].to_pylist() == ["x", "y", "w"]
    assert Artifact.open(folder).identity == artifact.identity


# Sealing again


def test_sealing_again_changes_nothing(folder: UPath) -> None:
    seal(folder)
    before = (folder / "manifest.json").read_bytes()
    again = seal(folder)
    assert again.counts.live == 3
    assert (folder / "manifest.json").read_bytes() == before


@pytest.mark.parametrize("harm", ["edited", "added", "removed"])
def test_sealing_again_does_not_bless_what_was_changed_since(folder: UPath, harm: str) -> None:
    seal(folder)
    made = writer(folder)
    if harm == "removed":
        (folder / "data/part-00001.parquet").unlink()
    else:
        made.write(1 if harm == "edited" else 2, rows("v", dataset="b"))
    error = refusal(made.seal)
    assert str(folder).removeprefix("file://") in error.where
    assert "Delete the artifact" in error.fix


def test_a_part_that_was_lost_and_made_again_is_as_sealed(folder: UPath) -> None:
    artifact = seal(folder)
    (folder / "data/part-00001.parquet").unlink()
    made = writer(folder)
    assert [p.number for p in made.missing([part(0), part(1)])] == [1]
    made.write(1, rows("w", dataset="b"))
    assert made.seal().identity == artifact.identity


# Scratch and trees


def test_scratch_is_a_local_folder_that_resuming_finds_and_sealing_removes(folder: UPath) -> None:
    scratch = writer(folder).scratch
    assert isinstance(scratch, Path)
    (scratch / "checkpoint").write_text("half")
    made = writer(folder)
    assert (made.scratch / "checkpoint").read_text() == "half"
    artifact = made.seal()
    assert not scratch.exists()
    assert artifact.files == {}


def test_scratches_of_remote_artifacts_are_apart() -> None:
    a, b = writer("memory://store-under-test/a"), writer("memory://store-under-test/b")
    try:
        assert a.scratch != b.scratch
    finally:
        for made in (a, b):
            made.seal()
        remove(UPath("memory://store-under-test"))


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's folder for temporary files, where everybody may write."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def remote_scratch() -> Path:
    made = writer("memory://store-under-test/private")
    try:
        return made.scratch
    finally:
        lock.hold(made.path, made).release(made)
        remove(UPath("memory://store-under-test"))


def test_the_scratch_of_a_remote_artifact_is_closed_to_others(shared: Path) -> None:
    scratch = remote_scratch()
    own = scratch.relative_to(shared).parents[-2]
    assert stat.S_IMODE((shared / own).stat().st_mode) == 0o700
    assert remote_scratch() == scratch  # a run that goes on finds it again


def lay_a_link(place: Path) -> None:
    (place.parent / "elsewhere").mkdir(mode=0o700)
    place.symlink_to(place.parent / "elsewhere")


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda place: place.mkdir(mode=0o755), id="others may look"),
        pytest.param(lambda place: (place.mkdir(), place.chmod(0o777)), id="others may write"),
        pytest.param(lay_a_link, id="a link"),
        pytest.param(Path.touch, id="a file"),
    ],
)
def test_a_scratch_folder_that_others_may_have_made_is_not_used(
    shared: Path, make: Callable[[Path], object]
) -> None:
    make(shared / f"scf-{os.getuid()}")
    error = refusal(remote_scratch)
    assert error.what.startswith("The folder for temporary files must be the user's alone")
    assert error.where == str(shared / f"scf-{os.getuid()}")
    assert "TMPDIR" in error.fix


def test_a_scratch_folder_of_another_user_is_not_used(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shared / "scf-4711").mkdir(mode=0o700)
    monkeypatch.setattr(os, "getuid", lambda: 4711)
    assert "is another's" in refusal(remote_scratch).what


def test_adopt_moves_a_tree(folder: UPath) -> None:
    made = writer(folder, schema=None)
    tree = made.scratch / "weights"
    (tree / "deep/er").mkdir(parents=True)
    (tree / "model.safetensors").write_bytes(b"\0" * 10)
    (tree / "deep/er/config.json").write_text("{}")
    made.adopt(tree)
    assert not tree.exists()
    artifact = made.seal()
    assert set(artifact.files) == {"deep/er/config.json", "model.safetensors"}
    assert (artifact.path / "model.safetensors").read_bytes() == b"\0" * 10
    assert Artifact.open(folder).files["deep/er/config.json"]["bytes"] == 2


def test_leftovers_of_a_broken_write_are_swept_by_seal(folder: UPath) -> None:
    made = writer(folder)
    made.write(0, rows("x"))
    for name in ("data/part-00001.parquet.0123abcd.partial", "manifest.json.0123abcd.partial"):
        (folder / name).write_bytes(b"half")
    artifact = made.seal()
    assert set(artifact.files) == {"data/part-00000.parquet"}
    assert not list(folder.rglob("*.partial"))


# Identity


def test_a_sealed_artifact_is_an_input_by_stage_and_identity(here: UPath) -> None:
    artifact = seal(here)
    found = settings(ToyConfig(), faces=artifact, captions=(artifact, artifact))
    name = f"toy@{artifact.identity}"
    assert found.inputs == {"faces": name, "captions": [name, name]}


def test_identity_follows_content_and_settings_and_not_the_place(tmp_path: Path) -> None:
    first, second = seal(UPath(tmp_path / "a")), seal(UPath("memory://store-under-test/b"))
    other_settings = seal(UPath(tmp_path / "c"), seed=1)
    made = writer(tmp_path / "d")
    made.write(0, rows("other"))
    other_content = made.seal()
    assert first.identity == second.identity
    assert first.fingerprint == second.fingerprint == other_content.fingerprint
    assert len({a.identity for a in (first, other_settings, other_content)}) == 3
    moved = shutil.move(tmp_path / "a", tmp_path / "moved")
    assert Artifact.open(moved).identity == second.identity
    remove(UPath("memory://store-under-test"))


def test_notes_are_no_part_of_the_identity(tmp_path: Path) -> None:
    noted, plain = writer(tmp_path / "a"), writer(tmp_path / "b")
    assert noted.seal(notes={"root": "/here"}).identity == plain.seal().identity


# Two writers


def test_two_writers_of_the_same_settings_do_no_harm(tmp_path: Path) -> None:
    alone = seal(UPath(tmp_path / "alone"))
    for trial in range(10):
        folder = UPath(tmp_path / f"together-{trial}")
        start, made, errors = threading.Barrier(4), [], []

        def work(folder=folder, start=start, made=made, errors=errors) -> None:
            start.wait()
            try:
                made.append(seal(folder))
            except Exception as error:  # noqa: BLE001 - whatever it is, the test tells
                errors.append(error)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert {artifact.identity for artifact in made} == {alone.identity}
        assert Artifact.open(folder).read().equals(alone.read())


def test_an_artifact_is_locked_from_its_first_part_to_its_seal(folder: UPath) -> None:
    made = writer(folder)
    assert not (made.path / LOCK).exists()
    made.missing([part(0)])
    assert (made.path / LOCK).is_file()
    made.write(0, rows("x"))
    made.seal()
    assert not (made.path / LOCK).exists()


def test_a_run_beside_another_is_refused_before_it_writes(here: UPath) -> None:
    code = (
        "import sys\nfrom scf_pipeline.store import ArtifactWriter\n"
        "from scf_pipeline.settings import Settings\n"
        f"made = ArtifactWriter({str(here)!r}, None, settings=Settings.from_dict({{SETTINGS}}))\n"
        "made.scratch\nprint('held', flush=True)\nsys.stdin.read()\n"
    ).replace("{SETTINGS}", repr(settings(ToyConfig(seed=0)).to_dict()))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], text=True, **pipes) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        mine = writer(here)
        error = refusal(lambda: mine.missing([part(0)]))
        assert f"process {other.pid} on" in error.what
        other.kill()
    assert mine.missing([part(0)])  # it died and could not give the lock back


def test_a_run_that_lost_its_lock_does_not_seal(folder: UPath) -> None:
    made = writer(folder)
    made.missing([part(0)])
    made.write(0, rows("x"))
    raw = (made.path / LOCK).read_bytes()
    another = json.loads(raw) | {"host": "elsewhere", "nonce": "theirs"}
    real_check = lock.Lock.check

    def lose(held: lock.Lock) -> None:  # at the last moment
        (made.path / LOCK).write_text(json.dumps(another))
        real_check(held)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lock.Lock, "check", lose)
        assert "another one took it over" in refusal(made.seal).what
    assert not (made.path / MANIFEST).exists()
    assert json.loads((made.path / LOCK).read_bytes())["nonce"] == "theirs"


def test_a_lock_that_a_killed_run_left_beside_its_seal_is_no_part_of_it(folder: UPath) -> None:
    made = seal(folder)
    (made.path / LOCK).write_bytes(b"{}")
    assert verify(made.path) == []
    assert seal(folder).identity == made.identity


# What a reader wants of the rows


def reseal(folder: Path, change: Callable[[bytes], bytes]) -> Artifact:
    """Change the first part and let the manifest tell of it as it is now."""
    file = folder / "data/part-00000.parquet"
    file.write_bytes(change(file.read_bytes()))
    manifest = json.loads((folder / MANIFEST).read_bytes())
    manifest["files"] = files.hash_files(UPath(folder))
    del manifest["seal"]
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return Artifact.open(folder)


def with_rows(change: Callable[[pa.Table], pa.Table]) -> Callable[[bytes], bytes]:
    def act(raw: bytes) -> bytes:
        sink = pa.BufferOutputStream()
        pq.write_table(change(pq.read_table(pa.BufferReader(raw))), sink)
        return sink.getvalue().to_pybytes()

    return act


def test_a_part_that_is_no_table_behind_a_right_hash_is_an_expected_error(tmp_path: Path) -> None:
    seal(tmp_path)
    artifact = reseal(tmp_path, lambda raw: raw[:-10])
    with pytest.raises(ArtifactError, match="must be a sound Parquet file") as caught:
        artifact.read()
    assert caught.value.where == str(tmp_path / "data/part-00000.parquet")


def test_a_part_with_rows_that_the_footer_does_not_tell_of_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seal(tmp_path)
    whole = pq.ParquetFile.read
    monkeypatch.setattr(pq.ParquetFile, "read", lambda *a, **k: whole(*a, **k).slice(1))
    with pytest.raises(ArtifactError, match="it tells of 3 rows and holds 2"):
        Artifact.open(tmp_path).parts()[0].read_all()


def test_rows_are_checked_where_the_reader_names_a_schema(tmp_path: Path) -> None:
    seal(tmp_path)
    drifted = reseal(tmp_path, with_rows(lambda table: pa.concat_tables([table, table])))
    assert drifted.parts()[0].read().num_rows == 4
    assert drifted.parts(SCHEMA)[0].read(["dataset"]).num_rows == 4
    for act in (drifted.parts(SCHEMA)[0].read, lambda: drifted.read(schema=SCHEMA)):
        with pytest.raises(SchemaError, match="`face_id` must be unique, but is 'x'") as caught:
            act()
        assert caught.value.where == str(tmp_path / "data/part-00000.parquet")


def test_columns_are_checked_before_rows_are_read(tmp_path: Path) -> None:
    seal(tmp_path)
    drifted = reseal(tmp_path, with_rows(lambda table: table.rename_columns({"size": "bytes"})))
    assert drifted.parts(SCHEMA)[0].read(["face_id"]).column_names == ["face_id"]
    with pytest.raises(SchemaError, match="Column `size` must be int32, but is absent"):
        drifted.parts(SCHEMA)[0].read()


def test_columns_are_dictionaries_where_the_reader_wants_them(tmp_path: Path) -> None:
    seal(tmp_path)
    wanted = coded(SCHEMA)
    found = Artifact.open(tmp_path).read(schema=wanted)
    assert found.schema.equals(wanted)
    assert found.cast(SCHEMA).equals(Artifact.open(tmp_path).read(schema=SCHEMA))
    only = Artifact.open(tmp_path).parts(wanted)[0].read(["size"])
    assert only.column_names == ["size"]
    less = reseal(tmp_path, with_rows(lambda table: table.drop_columns("dataset")))
    assert less.parts(wanted)[0].read(["size"]).num_rows == 2
    with pytest.raises(SchemaError, match="Column `dataset` must be string, but is absent"):
        less.parts(wanted)[0].read()


def test_a_file_has_no_dictionaries_that_its_reader_did_not_ask_for(tmp_path: Path) -> None:
    seal(tmp_path)
    wanted = coded(SCHEMA)
    drifted = reseal(tmp_path, with_rows(lambda table: table.cast(coded(table.schema))))
    with pytest.raises(SchemaError, match="Column `dataset` must be string, but is dictionary"):
        drifted.parts(wanted)[0].read()


def test_parts_that_drifted_apart_are_read_as_the_schema_says(tmp_path: Path) -> None:
    """One has a column more, and columns that may be null."""
    seal(tmp_path)

    def loosen(table: pa.Table) -> pa.Table:
        loose = pa.schema([field.with_nullable(True) for field in table.schema])
        return table.cast(loose).append_column("note", table["dataset"])

    drifted = reseal(tmp_path, with_rows(loosen))
    found = drifted.read(schema=SCHEMA)
    assert found.schema.equals(SCHEMA)
    assert found["face_id"].to_pylist() == ["x", "y", "w"]
