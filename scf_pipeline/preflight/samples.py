"""Short timed samples: one batch of captions, a few updates of each method.

They run in a process of their own, so that the memory of a GPU is free again when the run starts.
"""

from __future__ import annotations

import io
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ifas_model import plugins
from ifas_model.config import TrainConfig
from ifas_model.prompt import JUDGMENTS, QUESTION
from ifas_model.protocols import protocol_of
from ifas_model.shards import LABEL_CODES, SHARD_SCHEMA
from ifas_model.vocabulary import Label
from scf_pipeline import captioners

UPDATES = 3
"""Updates that are timed; the first is slower, so that the estimate is rather too long."""

PICTURES_ON_GPU, PICTURES = 32, 2
"""Pictures that are captioned, on a GPU and without one."""

T = TypeVar("T")


def apart(function: Callable[..., T], *arguments: object) -> T:
    """Call a function in a fresh process and return what it returns."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def seconds_per_caption(model: str, side: int) -> float:
    """Return the seconds that a caption takes, once the weights are loaded.

    Args:
        model: As ``--model`` takes it.
        side: Of the crops, in pixels.
    """
    import torch

    found = captioners.find(model)
    captioner = plugins.load(captioners, "BACKEND", found.backend).load(found)
    number = PICTURES_ON_GPU if torch.cuda.is_available() else PICTURES
    rng = np.random.default_rng(0)
    pictures = [
        captioner.prepare(rng.integers(0, 256, (side, side, 3)).astype(np.uint8))
        for _ in range(number)
    ]
    seeds = list(range(number))
    captioner.caption(pictures[:1], seeds[:1])  # what the first call prepares is no part of it
    begun = time.perf_counter()
    captioner.caption(pictures, seeds)
    return (time.perf_counter() - begun) / number


def seconds_per_update(config: TrainConfig, side: int, tower: str, language: str | None) -> float:
    """Return the seconds that an update of a training takes, once the weights are loaded.

    Args:
        config: Of the training.
        side: Of the crops, in pixels.
        tower: CLIP folder.
        language: OPT folder, where the method needs one.
    """
    from ifas_model.train import train

    phases = tuple(replace(phase, steps=UPDATES) for phase in config.phases[-1:])
    short = replace(config, phases=phases, max_samples=None, select="last")
    with tempfile.TemporaryDirectory() as folder:
        shards = Path(folder) / "shards"
        write_noise(shards, config, side)
        notes = train(
            short,
            shards=shards,
            tower=Path(tower),
            language=None if language is None else Path(language),
            out=Path(folder) / "out",
            scratch=Path(folder) / "scratch",
        )
    return float(notes["seconds"]) / UPDATES


def write_noise(folder: Path, config: TrainConfig, side: int) -> None:
    """Write shards of noise that a training takes for its sources, with answers of usual length."""
    from PIL import Image

    (dataset, (split, *_)) = next(iter(protocol_of(config).sources.items()))
    rng = np.random.default_rng(0)
    rows = []
    for number in range(2 * max(phase.batch_size for phase in config.phases)):
        label = list(Label)[number % 2]
        packed = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (side, side, 3)).astype(np.uint8)).save(packed, "PNG")
        told = "This is a man with short black hair holding a piece of paper"
        rows.append(
            dict.fromkeys(SHARD_SCHEMA.names)
            | {
                "face_id": f"{dataset}/{number}#0",
                "sample_id": f"{dataset}/{number}",
                "dataset": dataset,
                "frame": 0,
                "split": split.value,
                "image": {"bytes": packed.getvalue(), "path": None},
                "label": LABEL_CODES[label],
                "pai_species": "print" if label is Label.ATTACK else None,
                "fine_type": "print" if label is Label.ATTACK else None,
                "native_label": "noise",
                "question": QUESTION,
                "answer": f"{JUDGMENTS[label]}. {told}",
                "judgment": JUDGMENTS[label],
                "interpretation": told,
                "captioner": "noise@0",
                "keywords": [],
            }
        )
    (folder / "data").mkdir(parents=True)
    table = pa.Table.from_pylist(rows, schema=SHARD_SCHEMA)
    pq.write_table(table, folder / "data" / f"{split.value}-00000-of-00001.parquet")
