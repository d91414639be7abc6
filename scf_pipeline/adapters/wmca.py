"""WMCA (George et al. 2019), its preprocessed RGB pack in its native layout.

    <root>/preprocessed-face-station_RGB/face-station/<dd.mm.yy>/<stem>.hdf5
    <stem> = <client>_<session>_<presenter>_<type>_<pai>

Copies differ in the outer folders, so files are told by their last two names. The pack of the
other channels (CDIT) is passed over. Splits come from ``PROTOCOL-grandtest.csv``, wherever it lies
below the root; without it all is test.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from ifas_model.vocabulary import Label, PaiSpecies, Split
from scf_pipeline.adapters import PICTURES, VIDEOS, Adapter, list_lines, media_files, text_of
from scf_pipeline.errors import DatasetLayoutError
from scf_pipeline.schema import Sample

MEDIA = PICTURES | VIDEOS | {".h5", ".hdf5"}
KEY = (
    r"(?P<key>[0-9]{2}\.[0-9]{2}\.[0-9]{2}/"
    r"(?P<client>[0-9]{3})_[0-9]{2}_[0-9]{3}_(?P<type>[0-4])_(?P<pai>[0-9]{2}))"
)
NAME = re.compile(rf"(?:.*/)?{KEY}\.(?i:hdf5)")
ENTRY = re.compile(rf"(?P<folder>.*/)?{KEY}")
LISTS = frozenset({"protocol-grandtest.csv", "wmca_grandtest.txt"})
"""The official list, and the same one as the CASIA-FAS-Dataset repository words it."""

SPLITS = {"train": Split.TRAIN, "dev": Split.DEV, "eval": Split.TEST}

KINDS = {
    (kind, f"{pai:02d}"): (species, fine_type)
    for kind, pais, species, fine_type in (
        ("0", (0, 1, 2), None, None),
        ("1", (1, *range(4, 8), 15, 16), PaiSpecies.PARTIAL, "partial_glasses"),
        ("1", (2, 13, 14), PaiSpecies.MASK, "rigid_mask"),
        ("2", range(1, 8), PaiSpecies.MANNEQUIN, "fake_head"),
        ("2", range(8, 12), PaiSpecies.MASK, "paper_mask"),
        ("2", range(12, 18), PaiSpecies.MASK, "rigid_mask"),
        ("2", (18, *range(75, 100)), PaiSpecies.MASK, "silicone_mask"),
        ("3", (*range(1, 5), *range(6, 10), *range(11, 15)), PaiSpecies.PRINT, "print_flat"),
        ("3", (5, 10, 15), PaiSpecies.REPLAY, "replay_photo"),
        ("4", range(1, 19), PaiSpecies.REPLAY, "replay_video"),
    )
    for pai in pais
}
"""(type, pai) -> PAI species, fine type; type 0 is bona fide. Source: the published counts of each
category and split, which this table reproduces."""


def scan(root: Path) -> Iterator[Sample]:
    """Yield every sequence of the RGB pack, sorted by its path.

    Raises:
        DatasetLayoutError: If there is no sequence of the RGB pack, one is there twice, a media
            file is not named as the dataset names it, or a list is malformed.
    """
    paths = [
        relative
        for path in (media_files(root, MEDIA) if root.is_dir() else ())
        if not _is_other_pack(relative := path.relative_to(root))
    ]
    if not any(NAME.fullmatch(path.as_posix()) for path in paths):
        raise DatasetLayoutError(
            "WMCA must have sequences of its RGB pack, like '31.01.18/514_01_035_1_05.hdf5', but "
            "has none.",
            where=str(root),
            fix="Point the root at the folder that holds preprocessed-face-station_RGB/.",
        )
    splits = _splits(root)
    seen: dict[str, Path] = {}
    for path in paths:
        match = NAME.fullmatch(path.as_posix())
        if match is None or (match["type"], match["pai"]) not in KINDS:
            raise DatasetLayoutError(
                "A sequence must be named like '31.01.18/514_01_035_1_05.hdf5', with a known type "
                f"and instrument, but is {path.as_posix()!r}.",
                where=path.as_posix(),
                fix="Remove the stray file; HQ-WMCA and the raw release are other datasets.",
            )
        first = seen.setdefault(match["key"], path)
        if first is not path:
            raise DatasetLayoutError(
                f"A sequence must lie below the root once, but is also {first.as_posix()!r}.",
                where=path.as_posix(),
                fix="Point the root at one copy of the RGB pack.",
            )
        yield _sample(path, match, splits.get(match["key"], Split.TEST))


def _is_other_pack(relative: Path) -> bool:
    """Tell CDIT from RGB by the deepest folder that names just one of them."""
    for part in reversed(relative.parts[:-1]):
        is_rgb, is_cdit = "RGB" in part.upper(), "CDIT" in part.upper()
        if is_rgb is not is_cdit:
            return is_cdit
    return False


def _splits(root: Path) -> Mapping[str, Split]:
    """Read the grandtest lists, keyed by the last two names of a path."""
    splits: dict[str, Split] = {}
    for path in sorted(root.rglob("*")):
        if path.name.lower() not in LISTS or not path.is_file():
            continue
        lines = [line for line in enumerate(list_lines(root, path), start=1) if line[1].strip()]
        for number, line in lines:
            where = f"{path.relative_to(root).as_posix()}:{number}"
            entry = _entry(line, where, is_first=number == lines[0][0])
            if entry is not None and splits.setdefault(entry[0], entry[1]) is not entry[1]:
                raise _malformed(where, f"{entry[0]!r} must be in one split, but is in two")
    return splits


def _entry(line: str, where: str, *, is_first: bool) -> tuple[str, Split] | None:
    """Read one row: a path without suffix in one field, its group in another."""
    fields = [field.strip().strip('"') for field in line.split(",")]
    entries = [match for field in fields if (match := ENTRY.fullmatch(field))]
    groups = [SPLITS[field] for field in fields if field in SPLITS]
    if is_first and not entries and not groups:
        return None  # a header
    if len(entries) != 1 or len(groups) != 1:
        raise _malformed(
            where, f"a row must hold one path and train, dev or eval, but is {line[:80]!r}"
        )
    folder = PurePosixPath(entries[0]["folder"] or "")
    if folder.is_absolute() or ".." in folder.parts:
        raise _malformed(where, f"a path must lie below the root, but is {line[:80]!r}")
    named_bona_fide = entries[0]["type"] == "0"
    if ("attack" if named_bona_fide else "bonafide") in fields:
        raise _malformed(where, f"the label must agree with the name's type, but is {line[:80]!r}")
    return entries[0]["key"], groups[0]


def _malformed(where: str, what: str) -> DatasetLayoutError:
    return DatasetLayoutError(
        f"In a grandtest list {what}.", where=where, fix="Replace the list by the official one."
    )


def _sample(relative: Path, match: re.Match[str], split: Split) -> Sample:
    species, fine_type = KINDS[match["type"], match["pai"]]
    return Sample(
        sample_id=f"wmca/{text_of(relative.with_suffix(''))}",
        dataset="wmca",
        media_path=relative.as_posix(),
        split=split,
        # The client is who is shown: for bona fide the person, for an attack the one whose face the
        # instrument wears; heads and masks of no client have codes of their own (100s, 500s).
        subject_id=match["client"],
        label=Label.ATTACK if species else Label.BONA_FIDE,
        pai_species=species,
        fine_type=fine_type,
        native_label=f"{match['type']}_{match['pai']}",
    )


ADAPTER = Adapter(
    title="WMCA",
    citation="George, Mostaani, Geissenbuhler, Nikisins, Anjos & Marcel, 2019",
    license="Idiap EULA, research use only; publish no picture outside the illustration lists",
    obtain="Request it on Idiap's dataset page (preprocessed RGB pack and protocol files).",
    layout="""\
WMCA/
  documentation/{attack,bonafide}_illustration_files.csv      (not read: no labels)
  preprocessed-face-station_RGB/[face-station/]<dd.mm.yy>/
    <client>_<session>_<presenter>_<type>_<pai>.hdf5
  preprocessed-face-station_CDIT/...                          (not read)
  PROTOCOL-grandtest.csv                                      (anywhere; a separate download)""",
    bona_fide=347,
    attack=1_332,
    scan=scan,
    is_cropped=True,
)
