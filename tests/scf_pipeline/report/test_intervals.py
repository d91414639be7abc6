"""Student's intervals, against SciPy, and verdicts."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scf_pipeline.report.intervals import (
    Summary,
    Verdict,
    is_greater,
    is_within,
    paired,
    quantile,
    summarize,
)


def between(low: float | None, high: float | None) -> Summary:
    mean = 0.0 if low is None or high is None else (low + high) / 2
    return Summary(mean=mean, deviation=0.1, low=low, high=high, count=3)


@pytest.mark.parametrize("freedom", [*range(1, 45), 100, 1000])
def test_quantiles_are_scipys(freedom: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    assert quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), abs=1e-4)


def test_no_freedom_is_refused() -> None:
    with pytest.raises(ValueError, match="`freedom` must be at least 1, but is 0"):
        quantile(0)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=30))
def test_a_summary_is_what_numpy_and_student_say(values: list[float]) -> None:
    told = summarize(values)
    half = quantile(len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values))
    assert told.mean == pytest.approx(np.mean(values), abs=1e-12)
    assert told.deviation == pytest.approx(np.std(values, ddof=1), abs=1e-12)
    assert told.high - told.low == pytest.approx(2 * half, abs=1e-9)


def test_one_value_has_no_interval() -> None:
    told = summarize([0.5]).percent()
    assert (told.mean, told.deviation, told.low, told.high, told.count) == (50, None, None, None, 1)


def test_no_values_are_refused() -> None:
    with pytest.raises(ValueError, match="`values` must not be empty"):
        summarize([])


def test_pairs_are_of_the_same_seed() -> None:
    told = paired({0: 0.9, 1: 0.8, 5: 0.1}, {1: 0.6, 0: 0.8, 7: 0.0})
    assert told is not None
    assert (told.mean, told.count) == (pytest.approx(0.15), 2)
    assert paired({0: 1.0}, {1: 1.0}) is None


@pytest.mark.parametrize(
    ("low", "high", "greater", "within"),
    [
        (0.01, 0.015, Verdict.HOLDS, Verdict.HOLDS),
        (-0.01, 0.01, Verdict.UNDECIDED, Verdict.HOLDS),
        (-0.05, -0.03, Verdict.FAILS, Verdict.FAILS),
        (0.03, 0.05, Verdict.HOLDS, Verdict.FAILS),
        (-0.03, 0.01, Verdict.UNDECIDED, Verdict.UNDECIDED),
        (None, None, Verdict.UNDECIDED, Verdict.UNDECIDED),
    ],
)
def test_the_whole_interval_decides(low, high, greater, within) -> None:
    assert is_greater(between(low, high)) is greater
    assert is_within(between(low, high), 0.02) is within
