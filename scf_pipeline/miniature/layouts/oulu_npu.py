"""OULU-NPU (Boulkenafet et al. 2017) in miniature.

    <root>/{Train,Dev,Test}_files/<phone>_<session>_<user>_<code>.avi  + .txt of the eyes
    <root>/Protocols/Protocol_{1,2}/{Train,Dev,Test}.txt
    <root>/Protocols/Protocol_{3,4}/{Train,Dev,Test}_{1..6}.txt

A session is one place and light for everybody; a phone is one sensor.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from zlib import crc32

import numpy as np

from ifas_model.vocabulary import PaiSpecies, Split
from scf_pipeline.miniature.encode import write_video
from scf_pipeline.miniature.layouts import Budget, Clip, Layout, Presentation, Sensor
from scf_pipeline.miniature.layouts._choose import Choice, Kind, choose

IDS = {
    Split.TRAIN: [f"{n:02}" for n in range(1, 21)],
    Split.DEV: [f"{n:02}" for n in range(21, 36)],
    Split.TEST: [f"{n:02}" for n in range(36, 56)],
}
PARTS = {Split.TRAIN: "Train", Split.DEV: "Dev", Split.TEST: "Test"}
PHONES = "123456"
VARIANTS = list(product(PHONES, "123"))
KINDS = [
    Kind(code=code, species=species, fine_type=fine_type, instrument=instrument, variants=VARIANTS)
    for code, species, fine_type, instrument in (
        ("1", None, None, "face"),
        ("2", PaiSpecies.PRINT, "print_1", "print_flat"),
        ("3", PaiSpecies.PRINT, "print_2", "print_flat"),
        ("4", PaiSpecies.REPLAY, "replay_1", "laptop"),
        ("5", PaiSpecies.REPLAY, "replay_2", "monitor"),
    )
]
SIGNS = {None: "+1", PaiSpecies.PRINT: "-1", PaiSpecies.REPLAY: "-2"}


def plan(budget: Budget, rng: np.random.Generator) -> list[Presentation]:
    """List presentations of the three official parts."""
    return sorted(map(_presentation, choose(IDS, KINDS, budget, rng)), key=lambda p: p.media_path)


def _presentation(choice: Choice) -> Presentation:
    phone, session = choice.variant
    name = f"{phone}_{session}_{choice.subject}_{choice.kind.code}.avi"
    return choice.presentation(
        f"{PARTS[choice.split]}_files/{name}", session=session, sensor=phone, num_frames=10
    )


def write(root: Path, presentation: Presentation, clip: Clip) -> None:
    """Write a clip and its eyes, the subject's right one first; one frame lacks them."""
    path = root / presentation.media_path
    write_video(path, clip.frames, codec="mpeg4", fps=30)
    missing = crc32(path.name.encode()) % len(clip.frames)
    rows = [
        ",".join(map(str, (number, *right, *left)))
        for number, (right, left) in enumerate(clip.eyes)
        if number != missing
    ]
    path.with_suffix(".txt").write_text("\n".join(rows) + "\n")


def finish(root: Path, presentations: Sequence[Presentation]) -> None:
    """Write the lists of Protocols 1 to 4, restricted to what was drawn."""
    for protocol, held_out in [(1, ""), (2, ""), *product((3, 4), PHONES)]:
        for split, part in PARTS.items():
            rows = [
                f"{SIGNS[p.pai_species]},{Path(p.media_path).stem}\n"
                for p in presentations
                if p.split is split and _is_listed(protocol, held_out, p)
            ]
            name = f"{part}_{held_out}.txt" if held_out else f"{part}.txt"
            path = root / "Protocols" / f"Protocol_{protocol}" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(rows))


def _is_listed(protocol: int, held_out: str, presentation: Presentation) -> bool:
    """Tell whether a list holds a clip; sessions, codes and phones of the test part are unseen."""
    is_test = presentation.split is Split.TEST
    is_in_session = presentation.session in ("3" if is_test else "12")
    is_of_code = presentation.native_label in ("135" if is_test else "124")
    is_of_phone = (presentation.sensor == held_out) is is_test
    conditions = {
        1: [is_in_session],
        2: [is_of_code],
        3: [is_of_phone],
        4: [is_in_session, is_of_code, is_of_phone],
    }
    return all(conditions[protocol])


LAYOUT = Layout(
    sensors={
        phone: Sensor(
            width=136,
            height=240,
            blur=blur,
            noise=noise,
            gamma=gamma,
            warmth=warmth,
            quality=quality,
        )
        for phone, blur, noise, gamma, warmth, quality in (
            ("1", 0.4, 2.0, 0.95, 0.1, 94),
            ("2", 0.5, 3.0, 0.9, 0.25, 92),
            ("3", 0.6, 3.0, 1.0, -0.1, 90),
            ("4", 0.5, 4.0, 1.05, 0.0, 90),
            ("5", 0.7, 3.0, 0.9, -0.2, 88),
            ("6", 0.6, 4.0, 1.0, 0.3, 88),
        )
    },
    backgrounds=("brick", "office", "window"),
    light=(0.75, 1.2),
    face_share=(0.32, 0.44),
    plan=plan,
    write=write,
    finish=finish,
)
