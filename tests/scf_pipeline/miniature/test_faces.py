"""Faces: people keep their traits, and traits show where they should."""

from dataclasses import replace

import numpy as np
import pytest

from scf_pipeline.adapters import box_from_eyes
from scf_pipeline.miniature.faces import (
    CLOTH_COLOURS,
    EYE_X,
    EYE_Y,
    draw_person,
    oval,
    sample_person,
)
from scf_pipeline.miniature.strokes import Pen, placing

UNIT = 80.0


def picture_of(person, **options):
    canvas = np.full((160, 160, 3), 190, np.uint8)
    draw_person(Pen(canvas, placing((80, 72), UNIT)), person, **options)
    return canvas


def at(picture, x, y):
    return picture[round(72 + y * UNIT), round(80 + x * UNIT)].astype(int)


@pytest.fixture
def person():
    plain = sample_person(np.random.default_rng(5))
    return replace(plain, has_glasses=False, has_beard=False, hat_colour=None, hair_length="short")


def test_a_seed_gives_one_person_and_another_seed_another():
    one, same, other = (sample_person(np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one == same
    assert one != other


def test_women_have_neither_beards_nor_bald_heads():
    people = [sample_person(np.random.default_rng(seed)) for seed in range(300)]
    women = [person for person in people if person.sex == "woman"]
    assert 100 < len(women) < 200
    assert not any(person.has_beard or person.hair_length == "bald" for person in women)
    assert any(person.has_beard for person in people)


def test_the_shirt_has_its_colour(person):
    picture = picture_of(replace(person, shirt_colour="green"))
    assert tuple(at(picture, 0.45, 1.05)) == CLOTH_COLOURS["green"]


def test_blinking_changes_the_eyes_alone(person):
    changed = (picture_of(person) != picture_of(person, blink=True)).any(axis=2)
    rows, columns = np.nonzero(changed)
    assert changed.any()
    assert abs((rows - 72) / UNIT - EYE_Y).max() < 0.09
    assert abs(abs((columns - 80) / UNIT) - EYE_X).max() < 0.12


@pytest.mark.parametrize(
    ("traits", "x", "y"),
    [
        ({"has_glasses": True}, 0.0, EYE_Y - 0.02),
        ({"has_beard": True}, 0.0, 0.42),
        ({"hat_colour": "blue"}, 0.0, -0.5),
        ({"hair_length": "bald"}, 0.0, -0.48),
        ({"hair_length": "long"}, 0.5, 0.4),
    ],
)
def test_a_trait_shows_where_it_is_worn(person, traits, x, y):
    before, after = picture_of(person), picture_of(replace(person, **traits))
    assert abs(at(before, x, y) - at(after, x, y)).max() > 20


def test_the_box_that_the_eyes_imply_covers_the_oval(person):
    y = 100 * EYE_Y
    box = box_from_eyes((-100 * EYE_X, y), (100 * EYE_X, y))
    width, height = oval(person, 100.0)
    assert box.x0 == pytest.approx(-width, abs=10)
    assert box.x1 == pytest.approx(width, abs=10)
    assert box.y0 == pytest.approx(-height, abs=10)
    assert box.y1 == pytest.approx(height, abs=10)
