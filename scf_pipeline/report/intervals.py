"""Means over seeds with Student's 95 % intervals, and what a paired difference lets one say."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

_QUANTILES = (
    12.706205, 4.302653, 3.182446, 2.776445, 2.570582, 2.446912, 2.364624, 2.306004, 2.262157,
    2.228139, 2.200985, 2.178813, 2.160369, 2.144787, 2.131450, 2.119905, 2.109816, 2.100922,
    2.093024, 2.085963,
)  # fmt: skip
"""0.975 quantiles of Student's t with 1 to 20 degrees of freedom."""

_NORMAL = 1.959964
"""The same of the normal distribution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Some values of one quantity, one for each seed."""

    mean: float
    """Their mean."""

    deviation: float | None
    """Their standard deviation (n - 1); ``None`` of one value."""

    low: float | None
    """Lower end of the 95 % t-interval of the mean; ``None`` of one value."""

    high: float | None
    """Its upper end."""

    count: int
    """How many values."""

    def percent(self) -> Summary:
        """Return the same in percent, or in percentage points."""
        return Summary(
            mean=100 * self.mean,
            deviation=_times_100(self.deviation),
            low=_times_100(self.low),
            high=_times_100(self.high),
            count=self.count,
        )


class Verdict(StrEnum):
    """Whether a claim of the paper holds here."""

    HOLDS = "holds"
    FAILS = "does not hold"
    UNDECIDED = "undecided"


def quantile(freedom: int) -> float:
    """Return the 0.975 quantile of Student's t, to 1e-4."""
    if freedom < 1:
        raise ValueError(f"`freedom` must be at least 1, but is {freedom}.")
    if freedom <= len(_QUANTILES):
        return _QUANTILES[freedom - 1]
    # Cornish and Fisher's expansion about the normal quantile
    z, z3, z5, z7 = (_NORMAL**power for power in (1, 3, 5, 7))
    terms = (
        z,
        (z3 + z) / 4,
        (5 * z5 + 16 * z3 + 3 * z) / 96,
        (3 * z7 + 19 * z5 + 17 * z3 - 15 * z) / 384,
    )
    return math.fsum(term / freedom**power for power, term in enumerate(terms))


def summarize(values: Sequence[float]) -> Summary:
    """Return mean, standard deviation and 95 % t-interval of the mean."""
    if not values:
        raise ValueError("`values` must not be empty.")
    count = len(values)
    mean = math.fsum(values) / count
    if count == 1:
        return Summary(mean=mean, deviation=None, low=None, high=None, count=1)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1))
    half = quantile(count - 1) * deviation / math.sqrt(count)
    return Summary(mean=mean, deviation=deviation, low=mean - half, high=mean + half, count=count)


def paired(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Summary | None:
    """Return the summary of ``ours - theirs`` over the seeds that both have, if there is one."""
    seeds = sorted(ours.keys() & theirs.keys())
    return summarize([ours[seed] - theirs[seed] for seed in seeds]) if seeds else None


def is_greater(difference: Summary) -> Verdict:
    """Judge the claim that a difference is positive by its interval."""
    if difference.low is None or difference.high is None:
        return Verdict.UNDECIDED
    if difference.low > 0:
        return Verdict.HOLDS
    return Verdict.FAILS if difference.high < 0 else Verdict.UNDECIDED


def is_within(difference: Summary, margin: float) -> Verdict:
    """Judge the claim that a difference is no larger than a margin either way."""
    if difference.low is None or difference.high is None:
        return Verdict.UNDECIDED
    if -margin <= difference.low and difference.high <= margin:
        return Verdict.HOLDS
    is_outside = difference.low > margin or difference.high < -margin
    return Verdict.FAILS if is_outside else Verdict.UNDECIDED


def _times_100(value: float | None) -> float | None:
    return None if value is None else 100 * value
