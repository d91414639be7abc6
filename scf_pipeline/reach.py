"""Reach disks and stores: what lies at a path, local or at any fsspec URL.

fsspec answers some questions with "there is nothing" where a store does not answer at all, keeps
listings that other processes have made stale, and lets through errors of whatever class a store's
library raises. Here each question is asked anew, and a store that does not answer is an
`ArtifactError`.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from upath import UPath

from ifas_model import json_data
from scf_pipeline.errors import ArtifactError, ScfError

ANSWERS = (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError)
"""Errors that tell what lies there, and not that nobody answers."""


def as_local(path: UPath | Path | str) -> UPath:
    """Return a path as a `UPath`; one on this disk, as ``file://`` too, is a `pathlib.Path`.

    Raises:
        ArtifactError: If the path is in a store for which a package is absent or not set up.
    """
    try:
        path = UPath(path)
        if path.protocol in ("file", "local"):
            return UPath(path.path)
        if not isinstance(path, Path):
            _ = path.fs
    except ImportError as error:
        raise ArtifactError(
            f"A store must have its package, but has none: {error}.",
            where=str(path),
            fix=f"pip install {getattr(error.__cause__, 'name', None) or 'that package'}",
        ) from error
    except Exception as error:  # whatever the store's library raises
        raise ArtifactError(
            f"A place must be a local path or a URL that fsspec knows, but is not: {error}.",
            where=str(path),
            fix="Correct the URL, or set up access to the store.",
        ) from error
    return path


@contextmanager
def reaching(path: UPath) -> Iterator[None]:
    """Say in our words that a store does not do as it is asked; a disk's errors pass as they are.

    Raises:
        ArtifactError: If the store fails.
    """
    try:
        yield
    except (ScfError, *ANSWERS):
        raise
    except Exception as error:
        if isinstance(path, Path):
            raise
        raise ArtifactError(
            f"A store must do as it is asked, but fails: {type(error).__name__}: {error}",
            where=str(path),
            fix="Mend the connection or the access to it, and rerun; what is finished is kept.",
        ) from error


def read(path: UPath) -> bytes:
    """Return a file's bytes; of a store in one request, so that all are of one version."""
    if isinstance(path, Path):
        return path.read_bytes()
    with reaching(path):
        return cast("bytes", path.fs.cat_file(path.path))


def read_json(path: UPath) -> Any:  # noqa: ANN401 - plain data
    """Return the plain data of a JSON file, on this disk or in a store.

    Raises:
        ValueError: If it is none, too large or too deep; see `json_data`.
    """
    raw = json_data.read_bytes(path) if isinstance(path, Path) else read(path)
    return json_data.parse(raw)


def stream(path: UPath) -> BinaryIO:
    """Open a file to read it.

    One in a store is fetched whole, so that what its content does to a reader is never taken for
    what the store does.
    """
    return path.open("rb") if isinstance(path, Path) else io.BytesIO(read(path))


def is_file(path: UPath) -> bool:
    """Tell whether there is a file."""
    return path.is_file() if isinstance(path, Path) else _kind(path) == "file"


def is_folder(path: UPath) -> bool:
    """Tell whether there is a folder; in an object store, whether there is anything below it."""
    return path.is_dir() if isinstance(path, Path) else _kind(path) == "directory"


def size_of(path: UPath) -> int | None:
    """Return a file's size in bytes; ``None`` if there is no file."""
    if isinstance(path, Path):
        return path.stat().st_size if path.is_file() else None
    found = _info(path)
    return None if found is None else int(found["size"])


def inside(folder: UPath) -> list[UPath]:
    """Return what lies directly in a folder, sorted; nothing if there is no folder."""
    return [path for path, _ in _inside(folder)]


def below(folder: UPath) -> list[UPath]:
    """Return every file below a folder, at any depth."""
    found: list[UPath] = []
    for path, is_folder in _inside(folder):
        found += below(path) if is_folder else [path]
    return found


def make_folder(folder: UPath) -> None:
    """Make a folder and those above it, where the place knows folders."""
    if isinstance(folder, Path):
        folder.mkdir(parents=True, exist_ok=True)
        return
    with reaching(folder):
        folder.fs.makedirs(folder.path, exist_ok=True)


def put(path: UPath, data: bytes) -> None:
    """Write a file into a store: one put, which object stores make visible whole."""
    with reaching(path):
        try:
            path.fs.pipe_file(path.path, data)
        except FileNotFoundError:  # the folder or bucket is not there, and the store wants one
            make_folder(path.parent)
            path.fs.pipe_file(path.path, data)


def discard(path: UPath) -> None:
    """Remove a file if it is there."""
    with reaching(path):
        path.unlink(missing_ok=True)


def _inside(folder: UPath) -> list[tuple[UPath, bool]]:
    """Return what lies in a folder, and of each whether it is a folder."""
    if isinstance(folder, Path):
        if not folder.is_dir():
            return []
        return [(path, path.is_dir()) for path in sorted(folder.iterdir())]
    with reaching(folder):
        folder.fs.invalidate_cache()
        try:
            entries = folder.fs.ls(folder.path, detail=True)
        except FileNotFoundError:
            return []
    found = {
        entry["name"].rstrip("/").rsplit("/", 1)[-1]: entry["type"] == "directory"
        for entry in entries
        if entry["name"].rstrip("/") != folder.path.rstrip("/")  # an empty file that marks a folder
    }
    return [(folder / name, found[name]) for name in sorted(found)]


def _kind(path: UPath) -> str | None:
    found = _info(path)
    return None if found is None else str(found["type"])


def _info(path: UPath) -> dict[str, Any] | None:
    """Return what a store tells of a path, if there is something."""
    with reaching(path):
        path.fs.invalidate_cache()
        try:
            return cast("dict[str, Any]", path.fs.info(path.path))
        except FileNotFoundError:
            return None
