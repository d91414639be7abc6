from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest

from ifas_model.vocabulary import Label, PaiSpecies, Split
from scf_pipeline.miniature.layouts import Budget
from scf_pipeline.miniature.layouts.replay_attack import LAYOUT

BONA_FIDE = re.compile(
    r"(?P<split>train|devel|test)/real/client(?P<subject>\d{3})_session(?P<session>\d{2})_"
    r"webcam_authenticate_(?P<light>controlled|adverse)_(?P<take>[12])\.mov"
)
ATTACK = re.compile(
    r"(?P<split>train|devel|test)/attack/(?P<support>fixed|hand)/"
    r"attack_(?P<device>print|mobile|highdef)_client(?P<subject>\d{3})_session(?P<session>\d{2})_"
    r"(?P<sample>highdef|mobile)_(?P<media>photo|video)_(?P<light>controlled|adverse)\.mov"
)
ENROLL = re.compile(
    r"enroll/(?P<split>train|devel|test)/client(?P<subject>\d{3})_session(?P<session>\d{2})_"
    r"(?P<rig>[^_/]+)_enroll_(?P<light>controlled|adverse)(?:_(?P<take>\d))?\.mov"
)
TRIPLES = {
    ("print", "highdef", "photo"): (PaiSpecies.PRINT, "print_photo"),
    ("mobile", "mobile", "photo"): (PaiSpecies.REPLAY, "replay_photo"),
    ("mobile", "mobile", "video"): (PaiSpecies.REPLAY, "replay_video"),
    ("highdef", "highdef", "photo"): (PaiSpecies.REPLAY, "replay_photo"),
    ("highdef", "highdef", "video"): (PaiSpecies.REPLAY, "replay_video"),
}
NATIVE = {Split.TRAIN: "train", Split.DEV: "devel", Split.TEST: "test"}


@pytest.fixture(scope="module")
def replay(release):
    return release(LAYOUT, train=13, dev=13, test=13)


def plan(seed=0):
    return LAYOUT.plan(Budget(train=40, dev=40, test=60), np.random.default_rng(seed))


def triple(path: str) -> tuple[str, ...]:
    match = ATTACK.fullmatch(path)
    assert match, path
    return match["device"], match["sample"], match["media"]


def test_names_are_official_and_say_what_the_plan_says() -> None:
    for p in plan():
        match = (BONA_FIDE if p.label is Label.BONA_FIDE else ATTACK).fullmatch(p.media_path)
        assert match, p.media_path
        assert (match["split"], match["light"]) == (NATIVE[p.split], p.session)
        assert match["subject"] == p.subject_id == p.person
        if p.label is Label.ATTACK:
            assert (p.pai_species, p.fine_type) == TRIPLES[triple(p.media_path)]
            assert p.native_label == match["device"]
        else:
            assert (p.pai_species, p.fine_type, p.native_label) == (None, None, "real")


def test_the_budget_is_met_with_all_five_triples_in_every_split() -> None:
    planned = plan()
    assert Counter(p.split for p in planned) == {Split.TRAIN: 40, Split.DEV: 40, Split.TEST: 60}
    for split in Split:
        attacks = [p for p in planned if p.split is split and p.label is Label.ATTACK]
        assert {triple(p.media_path) for p in attacks} == set(TRIPLES)
        assert {"fixed", "hand"} == {p.media_path.split("/")[2] for p in attacks}
        assert len(attacks) == 0.6 * len([p for p in planned if p.split is split])
        assert len({p.person for p in planned if p.split is split}) >= 4
    assert len({p.media_path for p in planned}) == 140


def test_the_plan_follows_the_seed() -> None:
    assert plan(seed=3) == plan(seed=3)
    assert plan(seed=3) != plan(seed=4)


def test_clips_decode_to_what_was_drawn(replay, decode, difference) -> None:
    for p in replay.presentations:
        frames, tag, codec = decode(replay.root / p.media_path)
        assert (len(frames), tag, codec) == (10, 0, "mjpeg")
        assert frames[0].shape[:2] == (168, 224)
        assert difference(frames[4], replay.clips[p.media_path].frames[4]) < 3


def test_face_locations_are_boxes_and_some_hold_a_row_of_zeros(replay) -> None:
    zeros = Counter()
    for p in replay.presentations:
        path = (replay.root / "face-locations" / p.media_path).with_suffix(".face")
        rows = [[int(v) for v in line.split()] for line in path.read_text().splitlines()]
        assert [row[0] for row in rows] == list(range(10))
        empty = [number for number, *box in rows if box == [0, 0, 0, 0]]
        zeros[len(empty)] += 1
        for number, x, y, w, h in rows:
            if number not in empty:
                assert (x, y, x + w, y + h) == replay.clips[p.media_path].boxes[number]
    assert set(zeros) == {0, 1}


def test_protocols_list_all_clients_and_what_was_drawn(replay) -> None:
    folder = replay.root / "protocols"
    clients = dict(line.split(" ") for line in (folder / "clients.txt").read_text().splitlines())
    assert Counter(clients.values()) == {"train": 15, "devel": 15, "test": 20}
    assert all(clients[p.person] == NATIVE[p.split] for p in replay.presentations)
    listed = []
    for split in NATIVE.values():
        bona_fide = (folder / f"real-{split}.txt").read_text().splitlines()
        attacks = (folder / f"attack-grandtest-allsupports-{split}.txt").read_text().splitlines()
        halves = [
            (folder / f"attack-grandtest-{support}-{split}.txt").read_text().splitlines()
            for support in ("fixed", "hand")
        ]
        assert all(halves)
        assert sorted(halves[0] + halves[1]) == sorted(attacks)
        assert all("/real/" in path for path in bona_fide)
        listed += bona_fide + attacks
    assert sorted(listed) == sorted(p.media_path for p in replay.presentations)


def test_an_enrollment_clip_lies_beside_the_presentations(replay, decode) -> None:
    (path,) = (replay.root / "enroll").rglob("*.mov")
    match = ENROLL.fullmatch(path.relative_to(replay.root).as_posix())
    assert match
    assert match["subject"] in {p.person for p in replay.presentations}
    assert len(decode(path)[0]) == 10
