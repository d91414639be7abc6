"""Rows a second of the caption stage, over the bare loop of the same model on ready tensors.

The stage reads a sealed face artifact, decodes its PNGs, prepares them, captions them and writes a
sealed artifact. Bare loops do nothing but caption tensors that lie ready: one is transformers'
`generate`, the other the package's own decoding. Same batch, same threads; loading of weights is
left out on all sides. The bench model has threshold 0.95; the miniature's sizes stand beside it.

Example: python tests/benchmarks/caption_stage.py --faces 128 --rounds 5
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from _captioner import (
    MINIATURE,
    TINY,
    Sizes,
    build,
    build_captioner,
    draw_pictures,
    generate,
    write_faces,
)
from _report import machine, publish, ratios, spread, take_turns
from upath import UPath

from scf_pipeline.captioners import Backend, Model
from scf_pipeline.captioners._blip2 import Blip2Captioner
from scf_pipeline.captioners._instructions import Decoding
from scf_pipeline.engine import Resources
from scf_pipeline.engine.local import LocalEngine
from scf_pipeline.stages import caption
from scf_pipeline.store import Artifact

GOAL = 0.95
GREEDY = Decoding(num_beams=1, min_new_tokens=8, max_new_tokens=30)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print what was measured."""
    options = parse(arguments)
    about = machine()
    cases = {"tiny": TINY} if options.tiny else {"bench": Sizes(), "miniature": MINIATURE}
    found = {}
    for name, sizes in cases.items():
        with tempfile.TemporaryDirectory() as place:
            faces = options.faces * (8 if name == "miniature" else 1)
            found[name] = measure(Path(place), sizes, faces, options)
    publish(
        {"machine": about, "options": vars(options), "found": found},
        [row for name, figures in found.items() for row in rows_of(name, figures)],
    )


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return sizes and counts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for name, default in (
        ("faces", 128), ("batch-size", 64), ("part", 128), ("rounds", 5), ("threads", 1),
    ):  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--tiny", action="store_true", help="try the script, measure nothing")
    return parser.parse_args(arguments)


def measure(folder: Path, sizes: Sizes, count: int, options: argparse.Namespace) -> dict[str, Any]:
    """Caption the same faces turn by turn."""
    torch.set_num_threads(options.threads)
    plain, captioner = build(sizes)[0], build_captioner(sizes, GREEDY)
    side = max(sizes.image_px, 64)
    faces = write_faces(folder / "faces", count, side, rows_of_a_part=options.part)
    pictures = [captioner.prepare(picture) for picture in draw_pictures(count, side)]
    batches = [pictures[at : at + options.batch_size] for at in range(0, count, options.batch_size)]
    ready = [
        captioner.eye.pixel_values(batch, device=torch.device("cpu"), dtype=torch.float32)
        for batch in batches
    ]
    runs = iter(range(1_000_000))
    cpu: dict[str, list[float]] = {}
    seconds = take_turns(
        {
            "stage": lambda: run_stage(captioner, faces, folder / str(next(runs)), options),
            "generate": lambda: [
                generate(plain, captioner, pixels, GREEDY, []) for pixels in ready
            ],
            "own_loop": lambda: [captioner.caption(batch, [0] * len(batch)) for batch in batches],
        },
        options.rounds,
        cpu=cpu,
    )
    said = Artifact.open(folder / "0").read(["caption", "num_tokens", "reject"])
    return {
        "rows": count,
        "ms_a_row": {
            name: spread([1000 * value / count for value in values])
            for name, values in seconds.items()
        },
        "stage_over_generate": spread(ratios(seconds["generate"], seconds["stage"])),
        "stage_over_own_loop": spread(ratios(seconds["own_loop"], seconds["stage"])),
        "goal": GOAL,
        "cpu_ms_a_row": {
            name: spread([1000 * value / count for value in values]) for name, values in cpu.items()
        },
        "tokens_a_caption": spread(said["num_tokens"].to_pylist()) | {"all": None},
        "distinct_captions": len(set(said["caption"].to_pylist())),
        "degenerate": said.num_rows - said["reject"].null_count,
    }


def run_stage(
    captioner: Blip2Captioner, faces: Artifact, out: Path, options: argparse.Namespace
) -> None:
    """Run the stage as a worker runs it after its weights are loaded."""
    backend = Backend(
        title="", prompt="", resolve=lambda _text: None, describe=lambda _model: {},
        load=lambda _model: captioner,
    )  # fmt: skip
    before = caption.plugins
    caption.plugins = SimpleNamespace(load=lambda *_arguments: backend)  # of this stage alone
    try:
        caption.run(
            caption.CaptionConfig(batch_size=options.batch_size),
            faces=faces,
            model=Model(backend="bench", location="nowhere", revision="0"),
            out=UPath(out),
            engine=LocalEngine(),
            resources=Resources(cpus=options.threads),
        )
    finally:
        caption.plugins = before


def rows_of(name: str, found: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return the table's rows."""
    return [
        *((f"{name}: {which}, ms a row", value) for which, value in found["ms_a_row"].items()),
        *(
            (f"{name}: {which}, ms of processor a row", value)
            for which, value in found["cpu_ms_a_row"].items()
        ),
        (f"{name}: stage over generate (goal {GOAL})", found["stage_over_generate"]),
        (f"{name}: stage over our own bare loop", found["stage_over_own_loop"]),
        (f"{name}: degenerate of {found['rows']}", found["degenerate"]),
    ]


if __name__ == "__main__":
    main()
