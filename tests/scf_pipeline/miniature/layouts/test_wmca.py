from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import pytest

from ifas_model.vocabulary import Label, PaiSpecies, Split
from scf_pipeline.miniature.layouts import Budget, Clip, Presentation
from scf_pipeline.miniature.layouts.wmca import LAYOUT

NAME = re.compile(
    r"(?:.*/)?(?P<date>\d{2}\.\d{2}\.\d{2})/(?P<client>\d{3})_(?P<session>\d{2})_"
    r"(?P<presenter>\d{3})_(?P<type>[0-4])_(?P<pai>\d{2})\.hdf5"
)
BUDGET = Budget(train=60, dev=40, test=60)
KINDS = {
    None: (None, {"face"}),
    "partial_glasses": (PaiSpecies.PARTIAL, {"funny_glasses", "paper_glasses"}),
    "rigid_mask": (PaiSpecies.MASK, {"resin_mask"}),
    "fake_head": (PaiSpecies.MANNEQUIN, {"mannequin"}),
    "paper_mask": (PaiSpecies.MASK, {"paper_mask"}),
    "silicone_mask": (PaiSpecies.MASK, {"silicone_mask"}),
    "print_flat": (PaiSpecies.PRINT, {"print_flat"}),
    "replay_photo": (PaiSpecies.REPLAY, {"tablet"}),
    "replay_video": (PaiSpecies.REPLAY, {"tablet", "laptop"}),
}


def plan(budget: Budget = BUDGET, seed: int = 0) -> list[Presentation]:
    return LAYOUT.plan(budget, np.random.default_rng(seed))


def fine_type(type_: int, pai: int) -> str | None:
    """Write the published rule a second time, row by row."""
    rows: Sequence[tuple[int, set[int], str]] = (
        (1, {1, 4, 5, 6, 7, 15, 16}, "partial_glasses"),
        (1, {2, 13, 14}, "rigid_mask"),
        (2, {1, 2, 3, 4, 5, 6, 7}, "fake_head"),
        (2, {8, 9, 10, 11}, "paper_mask"),
        (2, {12, 13, 14, 15, 16, 17}, "rigid_mask"),
        (2, {18} | set(range(75, 100)), "silicone_mask"),
        (3, {1, 2, 3, 4, 6, 7, 8, 9, 11, 12, 13, 14}, "print_flat"),
        (3, {5, 10, 15}, "replay_photo"),
        (4, set(range(1, 19)), "replay_video"),
    )
    if type_ == 0:
        return None
    (name,) = (name for t, pais, name in rows if t == type_ and pai in pais)
    return name


@pytest.mark.parametrize("budget", [Budget(train=4, dev=4, test=4), BUDGET])
def test_every_name_is_official_and_unique(budget) -> None:
    names = [p.media_path for p in plan(budget)]
    assert all(NAME.fullmatch(name) for name in names)
    assert all(name.startswith("preprocessed-face-station_RGB/face-station/") for name in names)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("seed", range(4))
def test_ledger_says_what_the_name_says(seed) -> None:
    for p in plan(seed=seed):
        fields = NAME.fullmatch(p.media_path).groupdict()
        assert p.native_label == f"{fields['type']}_{fields['pai']}"
        assert p.fine_type == fine_type(int(fields["type"]), int(fields["pai"]))
        species, instruments = KINDS[p.fine_type]
        assert p.pai_species is species
        assert p.instrument in instruments
        assert p.label is (Label.ATTACK if p.fine_type else Label.BONA_FIDE)
        assert p.subject_id == p.person == fields["client"]
        assert p.num_frames == 12
        assert p.label is Label.ATTACK or fields["presenter"] == "000"


def test_clients_never_straddle_splits() -> None:
    splits: dict[str, set[Split]] = {}
    for seed in range(5):
        for p in plan(Budget(train=200, dev=200, test=200), seed=seed):
            splits.setdefault(p.subject_id, set()).add(p.split)
    assert {len(s) for s in splits.values()} == {1}
    # spot checks against names that were published
    assert splits["002"] == splits["098"] == splits["005"] == {Split.TRAIN}
    assert splits["019"] == splits["018"] == {Split.DEV}
    assert splits["514"] == splits["100"] == splits["101"] == {Split.TEST}


def test_every_category_occurs_where_the_protocol_has_it() -> None:
    for split, size in ((Split.TRAIN, 60), (Split.DEV, 40), (Split.TEST, 60)):
        own = [p for p in plan() if p.split is split]
        assert len(own) == size
        paper = {"paper_mask"} if split is not Split.TEST else set()
        assert {p.fine_type for p in own} == set(KINDS) - paper
        assert sum(p.label is Label.ATTACK for p in own) == round(0.6 * size)
        assert len({p.subject_id for p in own if p.label is Label.BONA_FIDE}) >= 4


def test_a_split_without_budget_stays_empty() -> None:
    assert {p.split for p in plan(Budget(train=0, dev=0, test=20))} == {Split.TEST}


def test_plan_depends_on_the_seed_only() -> None:
    assert plan(seed=5) == plan(seed=5) != plan(seed=6)


def write(root: Path, presentation: Presentation) -> Clip:
    frames = list(np.random.default_rng(1).integers(0, 256, (12, 128, 128, 3), np.uint8))
    clip = Clip(frames=frames, boxes=[(24, 24, 104, 104)] * 12, eyes=[((48, 52), (80, 52))] * 12)
    LAYOUT.write(root, presentation, clip)
    return clip


def test_rgb_pack_is_channel_first_with_unpadded_group_names(tmp_path) -> None:
    presentation = next(p for p in plan() if not p.details)
    clip = write(tmp_path, presentation)
    with h5py.File(tmp_path / presentation.media_path) as file:
        assert list(file) == sorted(f"Frame_{n}" for n in range(12))  # Frame_10 before Frame_2
        for number, frame in enumerate(clip.frames):
            array = file[f"Frame_{number}/array"][()]
            assert (array.shape, array.dtype) == ((3, 128, 128), np.uint8)
            assert np.array_equal(array.transpose(1, 2, 0), frame)
    assert len(list(tmp_path.rglob("*.hdf5"))) == 1


def test_a_few_files_come_in_both_packs(tmp_path) -> None:
    both = [p for p in plan() if p.details]
    assert 0 < len(both) < len(plan()) / 4
    clip = write(tmp_path, both[0])
    twin = both[0].media_path.replace("_RGB/", "_CDIT/")
    with h5py.File(tmp_path / twin) as file:
        arrays = [file[f"Frame_{n}/array"][()] for n in range(12)]
    assert {(a.shape, a.dtype) for a in arrays} == {((4, 128, 128), np.dtype(np.uint8))}
    assert np.abs(arrays[3][0] - clip.frames[3].mean(axis=2)).max() <= 1
    assert len(list(tmp_path.rglob("*.hdf5"))) == 2


def test_the_same_sequence_gives_the_same_bytes(tmp_path) -> None:
    presentation = plan()[0]
    for copy in "ab":
        write(tmp_path / copy, presentation)
    first, second = (tmp_path / copy / presentation.media_path for copy in "ab")
    assert first.read_bytes() == second.read_bytes()


def rows(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_protocol_gives_the_group_of_every_path(tmp_path) -> None:
    presentations = plan()
    LAYOUT.finish(tmp_path, presentations)
    header, *lines = rows(tmp_path / "PROTOCOL-grandtest.csv")
    assert (header[0], header[-1]) == ("filepath", "group")
    found = {f"preprocessed-face-station_RGB/{line[0]}.hdf5": line[-1] for line in lines}
    groups = {Split.TRAIN: "train", Split.DEV: "dev", Split.TEST: "eval"}
    assert found == {p.media_path: groups[p.split] for p in presentations}


def test_illustration_lists_name_only_a_few(tmp_path) -> None:
    presentations = plan()
    LAYOUT.finish(tmp_path, presentations)
    labels = {p.media_path: p.label for p in presentations}
    for name, label in (("attack", Label.ATTACK), ("bonafide", Label.BONA_FIDE)):
        lines = rows(tmp_path / "documentation" / f"{name}_illustration_files.csv")
        assert len(lines) == 3
        assert {labels[f"preprocessed-face-station_RGB/{line[0]}"] for line in lines} == {label}
