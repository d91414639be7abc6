"""Sheets: shapes and borders are those of pages and devices."""

import pytest

from scf_pipeline.miniature.sheets import SHEETS

PRINTS = {"print_flat", "print_warped", "print_cut", "poster"}


def test_prints_and_displays_are_told_apart():
    assert {name for name, sheet in SHEETS.items() if sheet.medium == "print"} == PRINTS
    assert set(SHEETS) - PRINTS == {"phone", "tablet", "laptop", "monitor"}


def test_a_phone_is_slimmer_than_a_tablet_and_a_laptop_is_wide():
    assert SHEETS["phone"].slimness[0] > SHEETS["tablet"].slimness[1]
    assert SHEETS["laptop"].slimness[1] < 1


@pytest.mark.parametrize("name", SHEETS)
def test_a_shown_border_lies_inside_the_crop(name):
    sheet = SHEETS[name]
    half_width = sheet.half_width[1]
    half_height = half_width * sheet.slimness[1]
    assert min(half_width, half_height) < 0.8


def test_displays_mirror_more_often_than_paper():
    glare = {name: sheet.glare for name, sheet in SHEETS.items()}
    assert min(glare[name] for name in set(SHEETS) - PRINTS) > max(glare[name] for name in PRINTS)
