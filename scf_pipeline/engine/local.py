"""The engine of this process: one part after the other, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import pyarrow as pa

from scf_pipeline.engine import IsStored, Kernel, Part, Resources, Write, limit_threads, work

T = TypeVar("T")

AHEAD = 2
"""Parts that are read ahead, and that wait to be written, while one is worked on; with one of each,
a thread that is done early finds nothing to do."""


class LocalEngine:
    """Runs everything in this process."""

    def map_parts(
        self,
        make_kernel: Callable[[], Kernel],
        parts: Sequence[Part],
        write: Write,
        resources: Resources,
        is_stored: IsStored | None = None,
    ) -> Iterator[int]:
        """Yield part numbers in order; see `Engine.map_parts`."""
        if not parts:
            return
        limit_threads(resources.cpus)
        kernel = make_kernel()
        if resources.is_cheap:
            yield from _overlap(kernel, parts, write, is_stored)
            return
        for part in parts:
            work(kernel, part, write, is_stored)
            yield part.number

    def call(self, function: Callable[..., T], resources: Resources, **arguments: object) -> T:
        """Call the function here; see `Engine.call`."""
        limit_threads(resources.cpus)
        return function(**arguments)


@dataclass(frozen=True, slots=True)
class _Coming:
    """A part whose rows another thread reads."""

    number: int
    rows: Future[pa.Table]

    def read(self) -> pa.Table:
        return self.rows.result()


@dataclass(frozen=True, slots=True)
class _Made:
    """A part that was worked on."""

    number: int
    rows: pa.Table

    def read(self) -> pa.Table:
        return self.rows


def _overlap(
    kernel: Kernel, parts: Sequence[Part], write: Write, is_stored: IsStored | None
) -> Iterator[int]:
    """Yield part numbers in order; while one is worked on, others are read and written."""
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        reading = deque(reader.submit(part.read) for part in parts[:AHEAD])
        writing: deque[Future[int]] = deque()
        for number, part in enumerate(parts, start=AHEAD):
            coming = _Coming(part.number, reading.popleft())
            reading.extend(reader.submit(later.read) for later in parts[number : number + 1])
            made: dict[int, pa.Table] = {}
            work(kernel, coming, made.__setitem__, is_stored)
            before = writing[-1] if writing else None
            writing.append(writer.submit(_put, part.number, made, write, before))
            if len(writing) > AHEAD:
                yield writing.popleft().result()
        while writing:
            yield writing.popleft().result()


def _put(
    number: int, made: Mapping[int, pa.Table], write: Write, before: Future[int] | None
) -> int:
    """Write a part, unless there was nothing to do, and return its number.

    Where the part before could not be written, neither is this one.
    """
    if before is not None:
        before.result()
    if number in made:
        work(_same, _Made(number, made[number]), write)
    return number


def _same(rows: pa.Table) -> pa.Table:
    return rows
