import os
from pathlib import Path

import pyarrow as pa
import pytest
from upath import UPath

from scf_pipeline import retry
from scf_pipeline.errors import ArtifactError
from scf_pipeline.files import LOCK, MANIFEST
from scf_pipeline.retry import open_again
from scf_pipeline.settings import Settings
from scf_pipeline.store import Artifact, ArtifactWriter

SCHEMA = pa.schema([("face_id", pa.string()), ("dataset", pa.string()), ("reject", pa.string())])
PARTS = ((None, None), ("missing", None), ("no_keyword", None), ("no_frame", "unreadable"))


@pytest.fixture(params=["disk", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> UPath:
    return UPath(tmp_path / "a" if request.param == "disk" else f"memory://retry{tmp_path}/a")


def writer(folder: UPath) -> ArtifactWriter:
    return ArtifactWriter(folder, SCHEMA, settings=Settings("toy", 1, {}, {}))


def write(made: ArtifactWriter, number: int, reasons: tuple[str | None, ...]) -> None:
    rows = [
        {"face_id": f"{number}-{place}", "dataset": "a", "reject": reason}
        for place, reason in enumerate(reasons)
    ]
    made.write(number, pa.Table.from_pylist(rows, schema=SCHEMA))


def seal(folder: UPath, parts: tuple[tuple[str | None, ...], ...] = PARTS) -> Artifact:
    made = writer(folder)
    for number, reasons in enumerate(parts):
        write(made, number, reasons)
    return made.seal(rows_in={"a": sum(map(len, parts))})


def names(folder: UPath) -> list[str]:
    return sorted(path.name for path in (folder / "data").iterdir())


def test_parts_with_broken_input_go_and_decisions_stay(folder: UPath) -> None:
    seal(folder)
    opened = open_again(folder)
    assert (opened.parts, opened.rows) == (2, 3)
    assert opened.line() == (
        "a: 3 rejected rows; 2 parts will be made anew when the command that wrote them runs again"
    )
    assert names(folder) == ["part-00000.parquet", "part-00002.parquet"]
    assert not (folder / MANIFEST).exists()
    assert not (folder / LOCK).exists()


def test_what_is_made_anew_is_what_a_run_on_sound_input_gives(folder: UPath) -> None:
    sound = tuple((None, None) if "keyword" not in str(reasons) else reasons for reasons in PARTS)
    seal(folder)
    open_again(folder)
    again = seal(folder, sound)
    assert again.identity == seal(folder.parent / "sound", sound).identity


def test_an_artifact_without_broken_input_stays_sealed(folder: UPath) -> None:
    before = seal(folder, PARTS[:1] + PARTS[2:3])
    assert open_again(folder).line() == "a: no row was rejected for broken input"
    assert Artifact.open(folder).identity == before.identity


def test_weights_and_tables_without_reasons_have_nothing_to_retry(tmp_path: Path) -> None:
    settings = Settings("toy", 1, {}, {})
    ArtifactWriter(tmp_path / "weights", None, settings=settings).seal()
    schema = pa.schema([("face_id", pa.string()), ("dataset", pa.string())])
    made = ArtifactWriter(tmp_path / "plain", schema, settings=settings)
    made.write(0, pa.table({"face_id": ["x"], "dataset": ["a"]}))
    made.seal(rows_in={"a": 1})
    for name in ("weights", "plain"):
        assert open_again(UPath(tmp_path / name)).parts == 0
        assert Artifact.open(tmp_path / name)


def test_who_is_stopped_at_any_moment_leaves_what_the_command_can_finish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    removals = 3  # the seal and two parts
    wanted = seal(UPath(tmp_path / "undisturbed"), ((None, None),) * 4).identity
    for moment in range(removals):
        folder = UPath(tmp_path / str(moment))
        seal(folder)
        count, unlink = iter(range(removals)), os.unlink

        def stop(path: object, *rest: object, count=count, moment=moment, unlink=unlink, **more):
            if str(path).endswith((MANIFEST, ".parquet")) and next(count) == moment:
                raise KeyboardInterrupt
            unlink(path, *rest, **more)

        monkeypatch.setattr(os, "unlink", stop)
        with pytest.raises(KeyboardInterrupt):
            open_again(folder)
        monkeypatch.undo()
        assert (folder / MANIFEST).exists() is (moment == 0)
        open_again(folder)
        for number in (1, 3):
            write(writer(folder), number, (None, None))
        assert names(folder) == [f"part-0000{number}.parquet" for number in range(4)]
        made = writer(folder)
        write(made, 2, (None, None))  # whose decision is another now
        assert made.seal(rows_in={"a": 8}).identity == wanted


def test_a_damaged_part_is_named_and_nothing_is_removed(folder: UPath) -> None:
    seal(folder)
    part = folder / "data/part-00002.parquet"
    part.write_bytes(b"PAR1")
    with pytest.raises(ArtifactError, match="must be readable, but is not") as caught:
        open_again(folder)
    assert caught.value.where == str(part)
    assert len(names(folder)) == 4
    assert (folder / MANIFEST).exists()


def test_a_run_that_is_writing_is_not_disturbed(folder: UPath, monkeypatch) -> None:
    seal(folder)

    def refuse(*_: object) -> None:
        raise ArtifactError("It is being written.", where="lock", fix="Wait.")

    monkeypatch.setattr(retry.lock, "hold", refuse)
    with pytest.raises(ArtifactError, match="being written"):
        open_again(folder)
    assert len(names(folder)) == 4
