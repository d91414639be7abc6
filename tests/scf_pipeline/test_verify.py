import json
import os
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from upath import UPath

from scf_pipeline import files
from scf_pipeline.config import digest
from scf_pipeline.counts import Counts, Tally
from scf_pipeline.errors import ArtifactError
from scf_pipeline.settings import Settings
from scf_pipeline.store import ArtifactWriter
from scf_pipeline.verify import find_artifacts, status, verify, verify_all

SCHEMA = pa.schema([("face_id", pa.string()), ("dataset", pa.string()), ("reject", pa.string())])


def rows(*names: str, reject: str | None = None) -> pa.Table:
    found = [{"face_id": name, "dataset": "a", "reject": reject} for name in names]
    return pa.Table.from_pylist(found, schema=SCHEMA)


def begin(folder: UPath, seed: int = 0) -> ArtifactWriter:
    return ArtifactWriter(folder, SCHEMA, settings=Settings("crop", 1, {"seed": seed}, {}))


def seal(folder: UPath) -> None:
    """Seal two parts: two live rows, a rejected one, one passed over, and their samples."""
    writer = begin(folder)
    writer.write(0, rows("x", "y"))
    writer.write(1, rows("z", reject="missing"))
    writer.seal(rows_in={"a": 4}, inputs=Counts({"a": Tally(2, Counter({"missing": 1}), 3)}))


@pytest.fixture(params=["disk", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[UPath]:
    if request.param == "disk":
        yield UPath(tmp_path / "artifact")
    else:
        yield UPath("memory://verify-under-test/artifact")
        files.remove(UPath("memory://verify-under-test"))


@pytest.fixture
def sealed(folder: UPath) -> UPath:
    seal(folder)
    return folder


def edit(file: UPath, old: str, new: str) -> None:
    text = file.read_bytes().decode()
    assert old in text
    file.write_bytes(text.replace(old, new, 1).encode())


def forge(folder: UPath) -> None:
    """Let the manifest list the files as they are now."""
    forge_manifest(folder, files=files.hash_files(folder))


def forge_manifest(folder: UPath, **values: object) -> None:
    """Change values of the manifest, and its seal as well."""
    manifest = json.loads((folder / "manifest.json").read_bytes()) | values
    del manifest["seal"]
    told = manifest | {"seal": digest(manifest)}
    (folder / "manifest.json").write_bytes(json.dumps(told).encode())


def test_an_artifact_as_it_was_sealed_has_no_differences(sealed: UPath) -> None:
    assert verify(sealed) == []


def test_an_artifact_of_weights_is_verified_too(folder: UPath) -> None:
    writer = ArtifactWriter(folder, None, settings=Settings("finetune", 1, {}, {}))
    (writer.scratch / "weights").mkdir()
    (writer.scratch / "weights/config.json").write_text("{}")
    writer.adopt(writer.scratch / "weights")
    writer.seal()
    assert verify(folder) == []
    (folder / "config.json").write_bytes(b"[]")
    assert verify(folder) == [
        f"{folder / 'config.json'}: the content is not the one that was sealed"
    ]


def test_a_flipped_byte_is_found(sealed: UPath) -> None:
    file = sealed / "data/part-00000.parquet"
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 0x01
    file.write_bytes(bytes(raw))
    assert verify(sealed) == [f"{file}: the content is not the one that was sealed"]


def test_a_truncated_part_is_found_and_named(sealed: UPath) -> None:
    file = sealed / "data/part-00001.parquet"
    size = len(file.read_bytes())
    file.write_bytes(file.read_bytes()[:-3])
    assert verify(sealed) == [f"{file}: A sealed file must have {size} bytes, but has {size - 3}."]


def test_a_removed_part_is_found_and_named(sealed: UPath) -> None:
    file = sealed / "data/part-00001.parquet"
    file.unlink()
    (difference,) = verify(sealed)
    assert difference.startswith(f"{file}: A sealed file must have ")
    assert difference.endswith("bytes, but has none.")


def test_an_added_file_is_found(sealed: UPath) -> None:
    files.write_parquet(sealed / "data/part-00002.parquet", rows("w"))
    (sealed / "notes.txt").write_bytes(b"mine")
    assert verify(sealed) == [
        f"{sealed / name}: an orphan that the manifest does not list"
        for name in ("data/part-00002.parquet", "notes.txt")
    ]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"seed": 0', '"seed": 1', "the fingerprint is not that of its settings"),
        ('"live": 2', '"live": 3', "the counts do not add up"),
        ('"stage": ', '"stag": ', "'stage'"),
        ('"notes": {', '"notes": {"x": 1', "its content was edited"),
        ("{", "[", "is damaged"),
    ],
)
def test_an_edited_manifest_is_found(sealed: UPath, old: str, new: str, said: str) -> None:
    edit(sealed / "manifest.json", old, new)
    (difference,) = verify(sealed)
    assert difference.startswith(f"{sealed / 'manifest.json'}: A manifest must be")
    assert said in difference


def test_edited_settings_are_found(sealed: UPath) -> None:
    edit(sealed / "settings.json", '"seed": 0', '"seed": 1')
    assert verify(sealed) == [
        f"{sealed / 'settings.json'}: differs from the manifest: config.seed must be 0 but is 1"
    ]


@pytest.mark.parametrize("content", [b"", b"[]", None])
def test_settings_that_are_damaged_or_gone_are_found(sealed: UPath, content: bytes | None) -> None:
    file = sealed / "settings.json"
    file.unlink() if content is None else file.write_bytes(content)
    (difference,) = verify(sealed)
    assert difference.startswith(f"{file}: settings.json must be as a stage wrote it")


def test_rows_that_the_counts_do_not_tell_are_found_behind_forged_hashes(sealed: UPath) -> None:
    files.write_parquet(sealed / "data/part-00000.parquet", rows("x"))
    forge(sealed)
    (difference,) = verify(sealed)
    assert difference == (
        f"{sealed / 'manifest.json'}: the counts say 2 kept, 1 rejected (1 missing), "
        f"1 passed over, the rows say 1 kept, 1 rejected (1 missing), 2 passed over"
    )


def test_counts_that_do_not_balance_are_found_behind_forged_hashes(sealed: UPath) -> None:
    unbalanced = Counts({"a": Tally(2, Counter({"missing": 1}), 2, 1)})
    forge_manifest(sealed, counts=unbalanced.to_dict())
    assert any("counts do not balance: a has 2 rows in" in line for line in verify(sealed))


def test_another_schema_and_no_table_are_found_behind_forged_hashes(sealed: UPath) -> None:
    other = rows("x", "y").rename_columns(["sample_id", "dataset", "reject"])
    files.write_parquet(sealed / "data/part-00001.parquet", other)
    files.write_whole(sealed / "data/part-00002.parquet", b"no table")
    forge(sealed)
    differences = verify(sealed)
    assert f"{sealed / 'data/part-00001.parquet'}: the schema is not that of the other parts" in (
        differences
    )
    assert any(
        line.startswith(f"{sealed / 'data/part-00002.parquet'}: no readable Parquet file")
        for line in differences
    )


def test_an_unfinished_artifact_and_nothing_at_all_are_differences(folder: UPath) -> None:
    (difference,) = verify(folder)
    assert difference == f"{folder}: An artifact must be a folder, but there is none."
    begin(folder)
    (difference,) = verify(folder)
    assert "its stage did not finish" in difference


def test_artifacts_are_verified_each_and_told_of_in_turn(sealed: UPath) -> None:
    others = [sealed.parent / name for name in ("b", "c")]
    for other in others:
        seal(other)
    assert verify_all([sealed, *others]) == []
    for folder in (sealed, others[1]):
        (folder / "notes.txt").write_bytes(b"mine")
    (others[0] / "manifest.json").unlink()
    found = verify_all([sealed, *others])
    assert [line.split(": ")[0] for line in found] == [
        str(sealed / "notes.txt"),
        str(others[0]),
        str(others[1] / "notes.txt"),
    ]


# Status


def test_status_tells_an_unfinished_stage_from_a_sealed_one(folder: UPath) -> None:
    begin(folder).write(0, rows("x", "y"))
    before = status(folder)
    assert (before.stage, before.is_sealed, before.parts, before.counts) == ("crop", False, 1, None)
    assert before.line() == "artifact: crop unfinished, 1 parts on disk"
    begin(folder).missing([])
    me = f"process {os.getpid()} on {socket.gethostname()}"
    assert status(folder).line() == f"artifact: crop being written by {me}, 1 parts on disk"
    seal(folder)
    after = status(folder)
    assert after.is_sealed
    assert after.line() == (
        "artifact: crop sealed, 2 parts, 2 kept, 1 rejected (1 missing), 1 passed over"
    )


def test_status_of_a_damaged_artifact_is_an_expected_error(sealed: UPath) -> None:
    (sealed / "manifest.json").write_bytes(b"{")
    with pytest.raises(ArtifactError, match="is damaged"):
        status(sealed)
    (sealed / "settings.json").write_bytes(b"{")
    with pytest.raises(ArtifactError, match=r"settings\.json must be"):
        status(sealed)


def test_artifacts_are_found_at_and_directly_below_a_folder(folder: UPath) -> None:
    seal(folder / "b")
    begin(folder / "a")
    seal(folder / "c")
    (folder / "c/settings.json").unlink()
    (folder / "d").mkdir()
    (folder / "x.plan.json").write_bytes(b"[]")
    assert [path.name for path in find_artifacts(folder)] == ["a", "b", "c"]
    assert [path.name for path in find_artifacts(folder / "b")] == ["b"]


def test_a_folder_without_artifacts_is_refused(folder: UPath) -> None:
    for _ in range(2):
        with pytest.raises(ArtifactError, match="must be an artifact or hold some") as caught:
            find_artifacts(folder)
        assert caught.value.where == str(folder)
        folder.mkdir(parents=True, exist_ok=True)
