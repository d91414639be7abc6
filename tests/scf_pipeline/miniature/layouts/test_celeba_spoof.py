from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ifas_model.vocabulary import Label, PaiSpecies, Split
from scf_pipeline.miniature.layouts import Budget
from scf_pipeline.miniature.layouts.celeba_spoof import LAYOUT

NAME = re.compile(
    r"Data/(?P<split>train|test)/(?P<subject>\d+)/(?P<folder>live|spoof)/(?P<number>\d{6})"
    r"\.(?P<ext>jpg|png)"
)
PRINT, REPLAY, MASK = PaiSpecies.PRINT, PaiSpecies.REPLAY, PaiSpecies.MASK
TRUTH = {
    "0": (None, None),
    "1": (PRINT, "print_photo"),
    "2": (PRINT, "print_poster"),
    "3": (PRINT, "print_a4"),
    "4": (MASK, "paper_mask_face"),
    "5": (MASK, "paper_mask_upper_body"),
    "6": (MASK, "paper_mask_region"),
    "7": (REPLAY, "replay_pc"),
    "8": (REPLAY, "replay_pad"),
    "9": (REPLAY, "replay_phone"),
    "10": (MASK, "mask_3d"),
}


@pytest.fixture(scope="module")
def celeba(release):
    return release(LAYOUT, train=120, test=30)


def plan(seed=0, train=200, test=100):
    return LAYOUT.plan(Budget(train=train, dev=99, test=test), np.random.default_rng(seed))


def labels(root: Path) -> dict[str, list[int]]:
    folder = root / "metas" / "intra_test"
    return {
        key: row
        for split in ("train", "test")
        for key, row in json.loads((folder / f"{split}_label.json").read_text()).items()
    }


def test_names_are_official_and_say_what_the_plan_says() -> None:
    numbers = []
    for p in plan():
        match = NAME.fullmatch(p.media_path)
        assert match, p.media_path
        assert match["split"] == p.split
        assert match["ext"] == {"train": "jpg", "test": "png"}[match["split"]]
        assert match["subject"] == p.subject_id == p.person
        assert (int(match["number"]) < 494_405) is (p.split is Split.TRAIN)
        assert (p.pai_species, p.fine_type) == TRUTH[p.native_label]
        assert (p.label is Label.BONA_FIDE) is (p.native_label == "0")
        numbers.append(match["number"])
    assert len(set(numbers)) == len(numbers)


def test_folders_are_right_but_for_a_few_pc_replays_of_the_train_part() -> None:
    misplaced = [
        p for p in plan() if ("/live/" in p.media_path) is not (p.label is Label.BONA_FIDE)
    ]
    assert 1 <= len(misplaced) <= 5
    assert {(p.split, p.native_label) for p in misplaced} == {(Split.TRAIN, "7")}


def test_attacks_have_the_shares_of_the_release() -> None:
    planned = plan(train=1000, test=100)
    train = [p for p in planned if p.split is Split.TRAIN and p.has_media]
    species = Counter(p.pai_species for p in train)
    assert species == {None: 400, PRINT: 282, REPLAY: 258, MASK: 60}
    assert Counter(p.native_label for p in train)["10"] == 30
    shells = Counter(p.instrument for p in train if p.native_label == "10")
    assert shells == {"mask_3d_print": 10, "resin_mask": 10, "plaster_mask": 10}


def test_the_budget_is_met_with_every_type_in_both_splits_and_no_dev() -> None:
    planned = plan()
    present = [p for p in planned if p.has_media]
    assert Counter(p.split for p in present) == {Split.TRAIN: 200, Split.TEST: 100}
    for split in (Split.TRAIN, Split.TEST):
        assert {p.native_label for p in present if p.split is split} == set(TRUTH)
        assert len({p.person for p in present if p.split is split}) >= 20
    people = [{p.person for p in planned if p.split is split} for split in Split]
    assert not people[0] & people[2]


def test_the_plan_follows_the_seed() -> None:
    assert plan(seed=3) == plan(seed=3)
    assert plan(seed=3) != plan(seed=4)


def test_json_rows_have_44_integers_that_say_the_label(celeba) -> None:
    rows = labels(celeba.root)
    assert set(rows) == {p.media_path for p in celeba.presentations}
    for p in celeba.presentations:
        row = rows[p.media_path]
        assert len(row) == 44
        kind, illumination, environment, liveness = row[40:]
        assert str(kind) == p.native_label
        if p.label is Label.ATTACK:
            assert liveness == 1
            assert illumination in {1, 2, 3, 4}
            assert environment in {1, 2}
            assert not any(row[:40])
        else:
            assert (illumination, environment, liveness) == (0, 0, 0)
            assert set(row[:40]) == {0, 1}


def test_a_subjects_attributes_do_not_change(celeba) -> None:
    rows = labels(celeba.root)
    seen: dict[str, list[int]] = {}
    for p in celeba.presentations:
        if p.label is Label.BONA_FIDE:
            assert seen.setdefault(p.person, rows[p.media_path][:40]) == rows[p.media_path][:40]
    assert len({tuple(attributes) for attributes in seen.values()}) > 1


def test_one_key_has_no_file(celeba) -> None:
    lost = [key for key in labels(celeba.root) if not (celeba.root / key).exists()]
    assert lost == [p.media_path for p in celeba.presentations if not p.has_media]
    assert len(lost) == 1
    assert lost[0].startswith("Data/train/")


def test_pictures_are_what_was_drawn(celeba, difference) -> None:
    for path, clip in celeba.clips.items():
        with Image.open(celeba.root / path) as picture:
            assert picture.format == ("JPEG" if "/train/" in path else "PNG")
            assert difference(np.asarray(picture), clip.frames[0]) < 3


def test_boxes_are_in_a_frame_of_224_but_for_an_empty_and_a_negative_one(celeba) -> None:
    empty, negative = 0, 0
    for path, clip in celeba.clips.items():
        file = celeba.root / path
        text = file.with_name(f"{file.stem}_BB.txt").read_text()
        if not text:
            empty += 1
            continue
        x, y, w, h, score = (float(value) for value in text.split())
        assert 0 < score <= 1
        height, width = clip.frames[0].shape[:2]
        box = (x * width / 224, y * height / 224, (x + w) * width / 224, (y + h) * height / 224)
        if x < 0:
            negative += 1
        else:
            assert abs(box[0] - clip.boxes[0][0]) <= 1
        assert np.abs(np.subtract(box, clip.boxes[0]))[1:].max() <= 1.5
    assert (empty, negative) == (1, 1)


def test_known_junk_lies_in_train_2_and_no_json_names_it(celeba) -> None:
    junk = {
        p.relative_to(celeba.root).as_posix() for p in (celeba.root / "Data/train_2").rglob("*.*")
    }
    assert junk
    assert not junk & set(labels(celeba.root))
