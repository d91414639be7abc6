"""Layouts and adapters share no code: what one writes, the other must read back, row by row."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import pytest
from upath import UPath

from ifas_model import plugins
from scf_pipeline import adapters
from scf_pipeline.engine.local import LocalEngine
from scf_pipeline.media import FramePreset
from scf_pipeline.miniature import layouts, world
from scf_pipeline.miniature.layouts import Budget
from scf_pipeline.miniature.world import WorldConfig
from scf_pipeline.stages import crop, ingest
from scf_pipeline.stages.crop import CropConfig
from scf_pipeline.stages.ingest import IngestConfig
from scf_pipeline.store import Artifact

DATASETS = plugins.names(layouts)
IDENTITY = (
    "media_path",
    "split",
    "subject_id",
    "label",
    "pai_species",
    "fine_type",
    "native_label",
)
NEAR_PX = {"celeba_spoof": 1, "msu_mfsd": 0, "replay_attack": 0, "siw": 0}
"""How far a shipped box may lie from a drawn one: CelebA-Spoof rounds to a grid of 224 pixels."""


@dataclass(frozen=True)
class World:
    drawn: Artifact
    samples: Artifact

    def rows(self, artifact: Artifact, dataset: str) -> dict[str, dict[str, Any]]:
        rows = [row for row in artifact.read().to_pylist() if row["dataset"] == dataset]
        by_id = {row["sample_id"]: row for row in rows}
        assert len(by_id) == len(rows)
        return by_id


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The smoke world with fewer presentations, of which each kind of attack still occurs."""
    folder = UPath(tmp_path_factory.mktemp("world"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(world.BUDGETS, "smoke", Budget(train=4, dev=2, test=6))
        patch.setitem(world.SOURCE_BUDGETS, "smoke", Budget(train=16, dev=0, test=8))
        config = WorldConfig(scale="smoke")
        made = world.run(config, out=folder / "world", engine=LocalEngine())
    config = IngestConfig(datasets=tuple(DATASETS))
    samples = ingest.run(config, world=made, out=folder / "samples", engine=LocalEngine())
    return World(made, samples)


@pytest.fixture(scope="module")
def faces(drawn: World, tmp_path_factory: pytest.TempPathFactory) -> Sequence[dict[str, Any]]:
    """The first frame of every sample whose dataset ships face boxes."""
    cv2.setNumThreads(1)
    folder = UPath(tmp_path_factory.mktemp("faces"))
    names = tuple(
        name
        for name in DATASETS
        if plugins.load(adapters, "ADAPTER", name).boxes is not adapters.no_boxes
    )
    config = IngestConfig(datasets=names)
    samples = ingest.run(config, world=drawn.drawn, out=folder / "samples", engine=LocalEngine())
    settings = CropConfig(
        image_size=32, frames=FramePreset.FIRST, detector="none", max_reject_fraction=0.05
    )
    made = crop.run(settings, samples=samples, out=folder / "faces", engine=LocalEngine())
    return made.read(["dataset", "sample_id", "frame", "box", "box_source"]).to_pylist()


def test_every_dataset_with_an_adapter_is_drawn_but_the_users_own() -> None:
    assert set(plugins.names(adapters)) - set(DATASETS) == {"image_folder"}


@pytest.mark.parametrize("dataset", DATASETS)
def test_the_adapter_reads_back_exactly_what_was_drawn(drawn: World, dataset: str) -> None:
    ledger, samples = drawn.rows(drawn.drawn, dataset), drawn.rows(drawn.samples, dataset)
    assert ledger
    assert sorted(samples) == sorted(ledger)
    for sample_id, row in ledger.items():
        found = {name: samples[sample_id][name] for name in IDENTITY}
        assert found == {name: row[name] for name in IDENTITY}, sample_id


@pytest.mark.parametrize("dataset", DATASETS)
def test_the_size_of_every_medium_that_exists_is_noted(drawn: World, dataset: str) -> None:
    ledger, samples = drawn.rows(drawn.drawn, dataset), drawn.rows(drawn.samples, dataset)
    there = {sample_id for sample_id, row in samples.items() if row["media_bytes"] is not None}
    assert there == {sample_id for sample_id, row in ledger.items() if row["has_media"]}
    assert all(samples[sample_id]["media_bytes"] > 0 for sample_id in there)


def test_the_world_holds_an_annotation_whose_file_is_lost(drawn: World) -> None:
    assert not all(drawn.drawn.read(["has_media"])["has_media"].to_pylist())


def test_parts_hold_one_dataset_in_the_order_asked_for(drawn: World) -> None:
    held = [set(part.read(["dataset"])["dataset"].to_pylist()) for part in drawn.samples.parts()]
    assert all(len(names) == 1 for names in held)
    assert list(dict.fromkeys(names.pop() for names in held)) == DATASETS


def test_later_stages_are_told_where_the_drawn_datasets_lie(drawn: World) -> None:
    roots = drawn.samples.notes[ingest.ROOTS]
    assert roots == {name: str(drawn.drawn.path / name) for name in DATASETS}


@pytest.mark.parametrize("dataset", sorted(NEAR_PX))
def test_shipped_boxes_are_those_of_the_drawn_faces(
    drawn: World, faces: Sequence[dict[str, Any]], dataset: str
) -> None:
    ledger = drawn.rows(drawn.drawn, dataset)
    shipped = [face for face in faces if face["dataset"] == dataset]
    shipped = [face for face in shipped if face["box_source"] == "sidecar"]
    assert len(shipped) > 0.8 * len(ledger)
    far = [
        face["sample_id"]
        for face in shipped
        if min(distance(face["box"], box) for box in boxes_near(ledger[face["sample_id"]], face))
        > NEAR_PX[dataset]
    ]
    planted = 1 if dataset == "celeba_spoof" else 0  # one box begins left of its picture
    assert len(far) == planted


def test_boxes_from_eye_positions_cover_the_drawn_faces(
    drawn: World, faces: Sequence[dict[str, Any]]
) -> None:
    ledger = drawn.rows(drawn.drawn, "oulu_npu")
    shipped = [face for face in faces if face["dataset"] == "oulu_npu"]
    assert len(shipped) == len(ledger)
    assert {face["box_source"] for face in shipped} == {"sidecar"}
    for face in shipped:
        row = ledger[face["sample_id"]]
        assert overlap(face["box"], row["boxes"][face["frame"]]) > 0.6, face["sample_id"]


def test_every_dataset_that_ships_boxes_is_compared(faces: Sequence[dict[str, Any]]) -> None:
    sources = {face["dataset"] for face in faces if face["box_source"] == "sidecar"}
    assert sources == {*NEAR_PX, "oulu_npu"}


def boxes_near(row: dict[str, Any], face: dict[str, Any]) -> list[list[int]]:
    """Return the drawn boxes of a frame and its neighbours: not every frame ships its own."""
    boxes: list[list[int]] = row["boxes"]
    return boxes[max(0, face["frame"] - crop.REACH) : face["frame"] + crop.REACH + 1]


def distance(box: Sequence[int], other: Sequence[int]) -> int:
    """Return how far the farthest of two boxes' corners lie from each other, in pixels."""
    return max(abs(a - b) for a, b in zip(box, other, strict=True))


def overlap(box: Sequence[int], other: Sequence[int]) -> float:
    """Return the intersection over the union of two boxes."""
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    common = max(0, width) * max(0, height)
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (box, other)]
    return common / (sum(areas) - common)
