"""SiW, Spoof in the Wild, first version (Liu, Jourabloo & Liu 2018) in miniature.

    <root>/{Train,Test}/{live,spoof}/<sss>/<sss>-<sensor>-<type>-<medium>-<session>.mov  + .face

Bona fide clips of four test subjects by sensor 2 end in ``.m.mov``. Sensor 2 of every fifth
subject records ``.mp4``: the release holds both, but which is which is not published.
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

TEST_SUBJECTS = (
    "001 002 004 005 008 009 010 012 013 015 018 019 020 021 023 024 025 026 027 029 031 036 037 "
    "039 043 044 048 049 050 052 053 057 059 061 064 065 066 067 071 073 075 079 082 083 084 085 "
    "087 088 090 094 095 097 102 106 108 109 110 114 116 118 122 124 125 126 130 132 137 138 139 "
    "141 142 153 154 158 161"
)
IDS = {
    Split.TRAIN: [f"{n:03}" for n in range(1, 166) if f"{n:03}" not in TEST_SUBJECTS],
    Split.TEST: TEST_SUBJECTS.split(),
}
FOLDERS = {Split.TRAIN: "Train", Split.TEST: "Test"}
DOUBLE_SUFFIX = {"153", "154", "158", "161"}
KINDS = [
    Kind(code="1", variants=list(product("12", "12", "12"))),
    *(
        Kind(
            code="2",
            species=PaiSpecies.PRINT,
            fine_type="print",
            instrument="print_flat",
            variants=[("1", medium, "1"), ("1", medium, "2"), ("2", medium, "1")],
        )
        for medium in "12"
    ),
    *(
        Kind(
            code="3",
            species=PaiSpecies.REPLAY,
            fine_type="replay",
            instrument=instrument,
            variants=list(product("12", medium, "12")),
        )
        for medium, instrument in zip("1234", ("tablet", "phone", "phone", "monitor"), strict=True)
    ),
]
"""Variants are sensor, medium (a paper or a display) and session."""
PINNED = {("165", "1", ("2", "1", "1")), ("153", "1", ("2", "1", "1"))}
"""One ``.mp4`` and one ``.m.mov``."""


def plan(budget: Budget, rng: np.random.Generator) -> list[Presentation]:
    """List presentations of both official parts; there is no dev part."""
    chosen = choose(IDS, KINDS, budget, rng, pinned=PINNED)
    return sorted(map(_presentation, chosen), key=lambda p: p.media_path)


def _presentation(choice: Choice) -> Presentation:
    subject, kind, (sensor, medium, session) = choice.subject, choice.kind.code, choice.variant
    folder = f"{FOLDERS[choice.split]}/{'live' if kind == '1' else 'spoof'}/{subject}"
    name = f"{subject}-{sensor}-{kind}-{medium}-{session}"
    suffix = ".mp4" if sensor == "2" and int(subject) % 5 == 0 else ".mov"
    if sensor == "2" and kind == "1" and subject in DOUBLE_SUFFIX:
        suffix = ".m.mov"
    return choice.presentation(
        f"{folder}/{name}{suffix}", session=f"{subject}-{session}", sensor=sensor, num_frames=10
    )


def write(root: Path, presentation: Presentation, clip: Clip) -> None:
    """Write a clip and its ``.face``, a row for each frame; every third has a row of zeros."""
    path = root / presentation.media_path
    write_video(path, clip.frames, codec="libx264", fps=30)
    lucky = crc32(path.name.encode())
    missed = lucky % len(clip.boxes) if lucky % 3 == 0 else None
    rows = [
        " ".join(map(str, box)) if number != missed else "0 0 0 0"
        for number, box in enumerate(clip.boxes)
    ]
    path.with_suffix(".face").write_text("\n".join(rows) + "\n")


def finish(root: Path, presentations: Sequence[Presentation]) -> None:
    """Leave the release as it is: its protocols are told by names, not by lists."""
    del root, presentations


LAYOUT = Layout(
    sensors={
        "1": Sensor(width=240, height=136, blur=0.4, noise=2.0, gamma=1.1, warmth=0.0, quality=95),
        "2": Sensor(
            width=240, height=136, blur=0.7, noise=4.0, gamma=0.9, warmth=-0.35, quality=88
        ),
    },
    backgrounds=("wall", "bookshelf", "garden", "curtain"),
    light=(0.7, 1.25),
    face_share=(0.42, 0.50),
    plan=plan,
    write=write,
    finish=finish,
)
