"""Numbers as the page writes them: percent, mean +- standard deviation, intervals."""

from __future__ import annotations

from ifas_model.results import Result
from scf_pipeline.report.html import Html, escape, join, tag
from scf_pipeline.report.intervals import Summary
from scf_pipeline.report.paper import Pair

NONE = Html("&ndash;")
"""Stands where there is no number."""


def percent(fraction: float | None, digits: int = 1) -> Html:
    """Return a fraction in percent, without the sign."""
    return NONE if fraction is None else escape(f"{100 * fraction:.{digits}f}")


def cell(summary: Summary | None, bootstrap: tuple[float, float] | None = None) -> Html:
    """Return mean +- standard deviation in percent, and the 95 % interval below.

    Args:
        summary: Fractions by seed.
        bootstrap: Interval to show where there is one seed only.
    """
    if summary is None:
        return NONE
    told = summary.percent()
    spread = "" if told.deviation is None else f" ± {told.deviation:.1f}"
    low, high = (told.low, told.high)
    mark = ""
    if low is None and bootstrap is not None:
        low, high, mark = 100 * bootstrap[0], 100 * bootstrap[1], " *"
    if low is None or high is None:
        return join([tag("b", f"{told.mean:.1f}"), spread])
    below = tag("small", f"[{max(0.0, low):.1f}, {min(100.0, high):.1f}]{mark}")
    return join([tag("b", f"{told.mean:.1f}"), spread, Html("<br>"), below])


def points(difference: Summary | None) -> Html:
    """Return a difference in points with its sign and its 95 % interval."""
    if difference is None:
        return NONE
    told = difference.percent()
    if told.low is None or told.high is None:
        return tag("b", signed(told.mean))
    below = tag("small", f"[{signed(told.low)}, {signed(told.high)}]")
    return join([tag("b", signed(told.mean)), Html("<br>"), below])


def signed(number: float) -> str:
    """Return a number with one decimal and its sign, a true minus among them."""
    told = f"{round(number, 1) or 0.0:+.1f}"  # never a negative zero
    return told.replace("-", "−")  # noqa: RUF001 - a minus is meant


def in_words(difference: Summary) -> str:
    """Return a difference as a sentence holds it."""
    told = difference.percent()
    seeds = "one seed" if told.count == 1 else f"{told.count} seeds"
    if told.low is None or told.high is None:
        return f"{signed(told.mean)} points ({seeds}, so no interval)"
    interval = f"95 % interval {signed(told.low)} to {signed(told.high)}"
    return f"{signed(told.mean)} points ({interval}, {seeds})"


def bootstrap(results: list[Result], name: str) -> tuple[float, float] | None:
    """Return the bootstrap interval of a figure, where one result is all there is."""
    return results[0].intervals.get(name) if len(results) == 1 else None


def printed(pair: Pair | None, measure: str) -> Html:
    """Return the paper's figure with its two decimals, misprints flagged."""
    if pair is None:
        return NONE
    value = escape(f"{getattr(pair, measure):.2f}")
    return (
        join([value, tag("abbr", "!", title="misprint in the paper")])
        if pair.is_misprint
        else value
    )


def duration(seconds: float) -> str:
    """Return a time in the unit that suits it."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
