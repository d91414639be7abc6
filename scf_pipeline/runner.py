"""Execute a plan: skip what is sealed, run side by side what does not wait, write it all down."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import sys
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from types import ModuleType
from typing import Any

from upath import UPath

from scf_pipeline import captioners, checkpoints, progress
from scf_pipeline.engine import Engine, Resources, choose
from scf_pipeline.errors import ConfigError
from scf_pipeline.files import MANIFEST, write_whole
from scf_pipeline.steps import External, OnSite, Planned, Step, heights, plan, requirements
from scf_pipeline.store import Artifact


def load_flow(flow: str) -> tuple[str, list[Step]]:
    """Load ``file[:NAME]``, a Python file that holds steps, and return its name and the targets.

    Args:
        flow: As in `find_flow`.

    Raises:
        ConfigError: If there is no such file or value, or the value must be told what a site has.
    """
    name, found = find_flow(flow)
    if isinstance(found, OnSite):
        raise ConfigError(
            "A flow of real datasets and models must be told where they are, but is not.",
            where=flow,
            fix="Name the file that says so with --site.",
        )
    return name, found


def find_flow(flow: str) -> tuple[str, list[Step] | OnSite]:
    """Load ``file[:NAME]`` and return its name, and its targets or what is to be told of a site.

    Args:
        flow: Path of a flow module; after a colon the value to run, ``FLOW`` without it. The value
            is a step, a collection of steps, or an `OnSite`.

    Raises:
        ConfigError: If there is no such file or value.
    """
    path, colon, name = flow.rpartition(":")
    if not colon or not name.isidentifier():
        path, name = flow, "FLOW"
    file = Path(path).resolve()
    if not file.is_file():
        raise ConfigError(
            "A flow must be a Python file, but there is none.",
            where=path,
            fix="Name a file of flows/, e.g. flows/reproduce.py:SMOKE.",
        )
    if (parent := str(file.parent.parent)) not in sys.path:
        sys.path.insert(0, parent)  # flows import each other as `flows.<name>`
    spec = importlib.util.spec_from_file_location(f"flows.{file.stem}", file)
    if spec is None or spec.loader is None:
        raise ConfigError(
            "A flow must be a Python file, but is of another kind.", where=path, fix="Name a .py."
        )
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    value = getattr(module, name, None)
    targets = value if isinstance(value, OnSite) else _steps(value)
    if not targets:
        known = [
            key for key, found in vars(module).items() if isinstance(found, OnSite) or _steps(found)
        ]
        raise ConfigError(
            f"A flow must hold steps under the name asked for, but {name!r} holds none.",
            where=path,
            fix=f"Name one of: {', '.join(known) or 'none in this file'}.",
        )
    return file.stem + (f"-{name.lower()}" if name != "FLOW" else ""), targets


def run_flow(flow: str, *, out: Path, workers: int, roots: Path | None = None) -> dict[str, str]:
    """Run a flow and return the folder of each of its targets, in the flow's order.

    Targets go by their names; where some have the same, these go by their folders' names.

    Args:
        flow: ``file[:NAME]``.
        out: Folder for the artifacts of all steps.
        workers: Ray workers, and most steps that run side by side; 0 is this process.
        roots: ``datasets.yaml``, for flows that ingest real datasets.
    """
    name, targets = load_flow(flow)
    return run_steps(name, targets, out=out, workers=workers, roots=roots)


def run_steps(
    name: str,
    targets: Sequence[Step],
    *,
    out: Path,
    workers: int,
    roots: Path | None = None,
    gpus: float = 0,
) -> dict[str, str]:
    """Run steps and return the folder of each target; see `run_flow`.

    Args:
        name: What the plan's file is called.
        targets: What is to be made.
        out: Folder for the artifacts of all steps.
        workers: Ray workers, and most steps that run side by side; 0 is this process.
        roots: ``datasets.yaml``, for flows that ingest real datasets.
        gpus: GPUs for each worker of a stage with a model; may be a fraction.
    """
    steps = plan(*targets)
    out.mkdir(parents=True, exist_ok=True)
    write_plan(steps, UPath(out / f"{name}.plan.json"))
    is_sealed = all((out / planned.folder / MANIFEST).is_file() for planned in steps)
    engine = choose(0 if is_sealed else workers)  # a look at what is sealed needs no cluster
    runner = _Runner(out, engine, roots, Resources(cpus=1, gpus=gpus))
    artifacts = runner.run(steps, side_by_side=max(1, workers))
    folders = {planned.fingerprint: planned.folder for planned in steps}
    made = [(target.name, folders[plan(target)[-1].fingerprint]) for target in targets]
    names = Counter(name for name, _ in made)
    return {
        name if names[name] == 1 else folder: str(artifacts[folder].path) for name, folder in made
    }


def write_plan(steps: Sequence[Planned], file: UPath) -> None:
    """Write a plan down as plain data: every resolved config and fingerprint."""
    data = [planned.to_dict() for planned in steps]
    write_whole(file, (json.dumps(data, indent=2, sort_keys=True) + "\n").encode())


class _Runner:
    """One execution of one plan."""

    def __init__(self, out: Path, engine: Engine, roots: Path | None, resources: Resources) -> None:
        self.out, self.engine, self.roots, self.resources = out, engine, roots, resources
        self.artifacts: dict[str, Artifact] = {}
        self.externals: dict[External, Any] = {}

    def run(self, steps: Sequence[Planned], side_by_side: int) -> dict[str, Artifact]:
        """Run all steps, each as soon as what it needs is sealed, the longest chains first."""
        height = heights(steps)
        first = sorted(steps, key=lambda planned: -height[planned.folder])
        waiting = {planned.folder: planned for planned in first}
        running: dict[Future[Artifact], str] = {}
        # Nothing queues in the pool: after a failure what runs finishes, and nothing else starts.
        with ThreadPoolExecutor(max_workers=side_by_side) as pool:
            while waiting or running:
                for folder in self._ready(waiting)[: side_by_side - len(running)]:
                    running[pool.submit(self._one, waiting.pop(folder))] = folder
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    self.artifacts[running.pop(future)] = future.result()
        return self.artifacts

    def _ready(self, waiting: Mapping[str, Planned]) -> list[str]:
        return [
            folder
            for folder, planned in waiting.items()
            if all(needed in self.artifacts for needed in requirements(planned))
        ]

    def _one(self, planned: Planned) -> Artifact:
        started = time.monotonic()
        path = UPath(self.out / planned.folder)
        was_sealed = (path / MANIFEST).is_file()
        run = _stage(planned.step.config).run
        given: dict[str, Any] = {"out": path, "engine": self.engine}
        takes = inspect.signature(run).parameters
        if "resources" in takes:
            given["resources"] = self.resources
        if self.roots is not None and "roots" in takes:
            from scf_pipeline.datasets_file import read_roots

            given["roots"] = read_roots(self.roots)
        for name in planned.step.inputs:
            given[name] = self._input(planned, name)
        try:
            artifact: Artifact = run(planned.step.config, **given)
        except Exception as error:
            error.add_note(f"in the step {planned.folder}")
            raise
        spent = "sealed" if was_sealed else f"{time.monotonic() - started:.1f} s"
        progress.say(f"{planned.folder}: {artifact.counts.summary()}, {spent}")
        return artifact

    def _input(self, planned: Planned, name: str) -> Any:  # noqa: ANN401 - what the stage takes
        value, folders = planned.step.inputs[name], planned.inputs[name]
        if isinstance(value, External):
            return self._external(value)
        if not isinstance(value, Step):
            return tuple(self.artifacts[folder] for folder in folders)
        artifact = self.artifacts[folders]
        return captioners.find(str(artifact.path)) if name == "model" else artifact

    def _external(self, wanted: External) -> Any:  # noqa: ANN401 - a captioner or a checkpoint
        """Find a model, once in a run: a folder is hashed to tell which one it is."""
        if wanted not in self.externals:
            self.externals[wanted] = (
                captioners.find(wanted.name)
                if wanted.kind is None
                else checkpoints.find(wanted.name, wanted.kind)
            )
        return self.externals[wanted]


def _stage(config: object) -> ModuleType:
    """Return the module that runs a config: the one that defines it.

    The trainer's configs lie in `ifas_model`, which knows no artifacts; their stages go by name.
    """
    module = sys.modules[type(config).__module__]
    if hasattr(module, "run"):
        return module
    return importlib.import_module(f"scf_pipeline.stages.{config.stage}")  # type: ignore[attr-defined]


def _steps(value: object) -> list[Step]:
    """Return the steps that a value is or holds; none if it holds anything else."""
    if isinstance(value, Step):
        return [value]
    if isinstance(value, str | bytes) or not isinstance(value, Collection):
        return []
    found = list(value.values() if isinstance(value, Mapping) else value)
    return found if all(isinstance(item, Step) for item in found) else []
