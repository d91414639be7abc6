"""The engine of this process: one part after the other, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

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
        for part in parts:
            work(kernel, part, write, is_stored)
            yield part.number

    def call(self, function: Callable[..., T], resources: Resources, **arguments: object) -> T:
        """Call the function here; see `Engine.call`."""
        limit_threads(resources.cpus)
        return function(**arguments)
