"""CASIA-SURF 3DMask (Yu et al. 2020): 48 subjects and their 3D-printed masks, by phone.

<root>/Real/<MMDD_NNN>/<1|15|16|17|22|23>.MOV
<root>/Fake/<MMDD_NNN>/<decoration 1-3>/<environment 1-6>.MOV

There are no splits, so everything is for test. Of subject 0927_021 the mask videos of environments
5 and 6 do not exist.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np

from ifas_model.vocabulary import PaiSpecies, Split
from scf_pipeline.miniature.encode import write_video
from scf_pipeline.miniature.layouts import Budget, Clip, Layout, Presentation, Sensor
from scf_pipeline.miniature.layouts._choose import Choice, Kind, choose

NUMBERS = {
    "0927": (13, 14, *range(16, 22), 23, *range(25, 29), 30, 31, *range(33, 37)),
    "0928": (1, 3, 4, 6, *range(8, 13), 15, *range(17, 21), 23, *range(36, 39), 42),
    "0929": (6, 7, 8, 10, 11, 12, 15, 19, 23, 31),
}
SUBJECTS = {
    Split.TEST: tuple(
        f"{day}_{number:03}" for day, numbers in NUMBERS.items() for number in numbers
    )
}

ENVIRONMENTS = {"1": "1", "15": "2", "16": "3", "17": "4", "22": "5", "23": "6"}
"""Environment of each bona fide index, in order; the release does not say which is which."""

KINDS = (
    Kind(code="Real", variants=tuple((index,) for index in ENVIRONMENTS)),
    Kind(
        code="Fake",
        species=PaiSpecies.MASK,
        fine_type="mask_3d_print",
        instrument="mask_3d_print",
        variants=tuple(product("123", "123456")),
    ),
)

INCOMPLETE = "0927_021"
PINNED = ((INCOMPLETE, "Real", ("1",)), (INCOMPLETE, "Fake", ("1", "4")))

SENSORS = {
    "phone": Sensor(width=108, height=192, blur=0.5, noise=3.0, gamma=0.9, warmth=0.05, quality=94),
}


def plan(budget: Budget, rng: np.random.Generator) -> list[Presentation]:
    """List the presentations, bona fide first."""
    whole = replace(budget, train=0, dev=0, test=budget.train + budget.dev + budget.test)
    choices = choose(SUBJECTS, KINDS, whole, rng, pinned=PINNED)
    return [_presentation(choice) for choice in choices if not _is_missing(choice)]


def _is_missing(choice: Choice) -> bool:
    return choice.subject == INCOMPLETE and choice.kind.code == "Fake" and choice.variant[1] in "56"


def _presentation(choice: Choice) -> Presentation:
    last = choice.variant[-1]
    environment = ENVIRONMENTS[last] if choice.kind.species is None else last
    return choice.presentation(
        f"{'/'.join((choice.kind.code, choice.subject, *choice.variant))}.MOV",
        session=f"{choice.subject}_{environment}",
        sensor="phone",
        num_frames=10,
    )


def write(root: Path, presentation: Presentation, clip: Clip) -> None:
    """Write the video."""
    write_video(root / presentation.media_path, clip.frames, codec="libx264", fps=30)


def finish(root: Path, presentations: Sequence[Presentation]) -> None:
    """Write nothing: the release holds videos only."""
    del root, presentations


LAYOUT = Layout(
    sensors=SENSORS,
    backgrounds=("garden", "sky", "brick", "window", "wall"),
    light=(0.65, 1.35),
    face_share=(0.3, 0.42),
    plan=plan,
    write=write,
    finish=finish,
)
