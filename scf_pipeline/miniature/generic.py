"""A captioned corpus of everyday pictures, to teach the general captioner what things are called.

People, rooms, and paper, posters, tablets, phones, laptops, masks and statues among ordinary
things, drawn by the same hand as the twelve datasets and photographed by other cameras.
"""

from __future__ import annotations

from dataclasses import dataclass as plain_dataclass
from functools import partial
from typing import ClassVar

import cv2
import numpy as np
import pyarrow as pa
from pydantic import Field
from pydantic.dataclasses import dataclass
from upath import UPath

from ifas_model.strict import STRICT
from scf_pipeline import progress
from scf_pipeline.engine import Engine, Resources
from scf_pipeline.miniature.everyday import NUM_CAPTIONS, draw_generic
from scf_pipeline.settings import settings
from scf_pipeline.store import Artifact, ArtifactWriter

PART_ROWS = 500
GENERIC_SCHEMA = pa.schema(
    [
        pa.field("picture_id", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("image", pa.binary(), nullable=False),
        pa.field("captions", pa.list_(pa.string(), NUM_CAPTIONS), nullable=False),
        pa.field("attributes", pa.map_(pa.string(), pa.string()), nullable=False),
    ]
)
"""Rows of the corpus. `image` is a square RGB PNG; `attributes` holds what is true of it."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class GenericConfig:
    """Settings of the corpus."""

    stage: ClassVar[str] = "generic"
    version: ClassVar[int] = 1

    num_train: int = Field(default=19_000, ge=1)
    """Pictures to learn from."""

    num_test: int = Field(default=1_000, ge=0)
    """Pictures to judge the captioner on."""

    image_size: int = Field(default=64, ge=16, le=512)
    """Side of the pictures, in pixels."""

    seed: int = 0
    """Seed of the corpus."""


@plain_dataclass(frozen=True, slots=True, kw_only=True)
class _RowRange:
    """A part to be drawn: the numbers of its pictures."""

    number: int
    num_rows: int

    def read(self) -> pa.Table:
        """Return the numbers of the pictures."""
        first = self.number * PART_ROWS
        return pa.table({"index": pa.array(range(first, first + self.num_rows), pa.int64())})


def run(config: GenericConfig, *, out: UPath, engine: Engine) -> Artifact:
    """Draw the corpus."""
    writer = ArtifactWriter(out, GENERIC_SCHEMA, settings=settings(config))
    if (done := writer.sealed()) is not None:
        return done
    total = config.num_train + config.num_test
    parts = [
        _RowRange(number=number, num_rows=min(PART_ROWS, total - first))
        for number, first in enumerate(range(0, total, PART_ROWS))
    ]
    todo = writer.missing(parts)
    kernel = partial(draw_rows, config=config)
    numbers = engine.map_parts(partial(_same, kernel), todo, writer.write, Resources(cpus=1))
    progress.consume(numbers, total=len(todo), label=config.stage)
    return writer.seal()


def _same(kernel: partial[pa.Table]) -> partial[pa.Table]:
    return kernel


def draw_rows(rows: pa.Table, *, config: GenericConfig) -> pa.Table:
    """Draw the pictures of the given numbers; each depends on seed and number alone."""
    drawn = []
    for index in rows["index"].to_pylist():
        rng = np.random.default_rng([config.seed, index])
        picture, captions, attributes = draw_generic(rng, config.image_size)
        drawn.append(
            {
                "picture_id": f"generic/{index:06d}",
                "split": "train" if index < config.num_train else "test",
                "image": cv2.imencode(".png", picture[..., ::-1])[1].tobytes(),
                "captions": captions,
                "attributes": attributes,
            }
        )
    return pa.Table.from_pylist(drawn, schema=GENERIC_SCHEMA)
