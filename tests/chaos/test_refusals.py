"""A disk that is full, broken or locked: a clear error, and nothing is lost when it is mended."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import chain
import pytest
from test_kills import finish

from scf_pipeline.errors import ArtifactError

pytestmark = pytest.mark.chaos

CODES = ("ENOSPC", "EIO", "EACCES")
CALLS = ("mkdir", "open", "write", "fsync", "replace", "folder")
"""What a write asks of the system: its folder, the file, its bytes, to sync them, to rename it, and
to sync the folder."""


def refuse(root: Path, call: str, code: str, after: int) -> None:
    """Run on a disk that refuses a call from its `after`-th time on."""
    error = OSError(getattr(errno, code), os.strerror(getattr(errno, code)))
    count = 0

    def is_due() -> bool:
        nonlocal count
        count += 1
        return count > after

    def refusing(act: Callable, applies: Callable[..., bool]) -> Callable:
        def acting(*arguments, **options):
            if applies(*arguments) and is_due():
                raise error
            return act(*arguments, **options)

        return acting

    if call in ("fsync", "folder"):
        wanted = call == "folder"
        os.fsync = refusing(os.fsync, lambda fd: Path(f"/proc/self/fd/{fd}").is_dir() is wanted)
    elif call == "write":
        Path.open = _opening_full_files(Path.open, is_due, error)
    else:
        applies = {
            "mkdir": lambda *_: True,
            "replace": lambda *_: True,
            "open": lambda _, mode="r", *__: "w" in mode,
        }[call]
        setattr(Path, call, refusing(getattr(Path, call), applies))
    try:
        chain.run(root)
    except ArtifactError as error:
        (root / "told").write_text(f"{error.what}\n{error.where}\n{error.fix}")


def _opening_full_files(
    open_as_before: Callable, is_due: Callable[[], bool], error: OSError
) -> Callable:
    class Full:
        def __init__(self, file) -> None:
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def write(self, data: bytes) -> int:
            if is_due():
                self.file.write(data[: len(data) // 2])
                raise error
            return self.file.write(data)

        def __getattr__(self, name: str):
            return getattr(self.file, name)

    def opening(path, mode="r", *arguments, **options):
        file = open_as_before(path, mode, *arguments, **options)
        return Full(file) if mode == "wb" else file

    return opening


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("call", CALLS)
def test_a_refusal_is_told_and_loses_nothing(
    call: str, code: str, tmp_path: Path, undisturbed: Path, child, tried
) -> None:
    process = child(refuse, tmp_path, call, code, {"mkdir": 9, "folder": 9}.get(call, 7))
    process.join()
    assert process.exitcode == 0
    what, where, fix = (tmp_path / "told").read_text().splitlines()
    assert what == f"A file must be written, but cannot be: {os.strerror(getattr(errno, code))}."
    assert where.startswith(str(tmp_path))
    assert "what is finished is kept" in fix
    (tmp_path / "told").unlink()
    lost = finish(tmp_path, undisturbed, child)
    tried("ENOSPC, EIO or EACCES at a write", rows_lost=lost)
    assert lost == 0
