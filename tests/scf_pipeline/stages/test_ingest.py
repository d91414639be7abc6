from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from upath import UPath

from ifas_model import plugins
from ifas_model.vocabulary import Label, PaiSpecies, Split
from scf_pipeline import adapters
from scf_pipeline.adapters import Adapter
from scf_pipeline.engine.local import LocalEngine
from scf_pipeline.errors import ArtifactError, ConfigError, DatasetLayoutError
from scf_pipeline.schema import SAMPLE_SCHEMA, Sample
from scf_pipeline.stages import ingest
from scf_pipeline.stages.ingest import ROOTS, IngestConfig, run, settle
from scf_pipeline.store import Artifact

CONFIG = IngestConfig(datasets=("image_folder",))
NAMES = (
    "dev/bona_fide/b.png",
    "test/replay/tablet/c.mp4",
    "train/mask/paper_mask_cut/d.png",
    "train/print/a.png",
    "train/print/print_cut/e.png",
)


def fill(root: Path, names: Sequence[str] = NAMES) -> Path:
    """Write files of 1, 2, 3 ... bytes; ingest opens none of them."""
    for number, name in enumerate(names, start=1):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"." * number)
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return fill(tmp_path / "pictures")


@pytest.fixture
def out(tmp_path: Path) -> UPath:
    return UPath(tmp_path / "samples")


def ingest_pictures(root: Path, out: UPath, config: IngestConfig = CONFIG) -> Artifact:
    return run(config, roots={"image_folder": root}, out=out, engine=LocalEngine())


def sample(name: str, **changes: Any) -> Sample:
    given = {
        "sample_id": f"image_folder/{name}",
        "dataset": "image_folder",
        "media_path": f"{name}.png",
        "split": Split.TRAIN,
        "subject_id": None,
        "label": Label.ATTACK,
        "pai_species": PaiSpecies.PRINT,
        "fine_type": "print",
        "native_label": "print",
    }
    return Sample(**given | changes)


def let_scan(patch: pytest.MonkeyPatch, samples: Sequence[Sample]) -> None:
    """Let the adapter of pictures list these samples, whatever lies at the root."""
    known = plugins.load(adapters, "ADAPTER", "image_folder")

    def scan(_: Path) -> Iterator[Sample]:
        yield from samples

    def adapter(*_: Any, **__: Any) -> Adapter:
        return replace(known, scan=scan)

    patch.setattr(ingest, "known_adapter", adapter)


# Rows


def test_every_sample_becomes_a_row_with_the_size_of_its_file(root: Path, out: UPath) -> None:
    rows = {row["media_path"]: row for row in ingest_pictures(root, out).read().to_pylist()}
    assert {name: row["media_bytes"] for name, row in rows.items()} == {
        name: number for number, name in enumerate(NAMES, start=1)
    }
    assert rows["test/replay/tablet/c.mp4"] == {
        "sample_id": "image_folder/test/replay/tablet/c",
        "dataset": "image_folder",
        "split": "test",
        "subject_id": None,
        "label": "attack",
        "pai_species": "replay",
        "fine_type": "tablet",
        "native_label": "replay",
        "media_path": "test/replay/tablet/c.mp4",
        "media_bytes": 2,
        "reject": None,
    }


def test_rows_keep_the_schema_of_samples(root: Path, out: UPath) -> None:
    assert ingest_pictures(root, out).read().schema == SAMPLE_SCHEMA


def test_a_folder_of_frames_has_the_size_of_its_files(
    root: Path, out: UPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(root / "clip", ["1.jpg", "2.jpg", "3.jpg"])
    let_scan(monkeypatch, [sample("clip", media_path="clip")])
    assert ingest_pictures(root, out).read()["media_bytes"].to_pylist() == [6]


def test_a_medium_that_is_not_there_is_a_row_without_a_size(
    root: Path, out: UPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_scan(monkeypatch, [sample("lost")])
    made = ingest_pictures(root, out)
    assert made.read()["media_bytes"].to_pylist() == [None]
    assert made.counts.live == 1  # crop rejects it as missing


def test_two_ingests_from_two_places_are_identical(tmp_path: Path) -> None:
    here, there = (fill(tmp_path / place) for place in ("here", "there"))
    made = [ingest_pictures(root, UPath(tmp_path / f"s-{root.name}")) for root in (here, there)]
    assert made[0].identity == made[1].identity
    assert [one.notes[ROOTS] for one in made] == [
        {"image_folder": str(here)},
        {"image_folder": str(there)},
    ]


def test_an_object_store_takes_samples(root: Path) -> None:
    made = ingest_pictures(root, UPath("memory://test-ingest/samples"))
    assert made.read().num_rows == len(NAMES)


# Parts and counts


def test_parts_hold_one_dataset_and_are_numbered_in_the_order_asked_for(
    root: Path, out: UPath, tmp_path: Path
) -> None:
    siw = tmp_path / "siw"
    fill(siw, ["Train/live/003/003-1-1-1-1.mov", "Test/spoof/001/001-1-2-1-1.mov"])
    config = IngestConfig(datasets=("siw", "image_folder"), part_samples=2)
    made = run(config, roots={"image_folder": root, "siw": siw}, out=out, engine=LocalEngine())
    held = [part.read()["dataset"].to_pylist() for part in made.parts()]
    pictures = "image_folder"
    assert held == [["siw", "siw"], [pictures, pictures], [pictures, pictures], [pictures]]
    assert [part.number for part in made.parts()] == [0, 1, 2, 3]


def test_counts_tell_the_samples_of_each_dataset(root: Path, out: UPath, tmp_path: Path) -> None:
    siw = fill(
        tmp_path / "siw", ["Train/live/003/003-1-1-1-1.mov", "Test/spoof/001/001-1-2-1-1.mov"]
    )
    config = IngestConfig(datasets=("image_folder", "siw"))
    made = run(config, roots={"image_folder": root, "siw": siw}, out=out, engine=LocalEngine())
    tallies = made.counts.datasets.items()
    assert {name: (tally.rows_in, tally.live) for name, tally in tallies} == {
        "image_folder": (5, 5),
        "siw": (2, 2),
    }


def test_an_interrupted_ingest_leaves_no_samples_that_are_gone_since(
    root: Path, out: UPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = IngestConfig(datasets=("image_folder",), part_samples=1)
    with monkeypatch.context() as patch:
        patch.setattr(ingest.ArtifactWriter, "seal", stop)
        with pytest.raises(KeyboardInterrupt):
            ingest_pictures(root, out, config)
    assert len(list((out / "data").iterdir())) == len(NAMES)
    (root / NAMES[0]).unlink()
    made = ingest_pictures(root, out, config)
    assert made.read()["media_path"].to_pylist() == list(NAMES[1:])


def stop(*_: Any, **__: Any) -> Artifact:
    raise KeyboardInterrupt


# Contested species


@pytest.mark.parametrize(
    ("contested", "cut_photo", "paper_mask"),
    [
        ("recommended", "print", "mask"),  # as the adapter reads them
        ("mask", "mask", "mask"),
        ("print", "print", "print"),
    ],
)
def test_a_policy_settles_paper_masks_and_cut_photos_and_nothing_else(
    root: Path, out: UPath, contested: Any, cut_photo: str, paper_mask: str
) -> None:
    config = IngestConfig(datasets=("image_folder",), contested=contested)
    rows = ingest_pictures(root, out, config).read().to_pylist()
    assert {row["media_path"]: row["pai_species"] for row in rows} == {
        "dev/bona_fide/b.png": None,
        "test/replay/tablet/c.mp4": "replay",
        "train/mask/paper_mask_cut/d.png": paper_mask,
        "train/print/a.png": "print",
        "train/print/print_cut/e.png": cut_photo,
    }


def test_a_settled_sample_differs_in_its_species_only() -> None:
    mask = sample("a", fine_type="paper_mask", pai_species=PaiSpecies.MASK)
    assert settle(mask, "print") == replace(mask, pai_species=PaiSpecies.PRINT)


def test_the_policy_is_part_of_the_identity(root: Path, tmp_path: Path) -> None:
    policies = ("recommended", "mask")
    configs = [IngestConfig(datasets=("image_folder",), contested=policy) for policy in policies]
    made = [ingest_pictures(root, UPath(tmp_path / c.contested), c) for c in configs]
    assert made[0].fingerprint != made[1].fingerprint


# Listing a sealed artifact again


def test_datasets_that_did_not_change_pass_again(root: Path, out: UPath) -> None:
    first = ingest_pictures(root, out)
    manifest = (out / "manifest.json").read_bytes()
    assert ingest_pictures(root, out).identity == first.identity
    assert (out / "manifest.json").read_bytes() == manifest


def test_an_added_file_is_refused_by_name(root: Path, out: UPath) -> None:
    ingest_pictures(root, out)
    fill(root, ["train/print/new.png"])
    with pytest.raises(ArtifactError) as caught:
        ingest_pictures(root, out)
    what = "1 samples changed: image_folder: train/print/new.png (was not there)."
    assert caught.value.what.endswith(what)
    assert caught.value.where == str(out)


def test_a_removed_file_is_refused_by_name(root: Path, out: UPath) -> None:
    ingest_pictures(root, out)
    (root / NAMES[2]).unlink()
    with pytest.raises(ArtifactError) as caught:
        ingest_pictures(root, out)
    assert f"1 samples changed: image_folder: {NAMES[2]} (is gone)." in caught.value.what


def test_a_resized_file_is_refused_with_both_sizes(root: Path, out: UPath) -> None:
    ingest_pictures(root, out)
    (root / NAMES[0]).write_bytes(b"." * 77)
    with pytest.raises(ArtifactError) as caught:
        ingest_pictures(root, out)
    diff = f"image_folder: {NAMES[0]} (media_bytes was 1, is 77)"
    assert f"1 samples changed: {diff}." in caught.value.what


def test_an_annotation_that_changed_is_refused_with_both_readings(
    root: Path, out: UPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files are the same, but the dataset now says something else of them."""
    let_scan(monkeypatch, [sample("a"), sample("b")])
    ingest_pictures(root, out)
    let_scan(monkeypatch, [sample("a"), sample("b", native_label="photo", split=Split.DEV)])
    with pytest.raises(ArtifactError) as caught:
        ingest_pictures(root, out)
    diff = "image_folder: b.png (split was 'train', is 'dev', native_label was 'print', is 'photo')"
    assert f"1 samples changed: {diff}." in caught.value.what


def test_a_changed_dataset_is_named_with_five_changes_at_most(root: Path, out: UPath) -> None:
    ingest_pictures(root, out)
    fill(root, [f"train/replay/{number}.png" for number in range(7)])
    with pytest.raises(ArtifactError, match="but 7 samples changed") as caught:
        ingest_pictures(root, out)
    assert "train/replay/4.png" in caught.value.what
    assert "train/replay/5.png" not in caught.value.what


def test_a_refused_artifact_stays_as_it_was(root: Path, out: UPath) -> None:
    first = ingest_pictures(root, out)
    extra = root / "train/print/new.png"
    fill(root, ["train/print/new.png"])
    with pytest.raises(ArtifactError):
        ingest_pictures(root, out)
    extra.unlink()
    assert ingest_pictures(root, out).identity == first.identity


def test_datasets_that_moved_are_the_same_samples_at_their_new_place(
    root: Path, out: UPath
) -> None:
    first = ingest_pictures(root, out)
    moved = root.rename(root.with_name("moved"))
    again = ingest_pictures(moved, out)
    assert again.identity == first.identity
    assert again.counts.to_dict() == first.counts.to_dict()
    assert again.notes[ROOTS] == Artifact.open(out).notes[ROOTS] == {"image_folder": str(moved)}


# Refusals


def test_two_files_of_one_id_are_refused_across_parts(
    root: Path, out: UPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_scan(monkeypatch, [sample("a"), sample("b"), sample("a", media_path="a.mp4")])
    with pytest.raises(DatasetLayoutError, match="'image_folder/a' occurs twice") as caught:
        ingest_pictures(root, out, IngestConfig(datasets=("image_folder",), part_samples=1))
    assert caught.value.where == str(root / "a.mp4")
    assert not (out / "manifest.json").exists()


def test_a_root_without_any_sample_is_refused(
    root: Path, out: UPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_scan(monkeypatch, [])
    with pytest.raises(DatasetLayoutError, match="must hold samples, but holds none") as caught:
        ingest_pictures(root, out)
    assert caught.value.where == str(root)
    assert "`scf datasets image_folder`" in caught.value.fix
    assert not (out / "manifest.json").exists()


def test_an_unknown_dataset_is_answered_with_the_nearest(root: Path, out: UPath) -> None:
    config = IngestConfig(datasets=("oulu_mpu",))
    with pytest.raises(ConfigError, match="is 'oulu_mpu'") as caught:
        run(config, roots={"image_folder": root}, out=out, engine=LocalEngine())
    assert "Did you mean oulu_npu" in caught.value.fix


def test_datasets_without_a_root_are_named_together(root: Path, out: UPath) -> None:
    config = IngestConfig(datasets=("siw", "image_folder", "wmca"))
    with pytest.raises(ConfigError, match="siw, wmca has none") as caught:
        run(config, roots={"image_folder": root}, out=out, engine=LocalEngine())
    assert "`siw: path/to/its/root`" in caught.value.fix


def test_a_root_that_is_no_folder_is_refused(root: Path, out: UPath) -> None:
    with pytest.raises(ConfigError, match="must be a folder") as caught:
        ingest_pictures(root / "absent", out)
    assert str(root / "absent") in caught.value.what


def test_a_folder_of_other_settings_is_refused(root: Path, out: UPath) -> None:
    ingest_pictures(root, out)
    with pytest.raises(ArtifactError, match="part_samples must be 7 but is 128"):
        ingest_pictures(root, out, IngestConfig(datasets=("image_folder",), part_samples=7))


@pytest.mark.parametrize(
    "given", [{"datasets": ()}, {"part_samples": 0}, {"contested": "paper"}, {"root": "/"}]
)
def test_settings_out_of_range_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(given))):
        IngestConfig(**{"datasets": ("siw",)} | given)


def test_no_picture_is_opened(root: Path, out: UPath) -> None:
    """Every file here is a few dots, which no decoder takes."""
    rows = ingest_pictures(root, out).read()
    assert rows.num_rows == len(NAMES)
    assert rows["reject"].null_count == len(NAMES)
