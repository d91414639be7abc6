"""Progress of a stage: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterable

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ifas_model.text import in_line

EVERY_S = 30.0
"""Seconds between plain lines where there is no terminal."""

console = Console(stderr=True, soft_wrap=True, emoji=False)
"""Words for people go to stderr, so that stdout stays for paths and JSON."""


def consume(numbers: Iterable[int], total: int, label: str) -> int:
    """Drain an iterator of finished parts and show how it goes.

    Args:
        numbers: Part numbers, yielded as parts finish.
        total: How many are expected.
        label: The stage's name.

    Returns:
        How many parts were finished.
    """
    if console.is_terminal:
        return _on_terminal(numbers, total, label)
    done, spoken = 0, time.monotonic()
    for _ in numbers:
        done += 1
        if time.monotonic() - spoken > EVERY_S:
            spoken = time.monotonic()
            say(f"{label}: {done} of {total} parts")
    return done


def _on_terminal(numbers: Iterable[int], total: int, label: str) -> int:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    done = 0
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(label, total=total)
        for _ in numbers:
            done += 1
            bar.advance(task)
    return done


def say(text: str) -> None:
    """Write one line for people to stderr, verbatim but for characters that act on a terminal."""
    console.print(in_line(text), markup=False, highlight=False)
