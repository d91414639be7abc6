"""CASIA-SURF HiFiMask (Liu et al. 2022), in either of its native layouts.

    full release:       <root>/Data/<unit>/<0000-0009>.png
                        <root>/protocol/CASIA_HiFiMask@p1_{image,video}_{train,dev,test}.txt
    challenge release:  <root>/train/<unit>/<0000-0009>.png, <root>/train_label.txt
                        <root>/val/<0000>/<0000>.png, <root>/val_label.txt
    <unit> = <complexion>_<subject>_<type>_<scene>_<light>_<sensor>

A unit, i.e. ten frames of one video, is a sample. Where the challenge release hides the units
(``val``), each picture is one. Label signs are opposite: 1 is attack in ``protocol/`` and bona fide
in ``*_label.txt``. The challenge's test part has no labels and is not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from ifas_model.vocabulary import Label, PaiSpecies, Split
from scf_pipeline.adapters import PICTURES, VIDEOS, Adapter, list_lines, media_files
from scf_pipeline.errors import DatasetLayoutError
from scf_pipeline.schema import Sample

UNIT = r"(?P<unit>[1-3]_(?P<subject>[0-9]{2})_(?P<type>[0-3])_[1-6]_[0-6]_[0-8])"
UNIT_NAME = re.compile(UNIT)
FRAME_NAME = re.compile(r"[0-9]{4}\.(?i:png)")
LIST_NAME = re.compile(r"CASIA_HiFiMask@p1_(?:image|video)_(?P<split>train|dev|test)\.txt")
PICTURE_NAME = re.compile(r"val/[0-9]{4}/[0-9]{4}\.(?i:png)")
LABEL = r"\s+(?P<label>[01])"
P1_LINE = re.compile(rf"(?:CASIA_HiFiMask/)?Data/{UNIT}(?:/[0-9]{{4}}\.png)?{LABEL}")
TRAIN_LINE = re.compile(rf"train/{UNIT}/[0-9]{{4}}\.png{LABEL}")
VAL_LINE = re.compile(rf"(?P<picture>{PICTURE_NAME.pattern}){LABEL}")
MATERIALS = {"1": "transparent_mask", "2": "plaster_mask", "3": "resin_mask"}
"""Type of a unit -> fine type; type 0 is live."""

P1_DEV = frozenset({5, 17, 49, 51, 63, 66})
P1_TEST = frozenset(
    {1, 2, 3, 4, 11, 14, 15, 16, 27, 28, 30, 35, 36, 37, 41, 42, 43, 46, 47, 48, 50, 57, 58, 61}
)
"""Subjects of protocol 1's dev and test parts; all others are for training."""


def scan(root: Path) -> Iterator[Sample]:
    """Yield every unit, and the pictures that the challenge's ``val_label.txt`` lists, sorted.

    Raises:
        DatasetLayoutError: If the root is that of neither release, a unit or frame is not named as
            the dataset names it, or a list is malformed or contradicts a unit's name.
    """
    if (root / "Data").is_dir():
        splits = _protocol_1(root)
        for unit in _units(root, "Data"):
            split = splits.get(unit["unit"]) or _split_by_subject(int(unit["subject"]))
            yield _unit_sample("Data", unit, split)
    elif (root / "train_label.txt").is_file() and (root / "train").is_dir():
        yield from _challenge(root)
    else:
        raise DatasetLayoutError(
            "HiFiMask must have a 'Data' folder (full release), or 'train' and 'train_label.txt' "
            "(challenge release), but has neither.",
            where=str(root),
            fix="Point the root at the folder that holds Data/ and protocol/, not at Data/ itself.",
        )


def _protocol_1(root: Path) -> Mapping[str, Split]:
    splits: dict[str, Split] = {}
    for path in sorted((root / "protocol").glob("CASIA_HiFiMask@p1_*.txt")):
        name = LIST_NAME.fullmatch(path.name)
        if name is None:
            continue
        split = Split(name["split"])
        for match, where in _labels(root, path, P1_LINE):
            _check_label(match, bona_fide="0", where=where)
            if splits.setdefault(match["unit"], split) is not split:
                raise _malformed(where, f"unit {match['unit']} must be in one split, but is in two")
    return splits


def _split_by_subject(subject: int) -> Split:
    if subject in P1_DEV:
        return Split.DEV
    return Split.TEST if subject in P1_TEST else Split.TRAIN


def _challenge(root: Path) -> Iterator[Sample]:
    units = {unit["unit"]: unit for unit in _units(root, "train")}
    for match, where in _labels(root, root / "train_label.txt", TRAIN_LINE):
        _check_label(match, bona_fide="1", where=where)
        units.setdefault(match["unit"], match)  # not on disk: crop rejects it as missing
    for _, unit in sorted(units.items()):
        yield _unit_sample("train", unit, Split.TRAIN)
    for picture, label in sorted(_anonymous(root).items()):
        yield _picture_sample(picture, label)


def _anonymous(root: Path) -> Mapping[str, str]:
    """Read the labels of the pictures whose units the challenge hides."""
    for path in media_files(root / "val") if (root / "val").is_dir() else ():
        relative = path.relative_to(root).as_posix()
        if PICTURE_NAME.fullmatch(relative) is None:
            raise _stray(relative, "A picture must be named like 'val/0000/0001.png'")
    labels: dict[str, str] = {}
    if (root / "val_label.txt").is_file():
        for match, where in _labels(root, root / "val_label.txt", VAL_LINE):
            if labels.setdefault(match["picture"], match["label"]) != match["label"]:
                raise _malformed(where, f"{match['picture']!r} must have one label, but has two")
    return labels


def _labels(
    root: Path, path: Path, pattern: re.Pattern[str]
) -> Iterator[tuple[re.Match[str], str]]:
    """Yield what each line says, and where it stands."""
    for number, line in enumerate(list_lines(root, path), start=1):
        if not line.strip():
            continue
        where = f"{path.relative_to(root).as_posix()}:{number}"
        match = pattern.fullmatch(line.strip())
        if match is None:
            raise _malformed(where, f"a line must be '<path> <0 or 1>', but is {line[:80]!r}")
        yield match, where


def _check_label(match: re.Match[str], *, bona_fide: str, where: str) -> None:
    if (match["label"] == bona_fide) is not (match["type"] == "0"):
        raise _malformed(
            where,
            f"the label of {match['unit']} must be {bona_fide} exactly for type 0, but is "
            f"{match['label']}",
        )


def _units(root: Path, folder: str) -> Iterator[re.Match[str]]:
    for path in sorted((root / folder).iterdir()):
        relative = f"{folder}/{path.name}"
        if path.name.startswith("."):
            continue
        if not path.is_dir():
            if path.suffix.lower() in PICTURES | VIDEOS:
                raise _stray(relative, "A picture must lie in the folder of its unit")
            continue
        unit = UNIT_NAME.fullmatch(path.name)
        if unit is None:
            raise _stray(relative, f"A unit must be named like '{folder}/1_19_2_1_2_5'")
        for frame in media_files(path):
            if FRAME_NAME.fullmatch(frame.relative_to(path).as_posix()) is None:
                stray = frame.relative_to(root).as_posix()
                raise _stray(stray, "A frame must be named like '0000.png'")
        yield unit


def _stray(where: str, what: str) -> DatasetLayoutError:
    return DatasetLayoutError(
        f"{what}, but is {where!r}.",
        where=where,
        fix="Remove the stray file or folder, or report it if it is part of an official release.",
    )


def _malformed(where: str, what: str) -> DatasetLayoutError:
    return DatasetLayoutError(
        f"In a list of HiFiMask {what}.",
        where=where,
        fix="Replace the list by the one of the same release: their labels have opposite signs.",
    )


def _unit_sample(folder: str, unit: re.Match[str], split: Split) -> Sample:
    material = MATERIALS.get(unit["type"])
    return Sample(
        sample_id=f"hifi_mask/{folder}/{unit['unit']}",
        dataset="hifi_mask",
        media_path=f"{folder}/{unit['unit']}",
        split=split,
        subject_id=unit["subject"],
        label=Label.ATTACK if material else Label.BONA_FIDE,
        pai_species=PaiSpecies.MASK if material else None,
        fine_type=material,
        native_label=unit["type"],
    )


def _picture_sample(picture: str, label: str) -> Sample:
    is_bona_fide = label == "1"
    return Sample(
        sample_id=f"hifi_mask/{PurePosixPath(picture).with_suffix('').as_posix()}",
        dataset="hifi_mask",
        media_path=picture,
        split=Split.DEV,
        subject_id=None,
        label=Label.BONA_FIDE if is_bona_fide else Label.ATTACK,
        pai_species=None if is_bona_fide else PaiSpecies.MASK,
        fine_type=None if is_bona_fide else "mask",  # of unknown material
        native_label=label,
    )


ADAPTER = Adapter(
    title="CASIA-SURF HiFiMask",
    citation="Liu, Zhao, Yu, Wan, Su, Liu et al., 2022",
    license="signed agreement with CASIA, research use only",
    obtain="Sign the agreement of CASIA (face anti-spoofing challenge site).",
    layout="""\
full release                                     challenge release (ICCV 2021)
CASIA_HiFiMask/                                  <folder>/
  Data/<unit>/<0000-0009>.png                      train/<unit>/<0000-0009>.png
  protocol/                                        train_label.txt    1 is bona fide
    CASIA_HiFiMask@p1_video_train.txt  1 is        val/<0000>/<0000>.png
    (image and video; train, dev, test)  attack    val_label.txt      1 is bona fide
<unit> = <complexion>_<subject>_<type>_<scene>_<light>_<sensor>, e.g. 1_19_2_1_2_5""",
    bona_fide=13_650,
    attack=40_950,
    scan=scan,
    is_cropped=True,
)
