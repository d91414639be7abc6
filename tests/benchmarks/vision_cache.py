"""Rows a second of the caption stage without a vision cache, while it fills, and from it.

The second pass stands for C_S, whose vision tower is C_G's: it captions the same faces with another
Q-Former. Captions of all three passes are compared. The bench model has threshold 2; the
miniature's sizes stand beside it.

Example: python tests/benchmarks/vision_cache.py --faces 128 --rounds 5
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from _captioner import MINIATURE, TINY, Sizes, build_captioner, write_faces
from _report import machine, publish, ratios, spread, take_turns
from caption_stage import GREEDY, run_stage

from scf_pipeline.captioners._blip2 import Blip2Captioner
from scf_pipeline.captioners._instructions import Decoding, Instructions
from scf_pipeline.captioners._vision_cache import VisionCache
from scf_pipeline.store import Artifact

GOAL = 2.0
DECODINGS = {"greedy": GREEDY, "beams": Decoding(num_beams=5)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print what was measured."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for name, default in (("faces", 128), ("batch-size", 64), ("rounds", 5), ("threads", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--decoding", choices=list(DECODINGS), default="greedy")
    parser.add_argument("--tiny", action="store_true", help="try the script, measure nothing")
    options = parser.parse_args(arguments)
    about = machine()
    cases = {"tiny": TINY} if options.tiny else {"bench": Sizes(), "miniature": MINIATURE}
    found = {}
    for name, sizes in cases.items():
        with tempfile.TemporaryDirectory() as place:
            count = options.faces * (8 if name == "miniature" else 1)
            found[name] = measure(Path(place), sizes, count, options)
    rows = []
    for name, figures in found.items():
        rows += [(f"{name}: {case}, ms a row", value) for case, value in figures["ms"].items()]
        rows += [
            (f"{name}: {case}, ms of processor a row", value)
            for case, value in figures["cpu_ms"].items()
        ]
        rows.append((f"{name}: second pass over none (goal {GOAL})", figures["speed_up"]))
        rows.append((f"{name}: bytes a picture", figures["bytes_a_picture"]))
        rows.append((f"{name}: the same captions", str(figures["same_captions"])))
    publish({"machine": about, "options": vars(options), "found": found}, rows)


def measure(folder: Path, sizes: Sizes, count: int, options: argparse.Namespace) -> dict[str, Any]:
    """Caption the same faces turn by turn."""
    torch.set_num_threads(options.threads)
    decoding = DECODINGS[options.decoding]
    plain = build_captioner(sizes, decoding)
    faces = write_faces(folder / "faces", count, sizes.image_px, rows_of_a_part=count)
    runs = iter(range(1_000_000))

    def caption(place: str | None, *, fresh: bool = False) -> Path:
        cache = None
        if place is not None:
            if fresh:
                shutil.rmtree(folder / place, ignore_errors=True)
            cache = VisionCache(folder / place, plain.model, plain.eye)
        instructions = Instructions(prompt=plain.instructions.prompt, decoding=decoding)
        speaker = Blip2Captioner(plain.model, plain.processor, instructions, cache)
        out = folder / str(next(runs))
        run_stage(speaker, faces, out, options)
        return out

    cases = {
        "none": lambda: caption(None),
        "filling": lambda: caption("new", fresh=True),
        "filled": lambda: caption("kept"),
    }
    said = {
        name: Artifact.open(case()).read(["caption"])["caption"] for name, case in cases.items()
    }
    cpu: dict[str, list[float]] = {}
    seconds = take_turns(cases, options.rounds, cpu=cpu)
    files = [path for path in (folder / "kept").rglob("*") if path.is_file()]
    return {
        "rows": count,
        "ms": {
            name: spread([1000 * value / count for value in values])
            for name, values in seconds.items()
        },
        "cpu_ms": {
            name: spread([1000 * value / count for value in values]) for name, values in cpu.items()
        },
        "speed_up": spread(ratios(seconds["none"], seconds["filled"])),
        "goal": GOAL,
        "bytes_a_picture": sum(path.stat().st_size for path in files) // len(files),
        "same_captions": all(one.equals(said["none"]) for one in said.values()),
    }


if __name__ == "__main__":
    main()
