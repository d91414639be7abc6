from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ifas_model.vocabulary import Label, PaiSpecies, Split
from scf_pipeline.miniature.layouts import Budget, Clip, Presentation
from scf_pipeline.miniature.layouts.hifi_mask import LAYOUT

LINE = re.compile(
    r"CASIA_HiFiMask/Data/(?P<complexion>[1-3])_(?P<subject>\d{2})_(?P<type>[0-3])_(?P<scene>[1-6])_"
    r"(?P<light>[0-6])_(?P<sensor>[0-8])(?:/(?P<frame>\d{4})\.png)?"
)
BUDGET = Budget(train=48, dev=24, test=48)
DEV = "05 17 49 51 63 66"
TEST = "01 02 03 04 11 14 15 16 27 28 30 35 36 37 41 42 43 46 47 48 50 57 58 61"
FINE = {"0": None, "1": "transparent_mask", "2": "plaster_mask", "3": "resin_mask"}


def plan(budget: Budget = BUDGET, seed: int = 0) -> list[Presentation]:
    return LAYOUT.plan(budget, np.random.default_rng(seed))


def fields(path: str) -> dict[str, str]:
    return LINE.fullmatch(f"CASIA_HiFiMask/{path}").groupdict()


@pytest.mark.parametrize("budget", [Budget(train=3, dev=3, test=3), BUDGET])
def test_every_name_is_official_and_unique(budget) -> None:
    names = [p.media_path for p in plan(budget)]
    assert all(fields(name)["frame"] is None for name in names)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("seed", range(4))
def test_ledger_says_what_the_name_says(seed) -> None:
    for p in plan(seed=seed):
        unit = fields(p.media_path)
        assert p.native_label == unit["type"]
        assert p.fine_type == FINE[unit["type"]]
        assert p.label is (Label.BONA_FIDE if unit["type"] == "0" else Label.ATTACK)
        assert p.pai_species is (None if unit["type"] == "0" else PaiSpecies.MASK)
        assert p.instrument == (p.fine_type or "face")
        assert p.subject_id == p.person == unit["subject"]
        assert p.sensor == unit["sensor"]
        assert (unit["light"] == "0") is (unit["scene"] in "45")
        expected = {True: Split.TEST, False: Split.TRAIN}[p.subject_id in TEST.split()]
        assert p.split is (Split.DEV if p.subject_id in DEV.split() else expected)


def test_a_subject_has_one_complexion() -> None:
    units = [fields(p.media_path) for p in plan(Budget(train=5000, dev=500, test=5000))]
    pairs = {(unit["subject"], unit["complexion"]) for unit in units}
    assert len(pairs) == 75
    assert [sum(c == code for _, c in pairs) for code in "123"] == [25, 25, 25]
    published = ("1_19", "2_70", "2_54", "1_05", "3_49", "3_63", "2_51", "2_66", "3_43", "2_42")
    assert {tuple(reversed(unit.split("_"))) for unit in published} < pairs


def test_splits_hold_every_kind_and_enough_subjects() -> None:
    for split, size, least in ((Split.TRAIN, 48, 4), (Split.DEV, 24, 2), (Split.TEST, 48, 4)):
        own = [p for p in plan() if p.split is split]
        assert len(own) == size
        assert {p.native_label for p in own} == set("0123")
        assert len({p.subject_id for p in own}) >= least
        assert sum(p.label is Label.ATTACK for p in own) == round(0.6 * size)


def test_light_0_occurs_for_bona_fide_and_attacks() -> None:
    outdoors = [p for p in plan() if fields(p.media_path)["light"] == "0"]
    assert {p.label for p in outdoors} == set(Label)


def test_plan_depends_on_the_seed_only() -> None:
    assert plan(seed=5) == plan(seed=5) != plan(seed=6)


def test_unit_holds_ten_lossless_crops(tmp_path) -> None:
    presentation = plan()[0]
    frames = list(np.random.default_rng(1).integers(0, 256, (10, 128, 128, 3), np.uint8))
    LAYOUT.write(
        tmp_path, presentation, Clip(frames=frames, boxes=[(24, 24, 104, 104)] * 10, eyes=[])
    )
    paths = sorted((tmp_path / presentation.media_path).iterdir())
    assert [p.name for p in paths] == [f"{n:04}.png" for n in range(10)]
    for path, frame in zip(paths, frames, strict=True):
        with Image.open(path) as picture:
            assert np.array_equal(np.asarray(picture), frame)


def read(path: Path) -> dict[str, int]:
    lines = [line.split(" ") for line in path.read_text().splitlines()]
    return {name: int(code) for name, code in lines}


def test_lists_of_protocol_1_call_attacks_1(tmp_path) -> None:
    presentations = plan()
    LAYOUT.finish(tmp_path, presentations)
    assert len(list((tmp_path / "protocol").iterdir())) == 6
    for split in Split:
        own = {
            p.media_path: int(p.label is Label.ATTACK) for p in presentations if p.split is split
        }
        prefix = tmp_path / "protocol" / "CASIA_HiFiMask@p1"
        videos = read(Path(f"{prefix}_video_{split}.txt"))
        images = read(Path(f"{prefix}_image_{split}.txt"))
        assert videos == {f"CASIA_HiFiMask/{path}": code for path, code in own.items()}
        assert len(images) == 10 * len(videos)
        assert all(LINE.fullmatch(name)["frame"] is not None for name in images)
        assert all(videos[name.rpartition("/")[0]] == code for name, code in images.items())
