"""Section 9: settings, seeds, artifacts and times, as the manifests hold them."""

from __future__ import annotations

import json
from collections import defaultdict
from math import fsum

from scf_pipeline.report.figures import NONE, duration
from scf_pipeline.report.html import (
    Content,
    Group,
    Html,
    absent,
    escape,
    folded,
    join,
    section,
    table,
    tag,
)
from scf_pipeline.report.material import Evaluation, Material
from scf_pipeline.report.runs import FULL
from scf_pipeline.store import Artifact


def colophon(material: Material) -> Html:
    """Return the section."""
    return section(
        "settings", "Settings, artifacts, times", _settings(material), _trained(material),
        _artifacts(material), _times(material),
    )  # fmt: skip


def _settings(material: Material) -> Html:
    shown: dict[str, Html] = {}
    for result in material.results:
        name = " ".join(filter(None, [result.protocol, result.world]))
        if result.variant == FULL and name not in shown:
            told = json.dumps(result.settings, indent=2, sort_keys=True, ensure_ascii=False)
            heading = f"Settings of the full model, {name}, seed {result.seed}"
            shown[name] = folded(heading, tag("pre", told, tabindex="0"))
    return join(shown.values()) if shown else absent("The full model was not run.")


def _trained(material: Material) -> Html:
    if not material.evaluations:
        return absent("No model was trained.")
    head = ["model", "seed", "samples", "steps", "trained parameters", "all parameters", "time"]
    rows = [_model(one) for one in material.evaluations]
    rows.sort(key=lambda row: [str(cell) for cell in row[:2]])
    shown = table("Trained models", [Group("", head)], rows)
    return folded(f"{len(rows)} trained models", shown)


def _model(evaluation: Evaluation) -> list[Content]:
    first, told = evaluation.results[0], evaluation.training
    targets = {r.target for r in evaluation.results if r.role == "target"}
    what = [first.protocol, first.world, first.variant]
    if len(targets) == 1:
        what.append(f"to {min(targets)}")
    numbers = [
        escape(f"{told[name]:,}") if name in told else NONE
        for name in ("samples", "steps", "trained_parameters", "parameters")
    ]
    spent = duration(told["seconds"]) if "seconds" in told else NONE
    return [", ".join(filter(None, what)), first.seed, *numbers, spent]


def _artifacts(material: Material) -> Html:
    every = [*material.curation, *(one.artifact for one in material.evaluations)]
    if not every:
        return absent("There are no artifacts.")
    rows = [
        [one.stage, tag("code", _folder(one)), tag("code", one.fingerprint[:16]), _rows(one)]
        for one in every
    ]
    head = ["stage", "folder", "fingerprint", "live rows"]
    shown = table("Artifacts that the page rests on", [Group("", head)], rows)
    return folded(f"{len(rows)} artifacts", shown)


def _folder(artifact: Artifact) -> str:
    return str(artifact.path.name)


def _rows(artifact: Artifact) -> Html:
    return escape(f"{artifact.counts.live:,}") if artifact.counts.datasets else NONE


def _times(material: Material) -> Html:
    spent: dict[str, list[float]] = defaultdict(list)
    for one in material.curation:
        if isinstance(seconds := one.manifest.get("seconds"), int | float):
            spent[one.stage].append(float(seconds))
    for evaluation in material.evaluations:
        if "seconds" in evaluation.training:
            spent["train"].append(float(evaluation.training["seconds"]))
        if isinstance(seconds := evaluation.artifact.manifest.get("seconds"), int | float):
            spent["evaluate"].append(float(seconds))
    if not spent:
        return absent("No manifest notes how long its stage took.")
    rows = [[stage, len(all_), duration(fsum(all_))] for stage, all_ in spent.items()]
    head = ["stage", "artifacts", "time in all"]
    note = "Time of each stage, where the manifests note it"
    return table(note, [Group("", head)], rows)
