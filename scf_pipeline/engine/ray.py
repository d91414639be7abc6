"""The engine of a Ray cluster: Ray Data schedules parts, pools actors and replaces lost ones."""

from __future__ import annotations

import atexit
import json
import logging
import os
import secrets
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import ray
from ray._private import ray_constants
from ray._private import worker as ray_worker
from ray._private.runtime_env.constants import RAY_JOB_CONFIG_JSON_ENV_VAR
from ray._raylet import Config  # type: ignore[attr-defined]  # compiled
from ray.data import ActorPoolStrategy, DataContext
from ray.data._internal.execution.operators.actor_pool_map_operator import ActorPoolMapOperator
from ray.data._internal.execution.streaming_executor import StreamingExecutor
from ray.data._internal.execution.streaming_executor_state import Topology
from ray.exceptions import NodeDiedError, OutOfMemoryError, RayActorError, WorkerCrashedError

import ifas_model
import scf_pipeline
from scf_pipeline import errors
from scf_pipeline.engine import IsStored, Kernel, Part, Resources, Write, limit_threads, work
from scf_pipeline.errors import ScfError, StageError

T = TypeVar("T")

# Ray Data has no other way yet to bound the restarts of its actors.
warnings.filterwarnings("ignore", message="`ray_remote_args` is deprecated")

# Ray Data teaches Arrow a type whose values are pickles: with it, whoever reads a column of a
# stranger's Parquet file runs what it holds. Unknown to Arrow again, they are mere bytes.
with suppress(pa.ArrowKeyError):
    pa.unregister_extension_type("ray.data.arrow_pickled_object")

RETRIES = 3
"""How often a dead worker is started, or a task tried, again."""

_PATIENCE_S = 30.0
"""Most seconds to wait for Ray Data's thread when a stage ends; it needs a tenth of a second."""

_PULSE_S = 0.5
"""Most seconds between two looks of Ray Data's thread at a stage in which nothing happens."""

_LONGEST_PLACE = 22
"""Most characters of a path below which the names of Ray's sockets are not too long."""

_DEATHS = (RayActorError, WorkerCrashedError, OutOfMemoryError, NodeDiedError)
"""What Ray raises for a worker that died once too often."""


class RayEngine:
    """Hands parts to Ray Data: a block for each part, up to `workers` actors, a kernel in each.

    Joins the cluster that the environment variable ``RAY_ADDRESS`` names, and ships this code to
    it; without one it starts a local cluster of `workers` CPUs, bound to this machine and closed to
    its other users.

    Args:
        workers: Most actors at a time, at least 1. A stage begins with `least_workers`, and takes
            more as the cluster has or gets room for them.
        gpus_per_worker: GPUs that each actor of a GPU stage takes.
        cpus_per_worker: CPUs that Ray sets aside for each actor, a fraction too; by default what
            the stage asks for. The threads in an actor stay the stage's, for they may change bits.
        least_workers: Actors that a stage begins with, if it has as many parts.
    """

    def __init__(
        self,
        workers: int,
        *,
        gpus_per_worker: float = 0,
        cpus_per_worker: float | None = None,
        least_workers: int = 1,
    ) -> None:
        if workers < 1:
            raise ValueError(f"`workers` must be at least 1, but is {workers}.")
        if not 1 <= least_workers <= workers:
            raise ValueError(f"`least_workers` must be in [1, {workers}], but is {least_workers}.")
        self.workers, self.least_workers = workers, least_workers
        self.gpus_per_worker, self.cpus_per_worker = gpus_per_worker, cpus_per_worker
        _connect(workers)

    def map_parts(
        self,
        make_kernel: Callable[[], Kernel],
        parts: Sequence[Part],
        write: Write,
        resources: Resources,
        is_stored: IsStored | None = None,
    ) -> Iterator[int]:
        """Yield part numbers as they finish; a slow part does not hold back the rest.

        However it ends, by an error or because the caller closes it early, its actors are killed.

        Raises:
            ScfError: The expected failure of a part, as its worker raised it; a `StageError` if a
                part kills every worker that tries it.
        """
        todo = {part.number: part for part in parts}
        if not todo:
            return
        # One block for each part and no read task: a read task would wait for a CPU that the
        # actors hold, for ever.
        numbers = ray.data.from_items([{"part": n} for n in todo], override_num_blocks=len(todo))
        done = numbers.map_batches(
            type("Worker", (_Worker,), {"task": (make_kernel, write, todo, resources, is_stored)}),
            batch_size=1,
            compute=ActorPoolStrategy(
                min_size=min(self.least_workers, len(todo)), max_size=min(self.workers, len(todo))
            ),
            num_cpus=resources.cpus if self.cpus_per_worker is None else self.cpus_per_worker,
            num_gpus=max(resources.gpus, self.gpus_per_worker) if resources.gpus else 0,
            max_restarts=RETRIES,  # by default Ray restarts a dead actor for ever
            # Its restarts bound it. A lost node fails many tries before it is known to be lost.
            max_task_retries=-1,
        )
        executor = _Executor(done.context, done.get_dataset_id())
        done._create_executor = lambda: executor  # type: ignore[method-assign]  # noqa: SLF001 - there is no other way
        try:
            for row in done.iter_rows():
                if row["error"]:
                    raise _from_text(row["error"])
                yield row["part"]
        except _DEATHS as error:
            raise StageError(
                f"A worker must survive its part, but died {RETRIES + 1} times.",
                where=f"one of {len(todo)} parts",
                fix="Give the workers more memory, or smaller parts; finished parts are kept.",
            ) from error
        finally:
            executor.end()

    def call(self, function: Callable[..., T], resources: Resources, **arguments: object) -> T:
        """Run one task on one worker; see `Engine.call`.

        Raises:
            StageError: If the task kills every worker that tries it.
        """
        task = _run_task.options(
            num_cpus=resources.cpus, num_gpus=resources.gpus, max_retries=RETRIES
        )
        result: T
        try:
            result, error = ray.get(task.remote(function, resources, arguments))
        except _DEATHS as death:
            raise StageError(
                f"A worker must survive its task, but died {RETRIES + 1} times in a row.",
                where=f"the task {getattr(function, '__name__', function)!r}",
                fix="Give the worker more memory, or smaller batches.",
            ) from death
        if error is not None:
            raise error
        return result


class _Executor(StreamingExecutor):
    """Runs one stage for Ray Data, and kills the stage's actors when it ends.

    Ray Data only drops its handles of them. The traceback of an error holds handles too, often in
    a cycle that is not collected for hours; all the while the actor keeps its CPU, for which a
    later stage may wait for ever.
    """

    def _scheduling_loop_step(self, topology: Topology) -> bool:
        """Look at all tasks when one of them has something to tell.

        Ray Data looks ten times a second, come what may, which takes a tenth of a core here.
        """
        waiting = [task.get_waitable() for part in topology for task in part.get_active_tasks()]
        if waiting:
            ray.wait(waiting, timeout=_PULSE_S, fetch_local=False)
        return super()._scheduling_loop_step(topology)

    def shutdown(self, force: bool, exception: Exception | None = None) -> None:  # noqa: ARG002 - Ray Data passes False
        """Stop, and kill the actors; only the first call does anything."""
        super().shutdown(force=True, exception=exception)

    def end(self) -> None:
        """Shut down, and kill what the scheduling thread started while that went on."""
        self.shutdown(force=True)
        if self.is_alive():
            self.join(_PATIENCE_S)
        for operator in self._topology or ():
            if isinstance(operator, ActorPoolMapOperator):
                operator._actor_pool.shutdown(force=True)  # noqa: SLF001 - there is no other way


class _Worker:
    """One actor: builds the kernel once, then works on the parts that Ray Data sends."""

    task: tuple[Callable[[], Kernel], Write, dict[int, Part], Resources, IsStored | None]
    """What to do. It travels in the class: constructor arguments lie in the object store of a
    process that may be gone when a dead actor is to start again."""

    def __init__(self) -> None:
        self.make_kernel, self.write, self.todo, resources, self.is_stored = self.task
        limit_threads(resources.cpus)
        self.kernel: Kernel | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Work on the parts of one batch; an expected failure travels back as a value.

        Ray turns exceptions into text on their way to the driver; the user is to see what, where
        and fix.
        """
        failures: list[str] = []
        for number in map(int, batch["part"]):
            try:
                if self.kernel is None:
                    self.kernel = self.make_kernel()
                work(self.kernel, self.todo[number], self.write, self.is_stored)
                failures.append("")
            except ScfError as error:
                failures.append(_to_text(error))
        return {"part": batch["part"], "error": np.array(failures)}


@ray.remote
def _run_task(
    function: Callable[..., Any], resources: Resources, arguments: dict[str, object]
) -> tuple[Any, ScfError | None]:
    limit_threads(resources.cpus)
    try:
        return function(**arguments), None
    except ScfError as error:
        return None, error


def _to_text(error: ScfError) -> str:
    return json.dumps([type(error).__name__, error.what, error.where, error.fix])


def _from_text(text: str) -> ScfError:
    kind, what, where, fix = json.loads(text)
    error: ScfError = getattr(errors, kind)(what, where=where, fix=fix)
    return error


def _connect(workers: int) -> None:
    """Join the user's cluster, or start a local one that listens on loopback only."""
    if not ray.is_initialized():
        address = os.environ.get("RAY_ADDRESS")
        if address:
            ray.init(
                address=address,
                log_to_driver=False,
                logging_level=logging.ERROR,
                runtime_env=_shipped(),
            )
        else:
            _start(workers)
    # Else Ray tells of dead workers on stdout, which is for paths and JSON.
    ray_worker._worker_logs_enabled = False  # noqa: SLF001 - there is no other way
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)


def _shipped() -> dict[str, Any] | None:
    """Return what the cluster's nodes are to be given: this very code, whatever they hold.

    Dictionaries and settings travel with the kernels. A job that `ray job submit` started has
    shipped its folder already.
    """
    if RAY_JOB_CONFIG_JSON_ENV_VAR in os.environ:
        return None
    packages = (ifas_model, scf_pipeline)
    return {"py_modules": [str(Path(package.__path__[0])) for package in packages]}


def _start(workers: int) -> None:
    """Start a local cluster for this user alone.

    Loopback is open to everybody on the machine, so that a cluster must know its own by a token;
    and its sockets must lie where nobody else can put others in their place.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    Config.initialize("")  # Ray read the mode when it was imported
    # Else Ray takes the machine's own address for 127.0.0.1 and listens everywhere, so that
    # whoever reaches the machine may knock.
    ray_constants.ENABLE_RAY_CLUSTER = False
    place = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir())
    if len(str(place)) > _LONGEST_PLACE:
        place = Path("/tmp")  # noqa: S108 - where Ray's own default lies, too
    folder = Path(tempfile.mkdtemp(prefix="scf-", dir=place))
    atexit.register(_end, folder, os.getpid())
    ray.init(
        # Else Ray joins a cluster that anybody started here, and refuses `num_cpus`.
        address="local",
        num_cpus=workers,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _node_ip_address="127.0.0.1",
        _temp_dir=str(folder / "ray"),  # Ray opens its folder to all: the one above stays closed
    )


def _end(folder: Path, pid: int) -> None:
    """Stop the cluster when the process ends that began it, and remove its files."""
    if os.getpid() == pid:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)
