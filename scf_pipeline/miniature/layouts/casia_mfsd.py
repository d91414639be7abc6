"""CASIA-FASD, also CASIA-MFSD (Zhang et al. 2012) in miniature.

    <root>/train_release/<1..20>/{1..8,HR_1..HR_4}.avi
    <root>/test_release/<1..30>/{1..8,HR_1..HR_4}.avi

Odd codes come from a first camera, even ones from a second that stands upright, HR codes from a
third. Numbers restart at 1 in the test part, where subject n is person n + 20.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ifas_model.vocabulary import PaiSpecies, Split
from scf_pipeline.miniature.encode import write_video
from scf_pipeline.miniature.layouts import Budget, Clip, Layout, Presentation, Sensor
from scf_pipeline.miniature.layouts._choose import Choice, Kind, choose

IDS = {
    Split.TRAIN: [str(n) for n in range(1, 21)],
    Split.TEST: [str(n) for n in range(1, 31)],
}
FIRST_TEST_PERSON = 20
KINDS = [
    Kind(code=code, species=species, fine_type=fine_type, instrument=instrument)
    for codes, species, fine_type, instrument in (
        ("1 2 HR_1", None, None, "face"),
        ("3 4 HR_2", PaiSpecies.PRINT, "print_warped", "print_warped"),
        ("5 6 HR_3", PaiSpecies.PRINT, "print_cut", "print_cut"),
        ("7 8 HR_4", PaiSpecies.REPLAY, "replay_tablet", "tablet"),
    )
    for code in codes.split()
]
PINNED = {("1", "1", ())}
"""A clip of subject 1 in both parts: two people of one number."""


def plan(budget: Budget, rng: np.random.Generator) -> list[Presentation]:
    """List presentations of both official parts; there is no dev part."""
    chosen = choose(IDS, KINDS, budget, rng, pinned=PINNED, per_subject=9)
    return sorted(map(_presentation, chosen), key=lambda p: p.media_path)


def _presentation(choice: Choice) -> Presentation:
    code = choice.kind.code
    person = int(choice.subject) + (FIRST_TEST_PERSON if choice.split is Split.TEST else 0)
    sensor = "high" if code.startswith("HR_") else ("normal", "low")[int(code) % 2]
    presentation = choice.presentation(
        f"{choice.split}_release/{choice.subject}/{code}.avi",
        session=str(person),
        sensor=sensor,
        num_frames=10,
    )
    return replace(presentation, person=str(person), subject_id=str(person))


def write(root: Path, presentation: Presentation, clip: Clip) -> None:
    """Write a clip; the release holds no annotation of faces."""
    write_video(root / presentation.media_path, clip.frames, codec="mpeg4", fps=25)


def finish(root: Path, presentations: Sequence[Presentation]) -> None:
    """Leave the release as it is: it holds nothing but clips."""
    del root, presentations


LAYOUT = Layout(
    sensors={
        "low": Sensor(
            width=224, height=168, blur=1.1, noise=7.0, gamma=1.15, warmth=0.3, quality=75
        ),
        "normal": Sensor(
            width=168, height=224, blur=0.9, noise=4.0, gamma=1.05, warmth=-0.2, quality=85
        ),
        "high": Sensor(
            width=136, height=240, blur=0.4, noise=2.0, gamma=1.0, warmth=0.1, quality=95
        ),
    },
    backgrounds=("wall", "window", "curtain", "office"),
    light=(0.8, 1.2),
    face_share=(0.36, 0.48),
    plan=plan,
    write=write,
    finish=finish,
)
