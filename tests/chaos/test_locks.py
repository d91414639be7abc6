"""Whatever lies where a lock belongs is replaced, or refused with its name: no run waits for ever.

Also none dies of it, and none writes through it into another's file.
"""

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import chain
import pytest
from test_kills import finish

from scf_pipeline import lock
from scf_pipeline.errors import ArtifactError
from scf_pipeline.files import LOCK
from scf_pipeline.lock import Owner, hold, who_writes

pytestmark = pytest.mark.chaos

GROUP = "hostile content of a lock"
STALE_S = 0.1
ME = object()


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(lock, "BEAT_S", STALE_S / 4)
    monkeypatch.setattr(lock, "STALE_S", STALE_S)
    yield
    for held in list(lock._HELD.values()):
        held.end()
    lock._HELD.clear()


# Files that no run of this package wrote, or that tell of none that lives

HERE = {"host": socket.gethostname(), "pid": 1, "born": None, "nonce": "theirs", "beat": 4}
ELSEWHERE = HERE | {"host": "elsewhere"}
NOT_BORN = 0
"""Ticks at which no process began, but perhaps the first."""


def of(**changes: Any) -> bytes:
    """Return a lock of this machine that differs in some fields."""
    return json.dumps(HERE | changes).encode()


def without(name: str) -> bytes:
    return json.dumps({key: value for key, value in HERE.items() if key != name}).encode()


NO_LOCKS: dict[str, bytes] = {
    "empty": b"",
    "spaces": b" \n\t ",
    "nul": b"\0" * 300,
    "nul-after-json": of() + b"\0",
    "no-text": bytes(range(128, 256)),
    "utf-16": of().decode().encode("utf-16"),
    "byte-order-mark": b"\xef\xbb\xbf" + of(),
    "half": of()[:40],
    "twice": of() + of(),
    "deep-lists": b"[" * 100_000,
    "deep-mappings": b'{"host":' * 100_000,
    "huge": b"x" * 10_000_000,
    "huge-number": of().replace(b'"pid": 1', b'"pid": ' + b"9" * 6000),
    "number": b"7",
    "null": b"null",
    "text": b'"lock"',
    "list": b"[]",
    "list-of-one": b"[" + of() + b"]",
    "no-fields": b"{}",
    "no-host": without("host"),
    "no-pid": without("pid"),
    "no-nonce": without("nonce"),
    "host-null": of(host=None),
    "host-number": of(host=7),
    "host-list": of(host=[HERE["host"]]),
    "host-half-a-character": of(host="\ud800"),
    "pid-zero": of(pid=0),  # the processes of one's own group, to the system
    "pid-minus-one": of(pid=-1),  # all processes
    "pid-too-large": of(pid=2**31),
    "pid-far-too-large": of(pid=2**40),
    "pid-text": of(pid="1"),
    "pid-fraction": of(pid=1.5),
    "pid-true": of(pid=True),
    "pid-null": of(pid=None),
    "pid-nan": of(pid=float("nan")),
    "born-text": of(born="long ago"),
    "born-fraction": of(born=0.5),
    "nonce-number": of(nonce=7),
    "beat-text": of(beat="4"),
    "beat-infinite": of(beat=float("inf")),
}
"""What cannot be understood; only that nothing beats in it can tell that it is nobody's."""

SILENT: dict[str, bytes] = {
    "first-process": of(),
    "this-process": of(pid=os.getpid()),
    "elsewhere": json.dumps(ELSEWHERE).encode(),
    "more-fields": of(host="elsewhere", more={"a": [1]}),
    "host-empty": of(host=""),
    "host-nul": of(host="a\0b"),
    "host-lines": of(host="a\nb\rc"),
    "host-colours": of(host="\x1b[2J\x1b[31mred"),
    "host-markup": of(host="[/bold] [link=http://127.0.0.1]here"),
    "host-backwards": of(host="\u202etxt.exe"),
    "host-long": of(host="h" * 3000),
    "host-path": of(host="../../../etc/passwd"),
    "nonce-empty": of(host="elsewhere", nonce=""),
    "beat-negative": of(host="elsewhere", beat=-1),
    "beat-huge": of(host="elsewhere", beat=10**1000),
}
"""What names somebody of whom only beats could tell that he lives; there are none."""

DEAD: dict[str, bytes] = {
    "no-such-process": of(pid=2**31 - 1),
    "another-of-this-number": of(pid=os.getpid(), born=NOT_BORN),
}
"""What names a process of this machine that ended, as the system tells at once."""


@pytest.mark.parametrize("name", [*NO_LOCKS, *SILENT, *DEAD])
def test_a_lock_in_which_nothing_beats_is_taken_over_and_not_sooner(
    name: str, tmp_path: Path, tried, caplog: pytest.LogCaptureFixture
) -> None:
    if name == "another-of-this-number" and lock._born(os.getpid()) is None:
        pytest.skip("this system hides when a process started")
    (tmp_path / LOCK).write_bytes((NO_LOCKS | SILENT | DEAD)[name])
    told = who_writes(tmp_path)
    begun = time.monotonic()
    held = hold(tmp_path, ME)
    waited = time.monotonic() - begun
    held.check()
    assert name in DEAD or waited >= STALE_S
    assert (told is None) is (name in DEAD)
    assert (name in NO_LOCKS) is (told == "process 0 on an unknown machine")
    assert all(text.isprintable() for text in (told or "", caplog.messages[0]))
    assert "taken over" in caplog.messages[0]
    held.release(ME)
    assert list(tmp_path.iterdir()) == []
    tried(GROUP)


def test_a_file_without_end_is_not_read_to_its_end(tmp_path: Path, tried) -> None:
    with (tmp_path / LOCK).open("wb") as file:
        file.truncate(2**40)  # more than any machine's memory; it takes no room on the disk
    hold(tmp_path, ME).check()
    tried(GROUP)


@pytest.mark.parametrize("name", [*NO_LOCKS, *SILENT, *DEAD])
def test_who_finds_another_content_in_his_lock_is_told_and_leaves_it(
    name: str, tmp_path: Path, tried
) -> None:
    raw = (NO_LOCKS | SILENT | DEAD)[name]
    held = hold(tmp_path, ME)
    with held._turn:
        (tmp_path / LOCK).write_bytes(raw)
    with pytest.raises(ArtifactError, match="another one took it over"):
        held.check()
    held.release(ME)
    assert (tmp_path / LOCK).read_bytes() == raw
    tried(GROUP)


@pytest.mark.parametrize(
    "host",
    ["", "a b", "näme", "\udc80", "\x1b[31m", "h" * 255],
    ids=["empty", "space", "umlaut", "no-text", "colour", "long"],
)
def test_a_machine_of_any_name_keeps_its_own_locks(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tried
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: host)
    held = hold(tmp_path, ME)
    time.sleep(STALE_S)  # and beats
    held.check()
    assert Owner(**json.loads((tmp_path / LOCK).read_bytes())).is_alive() is not False
    with pytest.raises(ArtifactError, match=f"process {os.getpid()} on .* is writing it"):
        lock._take(tmp_path)
    held.release(ME)
    assert list(tmp_path.iterdir()) == []
    tried(GROUP)


# No files at all


def full_folder(place: Path, _: Path) -> None:
    place.mkdir()
    (place / "kept").write_text("kept")


def listen(place: Path, _: Path) -> None:
    before = Path.cwd()
    os.chdir(place.parent)  # the name of a socket must be short
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(place.name)
    finally:
        os.chdir(before)


NO_FILES: dict[str, Callable[[Path, Path], Any]] = {
    "folder": lambda place, _: place.mkdir(),
    "full-folder": full_folder,
    "link-to-a-file": lambda place, target: place.symlink_to(target),
    "link-to-a-folder": lambda place, target: place.symlink_to(target.parent),
    "link-to-nothing": lambda place, target: place.symlink_to(target.with_name("absent")),
    "link-to-itself": lambda place, _: place.symlink_to(place),
    "link-without-end": lambda place, _: place.symlink_to("/dev/zero"),
    "pipe": lambda place, _: os.mkfifo(place),
    "socket": listen,
}
"""What lies in a lock's place: functions that put it there, given the place and a stranger's file,
which holds a lock in which nothing beats."""


@pytest.fixture
def target(tmp_path: Path) -> Path:
    file = tmp_path / "strangers" / "lock.json"
    file.parent.mkdir()
    file.write_text(json.dumps(ELSEWHERE))
    return file


def is_clear(error: ArtifactError, place: Path) -> bool:
    return (
        error.what.startswith("A lock must be a file that can be read, but is not: ")
        and error.where == str(place)
        and "remove it if no run is writing" in error.fix
    )


@pytest.mark.parametrize("name", NO_FILES)
def test_what_is_no_file_is_refused_and_what_it_leads_to_is_let_be(
    name: str, target: Path, tmp_path: Path, tried
) -> None:
    folder = tmp_path / "artifact"
    folder.mkdir()
    NO_FILES[name](folder / LOCK, target)
    kind = (folder / LOCK).lstat().st_mode
    for act in (lambda: hold(folder, ME), lambda: who_writes(folder)):
        with pytest.raises(ArtifactError) as caught:
            act()
        assert is_clear(caught.value, folder / LOCK)
    assert (folder / LOCK).lstat().st_mode == kind
    assert json.loads(target.read_text()) == ELSEWHERE
    assert list(target.parent.iterdir()) == [target]
    tried(GROUP)


@pytest.mark.parametrize("name", NO_FILES)
def test_what_takes_the_place_of_a_held_lock_is_told_and_let_be(
    name: str, target: Path, tmp_path: Path, tried
) -> None:
    folder = tmp_path / "artifact"
    folder.mkdir()
    held = hold(folder, ME)
    with held._turn:
        (folder / LOCK).unlink()
        NO_FILES[name](folder / LOCK, target)
    kind = (folder / LOCK).lstat().st_mode
    with pytest.raises(ArtifactError) as caught:
        held.check()
    assert is_clear(caught.value, folder / LOCK)
    held.release(ME)
    assert (folder / LOCK).lstat().st_mode == kind
    assert json.loads(target.read_text()) == ELSEWHERE
    tried(GROUP)


@pytest.mark.parametrize("number", [1, 5, 13, 40, 116])
def test_a_lock_that_cannot_be_read_is_refused(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tried
) -> None:
    (tmp_path / LOCK).write_text(json.dumps(ELSEWHERE))
    open_as_before = Path.open

    def refuse(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.name == LOCK:
            raise OSError(number, os.strerror(number), str(path))
        return open_as_before(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ArtifactError, match=os.strerror(number)) as caught:
        hold(tmp_path, ME)
    assert is_clear(caught.value, tmp_path / LOCK)
    tried(GROUP)


# A whole run


@pytest.mark.parametrize("name", ["folder", "link-to-a-file"])
def test_a_run_that_is_refused_goes_on_when_the_place_is_free(
    name: str, target: Path, tmp_path: Path, undisturbed: Path, child, tried
) -> None:
    root, place = tmp_path / "root", tmp_path / "root/t_f" / LOCK
    root.mkdir()
    child(chain.run_and_die, root, 9, "after").join()  # in the middle of the first captions
    place.unlink()
    NO_FILES[name](place, target)
    process = child(chain.run_and_tell, root, tmp_path / "told")
    process.join()
    assert process.exitcode == 0
    assert (tmp_path / "told").read_text().startswith("A lock must be a file that can be read")
    assert json.loads(target.read_text()) == ELSEWHERE
    place.rmdir() if place.is_dir() else place.unlink()
    lost = finish(root, undisturbed, child)
    tried(GROUP, rows_lost=lost)
    assert lost == 0
