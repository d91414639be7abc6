"""Time and peak memory of listing and planning up to a million samples, and how both grow.

The rows are CelebA-Spoof's, whose annotation lists the pictures: a million of them need one JSON
file and no picture at all. A picture that is not there costs ingest the same look at the disk, and
has no size. `--layout image_folder` puts an empty file at every row's place instead, which takes a
million inodes and is listed from the disk.

Each number of rows is measured in processes of its own, which tell their peak memory. Beside the
time that passes stands the time of the processor, which other processes disturb less. Prints a
table to stderr and JSON to stdout.

Example: python tests/benchmarks/scale.py --rows 10000 100000 --rounds 5
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from _report import machine, publish, spread

PICTURES_OF_ONE = 60
"""Pictures of one subject, about as many as CelebA-Spoof has."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print what was measured."""
    options = parse(arguments)
    if options.child is not None:
        json.dump(work(options.layout, options.child), sys.stdout)
        return
    # This process imports nothing heavy: its own peak would count as the children's.
    found = [one for rows in options.rows if (one := measure(options, rows))]
    result = {"layout": options.layout, "sizes": found, "exponents": exponents(found)}
    publish({"machine": machine(["pyarrow"])} | result, rows_of(result))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return how many rows, how often."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--rounds", type=int, default=5, help="fewer where all would take long")
    parser.add_argument("--budget", type=float, default=600, help="seconds for one number of rows")
    parser.add_argument("--layout", choices=list(WRITERS), default="celeba_spoof")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def write_celeba_spoof(root: Path, rows: int) -> None:
    """Write an annotation that lists so many pictures; none of them is there."""
    (root / "Data").mkdir(parents=True)
    (root / "metas" / "intra_test").mkdir(parents=True)
    for part, numbers in (("train", range(0, rows, 2)), ("test", range(1, rows, 2))):
        with (root / "metas" / "intra_test" / f"{part}_label.json").open("w") as file:
            for place, number in enumerate(numbers):
                kind = number % 11
                values = [0] * 40 + [kind, 0, 0, int(kind > 0)]
                name = f"Data/{part}/{number // PICTURES_OF_ONE}/{'spoof' if kind else 'live'}"
                file.write(f"{', ' if place else '{'}{json.dumps(f'{name}/{number:06}.jpg')}: ")
                json.dump(values, file)
            file.write("}")


def write_image_folder(root: Path, rows: int) -> None:
    """Write so many empty files, a thousand in a folder."""
    for first in range(0, rows, 1000):
        kind = ("bona_fide", "print", "replay", "mask")[first // 1000 % 4]
        folder = root / kind / f"{first // 1000:04}"
        folder.mkdir(parents=True)
        for number in range(first, min(first + 1000, rows)):
            (folder / f"{number:07}.png").touch()


WRITERS = {"celeba_spoof": write_celeba_spoof, "image_folder": write_image_folder}


def measure(options: argparse.Namespace, rows: int) -> dict[str, Any]:
    """Return medians, least and most of the seconds and of the peak, over some processes."""
    told: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as place:
        WRITERS[options.layout](Path(place) / "dataset", rows)
        begun = time.monotonic()
        while len(told) < options.rounds and time.monotonic() - begun < options.budget:
            told.append(in_child(options.layout, Path(place)))
    names = told[0]["seconds"]
    return {
        "rows": rows,
        "rounds": len(told),
        "seconds": {name: spread([one["seconds"][name] for one in told]) for name in names},
        "cpu_seconds": {name: spread([one["cpu_seconds"][name] for one in told]) for name in names},
        "peak_mib": spread([one["peak_mib"] for one in told]),
        "imports_mib": spread([one["imports_mib"] for one in told]),
        "parts": told[0]["parts"],
    }


def in_child(layout: str, place: Path) -> dict[str, Any]:
    """Measure once, in a process that does nothing else."""
    command = [sys.executable, __file__, "--layout", layout, "--child", str(place)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def work(layout: str, place: Path) -> dict[str, Any]:
    """List the dataset, list it again, and plan its crops; tell seconds and memory."""
    from upath import UPath

    from scf_pipeline.engine.local import LocalEngine
    from scf_pipeline.schema import FACE_SCHEMA
    from scf_pipeline.settings import settings
    from scf_pipeline.stages.crop import CropConfig
    from scf_pipeline.stages.ingest import IngestConfig, run
    from scf_pipeline.store import Artifact, ArtifactWriter

    imports = peak_mib()
    clocks = Clocks()
    roots, config = {layout: place / "dataset"}, IngestConfig(datasets=(layout,))
    with tempfile.TemporaryDirectory(dir=place) as folder:
        samples, faces = UPath(folder) / "samples", UPath(folder) / "faces"
        for name in ("ingest", "ingest again"):  # the second lists anew and compares
            with clocks.timed(name):
                run(config, out=samples, engine=LocalEngine(), roots=roots)
        with clocks.timed("plan"):
            artifact = Artifact.open(samples)
            identity = settings(CropConfig(), samples=artifact)
            todo = ArtifactWriter(faces, FACE_SCHEMA, settings=identity).missing(artifact.parts())
        with clocks.timed("read"):
            rows = sum(part.read().num_rows for part in todo)
    if rows != artifact.counts.live:
        raise RuntimeError(f"{rows} rows were read, but {artifact.counts.live} are live")
    return {
        "seconds": clocks.seconds,
        "cpu_seconds": clocks.cpu_seconds,
        "parts": len(todo),
        "imports_mib": imports,
        "peak_mib": peak_mib(),
    }


class Clocks:
    """Time that passed, and time of the processor in all threads, by step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.cpu_seconds: dict[str, float] = {}

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Note how long the block takes."""
        begun, begun_cpu = time.perf_counter(), time.process_time()
        yield
        self.seconds[step] = time.perf_counter() - begun
        self.cpu_seconds[step] = time.process_time() - begun_cpu


def peak_mib() -> float:
    """Return the most memory that this process has held so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def exponents(found: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return the growth from the fewest rows to the most: 1 is linear."""
    first, last = found[0], found[-1]
    span = math.log(last["rows"] / first["rows"]) if len(found) > 1 else math.nan

    def grown(of: Callable[[dict[str, Any]], float]) -> float:
        return math.log(of(last) / of(first)) / span

    return {
        "seconds": grown(lambda one: total(one, "seconds")),
        "cpu_seconds": grown(lambda one: total(one, "cpu_seconds")),
        "peak_mib": grown(lambda one: one["peak_mib"]["median"]),
        "peak_mib above imports": grown(above),
    }


def total(one: dict[str, Any], clock: str) -> float:
    """Return the seconds of all steps, by one of the clocks."""
    return sum(step["median"] for step in one[clock].values())


def above(one: dict[str, Any]) -> float:
    """Return the peak memory above what the imports take."""
    return one["peak_mib"]["median"] - one["imports_mib"]["median"]


def rows_of(result: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the figures for people."""
    for one in result["sizes"]:
        for name, seconds in one["seconds"].items():
            yield f"{one['rows']} rows, {name}, s", seconds
            yield f"{one['rows']} rows, {name}, CPU s", one["cpu_seconds"][name]
        for clock, unit in (("seconds", "us/row"), ("cpu_seconds", "CPU us/row")):
            yield f"{one['rows']} rows, all steps, {unit}", 1e6 * total(one, clock) / one["rows"]
        yield f"{one['rows']} rows, peak, MiB", one["peak_mib"]
    for name, exponent in result["exponents"].items():
        yield f"growth of {name}: rows to the power", exponent


if __name__ == "__main__":
    main()
