"""WMCA (George et al. 2019), preprocessed packs: aligned face crops as HDF5 sequences.

<root>/preprocessed-face-station_RGB/face-station/<dd.mm.yy>/
       <client>_<session>_<presenter>_<type>_<pai>.hdf5     Frame_<i>/array, uint8 (3, 128, 128)
<root>/preprocessed-face-station_CDIT/face-station/...      the same, (4, 128, 128), of a few only
<root>/PROTOCOL-grandtest.csv                               path first, group last
<root>/documentation/<attack|bonafide>_illustration_files.csv    what may be shown; no labels

Clients, their instruments and splits are those of the grandtest protocol; dates are by session.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain, product, zip_longest
from pathlib import Path, PurePosixPath

import h5py
import numpy as np
from numpy.typing import NDArray

from ifas_model.vocabulary import Label, PaiSpecies, Split
from scf_pipeline.miniature.layouts import Budget, Clip, Layout, Picture, Presentation, Sensor
from scf_pipeline.miniature.layouts._choose import apportion

RGB, CDIT = "preprocessed-face-station_RGB", "preprocessed-face-station_CDIT"
GROUPS = {Split.TRAIN: "train", Split.DEV: "dev", Split.TEST: "eval"}

CLIENTS = {
    Split.TRAIN: "002 004 005 007 014 015 021 028 029 032 034 037 038 040 041 045 046 054 061 062",
    Split.DEV: "003 006 009 010 013 018 019 022 023 024 026 033 042 047 048 052 055 056 057 058",
    Split.TEST: "001 008 011 012 017 020 025 027 030 031 035 036 039 043 044 049 050 051 053 060",
}
"""Bona fide clients, 20 of the 24 of each split."""

ATTACKS = {
    Split.TRAIN: (
        "513_1_04 515_1_06 516_1_07 533_1_14 501_2_02 503_2_04 506_2_07 002_2_13 064_2_75 108_2_77 "
        "002_2_81 002_2_82 104_2_93 106_2_95 104_2_97 106_2_99 098_3_11 098_3_12 098_3_13 098_3_14 "
        "098_3_15 098_4_05 098_4_06 005_4_09 005_4_10 098_4_11 098_4_12 098_4_17 098_4_18"
    ),
    Split.DEV: (
        "512_1_01 534_1_15 532_1_13 507_2_01 502_2_03 504_2_05 016_2_15 018_2_16 019_2_17 107_2_76 "
        "110_2_79 066_2_84 016_2_85 018_2_86 019_2_87 019_2_90 105_2_94 105_2_98 018_3_06 018_3_07 "
        "018_3_08 018_3_09 018_3_10 019_4_01 019_4_02 019_4_07 019_4_08 019_4_13 019_4_14"
    ),
    Split.TEST: (
        "514_1_05 535_1_16 101_1_02 505_2_06 001_2_08 099_2_09 100_2_10 012_2_11 001_2_12 012_2_14 "
        "530_2_18 109_2_78 001_2_80 012_2_83 001_2_88 012_2_89 102_2_91 103_2_92 103_2_96 001_3_01 "
        "001_3_02 001_3_03 001_3_04 001_3_05 012_4_03 012_4_04 012_4_15 012_4_16"
    ),
}
"""Client, type and pai of the attacks of each split; heads and masks have clients of their own."""

FINE_TYPES: Mapping[str, Mapping[str, Collection[int]]] = {
    "1": {"partial_glasses": (1, 4, 5, 6, 7, 15, 16), "rigid_mask": (2, 13, 14)},
    "2": {
        "fake_head": range(1, 8),
        "paper_mask": range(8, 12),
        "rigid_mask": range(12, 18),
        "silicone_mask": (18, *range(75, 100)),
    },
    "3": {"print_flat": (*range(1, 5), *range(6, 10), *range(11, 15)), "replay_photo": (5, 10, 15)},
    "4": {"replay_video": range(1, 19)},
}
"""Fine type by type and pai."""

KINDS = {
    "partial_glasses": (PaiSpecies.PARTIAL, ("funny_glasses", "paper_glasses")),
    "rigid_mask": (PaiSpecies.MASK, ("resin_mask",)),
    "fake_head": (PaiSpecies.MANNEQUIN, ("mannequin",)),
    "paper_mask": (PaiSpecies.MASK, ("paper_mask",)),
    "silicone_mask": (PaiSpecies.MASK, ("silicone_mask",)),
    "print_flat": (PaiSpecies.PRINT, ("print_flat",)),
    "replay_photo": (PaiSpecies.REPLAY, ("tablet",)),
    "replay_video": (PaiSpecies.REPLAY, ("tablet", "laptop")),
}
"""Species and instruments, which the pai's number tells apart."""

DATES = {
    "01": "30.01.18",
    "02": "07.02.18",
    "03": "14.02.18",
    "05": "15.05.18",
    "06": "22.05.18",
    "07": "23.05.18",
}
"""Day of each session; session 04 has no bona fide recordings, so the miniature has none of it."""

PRESENTERS = ("000", "003", "004", "010", "018", "064")
"""Who holds or wears an instrument, 000 being a stand."""

SENSORS = {
    "sr300": Sensor(width=128, height=128, blur=1.1, noise=6.0, gamma=1.15, warmth=0.3, quality=75),
}
"""The colour camera of an Intel RealSense SR300."""


def plan(budget: Budget, rng: np.random.Generator) -> list[Presentation]:
    """List the presentations of the grandtest protocol, bona fide first in each split."""
    return [
        _presentation(split, stem, has_cdit=number % 8 == 0)
        for split in GROUPS
        for number, stem in enumerate(_stems(split, budget, rng))
    ]


def _stems(split: Split, budget: Budget, rng: np.random.Generator) -> list[str]:
    size: int = getattr(budget, split.value)
    if not size:
        return []
    num_attacks = round(size * budget.attack_share)
    clients = rng.permutation(CLIENTS[split].split())[: max(4 if size >= 40 else 2, size // 8)]
    piles = [[f"{c}_{s}_000_0_{p}" for s, p in product(DATES, ("00", "01"))] for c in clients]
    stems = _deal(piles, max(2, size - num_attacks), rng)
    kinds: dict[str, list[list[str]]] = {}
    for code in ATTACKS[split].split():
        client, type_, pai = code.split("_")
        pile = [f"{client}_{s}_{p}_{type_}_{pai}" for s, p in product(DATES, PRESENTERS)]
        kinds.setdefault(_fine_type(type_, pai), []).append(pile)
    counts = apportion(num_attacks, [1.0] * len(kinds))
    for piles, count in zip(kinds.values(), counts, strict=True):
        stems += _deal(piles, count, rng)
    return stems


def _deal(piles: Iterable[list[str]], count: int, rng: np.random.Generator) -> list[str]:
    """Take one name of each shuffled pile in turn."""
    turns = zip_longest(*([str(name) for name in rng.permutation(pile)] for pile in piles))
    return [name for name in chain.from_iterable(turns) if name is not None][:count]


def _fine_type(type_: str, pai: str) -> str:
    return next(name for name, numbers in FINE_TYPES[type_].items() if int(pai) in numbers)


def _presentation(split: Split, stem: str, *, has_cdit: bool) -> Presentation:
    client, session, _, type_, pai = stem.split("_")
    fine_type, species, instrument = None, None, "face"
    if type_ != "0":
        fine_type = _fine_type(type_, pai)
        species, instruments = KINDS[fine_type]
        instrument = instruments[int(pai) % len(instruments)]
    return Presentation(
        media_path=f"{RGB}/face-station/{DATES[session]}/{stem}.hdf5",
        person=client,
        subject_id=client,
        split=split,
        label=Label.ATTACK if species else Label.BONA_FIDE,
        pai_species=species,
        fine_type=fine_type,
        native_label=f"{type_}_{pai}",
        instrument=instrument,
        session=session,
        num_frames=12,
        sensor="sr300",
        details={"pack": CDIT} if has_cdit else {},
    )


def write(root: Path, presentation: Presentation, clip: Clip) -> None:
    """Write the sequence in each pack that has it."""
    path = presentation.media_path
    _write_pack(root / path, [frame.transpose(2, 0, 1) for frame in clip.frames])
    if presentation.details:
        frames = [_cdit(*pair) for pair in zip(clip.frames, clip.boxes, strict=True)]
        _write_pack(root / path.replace(RGB, CDIT), frames)


def _write_pack(path: Path, arrays: Iterable[NDArray[np.uint8]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for number, array in enumerate(arrays):
            file.create_group(f"Frame_{number}").create_dataset("array", data=array)


def _cdit(picture: Picture, box: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """Stack grey with a depth, infrared and thermal channel made up from the face's place."""
    x0, y0, x1, y1 = box
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]]
    across, down = (2 * x - x0 - x1) / (x1 - x0), (2 * y - y0 - y1) / (y1 - y0)
    near = np.exp(-(across**2) - down**2)  # 1 at the centre of the face
    grey = picture.mean(axis=2)
    return np.stack([grey, 220 * near, 40 + grey / 2, 60 + 160 * near]).astype(np.uint8)


def finish(root: Path, presentations: Sequence[Presentation]) -> None:
    """Write the grandtest protocol, and the two lists of what may be shown in publications."""
    paths = [str(PurePosixPath(p.media_path).relative_to(RGB)) for p in presentations]
    rows = [
        (path.removesuffix(".hdf5"), p.person, p.native_label, GROUPS[p.split])
        for path, p in zip(paths, presentations, strict=True)
    ]
    header = ("filepath", "client_id", "type_pai", "group")
    _write_csv(root / "PROTOCOL-grandtest.csv", [header, *rows])
    for name, label in (("attack", Label.ATTACK), ("bonafide", Label.BONA_FIDE)):
        shown = [(x,) for x, p in zip(paths, presentations, strict=True) if p.label is label][:3]
        _write_csv(root / "documentation" / f"{name}_illustration_files.csv", shown)


def _write_csv(path: Path, rows: Iterable[Sequence[str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


LAYOUT = Layout(
    sensors=SENSORS,
    backgrounds=("wall", "office", "curtain", "bookshelf"),
    light=(0.6, 1.0),
    face_share=(0.35, 0.48),
    plan=plan,
    write=write,
    finish=finish,
    is_cropped=True,
)
