"""Idiap Replay-Attack (Chingovska, Anjos & Marcel 2012) in miniature.

    <root>/{train,devel,test}/real/client001_session01_webcam_authenticate_adverse_1.mov
    <root>/{train,devel,test}/attack/{fixed,hand}/
           attack_print_client001_session01_highdef_photo_adverse.mov
    <root>/face-locations/<the same path>.face
    <root>/enroll/train/client001_session01_webcam_enroll_controlled_1.mov
    <root>/protocols/{clients,real-train,attack-grandtest-allsupports-train,...}.txt

The enrollment clip copies a bona fide one of the same client; readers must pass it over.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from shutil import copyfile
from zlib import crc32

import numpy as np

from ifas_model.vocabulary import Label, PaiSpecies, Split
from scf_pipeline.miniature.encode import write_video
from scf_pipeline.miniature.layouts import Budget, Clip, Layout, Presentation, Sensor
from scf_pipeline.miniature.layouts._choose import Choice, Kind, choose

CLIENTS = {
    Split.TRAIN: "001 002 004 006 007 008 012 016 018 025 027 103 105 108 110",
    Split.DEV: "003 005 010 015 017 022 029 030 101 111 113 114 116 118 119",
    Split.TEST: "009 011 013 014 019 020 021 023 024 026 028 031 102 104 106 107 109 112 115 117",
}
IDS = {split: clients.split() for split, clients in CLIENTS.items()}
NATIVE_SPLITS = {Split.TRAIN: "train", Split.DEV: "devel", Split.TEST: "test"}
LIGHTS = ("controlled", "adverse")
SUPPORTS = ("fixed", "hand")
BONA_FIDE = Kind(code="real", variants=list(product(LIGHTS, "12")))
ATTACKS = [
    Kind(
        code=device,
        species=species,
        fine_type=fine_type,
        instrument=instrument,
        variants=list(product(SUPPORTS, [f"{sample}_{medium}"], LIGHTS)),
    )
    for device, sample, medium, species, fine_type, instrument in (
        ("print", "highdef", "photo", PaiSpecies.PRINT, "print_photo", "print_flat"),
        ("mobile", "mobile", "photo", PaiSpecies.REPLAY, "replay_photo", "phone"),
        ("mobile", "mobile", "video", PaiSpecies.REPLAY, "replay_video", "phone"),
        ("highdef", "highdef", "photo", PaiSpecies.REPLAY, "replay_photo", "tablet"),
        ("highdef", "highdef", "video", PaiSpecies.REPLAY, "replay_video", "tablet"),
    )
]


def plan(budget: Budget, rng: np.random.Generator) -> list[Presentation]:
    """List presentations of the three official parts."""
    chosen = choose(IDS, [BONA_FIDE, *ATTACKS], budget, rng)
    return sorted(map(_presentation, chosen), key=lambda p: p.media_path)


def _presentation(choice: Choice) -> Presentation:
    folder, client = NATIVE_SPLITS[choice.split], f"client{choice.subject}_session01"
    if choice.kind is BONA_FIDE:
        light, take = choice.variant
        path = f"{folder}/real/{client}_webcam_authenticate_{light}_{take}.mov"
    else:
        support, sample, light = choice.variant
        name = f"attack_{choice.kind.code}_{client}_{sample}_{light}.mov"
        path = f"{folder}/attack/{support}/{name}"
    return choice.presentation(path, session=light, sensor="webcam", num_frames=10)


def write(root: Path, presentation: Presentation, clip: Clip) -> None:
    """Write a clip and its face locations; in every third, one frame has no face."""
    write_video(root / presentation.media_path, clip.frames, codec="mjpeg", fps=25)
    lucky = crc32(presentation.media_path.encode())
    missed = lucky % len(clip.boxes) if lucky % 3 == 0 else None
    rows = [
        f"{number} {x0} {y0} {x1 - x0} {y1 - y0}" if number != missed else f"{number} 0 0 0 0"
        for number, (x0, y0, x1, y1) in enumerate(clip.boxes)
    ]
    path = (root / "face-locations" / presentation.media_path).with_suffix(".face")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(rows) + "\n")


def finish(root: Path, presentations: Sequence[Presentation]) -> None:
    """Write the protocol lists and one enrollment clip."""
    folder = root / "protocols"
    folder.mkdir(parents=True, exist_ok=True)
    clients = sorted((client, NATIVE_SPLITS[split]) for split in IDS for client in IDS[split])
    _write_lines(folder / "clients.txt", [f"{client} {split}" for client, split in clients])
    for split, native in NATIVE_SPLITS.items():
        ours = [p for p in presentations if p.split is split]
        attacks = [p.media_path for p in ours if p.label is Label.ATTACK]
        bona_fide = [p.media_path for p in ours if p.label is Label.BONA_FIDE]
        _write_lines(folder / f"real-{native}.txt", bona_fide)
        _write_lines(folder / f"attack-grandtest-allsupports-{native}.txt", attacks)
        for support in SUPPORTS:
            held = [path for path in attacks if f"/{support}/" in path]
            _write_lines(folder / f"attack-grandtest-{support}-{native}.txt", held)
    _enroll(root, presentations)


def _enroll(root: Path, presentations: Sequence[Presentation]) -> None:
    for presentation in presentations:
        if presentation.label is Label.BONA_FIDE:
            name = f"client{presentation.person}_session01_webcam_enroll_controlled_1.mov"
            path = root / "enroll" / NATIVE_SPLITS[presentation.split] / name
            path.parent.mkdir(parents=True, exist_ok=True)
            copyfile(root / presentation.media_path, path)
            return


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines))


LAYOUT = Layout(
    sensors={
        "webcam": Sensor(
            width=224, height=168, blur=1.0, noise=5.0, gamma=0.85, warmth=-0.3, quality=80
        )
    },
    backgrounds=("curtain", "window"),
    light=(0.65, 1.05),
    face_share=(0.40, 0.50),
    plan=plan,
    write=write,
    finish=finish,
)
