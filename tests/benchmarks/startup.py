"""Seconds of whole commands: `scf --help`, `ifas --help`, and a reproduction that is all sealed.

Every figure is the time of a process from its start to its end, as a user waits for it, and beside
it the time of the processor, which other processes disturb less. A table of the slowest imports
follows. The sealed reproduction needs the folder of a finished one and is
skipped where there is none. Prints a table to stderr and JSON to stdout.

Example: python tests/benchmarks/startup.py --sealed runs/default --scale default
"""

from __future__ import annotations

import argparse
import re
import resource
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from _report import machine, publish, spread, take_turns

BIN = Path(sys.executable).parent
LINE = re.compile(r"import time:\s*(?P<self>\d+) \|\s*(?P<all>\d+) \| (?P<depth> *)(?P<name>\S+)")
"""What ``python -X importtime`` writes of a module, in microseconds."""

MODULES = {"scf": "scf_pipeline.cli", "ifas": "ifas_model.cli"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print what was measured."""
    options = parse(arguments)
    commands = {f"{name} --help": [str(BIN / name), "--help"] for name in MODULES}
    commands["python -c pass"] = [sys.executable, "-c", "pass"]
    found: dict[str, Any] = {
        "machine": machine(["typer", "rich", "pydantic"]),
        "commands": measure(commands, options.rounds),
        "imports_ms": {name: slowest(module) for name, module in MODULES.items()},
    }
    flow = f"flows/reproduce.py:{options.scale.upper()}"
    command = [str(BIN / "scf"), "run", flow, "--out", str(options.sealed)]
    if (problem := unsealed(command, options.sealed)) is None:
        found["commands"] |= measure({f"scf run {flow}, sealed": command}, options.rounds)
    else:
        sys.stderr.write(f"no sealed reproduction was timed: {problem}\n")
    publish(found, rows_of(found))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return how often to run, and which reproduction."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--scale", choices=("smoke", "default", "full"), default="smoke")
    parser.add_argument("--sealed", type=Path, help="runs/<scale> without it")
    options = parser.parse_args(arguments)
    options.sealed = options.sealed or Path("runs") / options.scale
    return options


def measure(commands: dict[str, list[str]], rounds: int) -> dict[str, Any]:
    """Run the commands turn by turn, and return both times of each."""
    cpu: dict[str, list[float]] = {name: [] for name in commands}
    runs = {name: partial(run_whole, command, cpu[name]) for name, command in commands.items()}
    seconds = take_turns(runs, rounds)
    return {
        name: {"seconds": spread(seconds[name]), "cpu_seconds": spread(cpu[name][1:])}
        for name in commands
    }


def run_whole(command: Sequence[str], cpu: list[float]) -> None:
    """Run a command from its start to its end, and note the processor's time."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def slowest(module: str, most: int = 12) -> list[tuple[str, float]]:
    """Return the imports of a module that take longest, what they import included."""
    command = [sys.executable, "-X", "importtime", "-c", f"import {module}"]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    lines = [match for line in told.splitlines() if (match := LINE.fullmatch(line))]
    times = [(match["name"], int(match["all"]) / 1000) for match in lines]
    return sorted(times, key=lambda pair: -pair[1])[:most]


def unsealed(command: Sequence[str], folder: Path) -> str | None:
    """Return why a run would be more than a look at what is sealed, or ``None``."""
    if not folder.is_dir():
        return f"there is no {folder}"
    told = subprocess.run([*command, "--dry-run"], check=True, capture_output=True, text=True)
    steps = told.stderr.splitlines()
    todo = [line for line in steps if not line.endswith(": sealed")]
    return f"{len(todo)} of {len(steps)} steps are to do in {folder}" if todo else None


def rows_of(found: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the figures for people."""
    for name, told in found["commands"].items():
        yield f"{name}, s", told["seconds"]
        yield f"{name}, CPU s", told["cpu_seconds"]
    for name, imports in found["imports_ms"].items():
        for module, ms in imports:
            yield f"{name} imports {module}, ms", ms


if __name__ == "__main__":
    main()
