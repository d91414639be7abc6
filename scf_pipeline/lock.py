"""One run at a time on an artifact: a file that names its owner, and a heartbeat.

The file ``<folder>/lock.json`` counts beats of its owner. No two clocks are ever compared, so a
clock that is moved does no harm: who finds another's lock watches, by its own steady clock, whether
the count goes on. Of an owner on this machine its process tells more, and at once, where the system
tells when it started. Any other lock whose count stands still for `STALE_S` seconds is taken over,
whatever the file holds.

On a local disk looking and taking are one step (``flock`` on the folder). An object store has no
such step: there a writer reads back after `SETTLE_S` seconds whose name stayed.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import logging
import os
import socket
import stat
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter
from upath import UPath

from scf_pipeline import reach
from scf_pipeline.errors import ArtifactError
from scf_pipeline.files import LOCK, write_whole
from scf_pipeline.reach import as_local

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)

BEAT_S = 5.0
"""Seconds between two beats."""

STALE_S = 30.0
"""Seconds without a beat after which a lock counts as left behind."""

SETTLE_S = 1.0
"""Seconds after which a name that was put into an object store is seen by all."""

MAX_BYTES = 4096
"""Most bytes that are read of a lock; what a run writes takes some two hundred."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Who holds a lock."""

    host: str
    """Name of the machine."""

    pid: Annotated[int, Field(ge=1, lt=2**31)]
    """Process there."""

    born: int | None
    """Start of the process, in ticks since the machine's; ``None`` where the system hides it."""

    nonce: str
    """Name that no other process has."""

    beat: int = 0
    """Grows while the owner lives."""

    def is_alive(self) -> bool | None:
        """Tell whether the owner runs; ``None`` where only its beats can tell.

        They alone do elsewhere, and of a process that runs here and hides when it started: it may
        be a later one of the same number.
        """
        if self.host != _host():
            return None
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:  # one runs, under another user
            pass
        born = _born(self.pid)
        return None if self.born is None or born is None else self.born == born


_OWNER = TypeAdapter(Owner)


def _host() -> str:
    """Return this machine's name; of one that is no text, all that JSON can hold."""
    return socket.gethostname().encode("utf-8", "backslashreplace").decode()


def _born(pid: int) -> int | None:
    """Return when a process of this machine started; a later one of its number has another."""
    try:
        told = Path(f"/proc/{pid}/stat").read_text("utf-8")
    except OSError:
        return None
    return int(told.rsplit(")", 1)[1].split()[19])


class Lock:
    """A lock that this process holds, until its last holder releases it or the process ends."""

    def __init__(self, folder: UPath, owner: Owner) -> None:
        self.folder, self.owner = folder, owner
        self.file = folder / LOCK
        self.is_lost = False
        self.holders: set[int] = set()
        self._stop = threading.Event()
        self._turn = threading.Lock()
        self._thread = threading.Thread(target=self._beat, name=f"lock of {folder}", daemon=True)
        self._thread.start()

    def _beat(self) -> None:
        while not self._stop.wait(BEAT_S):
            try:
                self._renew()
            except (ArtifactError, OSError) as error:  # who is away may come back in time
                logger.warning("%s: the lock was not renewed: %s", self.file, error)
            if self.is_lost:
                return

    def _renew(self) -> None:
        with self._turn, _alone(self.folder):
            if self._stop.is_set():
                return
            found = _read(self.file)
            if found is None or found.nonce != self.owner.nonce:
                self.is_lost = True
                return
            self.owner = replace(self.owner, beat=self.owner.beat + 1)
            _put(self.file, self.owner)

    def is_ours(self) -> bool:
        """Tell whether the file still names this process."""
        found = _read(self.file)
        return not self.is_lost and found is not None and found.nonce == self.owner.nonce

    def check(self) -> None:
        """Look whether the lock is still this process's.

        Raises:
            ArtifactError: If another run has taken it.
        """
        if not self.is_ours():
            raise ArtifactError(
                "A run must keep its lock, but another one took it over: this one stood still for "
                f"more than {STALE_S:.0f} s, or the file was removed.",
                where=str(self.file),
                fix="Leave the artifact to the other run, or rerun when it has ended.",
            )

    def release(self, holder: object) -> None:
        """Give the lock back if nobody else in this process holds it.

        Nothing happens if it is another's by now.
        """
        with _GUARD:
            self.holders.discard(id(holder))
            if self.holders:
                return
            _HELD.pop(str(self.folder), None)
        self.end()

    def end(self) -> None:
        """Stop the beats and remove the file, whoever holds it here."""
        self._stop.set()
        # Its turn comes after a beat that is under way, which would put the file back.
        with self._turn, suppress(OSError, ArtifactError), _alone(self.folder):
            found = _read(self.file)
            if found is not None and found.nonce == self.owner.nonce:
                reach.discard(self.file)


_HELD: dict[str, Lock] = {}
_GUARD = threading.Lock()


def hold(folder: UPath | Path | str, holder: object) -> Lock:
    """Take the lock of a folder, or join it if this process holds it already.

    Args:
        folder: What is locked.
        holder: Who keeps it until its own `Lock.release`, or the end of the process.

    Raises:
        ArtifactError: If another run that lives holds it.
    """
    folder = as_local(folder)
    with _GUARD:
        held = _HELD.get(str(folder))
        if held is None or held.owner.pid != os.getpid() or not held.is_ours():
            held = _HELD[str(folder)] = Lock(folder, _take(folder))
        held.holders.add(id(holder))
        return held


def who_writes(folder: UPath) -> str | None:
    """Return who holds the lock of a folder; ``None`` if nobody does, or only a process that died.

    Of a process on another machine this cannot tell whether it lives.
    """
    found = _read(folder / LOCK)
    return None if found is None or found.is_alive() is False else _name(found)


def _take(folder: UPath) -> Owner:
    """Write this process's name into the lock as soon as nobody else's is alive in it."""
    file, pid = folder / LOCK, os.getpid()
    mine = Owner(host=_host(), pid=pid, born=_born(pid), nonce=uuid.uuid4().hex)
    first, patience = None, 0.0
    while True:
        with _alone(folder):
            found = _read(file)
            is_alive = None if found is None else found.is_alive()
            if first is None:  # time counts from here on, however long this look took
                first, patience = found, time.monotonic() + STALE_S
            is_still = not is_alive and found == first and time.monotonic() > patience
            if found is None or is_alive is False or is_still:
                if found is not None:
                    logger.warning("%s: left behind by %s; taken over", file, _name(found))
                _put(file, mine)
                break
        if is_alive or found != first:
            raise ArtifactError(
                f"An artifact must have one run at a time, but {_name(found)} is writing it.",
                where=str(file),
                fix="Wait until that run ends, or stop it.",
            )
        time.sleep(BEAT_S / 10)
    if not isinstance(folder, Path):
        time.sleep(SETTLE_S)
        if (found := _read(file)) != mine:
            name = "another" if found is None else _name(found)
            raise ArtifactError(
                f"An artifact must have one run at a time, but {name} began at the same moment.",
                where=str(file),
                fix="Wait until that run ends, or stop it.",
            )
    return mine


def _name(owner: Owner) -> str:
    # A name from a file could else write over a terminal, or end the line of a log.
    is_plain = owner.host != "" and owner.host.isprintable()
    return f"process {owner.pid} on {owner.host if is_plain else ascii(owner.host)}"


@contextmanager
def _alone(folder: UPath) -> Iterator[None]:
    """Keep other processes of this disk from looking at the lock at the same time."""
    if fcntl is None or not isinstance(folder, Path):
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)  # which gives the flock back


def _read(file: UPath) -> Owner | None:
    """Return whom a lock names; ``None`` where there is none.

    One that cannot be understood is somebody's whom only the next beat can tell from a damaged one.

    Raises:
        ArtifactError: If what lies there is no file, or cannot be read.
    """
    try:
        raw = _content(file)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ArtifactError(
            f"A lock must be a file that can be read, but is not: {error.strerror or error}.",
            where=str(file),
            fix="Mend access to it, or remove it if no run is writing the artifact; then rerun.",
        ) from error
    try:
        return _OWNER.validate_json(raw, strict=True)
    except ValueError:
        nonce = hashlib.sha256(raw).hexdigest()
        return Owner(host="an unknown machine", pid=0, born=None, nonce=nonce)


def _content(file: UPath) -> bytes:
    if not isinstance(file, Path):
        return reach.read(file)
    # A link leads to what is not this artifact's, and a pipe never ends.
    if not stat.S_ISREG(file.lstat().st_mode):
        raise OSError("it is a link, a folder or a pipe")
    with file.open("rb") as stream:
        return stream.read(MAX_BYTES)


def _put(file: UPath, owner: Owner) -> None:
    write_whole(file, (json.dumps(asdict(owner), sort_keys=True) + "\n").encode())


@atexit.register
def _release_all() -> None:
    for lock in list(_HELD.values()):
        if lock.owner.pid == os.getpid():
            lock.end()
