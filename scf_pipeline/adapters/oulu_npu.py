"""OULU-NPU (Boulkenafet et al. 2017), in its native layout.

<root>/{Train,Dev,Test}_files/<phone>_<session>_<user>_<code>.avi      and .txt with the eyes
<root>/Protocols/   (not read: the folders are the splits of all cross-dataset work)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from ifas_model.vocabulary import Label, PaiSpecies, Split
from scf_pipeline.adapters import (
    Adapter,
    Box,
    Frame,
    box_from_eyes,
    media_files,
    sidecar_rows,
    within,
)
from scf_pipeline.errors import DatasetLayoutError
from scf_pipeline.schema import Sample

SPLITS = {"Train_files": Split.TRAIN, "Dev_files": Split.DEV, "Test_files": Split.TEST}
NAME = re.compile(r"[1-6]_[1-3]_(?P<subject>[0-9]{2})_(?P<code>[1-5])\.(?i:avi)")
ATTACKS = {
    "2": (PaiSpecies.PRINT, "print_1"),
    "3": (PaiSpecies.PRINT, "print_2"),
    "4": (PaiSpecies.REPLAY, "replay_1"),
    "5": (PaiSpecies.REPLAY, "replay_2"),
}
"""Two printers and two displays, by code; code 1 is bona fide."""


def scan(root: Path) -> Iterator[Sample]:
    """Yield the 4,950 presentations of the three official splits.

    Raises:
        DatasetLayoutError: If a split folder is missing or a file name cannot be parsed.
    """
    for folder in SPLITS:
        if not (root / folder).is_dir():
            raise DatasetLayoutError(
                f"OULU-NPU must have a {folder!r} folder, but it is absent.",
                where=str(root),
                fix="Point the root at the folder that holds Train_files/, Dev_files/ and "
                "Test_files/.",
            )
    for folder, split in SPLITS.items():
        for path in media_files(root / folder):
            yield _sample(path, root=root, folder=folder, split=split)


def _sample(path: Path, *, root: Path, folder: str, split: Split) -> Sample:
    relative = path.relative_to(root)
    match = NAME.fullmatch(path.relative_to(root / folder).as_posix())
    if match is None:
        raise DatasetLayoutError(
            "A video must be named <phone 1-6>_<session 1-3>_<user, two digits>_<code 1-5>.avi, "
            f"like '{folder}/1_1_01_1.avi', but is {relative.as_posix()!r}.",
            where=relative.as_posix(),
            fix="Remove the stray file, or report it if it is part of the official release.",
        )
    species, fine_type = ATTACKS.get(match["code"], (None, None))
    return Sample(
        sample_id=f"oulu_npu/{relative.with_suffix('').as_posix()}",
        dataset="oulu_npu",
        media_path=relative.as_posix(),
        split=split,
        subject_id=match["subject"],
        label=Label.ATTACK if species else Label.BONA_FIDE,
        pai_species=species,
        fine_type=fine_type,
        native_label=match["code"],
    )


def boxes(root: Path, media_path: str, frame: Frame) -> Mapping[int, Box]:
    """Read the eye file: frame, x and y of the right eye, x and y of the left one.

    Frames are found by their number: some files have fewer lines than the video has frames. An eye
    at the origin was not found.
    """
    found: dict[int, Box] = {}
    for row in sidecar_rows((root / media_path).with_suffix(".txt"), ","):
        if len(row) >= 5 and row[0] >= 0 and any(row[1:3]) and any(row[3:5]):
            visible = within(box_from_eyes((row[1], row[2]), (row[3], row[4])), frame)
            if visible is not None:
                found[int(row[0])] = visible
    return found


ADAPTER = Adapter(
    title="OULU-NPU",
    citation="Boulkenafet et al., 2017",
    license="Signed EULA with the University of Oulu, research only",
    obtain="Sign the EULA on the page of the University of Oulu.",
    layout="""\
OULU-NPU/
  Train_files/ Dev_files/ Test_files/
    <phone>_<session>_<user>_<file>.avi   and .txt with the eyes
  Protocols/   (not read)""",
    bona_fide=990,
    attack=3960,
    scan=scan,
    boxes=boxes,
)
