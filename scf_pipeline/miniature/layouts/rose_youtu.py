"""Rose-Youtu (Li et al. 2018): videos of 20 subjects, official names, two splits.

<root>/<subject>/<TYPE>_<T|NT>_<device>_<g|wg>_E_<subject>_<index>.mp4
<root>/_2/...                    some copies put an underscore before a subject's folder

The index runs through all types of one subject. Devices stand upright but store lying frames, with
a rotation tag that says how to turn them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np

from ifas_model.vocabulary import PaiSpecies, Split
from scf_pipeline.miniature.encode import write_video
from scf_pipeline.miniature.layouts import Budget, Clip, Layout, Presentation, Sensor
from scf_pipeline.miniature.layouts._choose import Choice, Kind, choose

SUBJECTS = {
    Split.TRAIN: ("2", "3", "4", "5", "6", "7", "9", "10", "11", "12"),
    Split.TEST: ("13", "14", "15", "16", "17", "18", "20", "21", "22", "23"),
}

SENSORS = {
    "HW": Sensor(width=150, height=200, blur=0.9, noise=5.0, gamma=1.1, warmth=0.15, quality=82),
    "5s": Sensor(width=126, height=224, blur=0.6, noise=3.5, gamma=1.0, warmth=0.1, quality=90),
    "ZTE": Sensor(width=126, height=224, blur=0.7, noise=4.5, gamma=1.05, warmth=0.2, quality=85),
}
"""Three of the five devices: a third of 640x480 or of 1280x720, held upright."""

TURNS = {"HW": 270, "5s": 90, "ZTE": 270}
"""Degrees counter-clockwise from the stored to the upright frame."""

SILENT = tuple(product(("NT",), SENSORS, ("g", "wg"), ("1", "2", "3")))
"""Talking or not, device, glasses or not, and take, which names do not show."""

TALKING = (*SILENT, *product(("T",), SENSORS, ("g", "wg"), ("1", "2", "3")))

MASK, PRINT, REPLAY = PaiSpecies.MASK, PaiSpecies.PRINT, PaiSpecies.REPLAY
ATTACKS = {
    "Mc": (MASK, "paper_mask_cropped", "paper_mask_cut"),
    "Mf": (MASK, "paper_mask_full", "paper_mask"),
    "Mu": (MASK, "paper_mask_upper", "paper_mask_cut"),
    "Pq": (PRINT, "print_quiver", "print_warped"),
    "Ps": (PRINT, "print_still", "print_flat"),
    "Vl": (REPLAY, "replay_lenovo", "monitor"),
    "Vm": (REPLAY, "replay_mac", "laptop"),
}
"""Species, fine type and instrument; Ml is defined by the authors, but absent from the release."""

KINDS = (
    Kind(code="G", variants=SILENT),
    *(
        Kind(
            code=code,
            species=species,
            fine_type=fine_type,
            instrument=instrument,
            variants=TALKING if code in {"Mc", "Mu"} else SILENT,
        )
        for code, (species, fine_type, instrument) in ATTACKS.items()
    ),
)

UNDERSCORED = "2"
"""Subject whose folder has the underscore."""

PINNED = (
    (UNDERSCORED, "G", ("NT", "5s", "wg", "1")),
    ("13", "Mc", ("T", "ZTE", "wg", "1")),
)


def plan(budget: Budget, rng: np.random.Generator) -> list[Presentation]:
    """List the presentations by subject; there is no dev split, so train takes its share."""
    whole = replace(budget, train=budget.train + budget.dev, dev=0)
    choices = choose(SUBJECTS, KINDS, whole, rng, pinned=PINNED)
    counter: Counter[str] = Counter()
    presentations = []
    for choice in sorted(choices, key=lambda c: (int(c.subject), c.kind.code, c.variant)):
        counter[choice.subject] += 1
        presentations.append(_presentation(choice, counter[choice.subject]))
    return presentations


def _presentation(choice: Choice, index: int) -> Presentation:
    subject = choice.subject
    talk, device, glasses, take = choice.variant
    folder = f"_{subject}" if subject == UNDERSCORED else subject
    name = f"{choice.kind.code}_{talk}_{device}_{glasses}_E_{subject}_{index}.mp4"
    return choice.presentation(
        f"{folder}/{name}", session=f"{subject}_{take}", sensor=device, num_frames=10
    )


def write(root: Path, presentation: Presentation, clip: Clip) -> None:
    """Write the video."""
    write_video(
        root / presentation.media_path,
        clip.frames,
        codec="libx264",
        rotation_tag=TURNS[presentation.sensor],
    )


def finish(root: Path, presentations: Sequence[Presentation]) -> None:
    """Write nothing: the release holds videos only."""
    del root, presentations


LAYOUT = Layout(
    sensors=SENSORS,
    backgrounds=("office", "wall", "window"),
    light=(0.75, 1.1),
    face_share=(0.34, 0.46),
    plan=plan,
    write=write,
    finish=finish,
)
