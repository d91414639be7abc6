"""How much faster two Ray workers are than one, one thread each, on stages that keep a core busy.

Crop reads, searches and cuts drawn noise; caption describes it with the bench model. One worker
and two take turns on the same parts, in one local cluster. Each worker notes when it has finished
a part. The speed is that of the while in which all workers are at work: from when the last of them
has finished its first part to when the first of them finishes its last. So start-up is apart (a
new process imports and loads for seconds) and so is the end, when one worker waits for the other;
`whole` is the ratio with both. Both must write the same rows. The processor's time of a part tells
what the ratio would be on idle cores: other processes disturb it less. Prints a table to stderr
and JSON to stdout.

Example: python tests/benchmarks/workers.py --stages crop --rounds 5
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
from _captioner import PROMPT, Sizes, build
from _report import machine, publish, ratios, spread
from upath import UPath

from ifas_model import plugins
from scf_pipeline import adapters, captioners
from scf_pipeline.captioners._blip2 import save_parts
from scf_pipeline.captioners._instructions import Decoding, Instructions
from scf_pipeline.engine import Kernel, Part, Resources, Write
from scf_pipeline.engine.local import LocalEngine
from scf_pipeline.engine.ray import RayEngine
from scf_pipeline.stages import caption, crop, ingest
from scf_pipeline.store import Artifact

NAME = "image_folder"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What the workers do."""

    make_kernel: Callable[[], Kernel]
    parts: Sequence[Part]


@dataclass(frozen=True, slots=True)
class Noting:
    """Stores a part's hash, and notes which worker finished it, and when."""

    folder: Path

    def __call__(self, number: int, table: pa.Table) -> None:
        """Write one small file."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        digest = hashlib.sha256(sink.getvalue()).hexdigest()
        noted = [os.getpid(), time.time(), time.process_time(), digest]
        (self.folder / str(number)).write_text(json.dumps(noted))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print what was measured."""
    options = parse(arguments)
    with tempfile.TemporaryDirectory() as place:
        faces = Path(place) / "faces"
        samples = list_samples(Path(place), options)
        found = {name: compare(STAGES[name](samples, faces), options) for name in options.stages}
    told = {"machine": machine(["ray", "torch", "opencv-python-headless"])}
    publish(told | {"options": vars(options), "stages": found}, rows_of(found))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return what to run, how much of it and how often."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--stages", nargs="+", choices=list(STAGES), default=list(STAGES))
    for name, default in (("workers", 2), ("rounds", 5), ("parts", 32), ("pictures", 6)):
        parser.add_argument(f"--{name}", type=int, default=default)
    return parser.parse_args(arguments)


def list_samples(place: Path, options: argparse.Namespace) -> Artifact:
    """Draw coloured clouds of 640 x 480, and list them in so many parts of so many pictures."""
    rng = np.random.default_rng(0)
    folder = place / "dataset" / "bona_fide"
    folder.mkdir(parents=True)
    for number in range(options.parts * options.pictures):
        coarse = rng.integers(0, 256, (30, 40, 3)).astype(np.uint8)
        clouds = cv2.resize(coarse, (640, 480), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f"{number:05}.png"), clouds)
    return ingest.run(
        ingest.IngestConfig(datasets=(NAME,), part_samples=options.pictures),
        roots={NAME: place / "dataset"},
        out=UPath(place / "samples"),
        engine=LocalEngine(),
    )


def crop_task(samples: Artifact, faces: Path) -> Task:
    """Return the work of `scf crop` with its default settings."""
    del faces
    roots = {NAME: Path(samples.notes[ingest.ROOTS][NAME])}
    known = {NAME: plugins.load(adapters, "ADAPTER", NAME)}
    make = partial(crop.make_kernel, crop.CropConfig(), roots, known)
    return Task(make_kernel=make, parts=samples.parts())


def caption_task(samples: Artifact, faces: Path) -> Task:
    """Return the work of `scf caption` with the bench model."""
    folder = faces.with_name("captioner")
    decoding = Decoding(num_beams=1, min_new_tokens=8, max_new_tokens=30)
    save_parts(folder, *build(Sizes()), Instructions(prompt=PROMPT, decoding=decoding))
    found = captioners.find(str(folder))
    whole = crop.CropConfig(image_size=Sizes().image_px, detector="none")
    cut = crop.run(whole, samples=samples, out=UPath(faces), engine=LocalEngine())
    make = partial(caption.make_kernel, caption.CaptionConfig(), found)
    return Task(make_kernel=make, parts=cut.parts())


STAGES = {"crop": crop_task, "caption": caption_task}


def compare(task: Task, options: argparse.Namespace) -> dict[str, Any]:
    """Run the task with one worker and with all, turn by turn."""
    # The first engine starts the cluster: for all workers, then also where one is used.
    engines = {workers: RayEngine(workers) for workers in (options.workers, 1)}
    runs: dict[int, list[Run]] = {workers: [] for workers in engines}
    for number in range(options.rounds):
        order = list(engines) if number % 2 == 0 else list(reversed(engines))
        for workers in order:
            runs[workers].append(run_once(task, engines[workers], workers))
    if len({run.rows for told in runs.values() for run in told}) != 1:
        raise RuntimeError("The workers must write the same rows, but do not.")
    all_, one = runs[options.workers], runs[1]
    return {
        "parts_each_second": {n: spread([run.speed for run in told]) for n, told in runs.items()},
        "speedup": spread(ratios([run.speed for run in all_], [run.speed for run in one])),
        "whole": spread(ratios([run.seconds for run in one], [run.seconds for run in all_])),
        "cpu_seconds_a_part": {n: spread([run.cpu for run in told]) for n, told in runs.items()},
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one run of the task took."""

    seconds: float
    """From its begin to its end."""

    speed: float
    """Parts each second while all workers were at work."""

    cpu: float
    """Seconds of the processor for each of these parts."""

    rows: tuple[str, ...]
    """Hash of what was made of each part."""


def run_once(task: Task, engine: RayEngine, workers: int) -> Run:
    """Run the task, and work out from the workers' notes how fast."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.monotonic()
        write: Write = Noting(Path(folder))
        done = engine.map_parts(task.make_kernel, task.parts, write, Resources(cpus=1))
        numbers = sorted(done)
        seconds = time.monotonic() - begun
        notes = [json.loads((Path(folder) / str(number)).read_text()) for number in numbers]
    ticks: dict[int, list[tuple[float, float]]] = {}
    for worker, when, cpu, _ in notes:
        ticks.setdefault(worker, []).append((when, cpu))
    if len(ticks) != workers:
        raise RuntimeError(f"{workers} workers must work, but {len(ticks)} did: give more parts.")
    first = max(min(told)[0] for told in ticks.values())
    last = min(max(told)[0] for told in ticks.values())
    both = [[tick for tick in sorted(told) if first <= tick[0] <= last] for told in ticks.values()]
    parts = sum(first < when for told in both for when, _ in told)
    spent = sum(told[-1][1] - told[0][1] for told in both)
    return Run(
        seconds=seconds,
        speed=parts / (last - first),
        cpu=spent / sum(len(told) - 1 for told in both),
        rows=tuple(rows for *_, rows in notes),
    )


def rows_of(found: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the figures for people."""
    for stage, told in found.items():
        for workers, speed_ in told["parts_each_second"].items():
            yield f"{stage}, workers {workers}, parts/s", speed_
        for workers, cpu in told["cpu_seconds_a_part"].items():
            yield f"{stage}, workers {workers}, CPU s of a part", cpu
        yield f"{stage}, speed-up", told["speedup"]
        yield f"{stage}, speed-up with start-up and end", told["whole"]


if __name__ == "__main__":
    main()
