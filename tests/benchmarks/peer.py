"""Captions a second beside Data-Juicer's `image_captioning_mapper`: same pictures, same checkpoint.

Data-Juicer runs in an environment of its own, which the script builds once, and where it cannot,
skips. Both load one folder, a BLIP-2 of random weights that transformers 4.57 saves, as the mapper
asks for. They take turns on one core, one thread each: with the defaults of either (the mapper's
are sampling, 128 tokens at most, eight pictures at a time; ours are five beams, 30 tokens), and
with matched decoding (greedy, one limit of tokens, batches of the mapper's size and of ours), where
the captions are compared as well. Reading the PNG files is part of it, loading the model is not.

Example: python tests/benchmarks/peer.py --environment runs/benchmarks/data-juicer --rounds 5
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _report import machine, publish, ratios, skip, spread
from PIL import Image

from ifas_model import plugins
from scf_pipeline import captioners
from scf_pipeline.captioners import Captioner
from scf_pipeline.captioners._instructions import Decoding, Instructions, write_instructions
from scf_pipeline.stages.caption import CaptionConfig

RECIPE = (
    ("torch==2.13.0",),
    (
        *("py-data-juicer==1.6.1", "ray[data]", "transformers==4.57.1", "accelerate"),
        *("datasets<5", "opencv-python-headless", "av"),
    ),
)
"""What is installed, step by step: the build of torch that this project pins comes first."""

OUR_BATCH = CaptionConfig().batch_size

END_LOGIT, SPREAD = 29.0, 20.0
"""With these, captions have lengths such as captions have, sampled ones too; see
`_data_juicer.build`."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print what was measured."""
    options = parse(arguments)
    python = environment(options.environment)
    core = {min(os.sched_getaffinity(0))} if hasattr(os, "sched_setaffinity") else set()
    if core:  # one core for both: a thread that decodes ahead wins nothing
        os.sched_setaffinity(0, core)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=options.place) as place, Peer(python) as peer:
        found = measure(Path(place), peer, options)
    told = {**vars(options), "environment": str(options.environment)}
    publish({"options": told, "machine": machine()} | found, rows(found))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return sizes and counts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--environment",
        type=Path,
        default=Path("runs/benchmarks/data-juicer"),
        help="folder of Data-Juicer's environment; built where there is none (2.2 GB)",
    )
    for name, default, told in (
        ("pictures", 64, "faces of 224 px"),
        ("max-new-tokens", 30, "limit of tokens, where decoding is matched"),
        ("rounds", 5, "turns of each contender"),
    ):
        parser.add_argument(f"--{name}", type=int, default=default, help=told)
    parser.add_argument(
        "--batch-sizes",
        nargs="+",
        type=int,
        default=[8, OUR_BATCH],
        help="pictures at a time, where decoding is matched",
    )
    parser.add_argument("--place", type=Path, help="folder for files; else that of the system")
    return parser.parse_args(arguments)


def environment(folder: Path) -> Path:
    """Return the Python of Data-Juicer's environment, or skip the script."""
    python = folder.absolute() / "bin" / "python"
    try:
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        if subprocess.run([python, "-c", "import data_juicer"], capture_output=True).returncode:
            install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            for packages in RECIPE:
                subprocess.run([*install, *packages], check=True, stdout=sys.stderr, timeout=1800)
    except (OSError, subprocess.SubprocessError) as error:
        skip(f"the environment of Data-Juicer could not be built in {folder}: {error}")
    return python


class Peer:
    """Data-Juicer in a process of its own; see `_data_juicer.py`."""

    def __init__(self, python: Path) -> None:
        offline = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
        self.process = subprocess.Popen(
            [python, Path(__file__).with_name("_data_juicer.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={name: os.environ[name] for name in os.environ if name != "PYTHONPATH"} | offline,
        )

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()  # closes its stdin, and so ends it

    def __call__(self, do: str, **arguments: object) -> dict[str, Any]:
        """Give an order and wait for the answer.

        Raises:
            RuntimeError: If the process has ended; it has said why.
        """
        if self.process.stdin is None or self.process.stdout is None:
            raise RuntimeError("The peer must have pipes.")
        self.process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self.process.stdin.flush()
        if not (answer := self.process.stdout.readline()):
            raise RuntimeError(f"Data-Juicer ended at {do!r}; what it said stands above.")
        found: dict[str, Any] = json.loads(answer)
        return found


def measure(place: Path, peer: Peer, options: argparse.Namespace) -> dict[str, Any]:
    """Return rates, ratios, lengths and how many captions agree."""
    files = write_pictures(place / "pictures", options.pictures)
    model = place / "model"
    built = peer("build", folder=str(model), end_logit=END_LOGIT, spread=SPREAD)
    peer(
        "load",
        model=str(model),
        pictures=[str(file) for file in files],
        batch_sizes=options.batch_sizes,
        max_new_tokens=options.max_new_tokens,
    )
    greedy = Decoding(num_beams=1, min_new_tokens=0, max_new_tokens=options.max_new_tokens)
    contenders: dict[str, Callable[..., dict[str, Any]]] = {
        "ours, defaults": ours(place / "ours", model, Decoding(), files, OUR_BATCH),
        "Data-Juicer, defaults": partial(peer, "run", batch_size=None),
    }
    for size in options.batch_sizes:
        contenders |= {
            f"ours, matched, {size} at a time": ours(place / str(size), model, greedy, files, size),
            f"Data-Juicer, matched, {size} at a time": partial(peer, "run", batch_size=size),
        }
    # of the first answers, nothing is heeded but the captions
    answers = {name: [run(seed=0)] for name, run in contenders.items()}
    for number in range(1, options.rounds + 1):
        for name in list(contenders)[:: 1 if number % 2 else -1]:
            answers[name].append(contenders[name](seed=number))
    seconds = {name: [a["seconds"] for a in told[1:]] for name, told in answers.items()}
    cpu = {name: [a["cpu_seconds"] for a in told[1:]] for name, told in answers.items()}
    said = {name: told[0]["captions"] for name, told in answers.items()}
    agree = [
        one == other
        for size in options.batch_sizes
        for one, other in zip(
            said[f"ours, matched, {size} at a time"],
            said[f"Data-Juicer, matched, {size} at a time"],
            strict=True,
        )
    ]
    return {
        "parameters": built["parameters"],
        "pictures_a_second": {
            name: spread([len(files) / s for s in took]) for name, took in seconds.items()
        },
        "words_a_caption": {
            name: statistics.mean(
                len(text.split()) for answer in told for text in answer["captions"]
            )
            for name, told in answers.items()
        },
        "equal_captions": statistics.mean(agree),
        "ratios": compare(seconds),
        "ratios_of_the_processors_time": compare(cpu),  # which other work hardly touches
    }


def compare(seconds: dict[str, list[float]]) -> dict[str, Any]:
    """Return how many times Data-Juicer's rate ours is, round by round."""
    found = {}
    for mine in (name for name in seconds if name.startswith("ours")):
        theirs = mine.replace("ours", "Data-Juicer")
        found[mine.removeprefix("ours, ")] = spread(ratios(seconds[theirs], seconds[mine]))
    return found


def write_pictures(folder: Path, count: int, *, side: int = 224) -> list[Path]:
    """Write PNGs as large as a photograph's: soft shapes under grain."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    files = [folder / f"{number}.png" for number in range(count)]
    for file in files:
        soft = Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8))
        shapes = np.asarray(soft.resize((side, side), Image.Resampling.BICUBIC), dtype=np.int16)
        grain = rng.integers(-6, 7, shapes.shape, dtype=np.int16)
        Image.fromarray(np.clip(shapes + grain, 0, 255).astype(np.uint8)).save(file)
    return files


def ours(
    folder: Path, checkpoint: Path, decoding: Decoding, files: Sequence[Path], batch_size: int
) -> Callable[..., dict[str, Any]]:
    """Load the checkpoint with another decoding, and return what captions the pictures once."""
    folder.mkdir()
    for file in checkpoint.iterdir():
        os.link(file, folder / file.name)
    write_instructions(folder, Instructions(prompt="", decoding=decoding))
    model = captioners.find(str(folder))
    captioner = plugins.load(captioners, "BACKEND", model.backend).load(model)
    return partial(caption, captioner, files, batch_size)


def caption(
    captioner: Captioner, files: Sequence[Path], batch_size: int, seed: int
) -> dict[str, Any]:
    """Caption all pictures once."""
    started, worked = time.perf_counter(), time.process_time()
    captions: list[str] = []
    for start in range(0, len(files), batch_size):
        some = files[start : start + batch_size]
        pixels = [captioner.prepare(np.asarray(Image.open(file).convert("RGB"))) for file in some]
        captions += [one.text for one in captioner.caption(pixels, [seed] * len(some))]
    return {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - worked,
        "captions": captions,
    }


def rows(found: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return the figures for people."""
    return [
        ("parameters of the model", found["parameters"]),
        *((f"{name}, pictures/s", rate) for name, rate in found["pictures_a_second"].items()),
        *((f"{name}, words a caption", words) for name, words in found["words_a_caption"].items()),
        *((f"{name}: ours over Data-Juicer", ratio) for name, ratio in found["ratios"].items()),
        *(
            (f"{name}: the same of the processor", ratio)
            for name, ratio in found["ratios_of_the_processors_time"].items()
        ),
        ("equal captions where matched, share", found["equal_captions"]),
    ]


if __name__ == "__main__":
    main()
