"""Section 7: Figures 1 and 5, ROC curves, and attacks of each species."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from ifas_model.results import Result
from ifas_model.vocabulary import PaiSpecies
from scf_pipeline.report import paper
from scf_pipeline.report.charts import Axis, Line, axis, bars, line_chart, radar
from scf_pipeline.report.html import Html, absent, join, paragraph, section, tag
from scf_pipeline.report.intervals import summarize
from scf_pipeline.report.material import Evaluation
from scf_pipeline.report.runs import BASELINES, FULL, HEADLINE, PROTOCOL_2, Place, Runs, auc, title

STANDARD = "without-lopsided-loss"
CURVE_POINTS = 60
"""Most points of a loss curve."""

GRID = [number / 100 for number in range(101)]
"""False acceptance rates at which ROC curves are averaged."""


def curves(runs: Runs, evaluations: Sequence[Evaluation]) -> Html:
    """Return the section."""
    places = runs.places(PROTOCOL_2)
    if not places:
        return section("figures", "Figures 1 and 5", absent("Protocol 2 was not run."))
    return section(
        "figures",
        "Figures 1 and 5, ROC curves, species",
        tag("h3", "Radar (Figure 1): AUC on each target"),
        _grid(_radar(runs, place) for place in places),
        tag("h3", "Weight of the judgment (Figure 5, left)"),
        _alphas(runs, places),
        tag("h3", "Convergence (Figure 5, right)"),
        *(_convergence(place, evaluations) for place in places),
        tag("h3", "ROC curves"),
        _grid(_roc(runs, place) for place in places),
        tag("h3", "Attacks that get through, by species"),
        _species(runs, places),
    )


def compared(runs: Runs, place: Place) -> list[str]:
    """Return the full model and the baselines that were run."""
    return [name for name in (FULL, *BASELINES) if name in runs.variants(place)]


def _radar(runs: Runs, place: Place) -> Html:
    targets, variants = runs.targets(place), compared(runs, place)
    if len(targets) < 3:
        return absent(f"A radar needs three targets, but the {place.title} has {len(targets)}.")
    lines = []
    for variant in variants:
        found = [runs.summary(place, variant, auc, [target]) for target in targets]
        points = [(float(n), one.mean) for n, one in enumerate(found) if one is not None]
        lines.append(Line(title(variant), points))
    least = min((y for line in lines for _, y in line.points), default=0.5)
    inner = max(0.0, int(10 * least - 0.2) / 10)
    names = [paper.short(target) for target in targets]
    chart = radar(f"AUC on each target, {place.title}", names, lines, inner)
    note = f"AUC in percent, {place.title}; the centre is {100 * inner:.0f}, the rim 100."
    return join([paragraph(note), chart])


def _grid(charts: Iterable[Html]) -> Html:
    return tag("div", *(tag("div", chart) for chart in charts), class_="charts")


def _alphas(runs: Runs, places: Sequence[Place]) -> Html:
    lines, notes = [], []
    for place in places:
        found = runs.alphas(place)
        told = [(alpha, runs.summary(place, name, auc)) for alpha, name in found.items()]
        points = [(alpha, one.percent()) for alpha, one in told if one is not None]
        if len(points) < 2:
            notes.append(absent(f"No other alpha than the full model's: {place.title}."))
            continue
        ends = [None if s.low is None or s.high is None else (s.low, s.high) for _, s in points]
        lines.append(Line(place.title, [(a, s.mean) for a, s in points], ends, has_markers=True))
    if not lines:
        return join(notes)
    held = [y for line in lines for _, y in line.points]
    held += [y for line in lines for bar in line.bars if bar for y in bar]
    about = "AUC over alpha, the weight of the judgment in the L-LM loss"
    across = Axis("alpha, weight of the judgment", -0.03, 1.03)
    chart = line_chart(about, across, axis("AUC, %", held), lines)
    note = "Mean over targets and seeds; upright lines are 95 % intervals over seeds."
    return join([paragraph(note), chart, *notes])


def _convergence(place: Place, evaluations: Sequence[Evaluation]) -> Html:
    shown = []
    for part in ("judgment", "interpretation"):
        lines = []
        for variant in (FULL, STANDARD):
            logs = [one.training.get("curve", []) for one in _of(place, variant, evaluations)]
            if points := _loss_curve(logs, part):
                lines.append(Line(title(variant), points))
        if lines:
            every = [point for line in lines for point in line.points]
            across = axis("epoch", [x for x, _ in every], floor=0)
            up = axis(f"{part} loss", [y for _, y in every], floor=0)
            about = f"Loss of the {part} over training, {place.title}"
            shown.append(join([paragraph(f"{about}."), line_chart(about, across, up, lines)]))
    if not shown:
        return absent(f"No loss curve of the full model was kept: {place.title}.")
    has_both = all(_of(place, variant, evaluations) for variant in (FULL, STANDARD))
    note = "" if has_both else absent(f"There is no run {title(STANDARD)}: {place.title}.")
    return join([_grid(shown), note])


def _of(place: Place, variant: str, evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    wanted = (place.world, place.protocol, variant)
    return [
        one
        for one in evaluations
        if any((r.world, r.protocol, r.variant) == wanted for r in one.results)
    ]


def _loss_curve(
    logs: Iterable[Sequence[Mapping[str, Any]]], part: str
) -> list[tuple[float, float]]:
    """Return the mean over runs of a loss by epoch, neighbouring points averaged to a few."""
    by_step: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for log in logs:
        for point in log:
            if point.get(part) is not None and point.get("phase", "main") == "main":
                by_step[point["step"]].append((float(point["epoch"]), float(point[part])))
    steps = sorted(by_step)
    size = max(1, -(-len(steps) // CURVE_POINTS))
    bins = [steps[start : start + size] for start in range(0, len(steps), size)]
    return [
        (
            _mean(x for s in some for x, _ in by_step[s]),
            _mean(y for s in some for _, y in by_step[s]),
        )
        for some in bins
    ]


def _roc(runs: Runs, place: Place) -> Html:
    lines = []
    for variant in compared(runs, place):
        curves_ = [result.roc for result in runs.results(place, variant) if result.roc]
        if curves_:
            lines.append(Line(title(variant), mean_roc(curves_)))
    if not lines:
        return absent(f"No result of the {place.title} holds a ROC curve.")
    about = f"ROC curves, {place.title}"
    chart = line_chart(
        about, Axis("attacks accepted, %", 0, 100), Axis("bona fide accepted, %", 0, 100), lines
    )
    note = f"{place.title}: curves of all targets and seeds, averaged upright."
    return join([paragraph(note), chart])


def mean_roc(curves_: Sequence[Sequence[tuple[float, float]]]) -> list[tuple[float, float]]:
    """Return the mean in percent of ROC curves at the same false acceptance rates."""
    return [(100 * x, 100 * _mean(_height(curve, x) for curve in curves_)) for x in GRID]


def _height(curve: Sequence[tuple[float, float]], x: float) -> float:
    """Return a ROC curve's height at a false acceptance rate; at a step, its top."""
    points = sorted([(0.0, 0.0), *curve, (1.0, 1.0)])
    best = max(y for far, y in points if far <= x)
    for (x0, y0), (x1, y1) in pairwise(points):
        if x0 < x < x1:
            return max(best, y0 + (y1 - y0) * (x - x0) / (x1 - x0))
    return best


def _species(runs: Runs, places: Sequence[Place]) -> Html:
    found = {place: _apcer(runs, place) for place in places}
    kinds = [kind for kind in map(str, PaiSpecies) if any(kind in one for one in found.values())]
    if not kinds:
        return absent("There are no results of the full model.")
    values = [[found[place].get(kind) for place in places] for kind in kinds]
    chart = bars("APCER by species", kinds, values, [place.title for place in places])
    note = (
        "APCER of the full model: attacks of each species taken for bona fide, in percent, at the "
        f"threshold {HEADLINE}; mean over seeds and over the targets that have the species."
    )
    return join([paragraph(note), chart])


def _apcer(runs: Runs, place: Place) -> dict[str, float]:
    found: dict[str, list[float]] = defaultdict(list)
    for result in runs.results(place, FULL):
        for kind, rate in _rates(result).items():
            found[kind].append(rate)
    return {kind: _mean(rates) for kind, rates in found.items()}


def _rates(result: Result) -> dict[str, float]:
    return dict(result.rates[HEADLINE].apcer)


def _mean(values: Iterable[float]) -> float:
    return summarize(list(values)).mean
