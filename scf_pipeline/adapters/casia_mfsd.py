"""CASIA-MFSD, also called CASIA-FASD (Zhang et al. 2012), in its native layout.

    <root>/train_release/<1..20>/{1..8,HR_1..HR_4}.avi
    <root>/test_release/<1..30>/{1..8,HR_1..HR_4}.avi

Subjects are numbered from 1 in both folders but are fifty people: those of the test folder become
21 to 50.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ifas_model.vocabulary import Label, PaiSpecies, Split
from scf_pipeline.adapters import Adapter, media_files
from scf_pipeline.errors import DatasetLayoutError
from scf_pipeline.schema import Sample


class _Part(NamedTuple):
    split: Split
    num_subjects: int
    num_before: int


PARTS = {
    "train_release": _Part(Split.TRAIN, num_subjects=20, num_before=0),
    "test_release": _Part(Split.TEST, num_subjects=30, num_before=20),
}
NAME = re.compile(r"(?P<subject>[0-9]{1,2})/(?P<code>HR_[1-4]|[1-8])\.(?i:avi)")
REPACKED = re.compile(r"(?:[fb]?s){1,2}[0-9]+v(?:HR_?)?[0-9]+f[0-9]+\.(?i:png)")

WARPED = (PaiSpecies.PRINT, "print_warped")
CUT = (PaiSpecies.PRINT, "print_cut")
TABLET = (PaiSpecies.REPLAY, "replay_tablet")
ATTACKS = {
    "3": WARPED,
    "4": WARPED,
    "HR_2": WARPED,
    "5": CUT,
    "6": CUT,
    "HR_3": CUT,
    "7": TABLET,
    "8": TABLET,
    "HR_4": TABLET,
}
"""Attacks by code; 1, 2 and HR_1 are bona fide."""


def scan(root: Path) -> Iterator[Sample]:
    """Yield the 600 presentations of both official splits.

    Raises:
        DatasetLayoutError: If a split folder is missing, a file name cannot be parsed, or the root
            holds one of the re-packed copies.
    """
    for folder in PARTS:
        if not (root / folder).is_dir():
            _refuse_repacked(root)
            raise DatasetLayoutError(
                f"CASIA-MFSD must have a {folder!r} folder, but it is absent.",
                where=str(root),
                fix="Point the root at the folder that holds train_release/ and test_release/.",
            )
    for folder, part in PARTS.items():
        for path in media_files(root / folder):
            yield _sample(path, root=root, folder=folder, part=part)


def _refuse_repacked(root: Path) -> None:
    for folder in ("train/live", "train/spoof", "test/live", "test/spoof"):
        if (root / folder).is_dir():
            for path in media_files(root / folder):
                if REPACKED.fullmatch(path.name):
                    raise _repacked(path.relative_to(root).as_posix())


def _repacked(where: str) -> DatasetLayoutError:
    return DatasetLayoutError(
        "CASIA-MFSD must hold its original videos, but is a copy re-packed as pictures of "
        "112 x 112 pixels, which files bona fide HR_1 clips as attacks.",
        where=where,
        fix="Use the original release with train_release/ and test_release/.",
    )


def _sample(path: Path, *, root: Path, folder: str, part: _Part) -> Sample:
    relative = path.relative_to(root)
    match = NAME.fullmatch(path.relative_to(root / folder).as_posix())
    number = int(match["subject"]) if match else 0
    if match is None or not 1 <= number <= part.num_subjects:
        if REPACKED.fullmatch(path.name):
            raise _repacked(relative.as_posix())
        raise DatasetLayoutError(
            f"A video must be named like '{folder}/1/HR_1.avi', in a folder from 1 to "
            f"{part.num_subjects}, but is {relative.as_posix()!r}.",
            where=relative.as_posix(),
            fix="Remove the stray file, or report it if it is part of the official release.",
        )
    species, fine_type = ATTACKS.get(match["code"], (None, None))
    return Sample(
        sample_id=f"casia_mfsd/{relative.with_suffix('').as_posix()}",
        dataset="casia_mfsd",
        media_path=relative.as_posix(),
        split=part.split,
        subject_id=str(number + part.num_before),
        label=Label.ATTACK if species else Label.BONA_FIDE,
        pai_species=species,
        fine_type=fine_type,
        native_label=match["code"],
    )


ADAPTER = Adapter(
    title="CASIA-MFSD",
    citation="Zhang et al., 2012",
    license="Signed agreement with CASIA CBSR, research only",
    obtain="Sign the agreement of CASIA's Center for Biometrics and Security Research.",
    layout="""\
CASIA_faceAntisp/
  train_release/<1..20>/{1..8,HR_1..HR_4}.avi
  test_release/<1..30>/{1..8,HR_1..HR_4}.avi""",
    bona_fide=150,
    attack=450,
    scan=scan,
)
