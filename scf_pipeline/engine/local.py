"""The engine of this process: one part after the other, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import pyarrow as pa

from scf_pipeline.engine import IsStored, Kernel, Part, Resources, Write, limit_threads, work

T = TypeVar("T")


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
        reading = reader.submit(parts[0].read)
        writing: Future[int] | None = None
        for part, following in zip(parts, [*parts[1:], None], strict=True):
            coming = _Coming(part.number, reading)
            if following is not None:
                reading = reader.submit(following.read)
            made: dict[int, pa.Table] = {}
            work(kernel, coming, made.__setitem__, is_stored)
            if writing is not None:
                yield writing.result()
            writing = writer.submit(_put, part.number, made, write)
        if writing is not None:
            yield writing.result()


def _put(number: int, made: Mapping[int, pa.Table], write: Write) -> int:
    """Write a part, unless there was nothing to do, and return its number."""
    if number in made:
        work(_same, _Made(number, made[number]), write)
    return number


def _same(rows: pa.Table) -> pa.Table:
    return rows
