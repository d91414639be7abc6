"""The engine of this process: one part after the other, or, of cheap ones, one on each core."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from scf_pipeline.engine import IsStored, Kernel, Part, Resources, Write, limit_threads, work

T = TypeVar("T")

MOST_THREADS = 8
"""Parts that are worked on at a time, at most; it bounds the memory that they take."""


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
            yield from _side_by_side(kernel, parts, write, is_stored)
            return
        for part in parts:
            work(kernel, part, write, is_stored)
            yield part.number

    def call(self, function: Callable[..., T], resources: Resources, **arguments: object) -> T:
        """Call the function here; see `Engine.call`."""
        limit_threads(resources.cpus)
        return function(**arguments)


def _side_by_side(
    kernel: Kernel, parts: Sequence[Part], write: Write, is_stored: IsStored | None
) -> Iterator[int]:
    """Yield part numbers in order; threads read, work on and write a part each.

    There is one more than cores, for one of them waits for the disk now and then.
    """

    def finish(part: Part) -> int:
        work(kernel, part, write, is_stored)
        return part.number

    with ThreadPoolExecutor(min(_cores() + 1, MOST_THREADS)) as pool:
        working = [pool.submit(finish, part) for part in parts]
        try:
            for one in working:
                yield one.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
