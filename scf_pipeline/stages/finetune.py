"""D_S -> weights of C_S: the general captioner, fine-tuned on captions that name their attack."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass as plain_dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass
from upath import UPath

from ifas_model.strict import STRICT
from ifas_model.vocabulary import Split
from scf_pipeline.captioners import DEFAULT_BACKEND, Model
from scf_pipeline.engine import Engine, Resources
from scf_pipeline.errors import ArtifactError, CaptionerError, StageError
from scf_pipeline.schema import CAPTION_SCHEMA, FACE_SCHEMA, is_held_out
from scf_pipeline.settings import settings
from scf_pipeline.store import Artifact, ArtifactWriter


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class FinetuneConfig:
    """Settings that change what C_S becomes. PAPER: says no more than that it is fine-tuned."""

    stage: ClassVar[str] = "finetune"
    version: ClassVar[int] = 1

    trained_parts: Literal["qformer", "qformer_and_language", "lora", "full"] = "qformer"
    """What learns: the Q-Former with query tokens and language projection; the language model with
    it; adapters of rank 16 in OPT's attention; or everything, as in LAVIS's COCO recipe."""

    learning_rate: float = Field(default=1e-5, gt=0)
    """Peak of the learning rate; a cosine takes it to zero."""

    warmup_steps: int | None = Field(default=None, ge=0)
    """Steps of linear warm-up; ``None`` is a tenth of all steps, at most 1,000."""

    weight_decay: float = Field(default=0.05, ge=0)
    """AdamW's weight decay."""

    epochs: float = Field(default=5, gt=0)
    """Passes over the captions."""

    steps: int | None = Field(default=None, ge=1)
    """Updates; ``None`` follows from `epochs`."""

    batch_size: int = Field(default=256, ge=1)
    """Captions of one update; 16 for small runs."""

    micro_batch_size: int = Field(default=16, ge=1)
    """Captions in memory at a time; an update adds up their gradients."""

    flip: bool = True
    """Whether half of the pictures are mirrored. Nothing else is done to them: a random crop could
    remove the cue that the caption names."""

    datasets: tuple[str, ...] | None = None
    """Only captions of these datasets teach, e.g. a protocol's sources; ``None`` takes all, as the
    paper does, which lets C_S see what later is a target."""

    splits: tuple[Split, ...] = tuple(Split)
    """Only captions of these splits teach."""

    groups: Literal["dataset_and_species", "species"] = "dataset_and_species"
    """What is balanced; bona fide captions, if there are any, count as a species."""

    max_imbalance: float = Field(default=10, ge=1)
    """Captions are drawn in inverse proportion to the size of their group, the rarest at most this
    many times as often as the most frequent."""

    hold_out_fraction: float = Field(default=0.05, ge=0, lt=1)
    """Share of subjects (of samples where a dataset names none) that are never learnt from."""

    seed: int = Field(default=0, ge=0)
    """Of data order, mirroring and dropout."""

    checkpoint_every: int = Field(default=200, ge=1)
    """Updates between checkpoints, and between points of the loss curve."""


def run(  # noqa: PLR0913 - inputs by name, as every stage
    config: FinetuneConfig,
    *,
    faces: Artifact,
    captions: Artifact,
    model: Model,
    out: UPath,
    engine: Engine,
    resources: Resources = Resources(),  # noqa: B008 - frozen
    extra: Artifact | None = None,
) -> Artifact:
    """Fine-tune a captioner on the live rows of a caption table.

    Args:
        config: How.
        faces: The crops that the captions are of.
        captions: D_S of Algorithm 1: the rows that filter kept.
        model: The captioner to begin with, C_G.
        out: Folder of the new weights, in the Hugging Face layout.
        engine: Where to run; it is one task.
        resources: What the task needs.
        extra: More captions of the same faces to learn from, e.g. C_G's of bona fide ones.

    Raises:
        CaptionerError: If another backend than the default one is to run the captioner.

    Source: I-FAS, Algorithm 1, line 10.
    """
    if model.backend != DEFAULT_BACKEND:
        raise CaptionerError(
            f"A captioner to fine-tune must be one of {DEFAULT_BACKEND}, but is of "
            f"{model.backend}.",
            where=model.location,
            fix="Fine-tune a BLIP-2 in transformers' layout; `scf convert` brings one of LAVIS's "
            "into it, and C_S back.",
        )
    writer = ArtifactWriter(
        out,
        None,
        settings=settings(config, faces=faces, captions=captions, model=model, extra=extra),
    )
    if (sealed := writer.sealed()) is not None:
        return sealed
    sources = [captions] if extra is None else [captions, extra]
    notes = engine.call(
        train,
        resources,
        config=config,
        faces=faces,
        captions=sources,
        model=model,
        scratch=writer.scratch,
    )
    writer.adopt(writer.scratch / "weights")
    return writer.seal(notes=notes)


def train(
    config: FinetuneConfig,
    faces: Artifact,
    captions: Sequence[Artifact],
    model: Model,
    scratch: Path,
) -> dict[str, Any]:
    """Train on one worker, from the last checkpoint in `scratch` if there is one.

    Returns:
        The loss curve, and how many captions of each species taught or were held out.
    """
    from scf_pipeline.captioners._finetuning import Recipe, finetune
    from scf_pipeline.captioners._training import Schedule

    taught, held_out = gather(config, faces, captions, scratch)
    steps = config.steps or -(-round(config.epochs * taught.num_rows) // config.batch_size)
    warmup = min(1000, steps // 10) if config.warmup_steps is None else config.warmup_steps
    schedule = Schedule(
        steps=steps,
        learning_rate=config.learning_rate,
        warmup_steps=warmup,
        weight_decay=config.weight_decay,
        seed=config.seed,
        checkpoint_every=config.checkpoint_every,
        judge_every=config.checkpoint_every,
    )
    recipe = Recipe(
        trained_parts=config.trained_parts,
        micro_batch_size=config.micro_batch_size,
        schedule=schedule,
    )
    draw = Draw(
        odds=balance(_groups(taught, config), max_imbalance=config.max_imbalance),
        batch_size=config.batch_size,
        flip=config.flip,
        seed=config.seed,
    )
    history = finetune(model, taught, held_out, draw, recipe, scratch)
    return {
        "taught": dict(sorted(Counter(_species(taught)).items())),
        "held_out": dict(sorted(Counter(_species(held_out)).items())),
        "steps": steps,
        "loss": history.curve(config.checkpoint_every),
    }


def gather(
    config: FinetuneConfig, faces: Artifact, captions: Sequence[Artifact], scratch: Path
) -> tuple[pa.Table, pa.Table]:
    """Join captions with their pictures, on disk, and set the held-out subjects apart.

    Returns:
        Memory-mapped rows to learn from, and rows held out, in the order of the faces.

    Raises:
        ArtifactError: If a caption's face is not among the faces.
        StageError: If nothing is left to learn from.
    """
    files = [scratch / "taught.arrow", scratch / "held_out.arrow"]
    if not all(file.is_file() for file in files):
        _write_joined(config, faces, captions, files)
    taught, held_out = (pa.ipc.open_file(pa.memory_map(str(file))).read_all() for file in files)
    if not taught.num_rows:
        raise StageError(
            f"There must be captions to learn from, but there are none "
            f"({held_out.num_rows} are held out).",
            where=", ".join(str(source.path) for source in captions),
            fix="Caption more attacks, or lower `hold_out_fraction`.",
        )
    return taught, held_out


@plain_dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """Which rows each step learns from: a function of seed and step, hence resumable."""

    odds: NDArray[np.float64]
    """Probability of each row."""

    batch_size: int
    """Rows of a step."""

    flip: bool
    """Whether half of them are mirrored."""

    seed: int
    """Of both."""

    def __call__(self, step: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the rows of a step, and which of them are mirrored."""
        rng = np.random.default_rng([self.seed, step])
        rows = rng.choice(len(self.odds), size=self.batch_size, p=self.odds)
        return rows, rng.random(self.batch_size) < (0.5 if self.flip else 0.0)


def balance(groups: Sequence[str], *, max_imbalance: float) -> NDArray[np.float64]:
    """Return the probability of each row, in inverse proportion to the size of its group.

    Args:
        groups: Group of each row.
        max_imbalance: Largest ratio of two rows' probabilities.
    """
    sizes = Counter(groups)
    weights = np.array([1 / sizes[group] for group in groups])
    weights = np.minimum(weights, max_imbalance * weights.min())
    return np.asarray(weights / weights.sum(), dtype=np.float64)


_JOINED = pa.schema(
    [
        pa.field("face_id", pa.string()),
        pa.field("dataset", pa.string()),
        pa.field("species", pa.string()),
        pa.field("caption", pa.string()),
        pa.field("image", pa.binary()),
    ]
)


def _write_joined(
    config: FinetuneConfig, faces: Artifact, captions: Sequence[Artifact], files: Sequence[Path]
) -> None:
    columns = ["face_id", "sample_id", "dataset", "split", "subject_id", "label", "pai_species"]
    told = [
        row | {"species": row["pai_species"] or row["label"]}
        for source in captions
        for row in source.read([*columns, "caption"], schema=CAPTION_SCHEMA).to_pylist()
        if row["split"] in config.splits
        and (config.datasets is None or row["dataset"] in config.datasets)
    ]
    rows = {row["face_id"]: row for row in told}
    if len(rows) < len(told):
        raise ArtifactError(
            f"A face must have one caption, but {len(told) - len(rows)} captions are of a face "
            "that has another.",
            where=", ".join(str(source.path) for source in captions),
            fix="Name captions of different faces.",
        )
    wanted = pa.array(sorted(rows), pa.string())
    partials = [file.with_suffix(".partial") for file in files]
    found = 0
    with (
        pa.OSFile(str(partials[0]), "wb") as first,
        pa.OSFile(str(partials[1]), "wb") as second,
        pa.ipc.new_file(first, _JOINED) as taught,
        pa.ipc.new_file(second, _JOINED) as held_out,
    ):
        for part in faces.parts(FACE_SCHEMA):
            table = part.read(["face_id", "image"])
            table = table.filter(pc.is_in(table["face_id"], value_set=wanted))
            found += table.num_rows
            joined = [rows[row["face_id"]] | row for row in table.to_pylist()]
            for sink, is_apart in ((taught, False), (held_out, True)):
                batch = [row for row in joined if _is_apart(row, config) is is_apart]
                if batch:
                    sink.write_batch(pa.RecordBatch.from_pylist(batch, schema=_JOINED))
    if found != len(rows):
        raise ArtifactError(
            f"Each of the {len(rows)} captions must belong to one of the faces, but there are "
            f"{found} such faces.",
            where=str(faces.path),
            fix="Name the faces that were captioned.",
        )
    for partial, file in zip(partials, files, strict=True):
        partial.replace(file)


def _is_apart(row: dict[str, Any], config: FinetuneConfig) -> bool:
    subject = row["subject_id"] or row["sample_id"]
    return is_held_out(row["dataset"], subject, config.hold_out_fraction)


def _species(rows: pa.Table) -> list[str]:
    found: list[str] = rows["species"].to_pylist()
    return found


def _groups(rows: pa.Table, config: FinetuneConfig) -> list[str]:
    if config.groups == "species":
        return _species(rows)
    return [
        f"{dataset}/{species}"
        for dataset, species in zip(rows["dataset"].to_pylist(), _species(rows), strict=True)
    ]
