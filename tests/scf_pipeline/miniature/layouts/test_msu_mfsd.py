from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest

from ifas_model.vocabulary import Label, PaiSpecies, Split
from scf_pipeline.miniature.layouts import Budget
from scf_pipeline.miniature.layouts.msu_mfsd import LAYOUT

NAME = re.compile(
    r"scene01/(?P<folder>real|attack)/(?P<cls>real|attack)_client(?P<subject>\d{3})_"
    r"(?P<camera>android|laptop)_SD(?:_(?P<attack>ipad_video|iphone_video|printed_photo))?"
    r"_scene01\.(?P<ext>mp4|mov)"
)
TRAIN = {2, 3, 5, 6, 7, 8, 9, 11, 12, 21, 22, 34, 53, 54, 55}
TEST = {1, 13, 14, 23, 24, 26, 28, 29, 30, 32, 33, 35, 36, 37, 39, 42, 48, 49, 50, 51}
FINE = {
    "printed_photo": (PaiSpecies.PRINT, "print_photo"),
    "ipad_video": (PaiSpecies.REPLAY, "replay_ipad"),
    "iphone_video": (PaiSpecies.REPLAY, "replay_iphone"),
}


@pytest.fixture(scope="module")
def msu(release):
    return release(LAYOUT, train=16, test=16)


def plan(seed=0, train=40, test=60):
    return LAYOUT.plan(Budget(train=train, dev=99, test=test), np.random.default_rng(seed))


def test_names_are_official_and_say_what_the_plan_says() -> None:
    for p in plan():
        match = NAME.fullmatch(p.media_path)
        assert match, p.media_path
        assert (
            match["folder"] == match["cls"] == ("real" if p.label is Label.BONA_FIDE else "attack")
        )
        assert match["ext"] == {"android": "mp4", "laptop": "mov"}[match["camera"]]
        assert (match["subject"], match["camera"]) == (p.subject_id, p.sensor)
        assert (match["attack"] or "real") == p.native_label
        assert (p.pai_species, p.fine_type) == FINE.get(p.native_label, (None, None))
        assert int(p.person) in (TRAIN if p.split is Split.TRAIN else TEST)


def test_the_budget_is_met_with_every_attack_in_both_splits_and_no_dev() -> None:
    planned = plan()
    assert Counter(p.split for p in planned) == {Split.TRAIN: 40, Split.TEST: 60}
    assert Counter(p.label for p in planned) == {Label.ATTACK: 60, Label.BONA_FIDE: 40}
    for split in (Split.TRAIN, Split.TEST):
        assert {p.native_label for p in planned if p.split is split} == {"real", *FINE}
        assert len({p.person for p in planned if p.split is split}) >= 4
    assert len({p.media_path for p in planned}) == 100


def test_the_plan_follows_the_seed() -> None:
    assert plan(seed=3) == plan(seed=3)
    assert plan(seed=3) != plan(seed=4)


def test_clips_decode_upright_once_tag_or_known_turn_is_applied(msu, decode, difference) -> None:
    seen = Counter()
    for p in msu.presentations:
        frames, tag, codec = decode(msu.root / p.media_path)
        assert len(frames) == 10
        assert codec == {"android": "mpeg4", "laptop": "h264"}[p.sensor]
        rotated = p.media_path.startswith("scene01/real/") and "android" in p.media_path
        turned = rotated and p.person in {"003", "005", "006", "007", "008", "009"}
        assert not (turned and tag)
        assert not (tag and p.sensor == "laptop")
        quarter_turns = 2 if turned else tag // 90
        upright = np.rot90(frames[4], quarter_turns)
        assert difference(upright, msu.clips[p.media_path].frames[4]) < 3
        seen[quarter_turns % 4] += 1
    assert set(seen) == {0, 2, 3}


def test_face_files_name_upright_boxes_and_eyes_but_for_one_frame(msu) -> None:
    for p in msu.presentations:
        path = (msu.root / p.media_path).with_suffix(".face")
        rows = [[int(v) for v in line.split(",")] for line in path.read_text().splitlines()]
        clip = msu.clips[p.media_path]
        assert len(rows) == 9
        for number, *values in rows:
            right, left = clip.eyes[number]
            assert values == [*clip.boxes[number], *left, *right]


def test_subject_lists_are_whole_and_end_without_a_newline(msu) -> None:
    for name, clients in (("train", TRAIN), ("test", TEST)):
        data = (msu.root / f"{name}_sub_list.txt").read_bytes()
        assert [int(line) for line in data.split(b"\r\n")] == sorted(clients)
        assert data.count(b"\n") == len(clients) - 1
        assert re.fullmatch(rb"(\d\d\r\n)+\d\d", data)
