"""CelebA-Spoof (Zhang et al. 2020) in miniature.

    <root>/Data/train/<subject>/{live,spoof}/<6 digits>.jpg  + <6 digits>_BB.txt
    <root>/Data/test/<subject>/{live,spoof}/<6 digits>.png   + <6 digits>_BB.txt
    <root>/metas/intra_test/{train,test}_label.json

Known flaws of the release are kept: some replays lie in a ``live`` folder (the json is right), one
box file is empty, one box begins left of its picture, one key of the json has no file, and a
folder ``train_2`` holds what no json lists.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from zlib import crc32

import numpy as np

from ifas_model.vocabulary import Label, PaiSpecies, Split
from scf_pipeline.miniature.encode import write_jpeg, write_png
from scf_pipeline.miniature.layouts import Budget, Clip, Layout, Presentation, Sensor
from scf_pipeline.miniature.layouts._choose import Choice, Kind, choose

IDS = {
    Split.TRAIN: [str(n) for n in range(1, 5001)],
    Split.TEST: [str(n) for n in range(5001, 10178)],
}
"""CelebA's identities; which of them are test subjects is simplified to a range."""
NUMBERS = {Split.TRAIN: range(494_405), Split.TEST: range(494_405, 561_575)}
KINDS = [
    Kind(code="0", variants=list(product("0", "0", "12345678"))),
    *(
        Kind(
            code=code,
            species=species,
            fine_type=fine_type,
            instrument=instrument,
            variants=list(product("1234", "12", "1234")),
            weight=weight,
        )
        for code, species, fine_type, instrument, weight in (
            ("1", PaiSpecies.PRINT, "print_photo", "print_flat", 47 / 3),
            ("2", PaiSpecies.PRINT, "print_poster", "poster", 47 / 3),
            ("3", PaiSpecies.PRINT, "print_a4", "print_flat", 47 / 3),
            ("4", PaiSpecies.MASK, "paper_mask_face", "paper_mask", 5 / 3),
            ("5", PaiSpecies.MASK, "paper_mask_upper_body", "paper_mask", 5 / 3),
            ("6", PaiSpecies.MASK, "paper_mask_region", "paper_mask_cut", 5 / 3),
            ("7", PaiSpecies.REPLAY, "replay_pc", "monitor", 43 / 3),
            ("8", PaiSpecies.REPLAY, "replay_pad", "tablet", 43 / 3),
            ("9", PaiSpecies.REPLAY, "replay_phone", "phone", 43 / 3),
            ("10", PaiSpecies.MASK, "mask_3d", "mask_3d_print", 5 / 3),
            ("10", PaiSpecies.MASK, "mask_3d", "resin_mask", 5 / 3),
            ("10", PaiSpecies.MASK, "mask_3d", "plaster_mask", 5 / 3),
        )
    ),
]
"""Variants are illumination, environment and a running number of pictures alike. The release does
not say of what its 3D masks are made: all rigid ones occur."""
PC = "7"
MISPLACED_EVERY = 8
"""One in so many PC replays of the train part lies in a ``live`` folder."""
BOX_FLAWS = {"1": "empty", "3": "negative"}
"""What is wrong with the box of the first train picture of a type."""
BOX_SIDE = 224
"""Boxes are written as if every picture had this width and height."""


def plan(budget: Budget, rng: np.random.Generator) -> list[Presentation]:
    """List presentations of both official parts, and one train row whose picture is lost."""
    chosen = choose(IDS, KINDS, budget, rng, per_subject=5)
    planned: list[Presentation] = []
    for split, numbers in NUMBERS.items():
        ours = [choice for choice in chosen if choice.split is split]
        drawn = sorted(int(n) for n in rng.choice(numbers, size=len(ours) + 1, replace=False))
        rows = [_presentation(*pair, rng) for pair in zip(ours, drawn[1:], strict=True)]
        if split is Split.TRAIN and ours:
            rows = [*_with_flaws(rows), _lost(ours, drawn[0], rng)]
        planned += rows
    return sorted(planned, key=lambda p: p.media_path)


def _presentation(choice: Choice, number: int, rng: np.random.Generator) -> Presentation:
    illumination, environment, _ = choice.variant
    folder = "spoof" if choice.kind.species else "live"
    suffix = "jpg" if choice.split is Split.TRAIN else "png"
    place = f"{choice.subject}-{illumination}{environment}" if choice.kind.species else f"{number}"
    presentation = choice.presentation(
        f"Data/{choice.split}/{choice.subject}/{folder}/{number:06}.{suffix}",
        session=place,
        sensor=str(rng.choice(sorted(LAYOUT.sensors))),
    )
    codes = {"illumination": illumination, "environment": environment}
    return replace(presentation, details=codes)


def _with_flaws(rows: Sequence[Presentation]) -> list[Presentation]:
    changed = list(rows)
    types = [row.native_label for row in rows]
    for i in [i for i, code in enumerate(types) if code == PC][::MISPLACED_EVERY]:
        path = rows[i].media_path.replace("/spoof/", "/live/")
        changed[i] = replace(rows[i], media_path=path)
    for code, flaw in BOX_FLAWS.items():
        i = types.index(code)
        changed[i] = replace(rows[i], details={**rows[i].details, "box": flaw})
    return changed


def _lost(chosen: Sequence[Choice], number: int, rng: np.random.Generator) -> Presentation:
    prints = [choice for choice in chosen if choice.kind.species is PaiSpecies.PRINT]
    return replace(_presentation(prints[0], number, rng), has_media=False)


def write(root: Path, presentation: Presentation, clip: Clip) -> None:
    """Write a picture and its box file: x, y, width, height and score."""
    path = root / presentation.media_path
    save = write_jpeg if path.suffix == ".jpg" else write_png
    save(path, clip.frames[0])
    line = _box_line(clip, presentation.details.get("box", ""))
    path.with_name(f"{path.stem}_BB.txt").write_text(line)


def _box_line(clip: Clip, flaw: str) -> str:
    if flaw == "empty":
        return ""
    height, width = clip.frames[0].shape[:2]
    corners = np.array(clip.boxes[0]) * BOX_SIDE / (width, height, width, height)
    x0, y0, x1, y1 = (round(float(corner)) for corner in corners)
    if flaw == "negative":
        x0 = -3
    return f"{x0} {y0} {x1 - x0} {y1 - y0} 0.9990234\n"


def finish(root: Path, presentations: Sequence[Presentation]) -> None:
    """Write the labels of both parts, 44 integers a picture, and what no label lists."""
    folder = root / "metas" / "intra_test"
    folder.mkdir(parents=True, exist_ok=True)
    for split in IDS:
        labels = {p.media_path: _label(p) for p in presentations if p.split is split}
        (folder / f"{split}_label.json").write_text(json.dumps(labels))
    grey = np.full((48, 40, 3), 128, dtype=np.uint8)
    write_jpeg(root / "Data" / "train_2" / "4980" / "spoof" / "000003.jpg", grey)


def _label(presentation: Presentation) -> list[int]:
    is_attack = presentation.label is Label.ATTACK
    subject = np.random.default_rng(crc32(presentation.person.encode()))
    attributes = [0] * 40 if is_attack else [int(bit) for bit in subject.integers(0, 2, 40)]
    codes = [presentation.details["illumination"], presentation.details["environment"]]
    return [*attributes, int(presentation.native_label), *map(int, codes), int(is_attack)]


LAYOUT = Layout(
    sensors={
        "phone": Sensor(
            width=180, height=240, blur=0.4, noise=3.0, gamma=0.95, warmth=0.1, quality=92
        ),
        "pad": Sensor(
            width=192, height=240, blur=0.6, noise=4.0, gamma=1.05, warmth=-0.1, quality=90
        ),
        "webcam": Sensor(
            width=240, height=180, blur=0.8, noise=6.0, gamma=0.9, warmth=0.25, quality=85
        ),
    },
    backgrounds=("garden", "sky", "bookshelf", "brick", "wall"),
    light=(0.7, 1.3),
    face_share=(0.38, 0.50),
    plan=plan,
    write=write,
    finish=finish,
)
