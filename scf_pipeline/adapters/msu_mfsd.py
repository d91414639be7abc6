"""MSU-MFSD (Wen, Han & Jain 2015), in its native layout.

    <root>/scene01/real/real_client001_android_SD_scene01.mp4                      and .face
    <root>/scene01/attack/attack_client001_laptop_SD_printed_photo_scene01.mov     and .face
    <root>/{train,test}_sub_list.txt

The folder that holds ``scene01`` goes by several names, and may lie one below the root.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from ifas_model.vocabulary import Label, PaiSpecies, Split
from scf_pipeline.adapters import (
    Adapter,
    Box,
    Frame,
    list_lines,
    media_files,
    sidecar_rows,
    text_of,
    within,
)
from scf_pipeline.errors import DatasetLayoutError
from scf_pipeline.schema import Sample

BONA_FIDE = re.compile(
    r"scene01/real/real_client(?P<subject>[0-9]{3})_(?P<camera>android|laptop)_SD_scene01"
    r"\.(?i:mp4|mov)"
)
ATTACK = re.compile(
    r"scene01/attack/attack_client(?P<subject>[0-9]{3})_(?:android|laptop)_SD_"
    r"(?P<instrument>ipad_video|iphone_video|printed_photo)_scene01\.(?i:mp4|mov)"
)
KINDS = {
    "printed_photo": (PaiSpecies.PRINT, "print_photo"),
    "ipad_video": (PaiSpecies.REPLAY, "replay_ipad"),
    "iphone_video": (PaiSpecies.REPLAY, "replay_iphone"),
}
"""Attacks by instrument."""

LISTS = {Split.TRAIN: "train_sub_list.txt", Split.TEST: "test_sub_list.txt"}
SUBJECTS = {
    Split.TRAIN: "02 03 05 06 07 08 09 11 12 21 22 34 53 54 55",
    Split.TEST: "01 13 14 23 24 26 28 29 30 32 33 35 36 37 39 42 48 49 50 51",
}
"""The two official lists, for copies that lack the files."""

UPSIDE_DOWN = frozenset({"003", "005", "006", "007", "008", "009"})
"""Subjects whose bona fide phone clip is upside down, without a rotation tag."""


def scan(root: Path) -> Iterator[Sample]:
    """Yield the 280 presentations.

    Raises:
        DatasetLayoutError: If ``scene01`` is not found, a file name cannot be parsed, or the lists
            do not give each subject one split.
    """
    home = _home(root)
    splits = _splits(root, home)
    for path in media_files(home / "scene01"):
        yield _sample(path, root=root, home=home, splits=splits)


def _home(root: Path) -> Path:
    """Find the folder that holds ``scene01``."""
    for pattern in ("scene01", "*/scene01"):
        homes = [
            path.parent
            for path in root.glob(pattern)
            if (path / "real").is_dir() and (path / "attack").is_dir()
        ]
        if len(homes) == 1:
            return homes[0]
        if homes:
            break
    raise DatasetLayoutError(
        "MSU-MFSD must have one folder that holds 'scene01/real' and 'scene01/attack', "
        f"but {len(homes)} were found.",
        where=str(root),
        fix="Point the root at the folder that holds scene01/.",
    )


def _splits(root: Path, home: Path) -> dict[str, Split]:
    """Return the split of each subject, by the three digits of the file names."""
    splits: dict[str, Split] = {}
    for split, name in LISTS.items():
        path = home / name
        words = (" ".join(list_lines(root, path)) if path.is_file() else SUBJECTS[split]).split()
        for word in words:
            number = int(word) if re.fullmatch(r"[0-9]{1,3}", word) else -1
            subject = f"{number:03d}"
            if number < 0 or splits.setdefault(subject, split) is not split:
                raise DatasetLayoutError(
                    "A subject list must hold numbers, each in one list only, "
                    f"but {name} has {word[:80]!r}.",
                    where=path.relative_to(root).as_posix(),
                    fix="Replace the lists by the official ones, or remove both.",
                )
    return splits


def _sample(path: Path, *, root: Path, home: Path, splits: Mapping[str, Split]) -> Sample:
    native, media_path = path.relative_to(home), text_of(path.relative_to(root))
    match = BONA_FIDE.fullmatch(native.as_posix()) or ATTACK.fullmatch(native.as_posix())
    if match is None:
        raise DatasetLayoutError(
            "A video must be named like 'scene01/real/real_client001_android_SD_scene01.mp4' or "
            "'scene01/attack/attack_client001_laptop_SD_printed_photo_scene01.mov', "
            f"but is {native.as_posix()!r}.",
            where=media_path,
            fix="Remove the stray file, or report it if it is part of the official release.",
        )
    if match["subject"] not in splits:
        raise DatasetLayoutError(
            f"A subject must be in one of {' and '.join(LISTS.values())}, "
            f"but {match['subject']!r} is in neither.",
            where=media_path,
            fix="Replace the lists by the official ones, or remove both.",
        )
    instrument = match.groupdict().get("instrument")
    species, fine_type = KINDS[instrument] if instrument else (None, None)
    return Sample(
        sample_id=f"msu_mfsd/{native.with_suffix('').as_posix()}",
        dataset="msu_mfsd",
        media_path=media_path,
        split=splits[match["subject"]],
        subject_id=match["subject"],
        label=Label.ATTACK if instrument else Label.BONA_FIDE,
        pai_species=species,
        fine_type=fine_type,
        native_label=instrument or "real",
    )


def rotation(media_path: str) -> int:
    """Return 180 for the six clips that are upside down, else 0."""
    native = "/".join(PurePosixPath(media_path).parts[-3:])
    match = BONA_FIDE.fullmatch(native)
    return 180 if match and match["camera"] == "android" and match["subject"] in UPSIDE_DOWN else 0


def boxes(root: Path, media_path: str, frame: Frame) -> Mapping[int, Box]:
    """Read ``.face``: frame, left, top, right, bottom and both eyes, between commas.

    Not every frame has a line. Nothing says whether the lines of the clips that are upside down
    speak of stored or of upright pictures, so the eyes tell: they lie in a face's upper half.
    """
    is_turned = rotation(media_path) == 180
    found: dict[int, Box] = {}
    for row in sidecar_rows((root / media_path).with_suffix(".face"), ","):
        if len(row) < 5 or row[0] < 0:
            continue
        box = Box(*row[1:5])
        if is_turned and len(row) >= 9 and row[6] + row[8] > box.y0 + box.y1:
            box = Box(
                frame.width - box.x1,
                frame.height - box.y1,
                frame.width - box.x0,
                frame.height - box.y0,
            )
        visible = within(box, frame)
        if visible is not None:
            found[int(row[0])] = visible
    return found


ADAPTER = Adapter(
    title="MSU-MFSD",
    citation="Wen, Han & Jain, 2015",
    license="Research only, by agreement with Michigan State University",
    obtain="Send the request form of the authors at Michigan State University.",
    layout="""\
MSU-MFSD-Publish/
  train_sub_list.txt   test_sub_list.txt
  scene01/
    real/real_client<ccc>_{android|laptop}_SD_scene01.{mp4|mov}   and .face
    attack/attack_client<ccc>_{android|laptop}_SD_{ipad_video|iphone_video|printed_photo}_scene01\
.{mp4|mov}   and .face""",
    bona_fide=70,
    attack=210,
    scan=scan,
    boxes=boxes,
    rotation=rotation,
)
