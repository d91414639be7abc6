"""Seconds of an epoch of I-FAS with and without cached features, and whether both learn the same.

Both run in one process, turn by turn, on random pictures and random weights of the miniature's
sizes; the tower is frozen either way. Prints a table to stderr and JSON to stdout.

Example: python tests/benchmarks/feature_cache.py --faces 512 --rounds 3
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
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


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print what was measured."""
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_shards(folder / "shards", options)
        write_models(folder, options)
        found = measure(folder, options)
    json.dump({"options": vars(options)} | found, sys.stdout, indent=2)
    sys.stdout.write("\n")
    print_table(found)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return sizes and counts; the defaults are the miniature's."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for name, default in (
        ("faces", 512), ("rounds", 3), ("epochs", 1), ("batch-size", 16), ("threads", 1),
        ("image-px", 64), ("vision-dim", 128), ("vision-layers", 5), ("vision-heads", 4),
        ("dim", 128), ("queries", 8), ("blocks", 2), ("language-dim", 128), ("language-layers", 2),
    ):  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--stem-widths", type=int, nargs="+", default=[24, 48, 96])
    return parser.parse_args(arguments)


def write_shards(folder: Path, options: argparse.Namespace) -> None:
    """Write faces of CelebA-Spoof's name: noise, darker where it is an attack."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(options.faces):
        label = tuple(Label)[number % 2]
        code = LABEL_CODES[label]
        side = options.image_px
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


def write_models(folder: Path, options: argparse.Namespace) -> None:
    """Write a tower and a language model of random weights."""
    sizes = ClipSizes(
        image_px=options.image_px,
        stem_widths=tuple(options.stem_widths),
        vision_dim=options.vision_dim,
        vision_layers=options.vision_layers,
        vision_heads=options.vision_heads,
    )
    clip, processor = build_clip(learn_clip_tokenizer(SENTENCES, max_length=32), sizes, seed=0)
    clip.save_pretrained(folder / "tower")
    processor.save_pretrained(folder / "tower")
    tokenizer = learn_opt_tokenizer(SENTENCES)
    torch.manual_seed(0)
    language = OPTForCausalLM(
        OPTConfig(
            vocab_size=len(tokenizer),
            hidden_size=options.language_dim,
            word_embed_proj_dim=options.language_dim,
            ffn_dim=4 * options.language_dim,
            num_hidden_layers=options.language_layers,
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


def measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Train turn by turn, with pixels and with features."""
    connector = ConnectorConfig(
        dim=options.dim, num_queries=options.queries, num_blocks=options.blocks, num_heads=4
    )
    phase = PhaseConfig(epochs=options.epochs, batch_size=options.batch_size, learning_rate=5e-4)
    config = TrainConfig(
        method=IFasConfig(connector=connector, language_training="full"),
        phases=(phase,),
        log_every=1,
    )
    shards, tower = folder / "shards", folder / "tower"
    started = time.monotonic()
    compute(FeaturesConfig(), tower=tower, shards=[shards], out=folder / "features")
    computing = time.monotonic() - started
    seconds: dict[str, list[float]] = {"pixels": [], "features": []}
    losses: dict[str, list[float]] = {}
    for number in range(options.rounds):
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
            seconds[name].append(done["seconds"] / options.epochs)
            losses[name] = [point["loss"] for point in done["curve"]]
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    gaps = [abs(a - b) for a, b in zip(losses["pixels"], losses["features"], strict=True)]
    return {
        "epoch_seconds": medians,
        "speedup": medians["pixels"] / medians["features"],
        "all_epoch_seconds": seconds,
        "compute_seconds": computing,
        "largest_loss_difference": max(gaps),
        "losses": losses,
    }


def print_table(found: dict[str, Any]) -> None:
    """Print the figures for people, to stderr."""
    rows = [(f"epoch with {name}, s", value) for name, value in found["epoch_seconds"].items()]
    rows += [("speed-up", found["speedup"]), ("computing features, s", found["compute_seconds"])]
    for name, losses in found["losses"].items():
        rows += [(f"first loss with {name}", losses[0]), (f"last loss with {name}", losses[-1])]
    rows.append(("largest difference of losses", found["largest_loss_difference"]))
    sys.stderr.writelines(f"{name:<32}{value:>12.4g}\n" for name, value in rows)


if __name__ == "__main__":
    main()
