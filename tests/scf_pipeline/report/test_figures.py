"""Numbers as people read them."""

import pytest

from scf_pipeline.report.figures import (
    NONE,
    bootstrap,
    cell,
    duration,
    in_words,
    percent,
    points,
    printed,
    signed,
)
from scf_pipeline.report.intervals import summarize
from scf_pipeline.report.paper import Pair


def test_a_cell_holds_mean_deviation_and_interval() -> None:
    assert cell(summarize([0.8, 0.9])) == ("<b>85.0</b> ± 7.1<br><small>[21.5, 100.0]</small>")


def test_one_run_has_its_bootstrap_interval_marked_as_such() -> None:
    assert cell(summarize([0.8]), (0.7, 0.9)) == "<b>80.0</b><br><small>[70.0, 90.0] *</small>"
    assert cell(summarize([0.8])) == "<b>80.0</b>"
    assert cell(None) == percent(None) == points(None) == NONE


def test_seeds_go_before_the_bootstrap() -> None:
    assert "*" not in cell(summarize([0.8, 0.9]), (0.7, 0.9))


def test_only_one_result_has_a_bootstrap_interval(results_of) -> None:
    one = results_of()
    assert bootstrap([one], "auc") == one.intervals["auc"]
    assert bootstrap([one, one], "auc") is None
    assert bootstrap([], "auc") is None


def test_differences_have_signs() -> None:
    assert points(summarize([-0.021])) == "<b>−2.1</b>"  # noqa: RUF001 - a minus is meant
    assert "[+1.0, +1.0]" in points(summarize([0.01, 0.01]))


@pytest.mark.parametrize(("number", "told"), [(0.04, "+0.0"), (-0.04, "+0.0"), (3.25, "+3.2")])
def test_zero_is_never_negative(number, told) -> None:
    assert signed(number) == told


def test_a_sentence_tells_how_many_seeds() -> None:
    assert in_words(summarize([0.02])) == "+2.0 points (one seed, so no interval)"
    told = in_words(summarize([0.02, 0.02, 0.02]))
    assert told == "+2.0 points (95 % interval +2.0 to +2.0, 3 seeds)"


def test_misprints_are_flagged() -> None:
    assert printed(Pair(69.34, 74.22, is_misprint=True), "hter").endswith("!</abbr>")
    assert printed(Pair(1.1, 99.0), "auc") == "99.00"
    assert printed(None, "auc") == NONE


@pytest.mark.parametrize(("s", "told"), [(59.6, "60 s"), (150, "2.5 min"), (9000, "2.5 h")])
def test_times_have_the_unit_that_suits_them(s, told) -> None:
    assert duration(s) == told


def test_percent_has_no_sign() -> None:
    assert percent(0.1234) == "12.3"
