import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from upath import UPath

from scf_pipeline import files
from scf_pipeline.errors import ArtifactError
from scf_pipeline.files import (
    hash_file_entry,
    hash_files,
    list_files,
    local_folder,
    part_files,
    part_name,
    part_number,
    read_sealed,
    remove,
    write_parquet,
    write_whole,
)
from scf_pipeline.reach import as_local


@pytest.fixture(params=["disk", "memory", "file-url"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[UPath]:
    """Where files may lie."""
    if request.param == "memory":
        yield UPath("memory://files-under-test/folder")
        remove(UPath("memory://files-under-test"))
    else:
        yield UPath(f"{'file://' if request.param == 'file-url' else ''}{tmp_path}/folder")


# Whole or not at all


def test_a_file_is_written_with_the_folders_above_it(folder: UPath) -> None:
    write_whole(folder / "deep/er/file", b"first")
    write_whole(folder / "deep/er/file", b"second")
    assert (folder / "deep/er/file").read_bytes() == b"second"
    assert [path.name for path in (folder / "deep/er").iterdir()] == ["file"]


def test_a_reader_never_sees_half_of_a_file(tmp_path: Path) -> None:
    contents = {bytes([n]) * 300_000 for n in range(8)}
    file, seen, done = UPath(tmp_path / "file"), set(), threading.Event()
    write_whole(file, min(contents))

    def watch() -> None:
        while not done.is_set():
            seen.add(file.read_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    for content in contents:
        write_whole(file, content)
    done.set()
    watcher.join()
    assert seen <= contents


def test_a_write_that_fails_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = UPath(tmp_path / "file")
    write_whole(file, b"whole")

    def fail(_: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(ArtifactError, match="disk full"):
        write_whole(file, b"half")
    assert file.read_bytes() == b"whole"
    assert list_files(UPath(tmp_path)) == ["file"]


def test_file_and_folder_are_synced_before_and_after_the_renaming(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a power cut could leave a name without its content."""
    events = []
    real_sync, real_replace = os.fsync, Path.replace

    def fsync(descriptor: int) -> None:
        events.append(Path(f"/proc/self/fd/{descriptor}").resolve().suffix or "folder")
        real_sync(descriptor)

    def replace(self: Path, target: Path) -> Path:
        events.append("renamed")
        return real_replace(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    (tmp_path / "here").mkdir()
    write_whole(UPath(tmp_path / "here/file"), b"x")
    assert events == [".partial", "renamed", "folder"]


def test_a_beginning_that_was_swept_up_is_no_error_if_the_file_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer beside this one may seal, and sweep, between writing and renaming."""
    file = UPath(tmp_path / "file")

    def swept(self: Path, target: Path) -> Path:
        self.unlink()
        raise FileNotFoundError

    monkeypatch.setattr(Path, "replace", swept)
    with pytest.raises(ArtifactError, match="cannot be"):
        write_whole(file, b"mine")
    file.write_bytes(b"theirs")
    write_whole(file, b"mine")
    assert file.read_bytes() == b"theirs"


def test_a_table_is_written_whole_with_checksums_and_row_groups(folder: UPath) -> None:
    table = pa.table({"number": list(range(10)), "word": ["mask"] * 10})
    write_parquet(folder / "table.parquet", table, row_group_rows=4)
    raw = bytearray((folder / "table.parquet").read_bytes())
    file = pq.ParquetFile(pa.BufferReader(bytes(raw)), page_checksum_verification=True)
    assert file.read().equals(table)
    assert [file.metadata.row_group(n).num_rows for n in range(3)] == [4, 4, 2]
    assert file.metadata.row_group(0).column(0).has_offset_index
    raw[raw.index(b"mask")] ^= 0x01
    damaged = pq.ParquetFile(pa.BufferReader(bytes(raw)), page_checksum_verification=True)
    with pytest.raises(OSError, match="CRC checksum verification failed"):
        damaged.read()


def test_a_table_of_dictionaries_is_a_plain_one_to_every_reader(folder: UPath) -> None:
    words = pa.array(["mask", None, "print", "mask"])
    schema = pa.schema([("word", pa.string())], metadata={"made": "by us"})
    plain = pa.table([words], schema=schema)
    coded = pa.table({"word": words.dictionary_encode()}, metadata=schema.metadata)
    for name, table in {"plain": plain, "coded": coded}.items():
        write_parquet(folder / name, table)
    raw = (folder / "coded").read_bytes()
    assert raw == (folder / "plain").read_bytes()
    assert pq.read_table(pa.BufferReader(raw)).equals(plain, check_metadata=True)
    both = pa.concat_tables([coded, pa.table({"word": pa.array(["wig"]).dictionary_encode()})])
    write_parquet(folder / "both", both)
    found = pq.read_table(pa.BufferReader((folder / "both").read_bytes()))
    assert found.schema.field("word").type == pa.string()
    assert found["word"].to_pylist() == ["mask", None, "print", "mask", "wig"]


def test_remove_removes_a_folder_and_is_content_without_one(folder: UPath) -> None:
    write_whole(folder / "deep/file", b"x")
    remove(folder)
    assert not (folder / "deep/file").exists()
    remove(folder)


# Names


def test_a_local_folder_is_a_plain_path_however_it_is_written(tmp_path: Path) -> None:
    for text in (f"file://{tmp_path}/a", f"local://{tmp_path}/a", f"{tmp_path}/a"):
        found = local_folder(UPath(text))
        assert found == tmp_path / "a"
        assert type(found) is type(tmp_path)


def test_a_folder_in_an_object_store_is_none_of_this_machine() -> None:
    with pytest.raises(ArtifactError) as caught:
        local_folder(UPath("memory://bucket/a"))
    assert caught.value.what == "What training reads must lie on a local disk, but does not."
    assert caught.value.where == "memory://bucket/a"
    assert caught.value.fix == "Copy it to a local folder; the curation may stay where it is."


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_a_parts_name_tells_its_number_and_no_other(number: int, other: int) -> None:
    assert part_number(f"data/{part_name(number)}") == number
    assert (part_name(number) == part_name(other)) is (number == other)
    assert part_name(7) == "part-00007.parquet"


def test_parts_are_found_in_order_and_nothing_else(folder: UPath) -> None:
    assert part_files(folder) == []
    names = ["part-00010.parquet", "part-00002.parquet", "part-00001.parquet.0a.partial", "a.json"]
    for name in names:
        write_whole(folder / "data" / name, b"x")
    found = [file.name for file in part_files(as_local(folder))]
    assert found == ["part-00002.parquet", "part-00010.parquet"]


# Hashes


def test_bookkeeping_is_not_listed_and_all_else_is(folder: UPath) -> None:
    ours = ["data/part-00000.parquet", "data/settings.json", "deep/scratch/file", "weights.bin"]
    theirs = ["manifest.json", "settings.json", "scratch/a", "remarks/part-00000.parquet.json"]
    theirs += ["lock.json", "data/part-00001.parquet.0a.partial"]
    for name in (*reversed(ours), *theirs):
        write_whole(folder / name, name.encode())
    assert list_files(folder) == ours
    assert hash_files(folder) == {
        name: {"sha256": hashlib.sha256(name.encode()).hexdigest(), "bytes": len(name)}
        for name in ours
    }


def test_a_large_file_is_hashed_in_pieces_as_a_whole(folder: UPath) -> None:
    content = bytes(range(256)) * 4096 * 3 + b"end"
    write_whole(folder / "file", content)
    assert hash_file_entry(folder / "file") == {
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
    }


def test_a_sealed_file_is_read_only_if_it_is_the_one_that_was_sealed(folder: UPath) -> None:
    file, sha256 = folder / "file", hashlib.sha256(b"sealed").hexdigest()
    write_whole(file, b"sealed")
    assert read_sealed(file, sha256) == b"sealed"
    write_whole(file, b"edited")
    with pytest.raises(ArtifactError, match="must have the hash that its manifest lists") as caught:
        read_sealed(file, sha256)
    assert caught.value.where == str(file)
    file.unlink()
    with pytest.raises(ArtifactError, match="must be readable"):
        read_sealed(file, sha256)


def test_syncing_a_file_or_a_folder_leaves_none_open(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names alone
    files.sync(tmp_path / "file")
    files.sync(tmp_path)
    assert set(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - names alone
    with pytest.raises(FileNotFoundError):
        files.sync(tmp_path / "absent")
