import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from upath import UPath

from scf_pipeline import reach
from scf_pipeline.errors import ArtifactError
from scf_pipeline.reach import as_local


@pytest.fixture(params=["disk", "memory", "file-url"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[UPath]:
    """Where files may lie."""
    place = {"disk": "", "file-url": "file://", "memory": "memory://reach"}[request.param]
    found = as_local(f"{place}{tmp_path}/folder")
    found.mkdir(parents=True)
    yield found
    if request.param == "memory":
        found.fs.rm(found.path, recursive=True)


def write(file: UPath, data: bytes = b"told") -> UPath:
    reach.make_folder(file.parent)
    file.write_bytes(data)
    return file


# Places


def test_a_path_of_this_disk_is_a_path_however_it_is_written(tmp_path: Path) -> None:
    for text in (f"file://{tmp_path}/a", f"local://{tmp_path}/a", f"{tmp_path}/a", tmp_path / "a"):
        assert isinstance(as_local(text), Path)
        assert as_local(text) == tmp_path / "a"
    assert as_local("memory://bucket/a") == UPath("memory://bucket/a")


def test_a_store_whose_package_is_absent_is_told_with_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "adlfs", None)
    with pytest.raises(ArtifactError, match="must have its package, but has none") as caught:
        as_local("abfs://bucket/a")
    assert "adlfs" in caught.value.what
    assert caught.value.where == "abfs://bucket/a"
    assert caught.value.fix == "pip install adlfs"


@pytest.mark.filterwarnings("ignore:UPath 'nosuch' filesystem not explicitly implemented")
def test_a_place_that_no_package_knows_is_told() -> None:
    with pytest.raises(ArtifactError, match="a URL that fsspec knows, but is not") as caught:
        as_local("nosuch://bucket/a")
    assert caught.value.where == "nosuch://bucket/a"


# What lies there


def test_a_file_is_a_file_and_a_folder_a_folder(folder: UPath) -> None:
    file = write(folder / "deep/er/file")
    assert (reach.is_file(file), reach.is_folder(file)) == (True, False)
    assert (reach.is_file(folder / "deep"), reach.is_folder(folder / "deep")) == (False, True)
    assert (reach.is_file(folder / "absent"), reach.is_folder(folder / "absent")) == (False, False)
    assert (reach.size_of(file), reach.size_of(folder / "absent")) == (4, None)


def test_a_file_is_read_and_streamed(folder: UPath) -> None:
    file = write(folder / "file")
    assert reach.read(file) == b"told"
    with reach.stream(file) as stream:
        assert (stream.read(1), stream.seek(3), stream.read()) == (b"t", 3, b"d")
    for ask in (reach.read, reach.stream):
        with pytest.raises(FileNotFoundError):
            ask(folder / "absent")


def test_what_lies_in_a_folder_is_listed_in_order(folder: UPath) -> None:
    for name in ("b", "a", "deep/er/c", "deep/d"):
        write(folder / name)
    assert [path.name for path in reach.inside(folder)] == ["a", "b", "deep"]
    names = [str(path).removeprefix(f"{folder}/") for path in reach.below(folder)]
    assert names == ["a", "b", "deep/d", "deep/er/c"]
    assert {type(path) for path in reach.below(folder)} == {type(folder)}
    assert reach.inside(folder / "absent") == reach.below(folder / "absent") == []


def test_what_is_discarded_is_gone_and_may_be_before(folder: UPath) -> None:
    file = write(folder / "file")
    reach.discard(file)
    assert not reach.is_file(file)
    reach.discard(file)


# A store that fails


class AwayError(Exception):
    """What a store's library raises: none of Python's own errors."""


ASKING: list[Callable[[UPath], Any]] = [
    reach.read,
    reach.stream,
    reach.is_file,
    reach.is_folder,
    reach.size_of,
    reach.inside,
    reach.below,
    reach.make_folder,
    reach.discard,
    lambda path: reach.put(path, b"x"),
]


@pytest.mark.parametrize(
    "error", [AwayError("nobody is there"), OSError(5, "broken"), TimeoutError()]
)
@pytest.mark.parametrize("ask", ASKING, ids=lambda ask: ask.__name__)
def test_a_store_that_does_not_answer_is_told_and_never_taken_for_an_empty_one(
    ask: Callable[[UPath], Any], error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    for name in ("info", "ls", "cat_file", "pipe_file", "makedirs", "exists", "rm", "open"):
        monkeypatch.setattr(MemoryFileSystem, name, fail)
    with pytest.raises(ArtifactError, match="must do as it is asked, but fails") as caught:
        ask(UPath("memory://reach/a"))
    assert f"{type(error).__name__}: {error}" in caught.value.what
    assert caught.value.where == "memory://reach/a"
    assert caught.value.fix.endswith("and rerun; what is finished is kept.")
    assert caught.value.__cause__ is error


def test_a_disk_that_fails_says_so_itself(tmp_path: Path) -> None:
    def fail() -> None:
        raise OSError(5, "broken")

    with pytest.raises(OSError, match="broken"), reach.reaching(UPath(tmp_path)):
        fail()


def test_our_own_errors_pass_through_a_store(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = ArtifactError("It must be even.", where="a", fix="Double it.")
    with pytest.raises(ArtifactError) as caught, reach.reaching(UPath("memory://reach/a")):
        raise ours
    assert caught.value is ours


def test_what_another_process_wrote_is_seen_though_a_listing_was_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Stores keep listings, and answer even for single files from them."""
    folder = UPath("memory://reach/kept")
    kept: dict[str, list] = {}
    ls, info = MemoryFileSystem.ls, MemoryFileSystem.info

    def keeping_ls(self, path: str, detail: bool = True, **_: object) -> list:
        return kept.setdefault(path, ls(self, path, detail=True))

    def keeping_info(self, path: str, **_: object) -> dict:
        for entry in kept.get(os.path.dirname(path), []):  # noqa: PTH120 - a path in a store
            if entry["name"] == path:
                return entry
        if os.path.dirname(path) in kept:  # noqa: PTH120 - a path in a store
            raise FileNotFoundError(path)
        return info(self, path)

    monkeypatch.setattr(MemoryFileSystem, "ls", keeping_ls)
    monkeypatch.setattr(MemoryFileSystem, "info", keeping_info)
    monkeypatch.setattr(MemoryFileSystem, "invalidate_cache", lambda *_: kept.clear())
    folder.fs.pipe_file(f"{folder.path}/a", b"x")
    assert [path.name for path in reach.inside(folder)] == ["a"]
    folder.fs.pipe_file(f"{folder.path}/b", b"xy")
    assert kept
    assert reach.is_file(folder / "b")
    reach.inside(folder)
    folder.fs.pipe_file(f"{folder.path}/b", b"xyz")
    assert reach.size_of(folder / "b") == 3
    assert [path.name for path in reach.inside(folder)] == ["a", "b"]
