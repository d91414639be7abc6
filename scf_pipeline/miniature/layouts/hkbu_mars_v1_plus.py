"""HKBU-MARs V1+ (Liu et al. 2018): 12 subjects, each seen twice and once behind a resin mask.

<root>/s1/<subject>_01_<index>.mp4      bona fide, first visit
<root>/s2/<subject>_02_<index>.mp4      bona fide, second visit
<root>/s3/<subject>_03_<index>.mp4      mask

There are no splits, so everything is for test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ifas_model.vocabulary import PaiSpecies, Split
from scf_pipeline.miniature.encode import write_video
from scf_pipeline.miniature.layouts import Budget, Clip, Layout, Presentation, Sensor
from scf_pipeline.miniature.layouts._choose import Kind, choose

SUBJECTS = {Split.TEST: tuple(f"{number:02}" for number in range(1, 13))}
INDICES = tuple((f"{index:02}",) for index in range(1, 6))

KINDS = (
    Kind(code="s1", variants=INDICES),
    Kind(code="s2", variants=INDICES),
    Kind(
        code="s3",
        species=PaiSpecies.MASK,
        fine_type="resin_mask",
        instrument="resin_mask",
        variants=INDICES,
    ),
)

SENSORS = {
    "c920": Sensor(
        width=224, height=126, blur=0.5, noise=3.0, gamma=0.95, warmth=-0.15, quality=92
    ),
}
"""A Logitech C920, 1280x720 in the release."""


def plan(budget: Budget, rng: np.random.Generator) -> list[Presentation]:
    """List the presentations, first visit first; the release has 120 bona fide and 60 masks."""
    whole = replace(budget, train=0, dev=0, test=budget.train + budget.dev + budget.test)
    return [
        choice.presentation(
            f"{choice.kind.code}/{choice.subject}_0{choice.kind.code[1]}_{choice.variant[0]}.mp4",
            session=f"{choice.subject}_{choice.kind.code}",
            sensor="c920",
            num_frames=10,
        )
        for choice in choose(SUBJECTS, KINDS, whole, rng)
    ]


def write(root: Path, presentation: Presentation, clip: Clip) -> None:
    """Write the video."""
    write_video(root / presentation.media_path, clip.frames, codec="libx264")


def finish(root: Path, presentations: Sequence[Presentation]) -> None:
    """Write nothing: the release holds videos only."""
    del root, presentations


LAYOUT = Layout(
    sensors=SENSORS,
    backgrounds=("curtain", "office"),
    light=(0.9, 1.15),
    face_share=(0.4, 0.5),
    plan=plan,
    write=write,
    finish=finish,
)
