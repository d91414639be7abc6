from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest

from ifas_model.vocabulary import Label, PaiSpecies, Split
from scf_pipeline.miniature.layouts import Budget
from scf_pipeline.miniature.layouts.siw import IDS, LAYOUT

NAME = re.compile(
    r"(?P<split>Train|Test)/(?P<folder>live|spoof)/(?P<dir>\d{3})/(?P<subject>\d{3})-"
    r"(?P<sensor>[12])-(?P<type>[123])-(?P<medium>[1-4])-(?P<session>[12])(?:\.m)?\."
    r"(?P<ext>mov|mp4)"
)
TRUTH = {
    "1": (Label.BONA_FIDE, None, None),
    "2": (Label.ATTACK, PaiSpecies.PRINT, "print"),
    "3": (Label.ATTACK, PaiSpecies.REPLAY, "replay"),
}
ATTACKS = {("2", "1"), ("2", "2"), ("3", "1"), ("3", "2"), ("3", "3"), ("3", "4")}


@pytest.fixture(scope="module")
def siw(release):
    return release(LAYOUT, train=20, test=40)


def plan(seed=0):
    return LAYOUT.plan(Budget(train=40, dev=99, test=60), np.random.default_rng(seed))


def test_subjects_are_the_90_and_75_official_ones() -> None:
    train, test = set(IDS[Split.TRAIN]), set(IDS[Split.TEST])
    assert (len(train), len(test), len(train | test)) == (90, 75, 165)
    assert {"003", "150", "151", "152", "155", "156", "157", "159", "160", "165"} <= train
    assert {"001", "153", "154", "158", "161"} <= test


def test_names_are_official_and_say_what_the_plan_says() -> None:
    for p in plan():
        match = NAME.fullmatch(p.media_path)
        assert match, p.media_path
        assert match["split"].lower() == p.split
        assert match["folder"] == ("live" if match["type"] == "1" else "spoof")
        assert match["dir"] == match["subject"] == p.subject_id == p.person
        assert p.person in IDS[p.split]
        assert (match["type"], match["sensor"]) == (p.native_label, p.sensor)
        assert (p.label, p.pai_species, p.fine_type) == TRUTH[p.native_label]
        assert p.session == f"{p.person}-{match['session']}"


def test_the_budget_is_met_with_every_attack_medium_in_both_splits_and_no_dev() -> None:
    planned = plan()
    assert Counter(p.split for p in planned) == {Split.TRAIN: 40, Split.TEST: 60}
    for split in (Split.TRAIN, Split.TEST):
        ours = [NAME.fullmatch(p.media_path) for p in planned if p.split is split]
        attacks = {(m["type"], m["medium"]) for m in ours if m and m["type"] != "1"}
        assert attacks == ATTACKS
        assert len({p.person for p in planned if p.split is split}) >= 4
    assert Counter(p.label for p in planned) == {Label.ATTACK: 60, Label.BONA_FIDE: 40}
    assert len({p.media_path for p in planned}) == 100


def test_the_plan_follows_the_seed() -> None:
    assert plan(seed=3) == plan(seed=3)
    assert plan(seed=3) != plan(seed=4)


def test_only_bona_fide_clips_of_four_subjects_by_sensor_2_have_a_double_suffix() -> None:
    found = 0
    for seed in range(5):
        for p in plan(seed=seed):
            is_one = p.sensor == "2" and p.native_label == "1"
            is_one = is_one and p.person in {"153", "154", "158", "161"}
            assert p.media_path.endswith(".m.mov") is is_one
            found += is_one
    assert found >= 5


def test_clips_decode_to_what_was_drawn(siw, decode, difference) -> None:
    suffixes = Counter()
    for p in siw.presentations:
        frames, tag, codec = decode(siw.root / p.media_path)
        assert (len(frames), tag, codec) == (10, 0, "h264")
        assert frames[0].shape[:2] == (136, 240)
        assert difference(frames[4], siw.clips[p.media_path].frames[4]) < 3
        suffixes[p.media_path.split(".", 1)[1]] += 1
    assert set(suffixes) == {"mov", "mp4", "m.mov"}


def test_face_files_have_a_row_a_frame_and_some_a_row_of_zeros(siw) -> None:
    zeros = Counter()
    for p in siw.presentations:
        lines = (siw.root / p.media_path).with_suffix(".face").read_text().splitlines()
        rows = [tuple(int(value) for value in line.split(" ")) for line in lines]
        boxes = siw.clips[p.media_path].boxes
        assert len(rows) == len(boxes)
        missed = [n for n, row in enumerate(rows) if row == (0, 0, 0, 0)]
        zeros[len(missed)] += 1
        assert all(row == boxes[n] for n, row in enumerate(rows) if n not in missed)
    assert set(zeros) == {0, 1}
