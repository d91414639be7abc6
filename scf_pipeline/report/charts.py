"""Charts as inline SVG: text stays text, colours come from the page's style sheet.

A chart is 360 units wide, so that its text of 12 units is 12 px on a phone. Series differ in
colour, dashes and markers; colours are Okabe and Ito's, which colour-blind readers tell apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from scf_pipeline.report.html import Html, escape, join, tag

WIDTH, HEIGHT = 360, 250
LEFT, RIGHT, TOP, BOTTOM = 44, 342, 10, 206
SERIES = 6
"""Styles of series; a seventh looks like the first."""

Point: TypeAlias = tuple[float, float]
_Place: TypeAlias = Callable[[Point], Point]
"""From values to units of the chart."""


@dataclass(frozen=True, slots=True)
class Line:
    """One series of a chart."""

    name: str
    """For the legend."""

    points: Sequence[Point]
    """Values, x ascending; y in the unit of its axis."""

    bars: Sequence[Point | None] = ()
    """Lower and upper end of the interval at each point, if known."""

    has_markers: bool = False
    """Whether points are marked."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a chart."""

    title: str
    """What it shows, and its unit."""

    low: float
    """Its lower end."""

    high: float
    """Its upper end."""

    def ticks(self, wanted: int = 5) -> list[float]:
        """Return round numbers within the axis."""
        step = _round_step((self.high - self.low) / wanted)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(number * step, 10) for number in range(first, last + 1)]


def axis(title: str, values: Sequence[float], *, floor: float | None = None) -> Axis:
    """Return an axis that holds values with a little room.

    Args:
        title: What it shows.
        values: What it must hold.
        floor: Where it begins; a little below the least value without it.
    """
    low, high = min(values), max(values)
    room = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    return Axis(title, low - room if floor is None else floor, high + room)


def line_chart(description: str, x: Axis, y: Axis, lines: Sequence[Line]) -> Html:
    """Return a chart of lines with its legend.

    Args:
        description: What it shows, for those who cannot see it.
        x: Horizontal axis.
        y: Vertical axis.
        lines: Series.
    """

    def place(point: Point) -> Point:
        across = (point[0] - x.low) / ((x.high - x.low) or 1)
        up = (point[1] - y.low) / ((y.high - y.low) or 1)
        return LEFT + across * (RIGHT - LEFT), BOTTOM - up * (BOTTOM - TOP)

    drawn = [_grid(x, y, place)]
    for number, line in enumerate(lines):
        drawn.append(_line(number, line, place))
    return _figure(description, drawn, [line.name for line in lines], HEIGHT)


def radar(description: str, spokes: Sequence[str], lines: Sequence[Line], inner: float) -> Html:
    """Return a radar chart with its legend.

    Args:
        description: What it shows, for those who cannot see it.
        spokes: Names of the axes, clockwise from the top.
        lines: Series whose points are (number of the spoke, value in [0, 1]).
        inner: Value at the centre; 1 lies at the rim.
    """
    size, radius = 290, 112.0
    middle = (WIDTH / 2, size / 2)

    def place(point: Point) -> Point:
        angle = 2 * math.pi * point[0] / len(spokes)
        reach = radius * max(0.0, (point[1] - inner) / (1 - inner))
        return middle[0] + reach * math.sin(angle), middle[1] - reach * math.cos(angle)

    drawn = [_web(spokes, inner, place)]
    for number, line in enumerate(lines):
        if line.points:  # a radar's line ends where it began
            closed = Line(line.name, [*line.points, line.points[0]], has_markers=True)
            drawn.append(_line(number, closed, place))
    drawn.append(_levels(inner, place))
    return _figure(description, drawn, [line.name for line in lines], size)


def bars(description: str, names: Sequence[str], values: Sequence[Sequence[float | None]],
         legend: Sequence[str]) -> Html:  # fmt: skip
    """Return horizontal bars of fractions in [0, 1], told in percent at their ends.

    Args:
        description: What it shows, for those who cannot see it.
        names: What each group of bars stands for.
        values: For each name, one value for each entry of the legend; ``None`` draws none.
        legend: Names of the series.
    """
    thick, gap, start = 16, 12, 92
    group = thick * len(legend) + gap
    drawn: list[Html] = []
    for row, (name, some) in enumerate(zip(names, values, strict=True)):
        top = row * group + gap / 2
        middle = top + thick * len(legend) / 2 + 4
        drawn.append(_text(start - 6, middle, name, "end"))
        for number, value in enumerate(some):
            if value is not None:
                drawn.append(_bar(number, value, (start, top + number * thick), thick))
    return _figure(description, drawn, legend, int(len(names) * group + gap))


def _bar(number: int, value: float, corner: Point, thick: int) -> Html:
    long = value * (WIDTH - corner[0] - 44)
    rect = (
        f'<rect class="fill{number % SERIES}" x="{corner[0]:.0f}" y="{corner[1]:.1f}" '
        f'width="{max(long, 1):.1f}" height="{thick - 3}"/>'
    )
    label = _text(corner[0] + long + 5, corner[1] + thick - 5, f"{100 * value:.1f}", "start")
    return join([Html(rect), label])


def _grid(x: Axis, y: Axis, place: _Place) -> Html:
    drawn: list[Html] = []
    for tick in y.ticks():
        _, height = place((x.low, tick))
        drawn.append(Html(f'<path class="grid" d="M{LEFT} {height:.1f}H{RIGHT}"/>'))
        drawn.append(_text(LEFT - 5, height + 4, _number(tick), "end"))
    for tick in x.ticks(8):
        across, _ = place((tick, y.low))
        drawn.append(Html(f'<path class="grid" d="M{across:.1f} {TOP}V{BOTTOM}"/>'))
        drawn.append(_text(across, BOTTOM + 16, _number(tick), "middle"))
    drawn.append(_text((LEFT + RIGHT) / 2, BOTTOM + 36, x.title, "middle"))
    upright = f'transform="rotate(-90 12 {(TOP + BOTTOM) / 2:.0f})"'
    drawn.append(_text(12, (TOP + BOTTOM) / 2, y.title, "middle", upright))
    return join(drawn)


def _web(spokes: Sequence[str], inner: float, place: _Place) -> Html:
    drawn: list[Html] = []
    levels = [inner + (1 - inner) * part for part in (0.25, 0.5, 0.75, 1.0)]
    for level in levels:
        ring = [place((number, level)) for number in range(len(spokes))]
        drawn.append(Html(f'<path class="grid" d="{_path([*ring, ring[0]])}"/>'))
    for number, name in enumerate(spokes):
        end, label = place((number, 1.0)), place((number, 1.0 + 0.13 * (1 - inner)))
        drawn.append(Html(f'<path class="grid" d="{_path([place((0, inner)), end])}"/>'))
        side = label[0] - WIDTH / 2
        anchor = "middle" if abs(side) < 12 else "start" if side > 0 else "end"
        drawn.append(_text(label[0], label[1] + 4, name, anchor))
    return join(drawn)


def _levels(inner: float, place: _Place) -> Html:
    """Return the percentages of two rings, to be drawn over the lines."""
    places = [(level, place((0, level))) for level in (inner + (1 - inner) / 2, 1.0)]
    return join(_text(x + 4, y + 12, _number(100 * level), "start") for level, (x, y) in places)


def _line(number: int, line: Line, place: _Place) -> Html:
    style = number % SERIES
    places = [place(point) for point in line.points]
    drawn = [Html(f'<path class="line{style}" d="{_path(places)}"/>')]
    for point, bar in zip(line.points, line.bars, strict=False):
        if bar is not None:
            ends = [place((point[0], bar[0])), place((point[0], bar[1]))]
            drawn.append(Html(f'<path class="bar{style}" d="{_path(ends)}"/>'))
    if line.has_markers:
        drawn += [_marker(style, across, height) for across, height in places]
    return join(drawn)


def _marker(style: int, x: float, y: float) -> Html:
    shapes = (
        f'<circle class="fill{style}" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>',
        f'<rect class="fill{style}" x="{x - 3:.1f}" y="{y - 3:.1f}" width="6" height="6"/>',
        f'<path class="fill{style}" d="M{x:.1f} {y - 4:.1f}l4 7h-8z"/>',
        f'<path class="fill{style}" d="M{x:.1f} {y - 4.5:.1f}l4.5 4.5-4.5 4.5-4.5-4.5z"/>',
    )
    return Html(shapes[style % len(shapes)])


def _figure(description: str, drawn: Sequence[Html], legend: Sequence[str], height: int) -> Html:
    chart = Html(
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(description)}">'
        f"{join(drawn)}</svg>"
    )
    keys = [tag("li", _key(number), name) for number, name in enumerate(legend)]
    return tag("figure", chart, tag("ul", *keys, class_="legend") if len(keys) > 1 else Html(""))


def _key(number: int) -> Html:
    style = number % SERIES
    line = f'<path class="line{style}" d="M1 7H29"/>{_marker(style, 15, 7)}'
    return Html(f'<svg class="key" viewBox="0 0 30 14" aria-hidden="true">{line}</svg>')


def _path(places: Sequence[Point]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)


def _text(x: float, y: float, text: str, anchor: str, more: str = "") -> Html:
    told = f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>'
    return Html(f"{told.replace(' >', '>')}{escape(text)}</text>")


def _round_step(step: float) -> float:
    """Return the least of 1, 2 and 5 times a power of ten that is no less than a step."""
    if step <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(step))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= step * 0.999)


def _number(value: float) -> str:
    return f"{value:.4g}".replace("-", "−")  # noqa: RUF001 - a minus is meant
