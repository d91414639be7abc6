"""Captions: plain words, true of the picture, and silent about attacks."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from scf_pipeline.miniature.captions import MASKS, PLACES, SCREENS, Subject, describe
from scf_pipeline.miniature.coverings import COVERINGS
from scf_pipeline.miniature.faces import CLOTH_COLOURS, HAIR_COLOURS, sample_person
from scf_pipeline.miniature.scenes import BACKGROUNDS
from scf_pipeline.miniature.sheets import SHEETS

WORDS = "spoof spoofing fake attack live alive genuine real bona fide presentation"
FORBIDDEN = frozenset(WORDS.split(" "))
MEDIUM_WORDS = {
    "print": {"printed", "paper", "poster", "photo of a photo"},
    "replay": {"screen", "tablet", "laptop", "monitor"},
    "mask": {"mask"},
    "mannequin": {"mannequin", "statue", "doll", "sculpture"},
}


def person(seed=0):
    return sample_person(np.random.default_rng(seed))


def captions(subject, number=300):
    rng = np.random.default_rng(0)
    return [describe(subject, rng) for _ in range(number)]


def subjects():
    for seed in range(8):
        somebody = person(seed)
        for place in PLACES:
            yield Subject(background=place, person=somebody)
        yield Subject(background="wall", person=somebody, thing="cup", thing_colour="red")
        for medium, instrument in (
            ("print", "print_flat"),
            ("print", "poster"),
            *(("replay", name) for name in SCREENS if name != "any"),
            *(("mask", name) for name in MASKS),
            ("mannequin", "mannequin"),
        ):
            yield Subject(
                background="sky", person=somebody, medium=medium, instrument=instrument, naming=0.5
            )


def test_no_caption_speaks_of_attacks_and_the_words_are_few():
    words = Counter()
    for subject in subjects():
        for caption in captions(subject, 30):
            words.update(caption.split())
    assert not FORBIDDEN & set(words)
    assert len(words) < 150
    assert all(word.isalpha() and word == word.lower() for word in words)


@pytest.mark.parametrize("medium", MEDIUM_WORDS)
def test_media_are_named_as_often_as_asked(medium):
    instrument = {"print": "poster", "replay": "tablet", "mask": "resin_mask"}.get(medium, medium)
    subject = Subject(background="wall", person=person(), medium=medium, instrument=instrument)
    for naming in (0.0, 0.5, 1.0):
        found = [
            any(word in caption for word in MEDIUM_WORDS[medium])
            for caption in captions(replace(subject, naming=naming))
        ]
        assert np.mean(found) == pytest.approx(naming, abs=0.09)


def test_plain_people_are_never_said_to_be_media():
    words = set().union(*MEDIUM_WORDS.values())
    for seed in range(10):
        for caption in captions(Subject(background="studio_green", person=person(seed)), 60):
            assert not any(word in caption for word in words)


def test_colours_of_captions_are_true():
    for seed in range(20):
        somebody = person(seed)
        for caption in captions(Subject(background="sky", person=somebody), 40):
            words = caption.split()
            for before, after in pairwise(words):
                if after == "hair":
                    assert before == somebody.hair_colour
                if after == "shirt":
                    assert before == somebody.shirt_colour
                if after == "hat":
                    assert before == somebody.hat_colour
            assert not ({"glasses", "beard"} & set(words)) - {
                *(["glasses"] if somebody.has_glasses else []),
                *(["beard"] if somebody.has_beard else []),
            }


def test_articles_fit_their_words():
    for seed in range(30):
        for caption in captions(Subject(background="office", person=person(seed)), 20):
            words = caption.split()
            for before, after in pairwise(words):
                if before in ("a", "an"):
                    assert (before == "an") == (after[0] in "aeiou")


def test_every_place_mask_and_display_has_words():
    assert set(PLACES) == set(BACKGROUNDS)
    assert {name for name in COVERINGS if "mask" in name} == set(MASKS)
    displays = {name for name, sheet in SHEETS.items() if sheet.medium == "screen"}
    assert set(SCREENS) == displays | {"any"}
    assert "orange" in CLOTH_COLOURS
    assert "orange" not in HAIR_COLOURS
