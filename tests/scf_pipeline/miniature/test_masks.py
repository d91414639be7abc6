"""Masks: shells have eyes behind holes, an edge, and one colour where skin has many."""

from dataclasses import replace

import numpy as np
import pytest

from scf_pipeline.miniature import masks
from scf_pipeline.miniature.faces import EYE_X, EYE_Y, draw_person, sample_person
from scf_pipeline.miniature.strokes import Pen, placing

UNIT = 100.0
PERSON = replace(
    sample_person(np.random.default_rng(5)), has_glasses=False, has_beard=False, hat_colour=None
)
SHELLS = [masks.paint_resin, masks.paint_plaster, masks.paint_3d_print]


def bare():
    canvas = np.full((200, 200, 3), 150, np.uint8)
    pen = Pen(canvas, placing((100, 90), UNIT))
    draw_person(pen, PERSON)
    return pen


def masked(paint, seed=0):
    pen = bare()
    paint(pen, PERSON, np.random.default_rng(seed))
    return pen.picture


def patch(picture, x, y, reach=0.03):
    column, row, half = round(100 + x * UNIT), round(90 + y * UNIT), round(reach * UNIT)
    return picture[row - half : row + half, column - half : column + half].astype(int)


@pytest.mark.parametrize("paint", SHELLS)
def test_eyes_look_out_of_dark_holes(paint):
    picture = masked(paint)
    socket = patch(picture, EYE_X + 0.09, EYE_Y, 0.01).mean()
    cheek = patch(picture, 0.2, 0.22).mean()
    assert socket < 0.75 * cheek


@pytest.mark.parametrize("paint", SHELLS)
def test_a_shell_casts_a_shadow_round_its_edge(paint):
    below_chin = patch(masked(paint), 0.0, 0.52, 0.01).mean()
    assert below_chin < 0.8 * patch(masked(paint), 0.0, 0.44, 0.01).mean()


def test_plaster_is_white_and_resin_is_not():
    white, tinted = (patch(masked(paint), 0.14, 0.2) for paint in SHELLS[1::-1])
    assert np.ptp(white.mean(axis=(0, 1))) < 25
    assert np.ptp(tinted.mean(axis=(0, 1))) > 25


def test_layers_of_a_3d_print_are_lines_across():
    column = masked(masks.paint_3d_print)[100:130, 118].astype(float).mean(axis=1)
    assert (np.diff(np.sign(np.diff(column))) != 0).sum() >= 5


def test_a_transparent_mask_brightens_and_lets_the_face_through():
    before, after = bare().picture.astype(float), masked(masks.paint_transparent).astype(float)
    face = np.s_[60:120, 75:125]
    assert after[face].mean() > before[face].mean()
    assert np.corrcoef(before[face].ravel(), after[face].ravel())[0, 1] > 0.5


def test_a_hood_of_silicone_covers_hair_and_neck():
    before, after = bare().picture.astype(int), masked(masks.paint_silicone).astype(int)
    for x, y in ((0.0, -0.45), (0.24, 0.6)):
        assert abs(patch(before, x, y) - patch(after, x, y)).mean() > 10


def test_half_masks_leave_the_other_half_bare():
    halves = set()
    for seed in range(12):
        changed = (masked(masks.paint_half, seed) != bare().picture).any(axis=2)
        upper, lower = changed[:70].mean(), changed[110:].mean()
        halves.add("lower" if lower > upper else "upper")
    assert halves == {"lower", "upper"}


def test_paper_masks_have_a_white_margin():
    picture = masked(masks.paint_paper_mask)
    ring = [patch(picture, 0.4 * np.cos(a), 0.53 * np.sin(a), 0.02) for a in (0.5, 1.0, 2.0, 2.6)]
    assert np.mean([part.max() for part in ring]) > 220


def test_a_cut_paper_mask_opens_the_mouth():
    whole, cut = masked(masks.paint_paper_mask), masked(masks.paint_paper_mask_cut)
    assert abs(patch(whole, 0.1, 0.3) - patch(cut, 0.1, 0.3)).mean() > 15
