from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest

from ifas_model.vocabulary import Label, PaiSpecies, Split
from scf_pipeline.miniature.layouts import Budget
from scf_pipeline.miniature.layouts.oulu_npu import LAYOUT

NAME = re.compile(
    r"(?P<split>Train|Dev|Test)_files/(?P<phone>[1-6])_(?P<session>[1-3])_(?P<subject>\d{2})_"
    r"(?P<code>[1-5])\.(?P<ext>avi|txt)"
)
TRUTH = {
    "1": (Label.BONA_FIDE, None, None),
    "2": (Label.ATTACK, PaiSpecies.PRINT, "print_1"),
    "3": (Label.ATTACK, PaiSpecies.PRINT, "print_2"),
    "4": (Label.ATTACK, PaiSpecies.REPLAY, "replay_1"),
    "5": (Label.ATTACK, PaiSpecies.REPLAY, "replay_2"),
}
USERS = {
    Split.TRAIN: ("Train", range(1, 21)),
    Split.DEV: ("Dev", range(21, 36)),
    Split.TEST: ("Test", range(36, 56)),
}
PHONES = "123456"


@pytest.fixture(scope="module")
def oulu(release):
    return release(LAYOUT, train=14, dev=14, test=14)


def plan(seed=0, train=40, dev=40, test=60):
    budget = Budget(train=train, dev=dev, test=test)
    return LAYOUT.plan(budget, np.random.default_rng(seed))


def rows(path):
    return [line.split(",") for line in path.read_text().splitlines()]


def test_names_are_official_and_say_what_the_plan_says() -> None:
    for p in plan():
        match = NAME.fullmatch(p.media_path)
        assert match, p.media_path
        part, users = USERS[p.split]
        assert (match["split"], match["ext"]) == (part, "avi")
        assert (match["phone"], match["session"]) == (p.sensor, p.session)
        assert match["subject"] == p.subject_id == p.person
        assert int(p.person) in users
        assert match["code"] == p.native_label
        assert (p.label, p.pai_species, p.fine_type) == TRUTH[p.native_label]


def test_the_budget_is_met_with_every_code_in_every_split() -> None:
    planned = plan()
    assert Counter(p.split for p in planned) == {Split.TRAIN: 40, Split.DEV: 40, Split.TEST: 60}
    for split in Split:
        ours = [p for p in planned if p.split is split]
        assert {p.native_label for p in ours} == set(TRUTH)
        assert len([p for p in ours if p.label is Label.ATTACK]) == 0.6 * len(ours)
        assert len({p.person for p in ours}) >= 4
    assert len({p.media_path for p in planned}) == 140


def test_the_plan_follows_the_seed() -> None:
    assert plan(seed=3) == plan(seed=3)
    assert plan(seed=3) != plan(seed=4)


def test_clips_are_portrait_and_decode_to_what_was_drawn(oulu, decode, difference) -> None:
    for p in oulu.presentations:
        frames, tag, codec = decode(oulu.root / p.media_path)
        assert (len(frames), tag, codec) == (10, 0, "mpeg4")
        assert frames[0].shape[:2] == (240, 136)
        assert difference(frames[4], oulu.clips[p.media_path].frames[4]) < 3


def test_eye_files_give_the_right_eye_first_and_lack_one_frame(oulu) -> None:
    for p in oulu.presentations:
        path = (oulu.root / p.media_path).with_suffix(".txt")
        assert NAME.fullmatch(path.relative_to(oulu.root).as_posix())
        numbers = [[int(value) for value in row] for row in rows(path)]
        assert len(numbers) == 9
        for frame, x_right, y_right, x_left, y_left in numbers:
            assert x_right < x_left
            assert ((x_right, y_right), (x_left, y_left)) == oulu.clips[p.media_path].eyes[frame]


def test_protocol_lists_hold_what_the_protocols_say(oulu) -> None:
    folder = oulu.root / "Protocols"
    assert len(list(folder.rglob("*.txt"))) == 3 + 3 + 18 + 18
    for split, (part, _) in USERS.items():
        is_test = split is Split.TEST
        sessions, codes = ("3", "135") if is_test else ("12", "124")
        for phone in PHONES:
            phones = phone if is_test else PHONES.replace(phone, "")
            expected = {
                f"Protocol_1/{part}.txt": (sessions, "12345", PHONES),
                f"Protocol_2/{part}.txt": ("123", codes, PHONES),
                f"Protocol_3/{part}_{phone}.txt": ("123", "12345", phones),
                f"Protocol_4/{part}_{phone}.txt": (sessions, codes, phones),
            }
            for name, (of_session, of_code, of_phone) in expected.items():
                assert sorted(rows(folder / name)) == sorted(
                    [SIGNS[p.native_label], p.media_path.split("/")[1].removesuffix(".avi")]
                    for p in oulu.presentations
                    if p.split is split
                    and p.session in of_session
                    and p.native_label in of_code
                    and p.sensor in of_phone
                )


def test_the_lists_are_not_all_empty(oulu) -> None:
    folder = oulu.root / "Protocols"
    assert all(rows(folder / "Protocol_2" / f"{part}.txt") for part, _ in USERS.values())
    assert len(rows(folder / "Protocol_3" / "Train_1.txt")) >= 5


SIGNS = {"1": "+1", "2": "-1", "3": "-1", "4": "-2", "5": "-2"}
