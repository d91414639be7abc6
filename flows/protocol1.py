"""Protocol 1: leave one of M, C, I and O out (Table 1)."""

from __future__ import annotations

from dataclasses import replace

from flows.trial import Bench, trial
from scf_pipeline.steps import Step

TARGETS = ("msu_mfsd", "casia_mfsd", "replay_attack", "oulu_npu")
"""M, C, I and O, in the order of the table's columns."""


def protocol1(bench: Bench, *targets: str) -> tuple[Step, ...]:
    """Return the evaluations of the full model, each target left out in turn."""
    full = replace(bench.setting.full, protocol="protocol1")
    runs = [trial(bench, "full", replace(full, target=target)) for target in targets]
    return tuple(evaluation for run in runs for evaluation in run)
