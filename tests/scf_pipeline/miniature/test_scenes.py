"""Scenes: ten places that look unlike each other, and the same place twice from one seed."""

from itertools import combinations

import numpy as np
import pytest

from scf_pipeline.miniature.scenes import BACKGROUNDS, draw_background, draw_fingers
from scf_pipeline.miniature.strokes import Pen, placing


def place(name, seed=0):
    return draw_background(name, (96, 72), 50.0, np.random.default_rng(seed))


def test_there_are_ten_places():
    wanted = "wall curtain window bookshelf brick garden sky office studio_green studio_white"
    assert list(BACKGROUNDS) == wanted.split()


@pytest.mark.parametrize("name", BACKGROUNDS)
def test_a_seed_gives_one_place(name):
    assert (place(name, 3) == place(name, 3)).all()
    assert (place(name, 3) != place(name, 4)).any()


def test_places_look_unlike_each_other():
    pictures = {name: place(name).astype(int) for name in BACKGROUNDS}
    for one, other in combinations(pictures, 2):
        assert abs(pictures[one] - pictures[other]).mean() > 8, (one, other)


def test_fingers_reach_over_the_edge_that_they_hold():
    canvas = np.zeros((100, 100, 3), np.uint8)
    draw_fingers(Pen(canvas, placing((50, 50), 80.0)), (-0.2, 0.0), (1.0, 0.0), (200, 150, 120))
    columns = np.nonzero(canvas.any(axis=2))[1]
    edge = 50 - 0.2 * 80
    assert columns.min() < edge - 8
    assert edge + 5 < columns.max() < edge + 16
