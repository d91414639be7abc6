"""Mannequins: glossy heads without eyes, on a stand."""

import numpy as np

from scf_pipeline.miniature.faces import EYE_X, EYE_Y, draw_person, sample_person
from scf_pipeline.miniature.mannequins import draw_mannequin
from scf_pipeline.miniature.strokes import Pen, placing

PERSON = sample_person(np.random.default_rng(3))


def pen():
    return Pen(np.full((260, 200, 3), 120, np.uint8), placing((100, 90), 100.0))


def figure(gloss, seed=0):
    made = pen()
    draw_mannequin(made, PERSON, gloss, np.random.default_rng(seed))
    return made.picture.astype(float)


def eye(picture):
    row, column = round(90 + EYE_Y * 100), round(100 + EYE_X * 100)
    return picture[row - 3 : row + 4, column - 5 : column + 6]


def test_a_mannequin_has_no_pupils():
    alive = pen()
    draw_person(alive, PERSON)
    assert np.ptp(eye(alive.picture.astype(float)).mean(axis=2)) > 100
    assert np.ptp(eye(figure(0.5)).mean(axis=2)) < 60


def test_more_gloss_gives_brighter_highlights():
    forehead = np.s_[55:66, 85:96]
    for seed in range(4):
        dull, glossy = figure(0.0, seed)[forehead], figure(1.0, seed)[forehead]
        assert np.ptp(glossy.mean(axis=2)) > 20
        assert glossy.max() >= dull.max()


def test_a_stand_replaces_the_shoulders():
    assert (figure(0.5)[215, 20] == 120).all()
    assert (figure(0.5)[215, 100] != 120).any()
