"""faces + captions -> VQA shards: shuffled, one split per file, ready for `datasets`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass as plain_dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field
from pydantic.dataclasses import dataclass
from upath import UPath

from ifas_model import prompt
from ifas_model.rows import repeated
from ifas_model.shards import LABEL_CODES, SHARD_SCHEMA
from ifas_model.strict import STRICT
from ifas_model.vocabulary import Label
from scf_pipeline import progress, reach, shuffle
from scf_pipeline.counts import Counts, Tally
from scf_pipeline.dataset_card import dataset_card
from scf_pipeline.engine import Engine, Kernel, Resources
from scf_pipeline.errors import StageError
from scf_pipeline.files import DATA, part_name, remove, write_parquet, write_whole
from scf_pipeline.keywords import KeywordDictionary
from scf_pipeline.schema import CAPTION_SCHEMA, FACE_SCHEMA, REJECT, conform
from scf_pipeline.settings import settings
from scf_pipeline.shuffle import FilePlan
from scf_pipeline.store import Artifact, ArtifactWriter, FilePart

SHUFFLE = "shuffle"
"""Folder of the shuffle's first pass within the artifact; gone once that is sealed."""

BUCKETS_PER_FILE = 4
"""How finely the shuffle cuts what one file will hold, so that files come out about full."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ShardConfig:
    """Settings that change what the shards hold and how they are cut."""

    stage: ClassVar[str] = "shard"
    version: ClassVar[int] = 1

    dictionary: Path
    """YAML keyword dictionary whose hits fill the column `keywords`."""

    seed: int = 0
    """Seed of the shuffle."""

    file_bytes: int = Field(default=256 * 2**20, ge=2**16, le=448 * 2**20)
    """Most bytes of pictures in one file."""

    row_group_bytes: int = Field(default=16 * 2**20, ge=2**16, le=32 * 2**20)
    """Most bytes of pictures in one row group, about; the groups of a file are of equal length."""


@plain_dataclass(frozen=True, slots=True, kw_only=True)
class JoinedPart:
    """The faces of one part, with the captions that the caption artifacts have for them."""

    faces: FilePart
    """Faces."""

    captions: tuple[FilePart, ...]
    """The part of the same number of each caption artifact."""

    labels: tuple[str | None, ...]
    """Whose faces each of them captions; ``None`` are all."""

    @property
    def number(self) -> int:
        """Number of the part."""
        return self.faces.number

    def read(self) -> pa.Table:
        """Return the live faces that have a live caption, with it, in the order of the faces.

        Raises:
            StageError: If two caption artifacts caption the same face, or one captions others than
                the faces of its label.
        """
        faces = self.faces.read()
        pairs = zip(self.captions, self.labels, strict=True)
        captions = pa.concat_tables([_captions_of(faces, part, label) for part, label in pairs])
        if twice := repeated(captions["face_id"]).to_pylist():
            raise StageError(
                f"A face must have one caption, but {twice[0]!r} has more.",
                where=", ".join(str(part.path) for part in self.captions),
                fix="Give the captions of attacks and those of bona fide faces, each once.",
            )
        found = pc.index_in(faces["face_id"], captions["face_id"])
        rows, told = faces.filter(pc.is_valid(found)), captions.take(found.drop_null())
        for name in ("caption", "captioner"):
            rows = rows.append_column(name, told[name])
        return rows


def _captions_of(faces: pa.Table, part: FilePart, label: str | None) -> pa.Table:
    """Return the live captions of a part, if the part has a row for each face that it should."""
    told = part.read_all(["face_id", "caption", "captioner", REJECT])
    if label is not None:
        faces = faces.filter(pc.equal(faces["label"], label))
    for some, others, found in (
        (told["face_id"], faces["face_id"], "is no such face"),
        (faces["face_id"], told["face_id"], "has none"),
    ):
        strange = some.filter(pc.invert(pc.is_in(some, value_set=others.combine_chunks())))
        if len(strange):
            raise StageError(
                f"Captions must be of the {label or 'live'} faces of their part, one for each, but "
                f"{strange[0].as_py()!r} {found}.",
                where=str(part.path),
                fix="Delete the captions and rerun `scf caption` on these faces.",
            )
    return told.filter(pc.is_null(told[REJECT])).drop_columns(REJECT)


def run(
    config: ShardConfig,
    *,
    faces: Artifact,
    captions: Sequence[Artifact],
    out: UPath,
    engine: Engine,
) -> Artifact:
    """Write the VQA shards of all faces that have a caption.

    Raises:
        StageError: If captions are not of these faces, a face has two or is there twice, or no
            face has one.

    Source: I-FAS, Algorithm 1, line 12, and eq. (3).
    """
    if not captions:
        raise _no_caption(faces)
    _refuse_strangers(faces, captions)
    identity = settings(config, faces=faces, captions=tuple(captions))
    writer = ArtifactWriter(out, SHARD_SCHEMA, settings=identity)
    if (sealed := writer.sealed()) is not None:
        return sealed
    writer.claim()
    plans = _first_pass(config, faces, captions, writer.path / SHUFFLE, engine)
    writer.ask_for(plan.name for plan in plans)
    data = writer.path / DATA
    todo = [plan for plan in plans if not reach.is_file(data / plan.name)]
    write = partial(_write_file, folder=data, plans=tuple(plans), config=config)
    done = engine.map_parts(_make_gather, todo, write, Resources())
    progress.consume(done, total=len(todo), label=f"{config.stage}, pass 2")
    remove(writer.path / SHUFFLE)
    counts = _count_faces(faces, captions)
    card = dataset_card(plans, counts, captions=captions, dictionary=config.dictionary)
    write_whole(writer.path / "README.md", card.encode())
    return writer.seal(inputs=counts)


def answer_faces(faces: pa.Table, *, dictionary: KeywordDictionary, seed: int) -> pa.Table:
    """Turn captioned faces into VQA rows: the kernel of the first pass.

    Args:
        faces: Rows of ``FACE_SCHEMA`` with `caption` and `captioner`.
        dictionary: Fills `keywords` with its hits of any species.
        seed: Seed of the shuffle.

    Returns:
        Rows of the shard schema and the column `place`.

    Source: I-FAS, eq. (3).
    """
    labels = [Label(label) for label in faces["label"].to_pylist()]
    ids = faces["face_id"].to_pylist()
    answers = [
        prompt.answer(label, caption)
        for label, caption in zip(labels, faces["caption"].to_pylist(), strict=True)
    ]
    images = [
        {"bytes": image.as_py(), "path": f"{face_id}.png"}
        for image, face_id in zip(faces["image"], ids, strict=True)
    ]
    hits = dictionary.match_columns(faces["caption"], faces["pai_species"], faces["fine_type"])
    keywords = [sorted({*o, *w}) for o, w in zip(*(c.to_pylist() for c in hits), strict=True)]
    made = {
        "image": images,
        "label": [LABEL_CODES[label] for label in labels],
        "question": [prompt.QUESTION] * len(ids),
        "answer": [answer.text for answer in answers],
        "judgment": [answer.judgment for answer in answers],
        "interpretation": [answer.interpretation for answer in answers],
        "keywords": keywords,
    }
    columns = {
        field.name: pa.array(made[field.name], field.type)
        if field.name in made
        else faces[field.name]
        for field in SHARD_SCHEMA
    }
    places = [shuffle.place(face_id, seed) for face_id in ids]
    return conform(pa.table(columns), SHARD_SCHEMA).append_column(
        shuffle.PLACE, pa.array(places, pa.string())
    )


def _refuse_strangers(faces: Artifact, captions: Sequence[Artifact]) -> None:
    for artifact in captions:
        found = artifact.manifest["inputs"].get("faces")
        if found != f"{faces.stage}@{faces.identity}":
            raise StageError(
                f"Captions must be of these faces, but are of {found}.",
                where=str(artifact.path),
                fix=f"Caption the faces of {faces.path}.",
            )


def _first_pass(
    config: ShardConfig,
    faces: Artifact,
    captions: Sequence[Artifact],
    folder: UPath,
    engine: Engine,
) -> list[FilePlan]:
    parts = _joined(faces, captions)
    todo = [part for part in parts if not reach.is_file(folder / part_name(part.number))]
    total = sum(entry["bytes"] for entry in faces.files.values())
    num_buckets = max(1, -(-total * BUCKETS_PER_FILE // config.file_bytes))
    write = partial(_write_sorted, folder=folder, num_buckets=num_buckets)
    done = engine.map_parts(partial(_make_answer, config), todo, write, Resources())
    progress.consume(done, total=len(todo), label=f"{config.stage}, pass 1")
    sources = [folder / part_name(part.number) for part in parts]
    if twice := repeated(shuffle.read_column(sources, "face_id")).to_pylist():
        raise StageError(
            f"A face must be there once, but {twice[0]!r} is in several parts.",
            where=str(faces.path),
            fix="Delete the faces and rerun `scf crop`.",
        )
    plans = shuffle.plan_files(sources, file_bytes=config.file_bytes)
    if not plans:
        raise _no_caption(faces)
    return plans


def _joined(faces: Artifact, captions: Sequence[Artifact]) -> list[JoinedPart]:
    """Pair the parts of the faces with those of their captions."""
    parts = faces.parts(FACE_SCHEMA)
    known = [{part.number: part for part in one.parts(CAPTION_SCHEMA)} for one in captions]
    for artifact, told in zip(captions, known, strict=True):
        if told.keys() != {part.number for part in parts}:
            raise StageError(
                f"Captions must have the {len(parts)} parts of their faces, but have "
                f"{len(told)} others.",
                where=str(artifact.path),
                fix="Delete the captions and rerun `scf caption` on these faces.",
            )
    labels = tuple(artifact.manifest["config"].get("label") for artifact in captions)
    return [
        JoinedPart(faces=part, captions=tuple(told[part.number] for told in known), labels=labels)
        for part in parts
    ]


def _no_caption(faces: Artifact) -> StageError:
    return StageError(
        "Shards must hold at least one row, but no face has a caption.",
        where=str(faces.path),
        fix="Look at the captions with `scf status`.",
    )


def _make_answer(config: ShardConfig) -> Kernel:
    dictionary = KeywordDictionary.load(config.dictionary)
    return partial(answer_faces, dictionary=dictionary, seed=config.seed)


def _make_gather() -> Kernel:
    return shuffle.gather


def _write_sorted(number: int, table: pa.Table, *, folder: UPath, num_buckets: int) -> None:
    shuffle.write_sorted(folder / part_name(number), table, num_buckets=num_buckets)


def _write_file(
    number: int, table: pa.Table, *, folder: UPath, plans: Sequence[FilePlan], config: ShardConfig
) -> None:
    plan = plans[number]
    groups = max(1, -(-plan.size // config.row_group_bytes))
    rows = -(-plan.rows // groups)
    write_parquet(folder / plan.name, conform(table, SHARD_SCHEMA), row_group_rows=rows)


def _count_faces(faces: Artifact, captions: Sequence[Artifact]) -> Counts:
    """Count the faces that came in: captioned, rejected with their caption, or not captioned."""
    datasets = {}
    for name, tally in faces.counts.datasets.items():
        told = [c.counts.datasets[name] for c in captions if name in c.counts.datasets]
        live = sum(caption.live for caption in told)
        rejected: Counter[str] = sum((caption.rejected for caption in told), Counter())
        over = tally.live - live - rejected.total()
        datasets[name] = Tally(live, rejected, tally.live, over)
    return Counts(datasets)
