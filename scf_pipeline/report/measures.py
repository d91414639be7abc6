"""Section 6, its end: every variant at the other thresholds and by other measures."""

from __future__ import annotations

from ifas_model.results import THRESHOLD_POLICIES
from scf_pipeline.report.figures import cell
from scf_pipeline.report.html import Group, Html, absent, folded, join, paragraph, tag
from scf_pipeline.report.html import table as html_table
from scf_pipeline.report.runs import HEADLINE, PROTOCOL_2, Measure, Place, Runs, row_title


def policies(runs: Runs) -> Html:
    """Return what every variant does under the other thresholds, and by other measures."""
    top = tag("h3", "Other thresholds, other measures")
    places = runs.places(PROTOCOL_2)
    if not places:
        return join([top, absent("Protocol 2 was not run.")])
    return join(
        [
            top,
            paragraph(
                "The headline threshold, eer_on_test, looks at the labels of the test faces, as "
                "published tables do. eer_on_dev is set on the source's own held-out part, which "
                "is what a user could do; fixed is one number set beforehand."
            ),
            *(_policies(runs, place) for place in places),
            *(_measures(runs, place) for place in places),
        ]
    )


def _policies(runs: Runs, place: Place) -> Html:
    def at(policy: str) -> Measure:
        return lambda result: result.rates[policy].hter

    told = _policies_of(runs, place)
    rows = [
        [row_title(name), *(cell(runs.summary(place, name, at(policy))) for policy in told)]
        for name in runs.variants(place)
    ]
    caption = f"HTER by threshold policy, {place.title}, Protocol 2. Checkpoint: {runs.policy}."
    return html_table(caption, [Group("", ["variant"]), Group("HTER ↓ at", told)], rows)


def _policies_of(runs: Runs, place: Place) -> list[str]:
    every = [result for name in runs.variants(place) for result in runs.results(place, name)]
    return [name for name in THRESHOLD_POLICIES if all(name in r.rates for r in every)]


def _measures(runs: Runs, place: Place) -> Html:
    told: dict[str, Measure] = {
        "EER ↓": lambda r: r.eer,
        "ACER ↓": lambda r: r.rates[HEADLINE].acer,
        "BPCER ↓": lambda r: r.rates[HEADLINE].bpcer,
        "TPR at FPR 1 % ↑": lambda r: r.tpr_at_fpr_1,
        "TPR at FPR 0.1 % ↑": lambda r: r.tpr_at_fpr_01,
        "ECE ↓": lambda r: r.ece,
        "AUC by face ↑": lambda r: r.frame_auc,
        "HTER by face ↓": lambda r: r.frame_hter,
    }
    rows = [
        [row_title(name), *(cell(runs.summary(place, name, one)) for one in told.values())]
        for name in runs.variants(place)
    ]
    caption = f"Other measures, {place.title}, means over the targets of Protocol 2. "
    shown = html_table(caption + runs.note, [Group("", ["variant", *told])], rows)
    return folded(f"Other measures, {place.title}", shown)
