"""The most memory that a command and all its children took, sampled while it runs (Linux)."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True)
class Usage:
    """What a command took."""

    seconds: float
    """From start to end."""

    peak_mb: float
    """Most memory of all processes at one moment: PSS in MB, shared memory left out."""

    peak_own_mb: float
    """The same without Ray's service processes: the command and its workers."""

    peak_shared_mb: float
    """Most shared memory at one moment: Ray's object store."""


def run_watched(command: Sequence[str], *, every_s: float = 0.1) -> Usage:
    """Run a command and sample the memory of its processes.

    PSS counts a page that several processes share once, in shares; RSS would count it for each.

    Raises:
        RuntimeError: If the command fails.
    """
    started = time.perf_counter()
    peaks = {"all": 0, "own": 0, "shared": 0}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        while process.poll() is None:
            found = dict.fromkeys(peaks, 0)
            for one in family(process.pid):
                pages = read_pages(one)
                private = pages["Pss"] - pages["Pss_Shmem"]
                found["all"] += private
                found["own"] += private if one == process.pid or is_worker(one) else 0
                found["shared"] += pages["Pss_Shmem"]
            peaks = {name: max(peaks[name], found[name]) for name in peaks}
            time.sleep(every_s)
        seconds = time.perf_counter() - started
        if process.returncode:
            told = process.stderr.read().decode() if process.stderr else ""
            raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {told}")
    return Usage(seconds, *(kilobytes * 1024 / 1e6 for kilobytes in peaks.values()))


def family(root: int) -> list[int]:
    """Return a process, its children, theirs, and so on."""
    parents = {}
    for stat in PROC.glob("[0-9]*/stat"):
        try:
            after_name = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        parents[int(stat.parent.name)] = int(after_name[1])
    found = [root]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def is_worker(process: int) -> bool:
    """Tell whether a process is an actor or a task of ours, as Ray names them."""
    try:
        title = (PROC / str(process) / "cmdline").read_text()
    except OSError:
        return False
    return title.startswith(("ray::MapWorker", "ray::_run_task"))


def read_pages(process: int) -> Mapping[str, int]:
    """Return what a process holds, in KiB, by kind; nothing if it has ended."""
    try:
        lines = (PROC / str(process) / "smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        lines = []
    found = {line.partition(":")[0]: int(line.split()[1]) for line in lines}
    return {"Pss": 0, "Pss_Shmem": 0} | found
