"""Charts: well-formed, within their frame, with text that stays text."""

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scf_pipeline.report.charts import Axis, Line, axis, bars, line_chart, radar

LINES = [
    Line("full & <b>", [(0, 0.5), (5, 1.0)], [(0.4, 0.6), None], has_markers=True),
    Line("other", [(0, 0.0), (10, 0.8)]),
]
CHARTS = {
    "lines": line_chart("a <i>", Axis("x", 0, 10), Axis("y", 0, 1), LINES),
    "radar": radar("r", ["A", "B", "C<"], [Line("one", [(0, 0.9), (1, 0.6), (2, 1.0)])], 0.5),
    "bars": bars("b", ["print", "mask"], [[0.5, None], [0.0, 1.0]], ["hard", "easy"]),
}


def numbers(path: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?\d+\.?\d*", path)]


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_is_well_formed(name: str) -> None:
    root = ElementTree.fromstring(CHARTS[name])  # noqa: S314 - our own
    assert root.tag == "figure"
    assert root.find("svg").get("aria-label")
    assert [text.text for text in root.iter("text")]


@pytest.mark.parametrize("name", CHARTS)
def test_no_mark_leaves_the_frame(name: str) -> None:
    root = ElementTree.fromstring(CHARTS[name])  # noqa: S314 - our own
    frame = root.find("svg")
    _, _, width, height = numbers(frame.get("viewBox"))
    for text in frame.iter("text"):
        assert 0 <= float(text.get("x")) <= width
        assert 0 <= float(text.get("y")) <= height
    for path in frame.iter("path"):
        if path.get("class", "").startswith(("line", "bar")):
            assert all(0 <= number <= max(width, height) for number in numbers(path.get("d")))
    for rect in frame.iter("rect"):
        assert float(rect.get("x")) + float(rect.get("width")) <= width


def test_names_are_escaped() -> None:
    assert "<b>" not in CHARTS["lines"]
    assert "full &amp; &lt;b&gt;" in CHARTS["lines"]


def test_only_several_series_have_a_legend() -> None:
    assert 'class="legend"' in CHARTS["lines"]
    assert 'class="legend"' not in CHARTS["radar"]


def test_an_interval_is_drawn_where_it_is_known() -> None:
    assert CHARTS["lines"].count('class="bar0"') == 1


def test_a_bar_that_is_not_known_is_not_drawn() -> None:
    assert CHARTS["bars"].count("<rect") == 3 + 1  # and one marker of the legend


def test_the_rim_of_a_radar_is_one_and_its_centre_the_inner_value() -> None:
    chart = radar("r", ["A", "B", "C"], [Line("l", [(0, 1.0), (1, 0.4), (2, 0.5)])], 0.5)
    (line,) = re.findall(r'class="line0" d="([^"]+)"', chart)
    x, y = numbers(line)[:2], numbers(line)[2:4]
    assert x == [180.0, 33.0]
    assert y == numbers(line)[4:6] == [180.0, 145.0]


@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e3))
def test_ticks_are_round_and_within_the_axis(low: float, length: float) -> None:
    one = Axis("x", low, low + length)
    ticks = one.ticks()
    assert 2 <= len(ticks) <= 7
    assert all(low - 1e-6 * length <= tick <= low + length * (1 + 1e-6) for tick in ticks)


@pytest.mark.parametrize("values", [[0.5], [0.0, 0.0], [1.0, 2.0]])
def test_an_axis_holds_its_values(values: list[float]) -> None:
    one = axis("x", values)
    assert one.low < min(values)
    assert one.high > max(values)
    assert axis("x", values, floor=0).low == 0
