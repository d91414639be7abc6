"""faces -> captions: each crop gets one sentence from C_G or C_S."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass
from upath import UPath

from ifas_model import plugins
from ifas_model.strict import STRICT
from ifas_model.vocabulary import Label
from scf_pipeline import captioners, progress
from scf_pipeline.captioners import Backend, Caption, Captioner, Model, is_degenerate
from scf_pipeline.engine import Engine, Kernel, Resources
from scf_pipeline.errors import StageError
from scf_pipeline.schema import CAPTION_SCHEMA, FACE_SCHEMA, Reject
from scf_pipeline.settings import settings
from scf_pipeline.store import Artifact, ArtifactWriter

logger = logging.getLogger(__name__)

Pixels = NDArray[np.uint8]

PREPARING_THREADS = 2
"""Threads that decode and resize pictures; one core brings some 450 a second to 224 px."""

INSTRUCTIONS = "instructions"
"""Note of the manifest: prompt and decoding of the captioner."""

HALVED = "halved_batches"
"""Note of the manifest, absent if memory sufficed: of each part for which it did not, the sizes to
which batches were cut, one after the other."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class CaptionConfig:
    """Settings that change which faces are captioned, and how.

    Prompt and decoding are the checkpoint's own.
    """

    stage: ClassVar[str] = "caption"
    version: ClassVar[int] = 1

    label: Label | None = None
    """Caption only attacks or only bona fide faces; ``None`` captions all."""

    batch_size: int = Field(default=64, ge=1)
    """Faces that are decoded together. Part of the identity: batches of other sizes give other
    last bits, and so now and then another caption. The one exception is a batch for which memory
    does not suffice: it is halved, and the manifest's note `HALVED` tells so. In float32 on a CPU
    the texts were found to be the same; in bfloat16 that is not promised."""


def run(
    config: CaptionConfig,
    *,
    faces: Artifact,
    model: Model,
    out: UPath,
    engine: Engine,
    resources: Resources = Resources(),  # noqa: B008 - frozen
) -> Artifact:
    """Caption the faces of the label that the config names; the others are passed over.

    Raises:
        StageError: If memory does not suffice for a single face.
    """
    writer = ArtifactWriter(
        out, CAPTION_SCHEMA, settings=settings(config, faces=faces, model=model)
    )
    if (sealed := writer.sealed()) is not None:
        return sealed
    todo = writer.missing(faces.parts(FACE_SCHEMA))
    make, write = partial(make_kernel, config, model), partial(_write, writer=writer)
    done = engine.map_parts(make, todo, write, resources, writer.holds)
    progress.consume(done, total=len(todo), label=config.stage)
    backend: Backend = plugins.load(captioners, "BACKEND", model.backend)
    notes = {INSTRUCTIONS: backend.describe(model)}
    if halved := writer.remarks():
        logger.warning("%s: memory did not suffice for the batches of %d parts", out, len(halved))
        notes[HALVED] = halved
    return writer.seal(
        rows_in={name: tally.live for name, tally in faces.counts.datasets.items()}, notes=notes
    )


def make_kernel(config: CaptionConfig, model: Model) -> Kernel:
    """Load the weights, once in each worker, and return the kernel."""
    backend = plugins.load(captioners, "BACKEND", model.backend)
    return partial(caption_faces, captioner=backend.load(model), name=model.name, config=config)


def caption_faces(
    faces: pa.Table, *, captioner: Captioner, name: str, config: CaptionConfig
) -> pa.Table:
    """Caption the faces of one part.

    The next batch is decoded and resized on threads while the current one is captioned. Batches
    follow the part's own order, and each face brings its own seed: captions do not depend on the
    workers.

    Args:
        faces: Live rows of ``FACE_SCHEMA``.
        captioner: A loaded captioner.
        name: What the column `captioner` says of it.
        config: Label and batch size.

    Returns:
        The rows of the wanted label in the same order, as ``CAPTION_SCHEMA``. A caption that is
        degenerate twice stays, with ``reject="degenerate"``. If batches were halved, the table's
        metadata tells so under `HALVED`.

    Raises:
        StageError: If memory does not suffice for a single face.
    """
    if config.label is not None:
        faces = faces.filter(pc.equal(faces["label"], config.label.value))
    seeds = [seed_of(face_id) for face_id in faces["face_id"].to_pylist()]
    captions: list[Caption] = []
    fitting = _Fitting(captioner, config.batch_size, name=name)
    for batch in _prepared_ahead(faces, captioner, config.batch_size):
        captions += _caption_batch(fitting, batch, seeds[len(captions) :][: len(batch)])
    reject = [Reject.DEGENERATE.value if is_degenerate(c.text) else None for c in captions]
    columns: dict[str, Any] = {
        "caption": pa.array([caption.text for caption in captions], pa.string()),
        "num_tokens": pa.array([caption.num_tokens for caption in captions], pa.int32()),
        "mean_log_probability": pa.array(
            [caption.mean_log_probability for caption in captions], pa.float32()
        ),
        "captioner": pa.array([name] * len(captions), pa.string()),
        "reject": pa.array(reject, pa.string()),
    }
    table = pa.table(
        {
            column: columns[column] if column in columns else faces[column]
            for column in CAPTION_SCHEMA.names
        },
        schema=CAPTION_SCHEMA,
    )
    return (
        table.replace_schema_metadata({HALVED: json.dumps(fitting.cuts)}) if fitting.cuts else table
    )


def _write(number: int, table: pa.Table, *, writer: ArtifactWriter) -> None:
    """Write a part; what its batches were halved to goes beside it, so that its bytes stay."""
    if (cuts := (table.schema.metadata or {}).get(HALVED.encode())) is not None:
        writer.remark(number, json.loads(cuts))
    writer.write(number, table)


def seed_of(face_id: str) -> int:
    """Return the seed of a face's caption: it depends on nothing but the face's name."""
    return int.from_bytes(hashlib.sha256(face_id.encode()).digest()[:8], "big")


class _Fitting:
    """A captioner whose batches are halved when memory runs out, and stay so for the part.

    Args:
        captioner: What captions.
        largest: Most pictures at a time, to begin with.
        name: What an error says of the captioner.
    """

    def __init__(self, captioner: Captioner, largest: int, *, name: str) -> None:
        self.captioner, self.largest, self.name = captioner, largest, name
        self.cuts: list[int] = []

    def caption(
        self, pictures: Sequence[Pixels], seeds: Sequence[int], *, insist: bool = False
    ) -> list[Caption]:
        """Caption one batch, in pieces if need be; see `Captioner.caption`."""
        captions: list[Caption] = []
        start = 0
        while start < len(pictures):
            piece = slice(start, start + self.largest)
            try:
                captions += self.captioner.caption(pictures[piece], seeds[piece], insist=insist)
            except MemoryError as error:
                self._halve(len(pictures[piece]), error)
            else:
                start = piece.stop
        return captions

    def _halve(self, size: int, error: MemoryError) -> None:
        if size == 1:
            raise StageError(
                f"Memory must suffice for one picture at a time, but does not: {error}.",
                where=self.name,
                fix="Take a worker with more memory, fewer workers for each GPU, or a smaller "
                "checkpoint; finished parts are kept.",
            ) from error
        self.largest = size // 2
        self.cuts.append(self.largest)
        logger.warning("memory did not suffice for %d pictures; now %d", size, self.largest)


def _caption_batch(
    captioner: _Fitting, pictures: Sequence[Pixels], seeds: Sequence[int]
) -> list[Caption]:
    captions = captioner.caption(pictures, seeds)
    again = [row for row, caption in enumerate(captions) if is_degenerate(caption.text)]
    if again:
        second = captioner.caption(
            [pictures[row] for row in again], [seeds[row] for row in again], insist=True
        )
        for row, caption in zip(again, second, strict=True):
            captions[row] = caption
    return captions


def _prepared_ahead(
    faces: pa.Table, captioner: Captioner, batch_size: int
) -> Iterator[list[Pixels]]:
    """Yield batches of prepared pictures, each made while the one before is worked on."""
    from scf_pipeline.captioners._pictures import decode_png

    def prepare(face_id: pa.Scalar, image: pa.Scalar) -> Pixels:
        return captioner.prepare(decode_png(image.as_py(), name=face_id.as_py()))

    bounds = [*range(0, len(faces), batch_size), len(faces)]
    with ThreadPoolExecutor(PREPARING_THREADS) as pool:
        waiting = None
        for start, stop in pairwise(bounds):
            batch = faces[start:stop]
            columns = batch["face_id"], batch["image"]
            begun = pool.map(prepare, *columns)  # at once
            if waiting is not None:
                yield waiting()
            waiting = partial(_collect, begun, partial(map, prepare, *columns))
        if waiting is not None:
            yield waiting()


def _collect(prepared: Iterator[Pixels], again: Callable[[], Iterator[Pixels]]) -> list[Pixels]:
    """Return what threads prepared; the batch before, done by now, may have left them no memory."""
    try:
        return list(prepared)
    except MemoryError:
        return list(again())
