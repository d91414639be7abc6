"""Presenting: what is shown stays where the face shall be, and borders are seen or are not."""

import numpy as np
import pytest

from scf_pipeline.miniature.faces import sample_person
from scf_pipeline.miniature.presenting import Showing, present
from scf_pipeline.miniature.sheets import SHEETS
from scf_pipeline.miniature.strokes import Pen, placing

UNIT = 60.0
SIZE = 200
MAGENTA = np.array([255, 0, 255])


def content(shape, matrix):
    """Show a grey picture with a dark disc where the face's centre is."""
    picture = np.full((*shape, 3), 150, np.uint8)
    Pen(picture, matrix).ellipse((0, 0), (0.12, 0.12), (20, 20, 20))
    return picture


def showing(name, *, border=True, held=False, strength=0.6):
    return Showing(
        sheet=SHEETS[name],
        strength=strength,
        is_border_shown=border,
        presenter=sample_person(np.random.default_rng(0)),
        is_held=held,
    )


def presented(shown, seed=0):
    canvas = np.full((SIZE, SIZE, 3), MAGENTA, np.uint8)
    matrix = placing((100, 100), UNIT)
    found = present(canvas, matrix, content, shown, np.random.default_rng(seed))
    return canvas, found


def crop_of(canvas):
    half = round(0.8 * UNIT)
    return canvas[100 - half : 100 + half, 100 - half : 100 + half].astype(int)


def behind(crop):
    """Return the share of a crop where the scene behind is seen."""
    return float(((crop[..., 0] - crop[..., 1]) > 60).mean())


@pytest.mark.parametrize("name", SHEETS)
def test_the_scene_behind_is_seen_past_a_border_only(name):
    for seed in range(3):
        assert behind(crop_of(presented(showing(name, border=False), seed)[0])) < 0.01
    seen = [behind(crop_of(presented(showing(name), seed)[0])) for seed in range(6)]
    bezels = [crop_of(presented(showing(name), seed)[0]).std() for seed in range(6)]
    assert np.mean(seen) > 0.02 or np.mean(bezels) > 40


@pytest.mark.parametrize("name", [name for name in SHEETS if not SHEETS[name].has_eye_holes])
def test_the_shown_face_stays_where_it_shall_be(name):
    canvas, matrix = presented(showing(name, strength=0.3), seed=1)
    middle = canvas[70:130, 70:130].astype(float).mean(axis=2)
    rows, columns = np.nonzero(middle < np.quantile(middle, 0.08))
    assert np.median(rows) == pytest.approx(30, abs=8)
    assert np.median(columns) == pytest.approx(30, abs=8)
    assert matrix[:, 2].tolist() == [100, 100]


def test_the_returned_matrix_turns_as_the_sheet_does():
    turns = [np.degrees(np.arctan2(*presented(showing("tablet"), s)[1][::-1, 0])) for s in range(8)]
    assert np.ptp(turns) > 3
    assert max(map(abs, turns)) <= 6


def test_fingers_are_seen_where_a_sheet_is_held():
    free, held = (presented(showing("tablet", held=held), seed=2)[0] for held in (False, True))
    assert (free != held).any(axis=2).mean() > 0.01


def test_eye_holes_show_the_presenter():
    plain, cut = (
        crop_of(presented(showing(name), seed=4)[0]) for name in ("print_flat", "print_cut")
    )
    band = np.s_[32:48, 20:76]
    assert cut[band].std() > plain[band].std() + 10
