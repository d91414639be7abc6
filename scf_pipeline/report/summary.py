"""Section 1: what ran, and how to read the page."""

from __future__ import annotations

from collections.abc import Iterable
from math import fsum

from scf_pipeline.report.figures import duration
from scf_pipeline.report.html import Html, escape, items, join, paragraph, section, tag
from scf_pipeline.report.material import Material
from scf_pipeline.report.orderings import headlines
from scf_pipeline.report.runs import PROTOCOL_1, PROTOCOL_2, Runs
from scf_pipeline.store import Artifact

WARNING = (
    "Miniature numbers are not the paper's. Worlds whose scale and difficulty are named below are "
    "drawn, the models are small and trained here from scratch; the paper's numbers come from "
    "photographs and from models of billions of weights. Compare orderings, never levels."
)


def summary(material: Material, runs: Runs) -> Html:
    """Return the section."""
    said = [_worlds(material), _trained(material), _provenance(material), _strange(runs)]
    said.append(_policy(runs))
    told = [*headlines(runs), *filter(None, said)]
    return section("summary", "What ran, and how to read it", items(told), _reading())


def warning(material: Material) -> Html:
    """Return what stands at the top of the page."""
    if any(one.stage == "world" for one in material.curation) or any(
        result.world for result in material.results
    ):
        return paragraph(tag("strong", WARNING), class_="warning")
    told = "No drawn world is among the inputs: these figures are of the data that was given."
    return paragraph(tag("strong", told), class_="warning")


def _worlds(material: Material) -> Html | None:
    worlds = [one.manifest["config"] for one in material.of("world")]
    told = [
        f"{one.get('difficulty')} (scale {one.get('scale')}, seed {one.get('seed')})"
        for one in worlds
    ]
    if told:
        return escape(f"Drawn worlds: {', '.join(told)}.")
    names = sorted({result.world for result in material.results if result.world})
    return escape(f"Worlds: {', '.join(names)}.") if names else None


def _trained(material: Material) -> Html:
    if not material.evaluations:
        return escape("No model was trained: this page tells of curation alone.")
    seeds = sorted({result.seed for result in material.results})
    variants = {result.variant for result in material.results}
    seconds = fsum(one.training.get("seconds", 0.0) for one in material.evaluations)
    return escape(
        f"{len(material.evaluations)} trained models of {len(variants)} variants, with "
        f"{_plural(len(seeds), 'seed')} ({', '.join(map(str, seeds))}); training took "
        f"{duration(seconds)} in all, summed over models that may have run side by side."
    )


def _provenance(material: Material) -> Html:
    every = [*material.curation, *(one.artifact for one in material.evaluations)]
    commits = _distinct(one.manifest.get("commit") or "unknown" for one in every)
    machines = _distinct(told for one in every if (told := one.manifest.get("machine")))
    packages = _distinct(line for one in every for line in _packages(one))
    where = ", ".join(machines) or "not noted in the manifests"
    return join(
        [
            escape(f"Commit: {', '.join(commits) or 'unknown'}. Machine: {where}. Packages: "),
            escape(", ".join(packages) or "none noted"),
            ".",
        ]
    )


def _packages(artifact: Artifact) -> list[str]:
    known = artifact.manifest.get("packages") or {}
    return [f"{name} {version}" for name, version in sorted(known.items()) if version]


def _strange(runs: Runs) -> Html | None:
    known = (PROTOCOL_1, PROTOCOL_2)
    strange = [name for name in runs.protocols() if not name.startswith(known)]
    told = f"No table shows the results of other protocols: {', '.join(strange)}."
    return escape(told) if strange else None


def _policy(runs: Runs) -> Html | None:
    if not runs.left_out:
        return None
    told = ", ".join(f"{n} of {name}" for name, n in runs.left_out.items())
    return escape(
        f"Results of one checkpoint policy are shown, {runs.policy}; left out are {told}."
    )


def _reading() -> Html:
    return join(
        [
            paragraph(
                "AUC and HTER are in percent, by presentation (a video's score is the mean of its "
                "frames). AUC: higher is better; HTER: lower is better. A score says how likely a "
                "face is bona fide. 83.2 ± 1.1 is mean and standard deviation over seeds; brackets "
                "hold the 95 % interval of the mean (Student's t over seeds), or, marked *, the "
                "bootstrap interval of the one run there is. Differences are paired by seed."
            ),
            paragraph(
                "A claim holds here if the whole interval of its paired difference lies on the "
                "claimed side, does not hold if it lies on the other, and is undecided otherwise. "
                "Intervals are not corrected for the number of comparisons. Columns under ",
                tag("q", "the paper"),
                " repeat what was printed there, of other data and models.",
            ),
        ]
    )


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _distinct(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))
