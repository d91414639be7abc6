from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest

from ifas_model.vocabulary import Label, PaiSpecies, Split
from scf_pipeline.miniature.layouts import Budget
from scf_pipeline.miniature.layouts.casia_mfsd import LAYOUT

NAME = re.compile(
    r"(?P<split>train|test)_release/(?P<subject>\d{1,2})/(?P<code>HR_[1-4]|[1-8])\.avi"
)
TRUTH = {
    **dict.fromkeys(["1", "2", "HR_1"], (Label.BONA_FIDE, None, None)),
    **dict.fromkeys(["3", "4", "HR_2"], (Label.ATTACK, PaiSpecies.PRINT, "print_warped")),
    **dict.fromkeys(["5", "6", "HR_3"], (Label.ATTACK, PaiSpecies.PRINT, "print_cut")),
    **dict.fromkeys(["7", "8", "HR_4"], (Label.ATTACK, PaiSpecies.REPLAY, "replay_tablet")),
}
SIZES = {"low": (168, 224), "normal": (224, 168), "high": (240, 136)}


def plan(seed=0, train=40, test=60):
    return LAYOUT.plan(Budget(train=train, dev=99, test=test), np.random.default_rng(seed))


def test_names_are_official_and_say_what_the_plan_says() -> None:
    for p in plan():
        match = NAME.fullmatch(p.media_path)
        assert match, p.media_path
        assert match["code"] == p.native_label
        assert (p.label, p.pai_species, p.fine_type) == TRUTH[match["code"]]
        last = {Split.TRAIN: 20, Split.TEST: 30}[p.split]
        assert 1 <= int(match["subject"]) <= last
        shift = 20 if match["split"] == "test" else 0
        assert p.subject_id == p.person == p.session == str(int(match["subject"]) + shift)
        assert p.split == match["split"]


def test_both_subjects_of_number_1_are_there_and_are_two_people() -> None:
    for seed in range(3):
        ones = {p.person for p in plan(seed=seed) if "_release/1/" in p.media_path}
        assert ones == {"1", "21"}


def test_the_budget_is_met_with_all_twelve_codes_in_both_splits_and_no_dev() -> None:
    planned = plan()
    assert Counter(p.split for p in planned) == {Split.TRAIN: 40, Split.TEST: 60}
    assert Counter(p.label for p in planned) == {Label.ATTACK: 60, Label.BONA_FIDE: 40}
    for split in (Split.TRAIN, Split.TEST):
        assert {p.native_label for p in planned if p.split is split} == set(TRUTH)
        assert len({p.person for p in planned if p.split is split}) >= 4
    assert len({p.media_path for p in planned}) == 100


def test_the_plan_follows_the_seed() -> None:
    assert plan(seed=3) == plan(seed=3)
    assert plan(seed=3) != plan(seed=4)


@pytest.mark.parametrize(("code", "sensor"), [("1", "low"), ("8", "normal"), ("HR_2", "high")])
def test_codes_name_the_camera(code, sensor) -> None:
    assert {p.sensor for p in plan() if p.native_label == code} == {sensor}


def test_the_release_holds_clips_and_nothing_else(release, decode, difference) -> None:
    casia = release(LAYOUT, train=13, test=13)
    files = {p.relative_to(casia.root).as_posix() for p in casia.root.rglob("*.*")}
    assert files == {p.media_path for p in casia.presentations}
    for p in casia.presentations:
        frames, tag, codec = decode(casia.root / p.media_path)
        assert (len(frames), tag, codec) == (10, 0, "mpeg4")
        assert frames[0].shape[:2] == SIZES[p.sensor]
        assert difference(frames[4], casia.clips[p.media_path].frames[4]) < 3
