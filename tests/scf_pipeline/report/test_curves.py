"""The charts' numbers: loss curves, mean ROC, sweep, species."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scf_pipeline.report.curves import CURVE_POINTS, _apcer, _loss_curve, curves, mean_roc
from scf_pipeline.report.runs import FULL, PROTOCOL_2, Place, Runs

HARD = Place("hard", PROTOCOL_2)


@pytest.fixture(scope="module")
def runs(judged) -> Runs:
    return Runs(result for one in judged for result in one.results)


def test_every_chart_is_drawn(runs, judged) -> None:
    told = curves(runs, judged)
    assert told.count("<figure>") == 2 + 1 + 4 + 2 + 1
    assert 'class="absent"' not in told


def test_a_diagonal_stays_one() -> None:
    made = mean_roc([[(0.0, 0.0), (0.5, 0.5), (1.0, 1.0)]])
    assert [x for x, _ in made] == pytest.approx(range(101))
    assert [y for _, y in made] == pytest.approx(range(101))


def test_a_perfect_curve_is_at_the_top_from_the_start() -> None:
    assert all(y == 100 for _, y in mean_roc([[(0.0, 0.0), (0.0, 1.0), (1.0, 1.0)]]))


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=20))
def test_a_mean_roc_never_falls(pairs) -> None:
    curve = list(zip(sorted(x for x, _ in pairs), sorted(y for _, y in pairs), strict=True))
    heights = [y for _, y in mean_roc([curve, curve])]
    assert all(a <= b + 1e-9 for a, b in pairwise(heights))


def test_the_mean_of_two_curves_lies_between_them() -> None:
    flat, steep = [(0.0, 0.0), (1.0, 1.0)], [(0.0, 1.0), (1.0, 1.0)]
    assert mean_roc([flat, steep])[50][1] == pytest.approx(75)


def point(step: int, value: float | None, phase: str = "main") -> dict:
    return {"phase": phase, "step": step, "epoch": step / 10, "judgment": value}


def test_a_loss_curve_is_the_mean_over_runs() -> None:
    logs = [[point(0, 1.0), point(10, 0.5)], [point(0, 3.0), point(10, None)]]
    assert _loss_curve(logs, "judgment") == [(0.0, 2.0), (1.0, 0.5)]
    assert _loss_curve(logs, "interpretation") == []


def test_other_phases_are_left_out_of_the_curve() -> None:
    assert _loss_curve([[point(0, 9.0, "align"), point(0, 1.0)]], "judgment") == [(0.0, 1.0)]


def test_a_long_curve_is_thinned_by_means() -> None:
    made = _loss_curve([[point(n, float(n)) for n in range(1000)]], "judgment")
    assert len(made) <= CURVE_POINTS
    assert made[0][1] == pytest.approx(8.0)  # of 0 to 16


def test_species_are_averaged_over_targets_and_seeds(runs) -> None:
    every = runs.results(HARD, FULL)
    rates = [result.rates["eer_on_test"].apcer["mask"] for result in every]
    assert _apcer(runs, HARD)["mask"] == pytest.approx(sum(rates) / 33)


def test_what_is_absent_is_said(results_of, judged) -> None:
    assert "Protocol 2 was not run" in curves(Runs([]), [])
    told = curves(Runs([replace(results_of("vitaf"), roc=())]), [])
    for words in (
        "A radar needs three targets", "No other alpha", "No loss curve",
        "holds a ROC curve", "There are no results of the full model",
    ):  # fmt: skip
        assert words in told
    full = [one for one in judged if one.results[0].variant == FULL]
    assert "There is no run without L-LM" in curves(Runs([results_of()]), full)
