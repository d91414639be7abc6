"""CASIA-SURF HiFiMask (Liu et al. 2022), full release: ten face crops of every video.

<root>/Data/<complexion>_<subject>_<type>_<scene>_<light>_<sensor>/0000.png .. 0009.png
<root>/protocol/CASIA_HiFiMask@p1_<video|image>_<train|dev|test>.txt

Lines of the lists are ``CASIA_HiFiMask/Data/<unit>[/<frame>.png] <0 bona fide | 1 attack>``.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np

from ifas_model.vocabulary import Label, PaiSpecies, Split
from scf_pipeline.miniature.encode import write_png
from scf_pipeline.miniature.layouts import Budget, Clip, Layout, Presentation, Sensor
from scf_pipeline.miniature.layouts._choose import Choice, Kind, choose

COMPLEXIONS = {
    Split.TRAIN: {
        "1": "06 07 08 10 12 13 18 19 20 21 22 23 24 25 83",
        "2": "54 55 56 69 70 71 72 73 74 75 76 77 78 79 80",
        "3": "26 31 32 33 34 39 40 45 52 53 59 64 65 81 82",
    },
    Split.DEV: {"1": "05 17", "2": "51 66", "3": "49 63"},
    Split.TEST: {
        "1": "01 02 03 04 11 14 15 16",
        "2": "27 28 30 35 36 37 41 42",
        "3": "43 46 47 48 50 57 58 61",
    },
}
"""Subjects of protocol 1 by complexion: 1 yellow, 2 white, 3 black."""

COMPLEXION_OF = {
    subject: complexion
    for groups in COMPLEXIONS.values()
    for complexion, subjects in groups.items()
    for subject in subjects.split()
}
SUBJECTS = {
    split: tuple(subject for subjects in groups.values() for subject in subjects.split())
    for split, groups in COMPLEXIONS.items()
}

SENSORS = {
    "1": Sensor(width=128, height=128, blur=0.4, noise=2.5, gamma=0.95, warmth=0.0, quality=95),
    "3": Sensor(width=128, height=128, blur=0.6, noise=4.0, gamma=0.9, warmth=-0.1, quality=92),
    "8": Sensor(width=128, height=128, blur=0.8, noise=5.5, gamma=1.1, warmth=0.1, quality=88),
}
"""Three of the seven devices: iPhone 11, MI 10 and HJIM."""

INDOORS = tuple(product("1236", "123456", SENSORS))
OUTDOORS = tuple(product("45", "0", SENSORS))
UNITS = INDOORS + OUTDOORS
"""Scene, light and sensor; sunshine (4) and shadow (5) have no lamp (light 0)."""

MATERIALS = {"1": "transparent_mask", "2": "plaster_mask", "3": "resin_mask"}
KINDS = (
    Kind(code="0", variants=UNITS),
    *(
        Kind(
            code=code,
            species=PaiSpecies.MASK,
            fine_type=material,
            instrument=material,
            variants=UNITS,
        )
        for code, material in MATERIALS.items()
    ),
)


def plan(budget: Budget, rng: np.random.Generator) -> list[Presentation]:
    """List the presentations of protocol 1."""
    return [_presentation(choice) for choice in choose(SUBJECTS, KINDS, budget, rng)]


def _presentation(choice: Choice) -> Presentation:
    scene, light, sensor = choice.variant
    fields = (COMPLEXION_OF[choice.subject], choice.subject, choice.kind.code, *choice.variant)
    return choice.presentation(
        f"Data/{'_'.join(fields)}", session=f"{scene}_{light}", sensor=sensor, num_frames=10
    )


def write(root: Path, presentation: Presentation, clip: Clip) -> None:
    """Write the unit's frames."""
    for number, frame in enumerate(clip.frames):
        write_png(root / presentation.media_path / f"{number:04}.png", frame)


def finish(root: Path, presentations: Sequence[Presentation]) -> None:
    """Write the lists of protocol 1, by video and by image."""
    (root / "protocol").mkdir(parents=True, exist_ok=True)
    for split in SUBJECTS:
        videos, images = [], []
        for presentation in presentations:
            if presentation.split is not split:
                continue
            unit = f"CASIA_HiFiMask/{presentation.media_path}"
            code = 1 if presentation.label is Label.ATTACK else 0
            videos.append(f"{unit} {code}\n")
            images += [f"{unit}/{n:04}.png {code}\n" for n in range(presentation.num_frames)]
        for kind, lines in (("video", videos), ("image", images)):
            path = root / "protocol" / f"CASIA_HiFiMask@p1_{kind}_{split}.txt"
            path.write_text("".join(lines), encoding="utf-8")


LAYOUT = Layout(
    sensors=SENSORS,
    backgrounds=("studio_white", "studio_green", "curtain", "garden", "brick"),
    light=(0.5, 1.3),
    face_share=(0.4, 0.5),
    plan=plan,
    write=write,
    finish=finish,
    is_cropped=True,
)
