"""Things: each can be told from the others."""

from itertools import combinations

import numpy as np
import pytest

from scf_pipeline.miniature.strokes import Pen, placing
from scf_pipeline.miniature.things import COLOURED, HELD, SHOWN, THINGS


def drawn(name, colour=(196, 40, 44)):
    canvas = np.zeros((80, 80, 3), np.uint8)
    THINGS[name](Pen(canvas, placing((40, 40), 80.0)), colour, np.random.default_rng(0))
    return canvas.astype(int)


def test_every_thing_has_a_shape_of_its_own():
    pictures = {name: drawn(name) for name in THINGS}
    for one, other in combinations(pictures, 2):
        assert abs(pictures[one] - pictures[other]).mean() > 4, (one, other)


@pytest.mark.parametrize("name", COLOURED)
def test_coloured_things_take_their_colour(name):
    assert (drawn(name, (10, 200, 30)) != drawn(name, (200, 10, 30))).any()


def test_what_is_held_or_shown_can_be_drawn():
    assert set(HELD) | set(SHOWN) | set(COLOURED) <= set(THINGS)
