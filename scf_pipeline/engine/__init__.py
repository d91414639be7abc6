"""Engines run kernels over parts; nothing else about a cluster is visible to the stages."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import pyarrow as pa

from scf_pipeline.errors import ConfigError, ScfError, StageError

T = TypeVar("T")

Kernel = Callable[[pa.Table], pa.Table]
"""A pure function from one part's rows to the next stage's rows."""

Write = Callable[[int, pa.Table], None]
"""Store a part under its number; called in the worker."""


IsStored = Callable[[int], bool]
"""Tell whether a part was written already; called in the worker."""


class Part(Protocol):
    """A numbered unit of work; small to send, read where it is worked on."""

    @property
    def number(self) -> int:
        """Number of the part; its output has the same."""
        ...

    def read(self) -> pa.Table:
        """Return the rows to work on."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What one worker needs."""

    cpus: float = 1
    """CPU cores; numerical libraries in the worker use as many threads."""

    gpus: float = 0
    """GPUs, a fraction where workers share one."""

    is_cheap: bool = False
    """Whether a part costs little more than to read and write it, and its kernel may run in several
    threads at once: then the engine of this process works on several parts at a time, and a run
    that is killed may have worked on all of these in vain."""


class Engine(Protocol):
    """A place to run kernels."""

    def map_parts(
        self,
        make_kernel: Callable[[], Kernel],
        parts: Sequence[Part],
        write: Write,
        resources: Resources,
        is_stored: IsStored | None = None,
    ) -> Iterator[int]:
        """Work on parts and yield their numbers as they finish, in any order.

        Args:
            make_kernel: Builds the kernel; runs once in each worker, so weights load once.
            parts: What to work on.
            write: Stores a finished part.
            resources: What one worker needs.
            is_stored: Asked before a part is worked on, where that is dear: a worker may die after
                it wrote a part and before it told so, and the part is sent to another one.
        """
        ...

    def call(self, function: Callable[..., T], resources: Resources, **arguments: object) -> T:
        """Run one task on one worker and return its result.

        Args:
            function: A module-level function.
            resources: What the task needs.
            arguments: Keyword arguments of the function, picklable.
        """
        ...


CPUS, LEAST = "SCF_CPUS_PER_WORKER", "SCF_LEAST_WORKERS"
"""Environment variables that fit stages to a cluster, beside Ray's own ``RAY_ADDRESS``: CPUs set
aside for each worker (a fraction too; what the stage asks for without it), and workers that a stage
begins with (1 without it; it grows to ``--workers``). They change no result."""


def choose(workers: int, *, gpus_per_worker: float = 0) -> Engine:
    """Return the engine for a number of workers: 0 is this process, more are Ray actors.

    Args:
        workers: Most workers at a time.
        gpus_per_worker: GPUs for each worker of a GPU stage; may be a fraction.

    Raises:
        ConfigError: If `CPUS` or `LEAST` is set to what is no such number.
    """
    if workers == 0:
        from scf_pipeline.engine.local import LocalEngine

        return LocalEngine()
    cpus, least = _number(CPUS, 0, math.inf), _number(LEAST, 1, workers)
    from scf_pipeline.engine.ray import RayEngine

    return RayEngine(
        workers,
        gpus_per_worker=gpus_per_worker,
        cpus_per_worker=cpus,
        least_workers=1 if least is None else int(least),
    )


def _number(variable: str, least: float, most: float) -> float | None:
    """Return what an environment variable is set to, if it is."""
    text = os.environ.get(variable)
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (least <= number <= most and math.isfinite(number)):
        raise ConfigError(
            f"`{variable}` must be a number in [{least}, {most}], but is {text!r}.",
            where="the environment",
            fix="Correct it, or unset it.",
        )
    return number


def limit_threads(cpus: float) -> None:
    """Let numerical libraries of this process use as many threads as it was given cores.

    One and two threads give different last bits, hence other weights and captions: both engines
    must agree. Libraries that load later read the environment; torch, if loaded, is told.
    """
    threads = max(1, int(cpus))
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(threads)


def work(kernel: Kernel, part: Part, write: Write, is_stored: IsStored | None = None) -> None:
    """Run one part, unless it is stored; an unexpected failure names the part and its first row.

    Raises:
        StageError: If memory does not suffice.
        RuntimeError: If the part fails in another way that no `ScfError` describes.
    """
    told = "not read"
    try:
        if is_stored is not None and is_stored(part.number):
            return
        rows = part.read()
        told = f"{rows.num_rows} rows"
        if rows.num_rows and rows.num_columns:
            told += f", the first is {rows.column(0)[0].as_py()!r}"
        write(part.number, kernel(rows))
    except ScfError:
        raise
    except MemoryError as error:
        raise StageError(
            f"Memory must suffice for a part, but does not: {str(error) or 'no more'}.",
            where=f"part {part.number} ({told})",
            fix="Give the workers more memory, take fewer of them, or make smaller parts; finished "
            "parts are kept.",
        ) from error
    except Exception as error:
        raise RuntimeError(
            f"Part {part.number} ({told}) failed: {type(error).__name__}: {error}"
        ) from error
