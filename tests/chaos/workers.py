"""Ray workers that know the captioner of `chain`, tell who they are, and die when they are told to.

Ray's workers cannot import this file, so it travels to them by value.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from scf_pipeline.engine import Engine, IsStored, Kernel, Part, Resources, Write

HERE = str(Path(__file__).parent)

BATCH, SYNC, RENAME = "_caption_batch", "fsync", "replace"
"""Functions in which a worker may die: a batch of captions, a file that reaches the disk, and the
rename that makes a part one."""


@dataclass(frozen=True, kw_only=True)
class Watched:
    """The package's engine of a Ray cluster, with workers of this file.

    Args:
        engine: The engine.
        root: Where workers note who they are, and whom the captioner was shown.
        pause_s: Seconds that a batch of captions takes.
        befall: Called in each worker before it begins.
    """

    engine: Engine
    root: Path
    pause_s: float = 0.0
    befall: Callable[[], None] = lambda: None

    def map_parts(
        self,
        make_kernel: Callable[[], Kernel],
        parts: Sequence[Part],
        write: Write,
        resources: Resources,
        is_stored: IsStored | None = None,
    ) -> Iterator[int]:
        begin = partial(_begin, HERE, self.root, self.pause_s, self.befall, make_kernel)
        return self.engine.map_parts(begin, parts, write, resources, is_stored)

    def call(self, function: Callable[..., Any], resources: Resources, **arguments: object) -> Any:
        return self.engine.call(function, resources, **arguments)


def travel() -> None:
    """Let this file's functions travel to workers by value."""
    import ray

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])


def _begin(
    here: str,
    root: Path,
    pause_s: float,
    befall: Callable[[], None],
    make_kernel: Callable[[], Kernel],
) -> Kernel:
    import ray

    sys.path.insert(0, here)
    import chain

    chain.listen(root, pause_s)
    befall()
    kernel = make_kernel()
    at_work = root / "workers"
    at_work.mkdir(parents=True, exist_ok=True)
    (at_work / f"{ray.get_runtime_context().get_node_id()}-{os.getpid()}").touch()
    return kernel


def at_work(root: Path) -> dict[int, str]:
    """Return the node of each worker that ever began, by its process."""
    names = [path.name.split("-") for path in (root / "workers").glob("*")]
    return {int(pid): node for node, pid in names}


def die(function: str, nth: int, is_over: bool, marker: Path) -> None:
    """Let one worker die in its `nth` call of a function, before it or when it is over.

    The sync of a file is stopped when half of the file is written.
    """
    import scf_pipeline.stages.caption

    owner = {BATCH: scf_pipeline.stages.caption, SYNC: os, RENAME: Path}[function]
    act, calls = getattr(owner, function), 0

    def dying(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == nth and not is_over and _is_first(marker):
            if function == SYNC:
                os.ftruncate(arguments[0], os.fstat(arguments[0]).st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        done = act(*arguments, **options)
        if calls == nth and is_over and _is_first(marker):
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    setattr(owner, function, dying)


def _is_first(marker: Path) -> bool:
    """Tell whether no other worker has died, and take its turn."""
    try:
        marker.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def wait_for(claim: Callable[[], Any], patience_s: float = 120) -> Any:
    """Return what a claim holds as soon as it holds anything."""
    end = time.monotonic() + patience_s
    while not (found := claim()):
        if time.monotonic() > end:
            raise TimeoutError(f"{claim} did not hold within {patience_s} s")
        time.sleep(0.01)
    return found
