"""Protocol 2: learn from CelebA-Spoof alone, be judged on the other eleven (Table 2)."""

from __future__ import annotations

from flows.trial import Bench, trial
from scf_pipeline.steps import Step


def protocol2(bench: Bench, *, responses: int = 0) -> tuple[Step, ...]:
    """Return the evaluations of the full model.

    Args:
        bench: What it is tried on.
        responses: Faces of each target whose answers are written down (Figure 4).
    """
    return trial(bench, "full", bench.setting.full, responses=responses)
