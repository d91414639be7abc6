import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from upath import UPath

from scf_pipeline import lock
from scf_pipeline.errors import ArtifactError
from scf_pipeline.files import LOCK, write_whole
from scf_pipeline.lock import Owner, hold

ELSEWHERE = Owner(host="elsewhere", pid=1, born=None, nonce="theirs", beat=4)
ME, ANOTHER = object(), object()


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(lock, "BEAT_S", 0.05)
    monkeypatch.setattr(lock, "STALE_S", 0.4)
    monkeypatch.setattr(lock, "SETTLE_S", 0.0)
    yield
    for held in list(lock._HELD.values()):
        held.end()
    lock._HELD.clear()


@pytest.fixture(params=["disk", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> UPath:
    place = tmp_path if request.param == "disk" else f"memory://lock/{tmp_path.name}"
    found = UPath(place)
    found.mkdir(parents=True, exist_ok=True)
    return found


def put(folder: UPath, owner: Owner) -> None:
    write_whole(folder / LOCK, json.dumps(asdict(owner)).encode())


def named(folder: UPath) -> Owner:
    return Owner(**json.loads((folder / LOCK).read_bytes()))


def test_a_lock_names_this_process_and_goes_with_its_last_holder(folder: UPath) -> None:
    held = hold(folder, ME)
    assert (named(folder).pid, named(folder).nonce) == (os.getpid(), held.owner.nonce)
    assert hold(folder, ANOTHER) is held
    held.release(ME)
    held.check()
    held.release(ANOTHER)
    assert not (folder / LOCK).exists()
    assert hold(folder, ME) is not held


def test_it_beats(folder: UPath) -> None:
    hold(folder, ME)
    first = named(folder).beat
    deadline = time.monotonic() + 5
    while named(folder).beat < first + 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_process_that_lives_is_not_disturbed(tmp_path: Path) -> None:
    code = (
        "import sys; from scf_pipeline.lock import hold\n"
        f"hold({str(tmp_path)!r}, sys); print('held', flush=True); sys.stdin.read()\n"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], text=True, **pipes) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(ArtifactError, match=f"process {process.pid} on .* is writing") as error:
            hold(tmp_path, ME)
        assert error.value.where == str(tmp_path / LOCK)
        process.kill()  # no chance to give anything back
    assert (tmp_path / LOCK).exists()
    hold(tmp_path, ME).check()


def test_a_process_that_ends_gives_back_what_it_holds(tmp_path: Path) -> None:
    code = f"from scf_pipeline.lock import hold\nhold({str(tmp_path)!r}, print)\n"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert not (tmp_path / LOCK).exists()


def test_a_number_that_another_process_has_by_now_is_no_owner(folder: UPath) -> None:
    mine = hold(folder, ME).owner
    lock._HELD.pop(str(folder)).end()
    put(folder, replace(mine, nonce="before", born=(mine.born or 0) - 1))
    if mine.born is None:
        pytest.skip("this system hides when a process started")
    hold(folder, ME).check()


def test_a_lock_from_elsewhere_that_stands_still_is_taken_over(
    folder: UPath, caplog: pytest.LogCaptureFixture
) -> None:
    put(folder, ELSEWHERE)
    begun = time.monotonic()
    with caplog.at_level(logging.WARNING):
        hold(folder, ME).check()
    assert time.monotonic() - begun >= 0.4
    assert "left behind by process 1 on elsewhere; taken over" in caplog.text


@pytest.fixture
def between_looks(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that says what happens after the first look, and how long that takes."""
    read_as_before, looks = lock._read, []

    def after_one(act: Callable[..., object], *arguments: object, look_s: float = 0.0) -> None:
        def read(file: UPath) -> Owner | None:
            looks.append(file)
            if len(looks) == 1:
                time.sleep(look_s)
            if len(looks) == 2:
                act(*arguments)
            return read_as_before(file)

        monkeypatch.setattr(lock, "_read", read)

    return after_one


def test_a_lock_from_elsewhere_that_beats_is_respected(
    folder: UPath, monkeypatch: pytest.MonkeyPatch, between_looks
) -> None:
    monkeypatch.setattr(lock, "STALE_S", 60.0)
    put(folder, ELSEWHERE)
    between_looks(put, folder, replace(ELSEWHERE, beat=5))
    with pytest.raises(ArtifactError, match="process 1 on elsewhere is writing it"):
        hold(folder, ME)
    assert named(folder).nonce == "theirs"


def test_a_look_that_takes_long_is_no_proof_of_silence(folder: UPath, between_looks) -> None:
    put(folder, ELSEWHERE)
    between_looks(put, folder, replace(ELSEWHERE, beat=5), look_s=0.5)
    with pytest.raises(ArtifactError, match="process 1 on elsewhere is writing it"):
        hold(folder, ME)


def test_a_lock_from_elsewhere_that_is_given_back_is_free(
    folder: UPath, monkeypatch: pytest.MonkeyPatch, between_looks
) -> None:
    monkeypatch.setattr(lock, "STALE_S", 60.0)
    put(folder, ELSEWHERE)
    between_looks((folder / LOCK).unlink)
    begun = time.monotonic()
    hold(folder, ME).check()
    assert time.monotonic() - begun < 60  # not by patience


def test_the_clock_on_the_wall_plays_no_part(
    folder: UPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = hold(folder, ME)
    monkeypatch.setattr(time, "time", lambda: 0.0)  # moved back, by half a century
    time.sleep(0.15)
    with held._turn:  # not in the middle of a beat, which would write this process's name again
        put(folder, ELSEWHERE)
    lock._HELD.clear()
    hold(folder, ME).check()


@pytest.mark.parametrize("raw", [b"", b"\0" * 40, b"[]", b'{"host": "elsewhere"}', b"{"])
def test_a_damaged_lock_keeps_nobody_out_for_long(folder: UPath, raw: bytes) -> None:
    (folder / LOCK).write_bytes(raw)
    begun = time.monotonic()
    hold(folder, ME).check()
    assert time.monotonic() - begun >= 0.4


@pytest.mark.parametrize("raw", [b"", json.dumps(asdict(ELSEWHERE)).encode()])
def test_who_lost_the_lock_is_told(folder: UPath, raw: bytes) -> None:
    held = hold(folder, ME)
    with held._turn:
        (folder / LOCK).write_bytes(raw)
    with pytest.raises(ArtifactError, match="another one took it over"):
        held.check()
    held.release(ME)
    assert (folder / LOCK).read_bytes() == raw  # what is another's stays


def test_only_one_of_many_that_find_a_stale_lock_takes_it(folder: UPath) -> None:
    put(folder, ELSEWHERE)
    won: list[Owner] = []
    refused: list[ArtifactError] = []

    def contend() -> None:  # as processes do, without this process's list of what it holds
        try:
            won.append(lock._take(UPath(folder)))
        except ArtifactError as error:
            refused.append(error)

    threads = [threading.Thread(target=contend) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert named(folder) in won
    if isinstance(folder, Path):
        assert (len(won), len(refused)) == (1, 5)


def test_no_lock_is_left_beside_a_name_that_cannot_be_written(tmp_path: Path, monkeypatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(ArtifactError, match="No space left"):
        hold(tmp_path, ME)
    monkeypatch.undo()
    hold(tmp_path, ME).check()


def test_a_store_that_is_away_for_a_while_is_beaten_again(
    folder: UPath, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    held = hold(folder, ME)
    put_as_before, failures = lock._put, iter([True, True])

    def away(file: UPath, owner: Owner) -> None:
        if next(failures, False):
            raise ConnectionError("the store is away")
        put_as_before(file, owner)

    monkeypatch.setattr(lock, "_put", away)
    deadline = time.monotonic() + 5
    while len(caplog.records) < 2 or named(folder).beat < 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    held.check()


def test_a_beat_under_way_does_not_bring_a_lock_back(
    folder: UPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = hold(folder, ME)
    put_as_before, begun, go_on = lock._put, threading.Event(), threading.Event()

    def slow(file: UPath, owner: Owner) -> None:
        begun.set()
        go_on.wait(10)
        put_as_before(file, owner)

    monkeypatch.setattr(lock, "_put", slow)
    assert begun.wait(10)
    timer = threading.Timer(0.1, go_on.set)
    timer.start()
    held.release(ME)
    timer.join()
    held._thread.join(10)
    assert not held._thread.is_alive()
    assert not (folder / LOCK).exists()
