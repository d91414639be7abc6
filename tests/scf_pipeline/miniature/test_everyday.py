"""Everyday pictures: every kind occurs, and attributes agree with captions."""

from collections import Counter
from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from scf_pipeline.miniature.captions import PLACES
from scf_pipeline.miniature.everyday import KINDS, NUM_CAPTIONS, draw_generic

NUMBER = 240


@cache
def corpus():
    return [draw_generic(np.random.default_rng([9, index]), 32) for index in range(NUMBER)]


def test_shares_of_the_kinds_sum_to_one():
    assert sum(KINDS.values()) == pytest.approx(1)


def test_a_seed_gives_one_picture():
    one, same = (draw_generic(np.random.default_rng(4), 64) for _ in range(2))
    assert (one[0] == same[0]).all()
    assert one[1:] == same[1:]
    assert one[0].shape == (64, 64, 3)
    assert one[0].dtype == np.uint8


def test_every_medium_occurs_about_as_often_as_it_should():
    found = Counter(attributes.get("medium") for _, _, attributes in corpus())
    for medium in ("print", "replay", "mask", "mannequin"):
        assert found[medium] / NUMBER == pytest.approx(KINDS[medium], abs=0.06)
    assert found[None] / NUMBER > 0.45


def test_paper_and_displays_also_occur_innocently():
    held = {attributes.get("thing") for _, _, attributes in corpus() if "medium" not in attributes}
    assert {"paper", "cup"} <= held
    assert held & {"phone", "tablet", "laptop"}


def test_captions_agree_with_attributes():
    for _, captions, attributes in corpus():
        assert len(captions) == NUM_CAPTIONS
        for caption in captions:
            words = caption.split()
            for before, after in pairwise(words):
                if after == "shirt":
                    assert before == attributes["shirt_colour"]
                if after == "hair":
                    assert before == attributes["hair_colour"]
            assert "beard" not in words or attributes["beard"] == "yes"
            for place, phrases in PLACES.items():
                own = attributes["background"]
                others = [p for p in phrases if p not in PLACES[own]]
                assert place == own or not any(
                    caption.endswith(phrase) for phrase in others if phrase != "near a wall"
                )


def test_pictures_are_neither_black_nor_white():
    means = [picture.mean() for picture, _, _ in corpus()]
    assert min(means) > 12
    assert max(means) < 250
    assert np.std(means) > 15
