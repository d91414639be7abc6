"""The other rows of Table 2, and FLIP on SCF's captions (Table 4)."""

from __future__ import annotations

from dataclasses import replace

from flows.trial import Bench, trial
from ifas_model.config import FlipConfig
from scf_pipeline.steps import Step

BASELINES = ("vit-base", "vit-large", "vitaf", "flip-template", "flip-captions")
"""Names that the tables know; FLIP and ViTAF have published no larger tower than ViT-B."""


def baselines(bench: Bench, *names: str) -> tuple[Step, ...]:
    """Return the evaluations of some `BASELINES`."""
    known = bench.setting.baselines
    flip = known["flip"]
    runs = {
        "vit-base": (known["vit"], "base"),
        "vit-large": (known["vit"], "large"),
        "vitaf": (known["vitaf"], "base"),
        "flip-template": (flip, "base"),
    }
    if isinstance(flip.method, FlipConfig):
        captions = replace(flip, method=replace(flip.method, text="captions"))
        runs["flip-captions"] = (captions, "base")
    found = [trial(bench, name, runs[name][0], tower=runs[name][1]) for name in names]
    return tuple(evaluation for run in found for evaluation in run)
