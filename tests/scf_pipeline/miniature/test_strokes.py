"""Strokes: shapes land where their units say, and textures keep their range."""

import numpy as np
import pytest

from scf_pipeline.miniature.strokes import (
    Pen,
    blend,
    blur,
    curve,
    jitter,
    mix,
    placing,
    smooth_noise,
    tint,
    to_picture,
)


@pytest.fixture
def canvas():
    return np.zeros((80, 80, 3), np.uint8)


def test_a_polygon_fills_its_units_and_no_more(canvas):
    pen = Pen(canvas, placing((40, 40), 20.0))
    pen.polygon([(-1, -1), (1, -1), (1, 1), (-1, 1)], (255, 255, 255))
    assert (canvas[21:59, 21:59] == 255).all()
    assert not canvas[:18].any()
    assert not canvas[:, 63:].any()


def test_a_turned_pen_turns_what_it_draws(canvas):
    Pen(canvas, placing((40, 40), 30.0, roll=90)).line([(0, 0), (1, 0)], (255, 0, 0), 0.1)
    rows, columns = np.nonzero(canvas[..., 0])
    assert rows.max() == pytest.approx(70, abs=3)
    assert abs(columns - 40).max() <= 3


def test_an_arc_draws_only_its_side(canvas):
    Pen(canvas, placing((40, 40), 20.0)).ellipse((0, 0), (1, 1), (9, 9, 9), arc=(0, 180))
    assert canvas[45:].any()
    assert not canvas[:38].any()


def test_a_mask_pen_shares_the_units_of_its_picture(canvas):
    pen = Pen(canvas, placing((40, 40), 20.0))
    mask = pen.blank()
    mask.ellipse((0, 0), (0.5, 0.5), (255, 255, 255))
    pen.ellipse((0, 0), (0.5, 0.5), (255, 255, 255))
    assert (mask.picture == canvas[..., 0]).all()


def test_curves_keep_to_their_axes():
    points = curve((1, 2), (3, 4))
    assert np.allclose((((points - (1, 2)) / (3, 4)) ** 2).sum(axis=1), 1)


def test_colours_mix_from_one_end_to_the_other():
    assert mix((0, 0, 0), (200, 100, 50), 0) == (0, 0, 0)
    assert mix((0, 0, 0), (200, 100, 50), 1) == (200, 100, 50)
    assert tint((200, 100, 50), 2) == (255, 200, 100)


def test_jitter_stays_near_and_in_range():
    rng = np.random.default_rng(0)
    colours = np.array([jitter((250, 128, 3), 12, rng) for _ in range(200)])
    assert colours.min() >= 0
    assert colours.max() <= 255
    assert abs(colours[:, 1] - 128).max() <= 16
    assert colours.std(axis=0).min() > 1


def test_noise_is_smooth_and_bounded():
    noise = smooth_noise((64, 48), 12.0, np.random.default_rng(0))
    assert noise.shape == (64, 48)
    assert abs(noise).max() <= 1
    assert abs(np.diff(noise, axis=0)).max() < 0.5


def test_blending_goes_from_nothing_to_all(canvas):
    over = np.full_like(canvas, 200)
    blend(canvas, over, 0.0)
    assert not canvas.any()
    opacity = np.zeros((80, 80), np.float32)
    opacity[:40] = 0.5
    blend(canvas, over, opacity)
    assert (canvas[:40] == 100).all()
    assert not canvas[40:].any()


def test_a_blur_below_a_fifth_of_a_pixel_changes_nothing():
    picture = np.random.default_rng(0).uniform(0, 255, (16, 16, 3)).astype(np.float32)
    assert blur(picture, 0.1) is picture
    assert blur(picture, 1.0).std() < picture.std()


def test_pixels_are_clipped():
    values = np.array([[[-5.0, 300.0, 17.9]]], np.float32)
    assert to_picture(values).tolist() == [[[0, 255, 17]]]
