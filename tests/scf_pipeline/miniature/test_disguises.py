"""Disguises: each changes its own part of the face."""

from dataclasses import replace

import numpy as np
import pytest

from scf_pipeline.miniature import disguises
from scf_pipeline.miniature.faces import EYE_Y, draw_person, sample_person
from scf_pipeline.miniature.strokes import Pen, placing

UNIT = 100.0
PERSON = replace(sample_person(np.random.default_rng(3)), has_glasses=False, has_beard=False)


def changed_by(paint):
    canvas = np.full((200, 200, 3), 150, np.uint8)
    pen = Pen(canvas, placing((100, 90), UNIT))
    draw_person(pen, PERSON)
    before = canvas.copy()
    paint(pen, PERSON, np.random.default_rng(0))
    return (before != canvas).any(axis=2)


def share(changed, low, high):
    """Return the share of changed pixels between two heights of the inner face."""
    return changed[round(90 + low * UNIT) : round(90 + high * UNIT), 75:125].mean()


@pytest.mark.parametrize("paint", [disguises.paint_paper_glasses, disguises.paint_eye_cut])
def test_strips_over_the_eyes_leave_the_mouth_free(paint):
    changed = changed_by(paint)
    assert share(changed, EYE_Y - 0.1, EYE_Y + 0.1) > 0.85
    assert share(changed, 0.2, 0.4) == 0


def test_a_patch_over_the_mouth_leaves_the_eyes_free():
    changed = changed_by(disguises.paint_mouth_cut)
    assert share(changed, 0.2, 0.36) > 0.8
    assert share(changed, EYE_Y - 0.1, EYE_Y + 0.1) == 0


def test_toy_glasses_are_larger_than_glasses():
    columns = np.nonzero(changed_by(disguises.paint_funny_glasses))[1]
    assert np.ptp(columns) > 0.7 * UNIT


def test_cosmetics_redden_the_lips_and_shade_the_lids():
    changed = changed_by(disguises.paint_cosmetic)
    assert share(changed, EYE_Y - 0.08, EYE_Y) > 0.4
    assert share(changed, 0.25, 0.3) > 0.4
    assert share(changed, 0.36, 0.44) == 0


def test_impersonation_covers_most_of_the_face():
    assert share(changed_by(disguises.paint_impersonation), -0.2, 0.4) > 0.8


def test_obfuscation_breaks_the_face_up_but_not_all_of_it():
    assert 0.3 < share(changed_by(disguises.paint_obfuscation), -0.4, 0.4) < 0.9
