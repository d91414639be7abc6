"""MSU-MFSD (Wen, Han & Jain 2015) in miniature.

    <root>/scene01/{real,attack}/*_client001_{android,laptop}_SD_..._scene01.{mp4,mov}  + .face
    <root>/{train,test}_sub_list.txt                    two-digit ids, CRLF, no final newline

Six bona fide android clips are stored upside down and no tag says so; their ``.face`` refers to
upright frames. The other android clips of even clients are stored sideways with a rotation tag,
as phones record: the one place of the miniature with such tags, harmless because any player
shows them upright. Boxes then refer to upright frames, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from zlib import crc32

import numpy as np

from ifas_model.vocabulary import Label, PaiSpecies, Split
from scf_pipeline.miniature.encode import write_video
from scf_pipeline.miniature.layouts import Budget, Clip, Layout, Presentation, Sensor
from scf_pipeline.miniature.layouts._choose import Choice, Kind, choose

CLIENTS = {
    Split.TRAIN: "02 03 05 06 07 08 09 11 12 21 22 34 53 54 55",
    Split.TEST: "01 13 14 23 24 26 28 29 30 32 33 35 36 37 39 42 48 49 50 51",
}
IDS = {split: clients.split() for split, clients in CLIENTS.items()}
CAMERAS = [("android",), ("laptop",)]
KINDS = [Kind(code="real", variants=CAMERAS)] + [
    Kind(code=code, species=species, fine_type=fine_type, instrument=instrument, variants=CAMERAS)
    for code, species, fine_type, instrument in (
        ("printed_photo", PaiSpecies.PRINT, "print_photo", "print_flat"),
        ("ipad_video", PaiSpecies.REPLAY, "replay_ipad", "tablet"),
        ("iphone_video", PaiSpecies.REPLAY, "replay_iphone", "phone"),
    )
]
UPSIDE_DOWN = {"003", "005", "006", "007", "008", "009"}
PINNED = {("03", "real", ("android",)), ("14", "printed_photo", ("android",))}
"""One clip upside down, and one sideways with a tag."""
PHONE_TAG = 270
"""Degrees counter-clockwise that a player must turn a phone's sideways frames."""


def plan(budget: Budget, rng: np.random.Generator) -> list[Presentation]:
    """List presentations of both official parts; there is no dev part."""
    chosen = choose(IDS, KINDS, budget, rng, pinned=PINNED)
    return sorted(map(_presentation, chosen), key=lambda p: p.media_path)


def _presentation(choice: Choice) -> Presentation:
    subject, code, (camera,) = f"0{choice.subject}", choice.kind.code, choice.variant
    folder, attack = ("real", "") if code == "real" else ("attack", f"_{code}")
    suffix = "mp4" if camera == "android" else "mov"
    name = f"{folder}_client{subject}_{camera}_SD{attack}_scene01.{suffix}"
    return choice._replace(subject=subject).presentation(
        f"scene01/{folder}/{name}", session=subject, sensor=camera, num_frames=10
    )


def write(root: Path, presentation: Presentation, clip: Clip) -> None:
    """Write a clip and its ``.face``, in which one frame is missing."""
    path = root / presentation.media_path
    is_phone = presentation.sensor == "android"
    is_bona_fide = presentation.label is Label.BONA_FIDE
    is_upside_down = is_phone and is_bona_fide and presentation.person in UPSIDE_DOWN
    is_tagged = is_phone and not is_upside_down and int(presentation.person) % 2 == 0
    write_video(
        path,
        [np.rot90(f, 2) for f in clip.frames] if is_upside_down else clip.frames,
        codec="mpeg4" if is_phone else "libx264",
        fps=30,
        rotation_tag=PHONE_TAG if is_tagged else 0,
    )
    missing = crc32(path.name.encode()) % len(clip.frames)
    rows = [
        ",".join(map(str, (number, *box, *left, *right)))
        for number, (box, (right, left)) in enumerate(zip(clip.boxes, clip.eyes, strict=True))
        if number != missing
    ]
    path.with_suffix(".face").write_text("\n".join(rows) + "\n")


def finish(root: Path, presentations: Sequence[Presentation]) -> None:
    """Write the lists of all official clients, drawn or not."""
    del presentations
    for split, clients in IDS.items():
        (root / f"{split}_sub_list.txt").write_bytes("\r\n".join(clients).encode())


LAYOUT = Layout(
    sensors={
        "android": Sensor(
            width=240, height=160, blur=0.7, noise=4.0, gamma=0.95, warmth=0.2, quality=88
        ),
        "laptop": Sensor(
            width=224, height=168, blur=0.9, noise=5.0, gamma=1.1, warmth=-0.1, quality=85
        ),
    },
    backgrounds=("office", "wall", "bookshelf"),
    light=(0.85, 1.1),
    face_share=(0.40, 0.50),
    plan=plan,
    write=write,
    finish=finish,
)
