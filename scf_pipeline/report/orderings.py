"""Section 8: does it hold here? One sentence for each ordering of the paper."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from scf_pipeline.report import paper
from scf_pipeline.report.figures import bootstrap, in_words
from scf_pipeline.report.html import Html, absent, escape, items, join, paragraph, section, tag
from scf_pipeline.report.intervals import Summary, Verdict, is_greater, is_within, summarize
from scf_pipeline.report.runs import BASELINES, FULL, PROTOCOL_2, WORDS, Place, Runs, auc, extras

MARGIN = 0.02
"""Difference of AUC within which two variants count as about equal."""

LEARNT = 0.95
"""AUC on the source's own part above which it counts as learnt."""

CHANCE, SATURATED = 0.55, 0.99
"""AUC on a target below or above which its differences tell little."""


@dataclass(frozen=True, slots=True)
class Claim:
    """An ordering that the paper reports."""

    source: str
    """Where."""

    one: str
    """The variant that is claimed to be better, or equal."""

    other: str
    """The other."""

    is_equality: bool = False
    """Whether they are claimed to be about equal."""

    def judge(self, difference: Summary) -> Verdict:
        """Judge it by the paired difference of AUC."""
        return is_within(difference, MARGIN) if self.is_equality else is_greater(difference)

    @property
    def words(self) -> str:
        """The claim as a clause."""
        relation = "is about as good as" if self.is_equality else "is better than"
        return f"{WORDS[self.one]} {relation} {WORDS[self.other]}"


PLURALS = {
    Verdict.HOLDS: "hold",
    Verdict.FAILS: "do not hold",
    Verdict.UNDECIDED: "are undecided",
}

CLAIMS = (
    *(Claim("Table 2", FULL, name) for name in BASELINES),
    Claim("Tables 3 and 4", FULL, "without-scf"),
    Claim("Table 3", FULL, "without-gac"),
    Claim("Table 3", FULL, "without-lopsided-loss"),
    Claim("Table 4", FULL, "general-captions"),
    Claim("Table 4", "general-captions", "without-scf", is_equality=True),
    Claim("Table 4", "flip-captions", "flip-template"),
)
"""Orderings of the paper, in AUC."""


def orderings(runs: Runs) -> Html:
    """Return the section."""
    places = runs.places(PROTOCOL_2)
    if not places:
        return section("orderings", "Does it hold here?", absent("Protocol 2 was not run."))
    note = paragraph(
        "AUC, means over the targets of Protocol 2. Each sentence is made from the numbers; "
        f"about as good means that the whole interval lies within ±{100 * MARGIN:.0f} points."
    )
    return section("orderings", "Does it hold here?", note, *(_of(runs, one) for one in places))


def headlines(runs: Runs) -> list[Html]:
    """Return for each world how the full model does and how many orderings hold."""
    lines = []
    for place in runs.places(PROTOCOL_2):
        told = runs.summary(place, FULL, auc)
        if told is None:
            continue
        gaps = [(one, runs.difference(place, one.one, one.other, auc)) for one in CLAIMS]
        verdicts = Counter(one.judge(gap) for one, gap in gaps if gap is not None)
        counted = ", ".join(f"{verdicts[word]} {plural}" for word, plural in PLURALS.items())
        lines.append(
            escape(
                f"{place.title.capitalize()}: the full model reaches {100 * told.mean:.1f} % AUC"
                f"{_interval(told)} as the mean of {len(runs.targets(place))} targets; of "
                f"{verdicts.total()} orderings of the paper that can be compared: {counted}."
            )
        )
    return lines


def _of(runs: Runs, place: Place) -> Html:
    claims = [sentence(runs, place, claim) for claim in CLAIMS]
    return join(
        [
            tag("h3", place.title),
            tag("h4", "Orderings of the paper"),
            items([*claims, optimum(runs, place)]),
            tag("h4", "Is the setting informative?"),
            items([source_learnt(runs, place), *targets_informative(runs, place)]),
            tag("h4", "Beyond the paper"),
            items(_beyond(runs, place)),
        ]
    )


def sentence(runs: Runs, place: Place, claim: Claim) -> Html:
    """Return whether a claim holds, with the paired difference."""
    told = escape(f"{claim.source}: {claim.words}: ")
    difference = runs.difference(place, claim.one, claim.other, auc)
    if difference is None:
        return join([told, tag("b", "not run"), "."])
    return join([told, _badge(claim.judge(difference)), f": {in_words(difference)}."])


def optimum(runs: Runs, place: Place) -> Html:
    """Return whether the alpha sweep has its best value inside."""
    told = "Figure 5: the best weight of the judgment lies inside (0, 1): "
    found = runs.alphas(place)
    means = {alpha: runs.summary(place, name, auc) for alpha, name in found.items()}
    known = {alpha: one.mean for alpha, one in means.items() if one is not None}
    if len(known) < 3:
        return join([told, tag("b", "not run"), "."])
    best = max(known, key=lambda alpha: known[alpha])
    ends = (min(known), max(known))
    inside = max((a for a in known if a not in ends), key=lambda alpha: known[alpha])
    gaps = [runs.difference(place, found[inside], found[end], auc) for end in ends]
    verdict = _inner_verdict([gap for gap in gaps if gap is not None])
    said = [
        f"over alpha {end:g} {in_words(gap)}"
        for end, gap in zip(ends, gaps, strict=True)
        if gap is not None
    ]
    rest = (
        f": best is alpha {best:g}; the best inner one, {inside:g}, is {' and '.join(said)} "
        "(it was chosen by the same numbers, which flatters it)."
    )
    return join([told, _badge(verdict), rest])


def _inner_verdict(gaps: list[Summary]) -> Verdict:
    verdicts = [is_greater(gap) for gap in gaps]
    if len(verdicts) == 2 and all(one is Verdict.HOLDS for one in verdicts):
        return Verdict.HOLDS
    return Verdict.FAILS if Verdict.FAILS in verdicts else Verdict.UNDECIDED


def source_learnt(runs: Runs, place: Place) -> Html:
    """Return whether the full model learnt its source."""
    results = runs.source_results(place, FULL)
    if not results:
        return escape("Is the source learnt? No result on the source's own part is there.")
    by_seed: dict[int, list[float]] = {}
    for result in results:
        by_seed.setdefault(result.seed, []).append(result.auc)
    told = summarize([summarize(values).mean for values in by_seed.values()])
    is_learnt = told.mean > LEARNT
    inverted = (
        " Its polarity is inverted: attacks score higher." if _is_inverted(runs, place) else ""
    )
    spread = _interval(told)
    return join(
        [
            "Is the source learnt (AUC above 95 % on its own held-out part)? ",
            tag("b", "yes" if is_learnt else "no"),
            f": {100 * told.mean:.1f} %{spread}.{inverted}",
        ]
    )


def targets_informative(runs: Runs, place: Place) -> list[Html]:
    """Return which targets are near chance or saturated for the full model."""
    found = {target: runs.summary(place, FULL, auc, [target]) for target in runs.targets(place)}
    means = {target: one.mean for target, one in found.items() if one is not None}
    if not means:
        return [escape("There are no results of the full model.")]
    checks: list[tuple[str, Callable[[float], bool]]] = [
        (f"near chance (AUC below {100 * CHANCE:.0f} %)", lambda mean: mean < CHANCE),
        (f"saturated (AUC above {100 * SATURATED:.0f} %)", lambda mean: mean > SATURATED),
    ]
    lines = []
    for words, is_so in checks:
        named = [
            f"{paper.title(target)} ({100 * mean:.1f}{_one(runs, place, target)})"
            for target, mean in means.items()
            if is_so(mean)
        ]
        listed = ", ".join(named) or "none"
        lines.append(escape(f"Targets {words}: {listed}; {len(named)} of {len(means)}."))
    return lines


def _one(runs: Runs, place: Place, target: str) -> str:
    ends = bootstrap(runs.results(place, FULL, target), "auc")
    return f", {100 * ends[0]:.1f} to {100 * ends[1]:.1f} by bootstrap" if ends else ""


def _beyond(runs: Runs, place: Place) -> Iterator[Html]:
    others = extras(runs.variants(place), runs.alphas(place).values())
    for name in ("source-only-captions", *others):
        difference = runs.difference(place, name, FULL, auc)
        what = (
            "Captioner domains: C_S taught by the source alone, against C_S taught by all datasets"
            if name == "source-only-captions"
            else f"{name}, against the full model"
        )
        if difference is None:
            yield escape(f"{what}: not run.")
            continue
        verdict = is_greater(difference)
        words = {Verdict.HOLDS: "better", Verdict.FAILS: "worse"}.get(verdict, "undecided")
        yield join([f"{what}: ", tag("b", words), f": {in_words(difference)}."])


def _badge(verdict: Verdict) -> Html:
    kind = {Verdict.HOLDS: "right", Verdict.FAILS: "wrong", Verdict.UNDECIDED: "open"}[verdict]
    return tag("b", str(verdict), class_=kind)


def _interval(told: Summary) -> str:
    if told.low is None or told.high is None:
        return " (one seed, so no interval)"
    return f" (95 % interval {100 * told.low:.1f} to {100 * min(1.0, told.high):.1f})"


def _is_inverted(runs: Runs, place: Place) -> bool:
    return any(result.is_inverted for result in runs.source_results(place, FULL))
