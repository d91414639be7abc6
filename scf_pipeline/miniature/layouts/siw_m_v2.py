"""SiW-M-v2 (Guo et al. 2022): bona fide and 14 kinds of attack, mixed containers.

<root>/Live/Live_<n>.<mov|mp4|avi>
<root>/Spoof/<folder>/<prefix>_<n>.<mov|mp4|avi>      the folder Paper is also called Print
<root>/pro_3_text/<train|test>list_<live|all>.txt      one stem on each line; "all" are the attacks
<root>/DRA_form_SIWMv2.pdf

The lists come from the authors' code: they name stems that the release lacks, miss others that it
has, and repeat attacks of the train list for balance. Names do not tell who is shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

import numpy as np

from ifas_model.vocabulary import PaiSpecies, Split
from scf_pipeline.miniature.encode import write_video
from scf_pipeline.miniature.layouts import Budget, Clip, Layout, Presentation, Sensor
from scf_pipeline.miniature.layouts._choose import Kind, choose


class Attack(NamedTuple):
    """What a file prefix means."""

    folder: str
    species: PaiSpecies
    fine_type: str
    instrument: str


PRINT, REPLAY, MASK = PaiSpecies.PRINT, PaiSpecies.REPLAY, PaiSpecies.MASK
MANNEQUIN, MAKEUP, PARTIAL = PaiSpecies.MANNEQUIN, PaiSpecies.MAKEUP, PaiSpecies.PARTIAL
ATTACKS = {
    "Makeup_Co": Attack("Makeup_Cosmetic", MAKEUP, "makeup_cosmetic", "makeup_cosmetic"),
    "Makeup_Im": Attack(
        "Makeup_Impersonation", MAKEUP, "makeup_impersonation", "makeup_impersonation"
    ),
    "Makeup_Ob": Attack("Makeup_Obfuscation", MAKEUP, "makeup_obfuscation", "makeup_obfuscation"),
    "Mask_Half": Attack("Mask_HalfMask", MASK, "half_mask", "half_mask"),
    "Mask_Mann": Attack("Mannequin", MANNEQUIN, "mannequin", "mannequin"),
    "Mask_Paper": Attack("Mask_PaperMask", MASK, "paper_mask", "paper_mask"),
    "Mask_Silicone": Attack("Silicone", MASK, "silicone_mask", "silicone_mask"),
    "Mask_Trans": Attack("Mask_TransparentMask", MASK, "transparent_mask", "transparent_mask"),
    "Paper": Attack("Paper", PRINT, "print", "print_flat"),
    "Partial_Eye": Attack("Partial_Eye", PARTIAL, "partial_eye_cut", "eye_cut"),
    "Partial_Funnyeye": Attack(
        "Partial_FunnyeyeGlasses", PARTIAL, "partial_funnyeye", "funny_glasses"
    ),
    "Partial_Mouth": Attack("Partial_Mouth", PARTIAL, "partial_mouth_cut", "mouth_cut"),
    "Partial_Paperglass": Attack(
        "Partial_PaperGlasses", PARTIAL, "partial_paper_glasses", "paper_glasses"
    ),
    "Replay": Attack("Replay", REPLAY, "replay", "tablet"),
}

TRAIN = {
    "Live": (
        "1-9 11 13-14 16-17 19-21 23-24 26-27 29-31 33-34 36-37 39-41 43-44 46-47 49-51 53-54 56 "
        "57 59 61 63-64 66-67 69-71 73-74 76-77 79-81 83-84 86-87 89-90 92-93 95-96 98-101 103 105 "
        "107-108 110 112-113 115-116 118-121 123-124 126-127 129 131-132 134-135 137-138 140 "
        "142-143 145-146 148-151 153-154 156-157 159 161-162 164-165 167-168 170 172-173 889"
    ),
    "Makeup_Co": "5-6 8 11-12 14-15 18 21-23 25 30-31 33-34 41-45",
    "Makeup_Im": "1-20",
    "Makeup_Ob": "5 7 9-14 19-22",
    "Mask_Half": "2 5-6 13 15-17 19-24 26 29-30 34-39",
    "Mask_Mann": "1-5 8 10 12 16-24 27 29 31",
    "Mask_Paper": "1 3 5 7 9 11 13-17",
    "Mask_Silicone": "2-3 7-12 17",
    "Mask_Trans": "1-3 5 7-17 19-23",
    "Paper": "4-5 7 9 12 14-22 24-25 27-31",
    "Partial_Eye": "1-3 5-10 13-14 17-18 20-21 23-24 26-27 31",
    "Partial_Funnyeye": "1 6 10-12 16-18 20-21 23 25-26 28-35",
    "Partial_Mouth": "1-5 7 9 12-14 16-17 21-23 25 29",
    "Partial_Paperglass": "3-4 6-7 9 11-16 18 21-22 24 26-28",
    "Replay": "1-8 10 12-14 17 20-23 27-28 31-32",
}
TEST = {
    "Live": (
        "10 12 15 18 22 25 28 32 35 38 42 45 48 52 55 58 60 62 65 68 72 75 78 82 85 88 91 94 97 "
        "102 106 109 111 114 117 122 125 128 130 133 136 139 141 144 147 152 155 158 160 163 166 "
        "169 171 174 177 182 185 188 190 193 196 199-200 203 206 209 211 214 217 222 225 228 230 "
        "233 236 239 241 244 247 252 255 258"
    ),
    "Makeup_Co": "7 9-10 13 19-20 24 28-29 32 35-40",
    "Makeup_Im": "40-53 56-59",
    "Makeup_Ob": "1-4 6 8 15-18",
    "Mask_Half": "1 3-4 7-12 14 18 25 27-28 31-33",
    "Mask_Mann": "6-7 9 11 13-15 25-26 28 30 32-33 40",
    "Mask_Paper": "2 4 6 8 10 12",
    "Mask_Silicone": "1 4-6 13-16",
    "Mask_Trans": "4 6 18 24-40",
    "Paper": "1-3 6 8 10-11 13 23 26 32-33 36-37 40 45-46",
    "Partial_Eye": "4 11-12 15-16 19 22 25 28-30 32 36 38-39",
    "Partial_Funnyeye": "2 161 3-5 7-9 13-15 19 22 24 27 36 38-39 41-42",
    "Partial_Mouth": "6 8 10-11 15 18-20 24 26-28",
    "Partial_Paperglass": "1-2 5 8 10 17 19-20 23 25 29 32 34 38-41",
    "Replay": "9 11 15-16 18-19 24-26 29-30 33-35 40",
}
NUMBERS = {Split.TRAIN: TRAIN, Split.TEST: TEST}
"""The first official numbers of each prefix, and of each split as the authors' lists tell it."""

UNLISTED = "Partial_Funnyeye_161"
"""A file that no list names, as those from 161 on; such files count as test."""

WITHOUT_FILE = {
    Split.TRAIN: ("Live_901", "Paper_126"),
    Split.TEST: ("Live_900", "Paper_136"),
}
"""Official rows of the lists for which the miniature has no file."""

ROWS_OF_A_KIND = 100
"""Rows to which the train list repeats each kind of attack."""

SENSORS = {
    "mov": Sensor(width=126, height=224, blur=0.5, noise=3.0, gamma=0.9, warmth=-0.2, quality=93),
    "mp4": Sensor(width=224, height=126, blur=0.7, noise=4.0, gamma=1.0, warmth=0.05, quality=88),
    "avi": Sensor(width=200, height=150, blur=1.2, noise=6.5, gamma=1.1, warmth=0.25, quality=78),
}
"""A phone, a camera and a webcam, named by the containers that they write."""

PEOPLE = {split: tuple(f"{split}-{number:03}" for number in range(1, 121)) for split in NUMBERS}
VARIANTS = tuple((suffix,) for suffix in SENSORS)
KINDS = (
    Kind(code="Live", variants=VARIANTS),
    *(
        Kind(
            code=prefix,
            species=attack.species,
            fine_type=attack.fine_type,
            instrument=attack.instrument,
            variants=VARIANTS,
        )
        for prefix, attack in ATTACKS.items()
    ),
)


def plan(budget: Budget, rng: np.random.Generator) -> list[Presentation]:
    """List the presentations; there is no dev split, so train takes its share."""
    whole = replace(budget, train=budget.train + budget.dev, dev=0)
    numbers = {
        (split, prefix): _numbers(text)
        for split, texts in NUMBERS.items()
        for prefix, text in texts.items()
    }
    presentations = []
    for choice in choose(PEOPLE, KINDS, whole, rng, per_subject=4):
        number = next(numbers[choice.split, choice.kind.code], None)
        if number is None:
            continue  # the prefix has no more official numbers
        (suffix,) = choice.variant
        named = choice.presentation(
            f"{_folder(choice.kind.code, number)}/{choice.kind.code}_{number}.{suffix}",
            session=f"{choice.subject}_{suffix}",
            sensor=suffix,
            num_frames=10,
        )
        presentations.append(replace(named, subject_id=None))
    return presentations


def _numbers(text: str) -> Iterator[int]:
    for word in text.split():
        first, _, last = word.partition("-")
        yield from range(int(first), int(last or first) + 1)


def _folder(prefix: str, number: int) -> str:
    if prefix == "Live":
        return "Live"
    if prefix == "Paper" and number % 2 == 0:
        return "Spoof/Print"
    return f"Spoof/{ATTACKS[prefix].folder}"


def write(root: Path, presentation: Presentation, clip: Clip) -> None:
    """Write the video; webcams compress frame by frame."""
    codec: Literal["mjpeg", "libx264"] = "mjpeg" if presentation.sensor == "avi" else "libx264"
    write_video(root / presentation.media_path, clip.frames, codec=codec, fps=30)


def finish(root: Path, presentations: Sequence[Presentation]) -> None:
    """Write the official lists of both splits, and the form that lies beside the videos."""
    for split in NUMBERS:
        stems = [PurePosixPath(p.media_path).stem for p in presentations if p.split is split]
        stems += WITHOUT_FILE[split]
        bona_fide = [stem for stem in stems if stem.startswith("Live_")]
        attacks = [stem for stem in stems if stem not in {*bona_fide, UNLISTED}]
        if split is Split.TRAIN:
            attacks = _repeated(attacks)
        _write_list(root, f"{split}list_live.txt", bona_fide)
        _write_list(root, f"{split}list_all.txt", attacks)
    (root / "DRA_form_SIWMv2.pdf").write_bytes(b"%PDF-1.4\n%%EOF\n")


def _repeated(stems: Sequence[str]) -> list[str]:
    rows: list[str] = []
    for prefix in ATTACKS:
        kind = [stem for stem in stems if stem.rpartition("_")[0] == prefix]
        rows += islice(cycle(kind), ROWS_OF_A_KIND)
    return rows


def _write_list(root: Path, name: str, stems: Sequence[str]) -> None:
    path = root / "pro_3_text" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{stem}\n" for stem in stems), encoding="utf-8")


LAYOUT = Layout(
    sensors=SENSORS,
    backgrounds=("garden", "bookshelf", "window", "brick", "office"),
    light=(0.7, 1.3),
    face_share=(0.32, 0.45),
    plan=plan,
    write=write,
    finish=finish,
)
