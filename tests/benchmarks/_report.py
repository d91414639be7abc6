"""What every script here needs: the machine in words, fair turns, medians, JSON and a table."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NoReturn

PACKAGES = ("torch", "transformers", "numpy", "pillow", "pyarrow")


def machine(packages: Iterable[str] = PACKAGES) -> dict[str, Any]:
    """Return what a figure depends on: processor, cores, load, versions."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load": [round(value, 2) for value in os.getloadavg()],
        "python": platform.python_version(),
        "packages": {name: found for name in packages if (found := _version(name))},
    }


def take_turns(
    cases: Mapping[str, Callable[[], object]],
    rounds: int,
    *,
    warm_up: bool = True,
    cpu: dict[str, list[float]] | None = None,
) -> dict[str, list[float]]:
    """Return the seconds of each case, round by round: A B A B, so that all meet the same machine.

    Args:
        cases: What to time, by name.
        rounds: How often each is timed.
        warm_up: Whether each runs once before that, unheeded.
        cpu: Filled with what all threads of this process took of the processor, in seconds; other
            work on the machine hardly touches it.
    """
    if warm_up:
        for case in cases.values():
            case()
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(rounds):
        # Every other round runs backwards: nobody always follows the same neighbour.
        order = list(cases) if number % 2 == 0 else list(reversed(cases))
        for name in order:
            started, worked = time.perf_counter(), time.process_time()
            cases[name]()
            seconds[name].append(time.perf_counter() - started)
            if cpu is not None:
                cpu.setdefault(name, []).append(time.process_time() - worked)
    return seconds


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Return the median of some values, their least and greatest, and all of them."""
    ordered = [float(value) for value in values]
    return {
        "median": statistics.median(ordered),
        "min": min(ordered),
        "max": max(ordered),
        "all": ordered,
    }


def ratios(over: Sequence[float], under: Sequence[float]) -> list[float]:
    """Return the ratio of each round; neighbours in time share what else the machine does."""
    return [above / below for above, below in zip(over, under, strict=True)]


def publish(found: Mapping[str, Any], rows: Iterable[tuple[str, Any]]) -> None:
    """Print everything as JSON to stdout, and rows for people to stderr."""
    json.dump(found, sys.stdout, indent=2, default=str)  # options hold paths
    sys.stdout.write("\n")
    sys.stderr.writelines(f"{name:<52}{_text(value):>24}\n" for name, value in rows)


def skip(reason: str) -> NoReturn:
    """End the script with a clear word, and without an error: `make bench` goes on."""
    sys.stderr.write(f"{Path(sys.argv[0]).name}: skipped: {reason}\n")
    sys.exit(0)


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{value['median']:.4g} ({value['min']:.4g}..{value['max']:.4g})"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
