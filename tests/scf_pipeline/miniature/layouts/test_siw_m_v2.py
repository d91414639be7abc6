from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import av
import numpy as np
import pytest

from ifas_model.vocabulary import Label, PaiSpecies, Split
from scf_pipeline.miniature.layouts import Budget, Clip, Presentation
from scf_pipeline.miniature.layouts.siw_m_v2 import LAYOUT

NAME = re.compile(
    r"(?:Live|Spoof/(?P<folder>[A-Za-z_]+))/(?P<prefix>Live|Paper|Replay|"
    r"Mask_(?:Half|Paper|Trans|Silicone|Mann)|Makeup_(?:Co|Im|Ob)|"
    r"Partial_(?:Funnyeye|Paperglass|Eye|Mouth))_(?P<index>\d+)\.(?P<ext>mov|mp4|avi)"
)
BUDGET = Budget(train=60, dev=20, test=60)
TABLE = {
    "Paper": ({"Paper", "Print"}, PaiSpecies.PRINT, "print"),
    "Replay": ({"Replay"}, PaiSpecies.REPLAY, "replay"),
    "Mask_Half": ({"Mask_HalfMask"}, PaiSpecies.MASK, "half_mask"),
    "Mask_Paper": ({"Mask_PaperMask"}, PaiSpecies.MASK, "paper_mask"),
    "Mask_Trans": ({"Mask_TransparentMask"}, PaiSpecies.MASK, "transparent_mask"),
    "Mask_Silicone": ({"Silicone"}, PaiSpecies.MASK, "silicone_mask"),
    "Mask_Mann": ({"Mannequin"}, PaiSpecies.MANNEQUIN, "mannequin"),
    "Makeup_Co": ({"Makeup_Cosmetic"}, PaiSpecies.MAKEUP, "makeup_cosmetic"),
    "Makeup_Im": ({"Makeup_Impersonation"}, PaiSpecies.MAKEUP, "makeup_impersonation"),
    "Makeup_Ob": ({"Makeup_Obfuscation"}, PaiSpecies.MAKEUP, "makeup_obfuscation"),
    "Partial_Funnyeye": ({"Partial_FunnyeyeGlasses"}, PaiSpecies.PARTIAL, "partial_funnyeye"),
    "Partial_Paperglass": ({"Partial_PaperGlasses"}, PaiSpecies.PARTIAL, "partial_paper_glasses"),
    "Partial_Eye": ({"Partial_Eye"}, PaiSpecies.PARTIAL, "partial_eye_cut"),
    "Partial_Mouth": ({"Partial_Mouth"}, PaiSpecies.PARTIAL, "partial_mouth_cut"),
    "Live": ({None}, None, None),
}

INSTRUMENTS = {
    "print": "print_flat",
    "replay": "tablet",
    "partial_funnyeye": "funny_glasses",
    "partial_paper_glasses": "paper_glasses",
    "partial_eye_cut": "eye_cut",
    "partial_mouth_cut": "mouth_cut",
}
"""What is drawn, where it is not called as the fine type."""


def plan(budget: Budget = BUDGET, seed: int = 0) -> list[Presentation]:
    return LAYOUT.plan(budget, np.random.default_rng(seed))


@pytest.mark.parametrize("budget", [Budget(train=4, dev=0, test=4), BUDGET])
def test_every_name_is_official_and_unique(budget) -> None:
    names = [p.media_path for p in plan(budget)]
    assert all(NAME.fullmatch(name) for name in names)
    assert len({Path(name).stem for name in names}) == len(names)


@pytest.mark.parametrize("seed", range(4))
def test_ledger_says_what_the_prefix_says(seed) -> None:
    for p in plan(seed=seed):
        fields = NAME.fullmatch(p.media_path).groupdict()
        folders, species, fine_type = TABLE[fields["prefix"]]
        assert fields["folder"] in folders
        assert (p.pai_species, p.fine_type) == (species, fine_type)
        assert p.label is (Label.ATTACK if species else Label.BONA_FIDE)
        assert p.native_label == fields["prefix"]
        assert p.subject_id is None
        assert p.instrument == INSTRUMENTS.get(p.fine_type, p.fine_type or "face")
        assert p.sensor == fields["ext"]


def test_splits_hold_every_kind_and_enough_people() -> None:
    presentations = plan()
    for split, size in ((Split.TRAIN, 80), (Split.TEST, 60)):
        own = [p for p in presentations if p.split is split]
        assert len(own) == size
        assert {p.native_label for p in own} == set(TABLE)
        assert len({p.person for p in own}) >= 4
        assert sum(p.label is Label.ATTACK for p in own) == round(0.6 * size)
    people = [{p.person for p in presentations if p.split is s} for s in (Split.TRAIN, Split.TEST)]
    assert not people[0] & people[1]


def test_both_names_of_the_print_folder_occur() -> None:
    folders = {Path(p.media_path).parent.name for p in plan() if p.native_label == "Paper"}
    assert folders == {"Paper", "Print"}


def test_containers_do_not_tell_attacks_from_bona_fide() -> None:
    suffixes = {
        label: {Path(p.media_path).suffix for p in plan() if p.label is label} for label in Label
    }
    assert suffixes == {label: {".mov", ".mp4", ".avi"} for label in Label}


def test_plan_never_exceeds_the_official_numbers() -> None:
    presentations = plan(Budget(train=3000, dev=0, test=3000))
    stems = [Path(p.media_path).stem for p in presentations]
    assert len(set(stems)) == len(stems)
    counts = Counter((p.split, p.native_label) for p in presentations)
    assert counts[Split.TEST, "Mask_Paper"] == 6
    assert counts[Split.TRAIN, "Mask_Paper"] == 11
    assert counts[Split.TRAIN, "Mask_Silicone"] + counts[Split.TEST, "Mask_Silicone"] == 17


def test_plan_depends_on_the_seed_only() -> None:
    assert plan(seed=5) == plan(seed=5) != plan(seed=6)


def test_each_container_holds_ten_frames_of_its_sensor(tmp_path) -> None:
    by_sensor = {p.sensor: p for p in plan()}
    assert set(by_sensor) == {"mov", "mp4", "avi"}
    for name, presentation in by_sensor.items():
        sensor = LAYOUT.sensors[name]
        frames = [np.full((sensor.height, sensor.width, 3), 20 * n, np.uint8) for n in range(10)]
        clip = Clip(frames=frames, boxes=[(1, 1, 9, 9)] * 10, eyes=[])
        LAYOUT.write(tmp_path, presentation, clip)
        with av.open(str(tmp_path / presentation.media_path)) as container:
            codec = container.streams.video[0].codec_context.name
            seen = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert codec == ("mjpeg" if name == "avi" else "h264")
        assert [frame.shape for frame in seen] == [(sensor.height, sensor.width, 3)] * 10
        assert np.allclose([frame.mean() for frame in seen], [20 * n for n in range(10)], atol=4)


def lists(root: Path, presentations: list[Presentation]) -> dict[str, list[str]]:
    LAYOUT.finish(root, presentations)
    return {path.stem: path.read_text().split() for path in (root / "pro_3_text").iterdir()}


def test_lists_give_the_split_of_every_file_but_one(tmp_path) -> None:
    presentations = plan()
    found = lists(tmp_path, presentations)
    assert set(found) == {f"{s}list_{k}" for s in ("train", "test") for k in ("live", "all")}
    assert all(
        stem.startswith("Live_") is ("live" in name) for name in found for stem in found[name]
    )
    unlisted = []
    for p in presentations:
        stem = Path(p.media_path).stem
        kind = "live" if p.label is Label.BONA_FIDE else "all"
        if stem not in found[f"{p.split}list_{kind}"]:
            unlisted.append((stem, p.split))
        other = {Split.TRAIN: "test", Split.TEST: "train"}[p.split]
        assert stem not in found[f"{other}list_{kind}"]
    assert unlisted == [("Partial_Funnyeye_161", Split.TEST)]


def test_lists_name_stems_without_a_file(tmp_path) -> None:
    presentations = plan(Budget(train=3000, dev=0, test=3000))
    stems = {Path(p.media_path).stem for p in presentations}
    found = lists(tmp_path, presentations)
    assert all(len(set(rows) - stems) == 1 for rows in found.values())


def test_train_list_repeats_attacks_to_equal_numbers(tmp_path) -> None:
    rows = lists(tmp_path, plan())["trainlist_all"]
    assert len(rows) == 1400
    assert set(Counter(row.rpartition("_")[0] for row in rows).values()) == {100}
    assert len(set(rows)) < 60


def test_the_release_form_lies_beside_the_videos(tmp_path) -> None:
    LAYOUT.finish(tmp_path, plan())
    assert (tmp_path / "DRA_form_SIWMv2.pdf").read_bytes().startswith(b"%PDF")
