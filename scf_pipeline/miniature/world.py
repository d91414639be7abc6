"""The miniature world: twelve datasets, drawn and written in their native layouts.

The artifact holds the datasets, one folder each, ``datasets.yaml``, which says where they lie, and
a ledger: what every presentation is, for tests and audits. Adapters never see the ledger.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field
from pydantic.dataclasses import dataclass
from upath import UPath

from ifas_model import plugins
from ifas_model.strict import STRICT
from ifas_model.vocabulary import Label, Split
from scf_pipeline import progress
from scf_pipeline.engine import Engine, Resources
from scf_pipeline.errors import ConfigError
from scf_pipeline.files import write_whole
from scf_pipeline.miniature import layouts
from scf_pipeline.miniature.draw import Difficulty, Shot, draw_clip
from scf_pipeline.miniature.faces import sample_person
from scf_pipeline.miniature.layouts import Budget, Clip, Layout, Presentation
from scf_pipeline.miniature.sheets import SHEETS
from scf_pipeline.settings import settings
from scf_pipeline.store import Artifact, ArtifactWriter

Scale = Literal["smoke", "default", "full"]

SOURCE = "celeba_spoof"
"""The dataset that Protocol 2 trains on: many pictures, and shortcuts among them."""
SOURCE_BUDGETS: dict[Scale, Budget] = {
    "smoke": Budget(train=160, dev=0, test=60, attack_share=0.55),
    "default": Budget(train=1300, dev=0, test=300, attack_share=0.55),
    "full": Budget(train=3900, dev=0, test=300, attack_share=0.55),
}
BUDGETS: dict[Scale, Budget] = {
    "smoke": Budget(train=14, dev=6, test=20),
    "default": Budget(train=70, dev=30, test=100),
    "full": Budget(train=70, dev=30, test=100),
}
"""Of every other dataset; one that lacks a split spreads its share over the others."""
PART_PRESENTATIONS = 64
DATASETS_FILE = "datasets.yaml"

LEDGER_SCHEMA = pa.schema(
    [
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("media_path", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("subject_id", pa.string()),
        pa.field("person", pa.string(), nullable=False),
        pa.field("session", pa.string(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("pai_species", pa.string()),
        pa.field("fine_type", pa.string()),
        pa.field("native_label", pa.string(), nullable=False),
        pa.field("instrument", pa.string(), nullable=False),
        pa.field("is_border_shown", pa.bool_()),
        pa.field("is_shortcut", pa.bool_(), nullable=False),
        pa.field("boxes", pa.list_(pa.list_(pa.int32(), 4))),
        pa.field("num_frames", pa.int32(), nullable=False),
        pa.field("has_media", pa.bool_(), nullable=False),
    ]
)
"""Rows of the ledger. `boxes` are those of the drawn faces, one for each frame, null without media;
`is_border_shown` is null but for prints and displays."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class WorldConfig:
    """Settings of the drawn world."""

    stage: ClassVar[str] = "world"
    version: ClassVar[int] = 2

    scale: Scale = "default"
    """How many presentations: for wiring, for a first result, for claims."""

    difficulty: Difficulty = "hard"
    """How plain to see the cues of attacks are."""

    shortcut_share: float = Field(default=0.5, ge=0, le=1)
    """Share of the source's pictures whose place, light and focus go with their label."""

    seed: int = Field(default=0, ge=0)
    """Seed of everything."""


@plain_dataclass(frozen=True, slots=True, kw_only=True)
class _Chunk:
    """A part to be drawn: some presentations of one dataset, by their place in its plan."""

    number: int
    dataset: str
    first: int
    last: int

    def read(self) -> pa.Table:
        """Return dataset and place of each presentation."""
        places = range(self.first, self.last)
        return pa.table(
            {
                "dataset": pa.array([self.dataset] * len(places), pa.string()),
                "place": pa.array(places, pa.int64()),
            }
        )


def run(config: WorldConfig, *, out: UPath, engine: Engine) -> Artifact:
    """Draw every dataset that has a layout.

    Raises:
        ConfigError: If `out` is not on a local disk: encoders write files, not object stores.
    """
    if not isinstance(out, Path):
        raise ConfigError(
            f"The miniature world must be drawn on a local disk, but the folder is {out}.",
            where="world",
            fix="Name a local folder; the stages after it may write anywhere.",
        )
    writer = ArtifactWriter(out, LEDGER_SCHEMA, settings=settings(config))
    if (done := writer.sealed()) is not None:
        return done
    plans = {name: plan(config, name) for name in plugins.names(layouts)}
    todo = writer.missing(_chunks(plans))
    make_kernel = partial(make_painter, config, Path(out))
    numbers = engine.map_parts(make_kernel, todo, writer.write, Resources(cpus=1))
    progress.consume(numbers, total=len(todo), label=config.stage)
    for name, presentations in plans.items():
        _layout(name).finish(Path(out) / name, presentations)
    lines = "".join(f"{name}: {name}\n" for name in plans)
    write_whole(out / DATASETS_FILE, lines.encode())
    return writer.seal()


def plan(config: WorldConfig, dataset: str) -> list[Presentation]:
    """Return a dataset's presentations, in the order in which they are drawn.

    The share of a split that the dataset lacks goes to the others, unless its layout sees to that.
    """
    budget = SOURCE_BUDGETS[config.scale] if dataset == SOURCE else BUDGETS[config.scale]
    layout = _layout(dataset)
    planned = layout.plan(budget, _rng(config.seed, dataset, "plan"))
    wanted = {split: getattr(budget, split.value) for split in Split}
    total, found = sum(wanted.values()), {presentation.split for presentation in planned}
    offered = sum(wanted[split] for split in found)
    if len(planned) > 0.9 * total or offered == total:
        return planned
    larger = {split.value: round(number * total / offered) for split, number in wanted.items()}
    return layout.plan(replace(budget, **larger), _rng(config.seed, dataset, "plan"))


def make_painter(config: WorldConfig, root: Path) -> partial[pa.Table]:
    """Plan all datasets, once in each worker, and return the kernel."""
    plans = {name: plan(config, name) for name in plugins.names(layouts)}
    return partial(draw_presentations, plans=plans, config=config, root=root)


def draw_presentations(
    rows: pa.Table,
    *,
    plans: Mapping[str, Sequence[Presentation]],
    config: WorldConfig,
    root: Path,
) -> pa.Table:
    """Draw and write some presentations.

    Args:
        rows: Columns `dataset` and `place`: which presentations of which plan.
        plans: Presentations of each dataset.
        config: Settings of the world.
        root: Folder that holds the datasets' roots.

    Returns:
        The ledger's rows, as ``LEDGER_SCHEMA``.
    """
    ledger = []
    for dataset, place in zip(rows["dataset"].to_pylist(), rows["place"].to_pylist(), strict=True):
        presentation = plans[dataset][place]
        shot = choose_shot(config, dataset, presentation)
        clip = None
        if presentation.has_media:
            clip = draw_presentation(config, dataset, presentation, shot)
            _layout(dataset).write(root / dataset, presentation, clip)
        is_shortcut = takes_shortcut(config, dataset, presentation)
        ledger.append(
            _ledger_row(dataset, presentation, clip)
            | {"is_border_shown": shot.is_border_shown, "is_shortcut": is_shortcut}
        )
    return pa.Table.from_pylist(ledger, schema=LEDGER_SCHEMA)


def draw_presentation(
    config: WorldConfig, dataset: str, presentation: Presentation, shot: Shot
) -> Clip:
    """Draw one presentation; it depends on the seed and its own names alone."""
    person = sample_person(_rng(config.seed, dataset, "person", presentation.person))
    return draw_clip(person, shot, _rng(config.seed, dataset, "clip", presentation.media_path))


def choose_shot(config: WorldConfig, dataset: str, presentation: Presentation) -> Shot:
    """Choose place, light and camera: those of its session, dataset and device."""
    layout = _layout(dataset)
    session = _rng(config.seed, dataset, "session", presentation.session)
    own = _rng(config.seed, dataset, "shot", presentation.media_path)
    is_sheet = presentation.instrument in SHEETS
    shot = Shot(
        sensor=layout.sensors[presentation.sensor],
        instrument=presentation.instrument,
        background=str(session.choice(list(layout.backgrounds))),
        background_seed=int(session.integers(2**62)),
        pictured_background=str(own.choice(list(layout.backgrounds))),
        light=float(session.uniform(*layout.light)),
        warmth=float(session.uniform(-0.25, 0.25)),
        focus_blur=float(own.uniform(0, 0.8)),
        face_share=float(own.uniform(*layout.face_share)),
        difficulty=config.difficulty,
        num_frames=presentation.num_frames,
        is_cropped=layout.is_cropped,
        is_border_shown=bool(own.random() < 0.5) if is_sheet else None,
    )
    if takes_shortcut(config, dataset, presentation):
        return _with_shortcut(shot, presentation.label, own)
    return shot


def takes_shortcut(config: WorldConfig, dataset: str, presentation: Presentation) -> bool:
    """Tell whether a picture of the source is of those whose surroundings go with the label."""
    if dataset != SOURCE:
        return False
    lot = _rng(config.seed, dataset, "shortcut", presentation.media_path)
    return bool(lot.random() < config.shortcut_share)


def _with_shortcut(shot: Shot, label: Label, rng: np.random.Generator) -> Shot:
    """Let surroundings go with the label.

    Bona fide: outdoors or busy, sharp, bright, cool. Attack: plain, blurred, dim, warm.
    """
    if label is Label.BONA_FIDE:
        return replace(
            shot,
            background=str(rng.choice(("garden", "sky", "bookshelf", "brick"))),
            light=float(rng.uniform(1.05, 1.25)),
            warmth=float(rng.uniform(-0.5, -0.2)),
            focus_blur=0.0,
        )
    return replace(
        shot,
        background=str(rng.choice(("wall", "curtain"))),
        pictured_background=str(rng.choice(("wall", "curtain"))),
        light=float(rng.uniform(0.65, 0.85)),
        warmth=float(rng.uniform(0.2, 0.6)),
        focus_blur=float(rng.uniform(0.5, 1.1)),
    )


def sample_id(dataset: str, media_path: str) -> str:
    """Return the id that an adapter gives a presentation: its path without suffix."""
    folder, _, name = media_path.rpartition("/")
    stem = name.removesuffix(".m.mov") if name.endswith(".m.mov") else name.rsplit(".", 1)[0]
    return "/".join(part for part in (dataset, folder, stem) if part)


def _ledger_row(dataset: str, presentation: Presentation, clip: Clip | None) -> dict[str, Any]:
    same = ("media_path", "split", "subject_id", "person", "session", "label", "pai_species")
    also = ("fine_type", "native_label", "instrument", "num_frames", "has_media")
    row = {name: getattr(presentation, name) for name in (*same, *also)}
    boxes = None if clip is None else [list(box) for box in clip.boxes]
    identity = {"dataset": dataset, "sample_id": sample_id(dataset, presentation.media_path)}
    return row | identity | {"boxes": boxes}


def _chunks(plans: Mapping[str, Sequence[Presentation]]) -> list[_Chunk]:
    chunks: list[_Chunk] = []
    for dataset, presentations in plans.items():
        for first in range(0, len(presentations), PART_PRESENTATIONS):
            last = min(first + PART_PRESENTATIONS, len(presentations))
            chunks.append(_Chunk(number=len(chunks), dataset=dataset, first=first, last=last))
    return chunks


def _layout(dataset: str) -> Layout:
    layout: Layout = plugins.load(layouts, "LAYOUT", dataset)
    return layout


def _rng(seed: int, *names: str) -> np.random.Generator:
    """Return a generator that depends on the seed and on names alone."""
    digest = hashlib.sha256("/".join([str(seed), *names]).encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, np.uint32))
