"""Faces that I-FAS learns from each second with pixels and with cached features, and both losses.

Both run in one process, turn by turn, on random pictures and random weights; the tower is frozen
either way. The case ``vit-base`` has a tower of ViT-B's width and depth on 112 px, the case
``miniature`` the miniature's; connector and language model are the miniature's in both. The first
epoch with features is told with the time that computing them takes; from the second epoch on they
are there. Prints a table to stderr and JSON to stdout.

Example: python tests/benchmarks/feature_cache.py --cases miniature --rounds 5
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from _report import machine, publish, spread
from PIL import Image
from transformers import OPTConfig, OPTForCausalLM

from ifas_model.config import (
    ConnectorConfig,
    FeaturesConfig,
    IFasConfig,
    PhaseConfig,
    TrainConfig,
)
from ifas_model.features import compute
from ifas_model.language import CAPTION_PROMPT
from ifas_model.phase import LOG, WEIGHTS
from ifas_model.prompt import QUESTION, answer
from ifas_model.shards import LABEL_CODES, SHARD_SCHEMA
from ifas_model.train import train
from ifas_model.vocabulary import Label
from scf_pipeline.miniature.models import ClipSizes, build_clip
from scf_pipeline.miniature.tokenizer import learn_clip_tokenizer, learn_opt_tokenizer

CAPTIONS = {
    Label.BONA_FIDE: "a man with a beard wearing a red shirt",
    Label.ATTACK: "a photo of a woman on a screen with a black frame",
}
SENTENCES = [
    CAPTION_PROMPT,
    *(f"Question: {QUESTION} Answer: {answer(one, text).text}\n" for one, text in CAPTIONS.items()),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Sizes of one comparison."""

    faces: int
    epochs: int
    rounds: int
    image_px: int = 64
    vision_dim: int = 128
    vision_layers: int = 5
    vision_heads: int = 4
    batch_size: int = 16


CASES = {
    "vit-base": Case(
        faces=32,
        epochs=3,
        rounds=5,
        image_px=112,
        vision_dim=768,
        vision_layers=12,
        vision_heads=12,
    ),
    "miniature": Case(faces=256, epochs=3, rounds=5),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print what was measured."""
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    found = {}
    for name in options.cases:
        case = CASES[name]
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            write_shards(folder / "shards", case)
            write_models(folder, case)
            told = measure(folder, case, options.rounds or case.rounds)
        found[name] = {"sizes": asdict(case)} | told
    publish({"machine": machine(), "options": vars(options), "cases": found}, rows_of(found))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return which cases to compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--rounds", type=int, help="trainings of each kind; a case's own without")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args(arguments)


def write_shards(folder: Path, case: Case) -> None:
    """Write faces of CelebA-Spoof's name: noise, darker where it is an attack."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(case.faces):
        label = tuple(Label)[number % 2]
        code = LABEL_CODES[label]
        side = case.image_px
        pixels = rng.integers(0, 192 + 63 * code, (side, side, 3)).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        names = {"face_id": f"celeba_spoof/{number}#0", "sample_id": f"celeba_spoof/{number}"}
        told = answer(label, CAPTIONS[label])
        rows.append(
            dict.fromkeys(SHARD_SCHEMA.names)
            | names
            | {"dataset": "celeba_spoof", "split": "train", "frame": 0, "label": code}
            | {"image": {"bytes": buffer.getvalue(), "path": None}}
            | {"pai_species": None if code else "replay", "native_label": label.value}
            | {"question": QUESTION, "answer": told.text, "captioner": "nobody", "keywords": []}
            | {"judgment": told.judgment, "interpretation": told.interpretation}
        )
    (folder / "data").mkdir(parents=True)
    table = pa.Table.from_pylist(rows, schema=SHARD_SCHEMA)
    pq.write_table(table, folder / "data" / "train-00000-of-00001.parquet", row_group_size=256)


def write_models(folder: Path, case: Case) -> None:
    """Write a tower and a language model of random weights."""
    sizes = ClipSizes(
        image_px=case.image_px,
        vision_dim=case.vision_dim,
        vision_layers=case.vision_layers,
        vision_heads=case.vision_heads,
    )
    clip, processor = build_clip(learn_clip_tokenizer(SENTENCES, max_length=32), sizes, seed=0)
    clip.save_pretrained(folder / "tower")
    processor.save_pretrained(folder / "tower")
    tokenizer = learn_opt_tokenizer(SENTENCES)
    torch.manual_seed(0)
    language = OPTForCausalLM(
        OPTConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            word_embed_proj_dim=128,
            ffn_dim=4 * 128,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=128,
            dropout=0.1,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
    language.save_pretrained(folder / "language")
    tokenizer.save_pretrained(folder / "language")


def measure(folder: Path, case: Case, rounds: int) -> dict[str, Any]:
    """Train turn by turn, with pixels and with features."""
    phase = PhaseConfig(epochs=case.epochs, batch_size=case.batch_size, learning_rate=5e-4)
    connector = ConnectorConfig(dim=128, num_queries=8, num_blocks=2, num_heads=4)
    method = IFasConfig(connector=connector, language_training="full")
    config = TrainConfig(method=method, phases=(phase,), log_every=1)
    shards, tower = folder / "shards", folder / "tower"
    started = time.monotonic()
    compute(FeaturesConfig(), tower=tower, shards=[shards], out=folder / "features")
    computing = time.monotonic() - started
    epochs: dict[str, list[list[float]]] = {"pixels": [], "features": []}
    losses: dict[str, list[float]] = {}
    for number in range(rounds):
        for name, features in (("pixels", None), ("features", folder / "features")):
            work = folder / f"{name}-{number}"
            done = train(
                config,
                shards=shards,
                tower=tower,
                language=folder / "language",
                features=features,
                out=work / "out",
                scratch=work / "scratch",
            )
            epochs[name].append(epoch_seconds(work / "scratch" / "phase-0", case.epochs))
            losses[name] = [point["loss"] for point in done["curve"]]
    later = {name: [s for one in told for s in one[1:]] for name, told in epochs.items()}
    first = {name: [one[0] for one in told] for name, told in epochs.items()}
    first["features"] = [computing + seconds for seconds in first["features"]]
    gaps = [abs(a - b) for a, b in zip(losses["pixels"], losses["features"], strict=True)]
    medians = {name: statistics.median(values) for name, values in later.items()}
    return {
        "first_epoch_seconds": {name: spread(values) for name, values in first.items()},
        "later_epoch_seconds": {name: spread(values) for name, values in later.items()},
        "later_faces_per_s": {name: case.faces / value for name, value in medians.items()},
        "speedup_of_later_epochs": medians["pixels"] / medians["features"],
        "compute_seconds": computing,
        "largest_loss_difference": max(gaps),
        "losses": losses,
    }


def epoch_seconds(phase: Path, epochs: int) -> list[float]:
    """Return the seconds of each epoch, from the log of a phase that logged every update."""
    log = json.loads((phase / WEIGHTS).with_name(LOG).read_text("utf-8"))
    ticks = [entry["seconds"] for entry in log if "loss" in entry]
    steps = len(ticks) // epochs
    ends = [ticks[(epoch + 1) * steps - 1] for epoch in range(epochs)]
    return [end - begun for begun, end in zip([0.0, *ends], ends, strict=False)]


def rows_of(cases: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the figures for people."""
    for case, found in cases.items():
        for kind in ("first", "later"):
            for name, seconds in found[f"{kind}_epoch_seconds"].items():
                yield f"{case}, {kind} epoch with {name}, s", seconds
        for name, faces in found["later_faces_per_s"].items():
            yield f"{case}, later faces/s with {name}", faces
        yield f"{case}, speed-up from the second epoch on", found["speedup_of_later_epochs"]
        for name, losses in found["losses"].items():
            yield f"{case}, first loss with {name}", losses[0]
            yield f"{case}, last loss with {name}", losses[-1]
        yield f"{case}, largest difference of losses", found["largest_loss_difference"]


if __name__ == "__main__":
    main()
