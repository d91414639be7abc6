"""HKBU-MARs V1+ (Liu et al. 2016, 2018), in its native layout.

    <root>/s1/<subject>_01_<index>.mp4     genuine, first visit
    <root>/s2/<subject>_02_<index>.mp4     genuine, second visit
    <root>/s3/<subject>_03_<index>.mp4     mask

Version 2 is read too (``{real,attack}/<subject>/<camera>_<light>_<subject>.avi``). Names of V1+ are
known from V1 only, so a list of the user's own wins over them: ``scf_list.csv`` in the root, with
the columns ``path,is_live,subject``. No split is official: the whole set is for test.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

from ifas_model.vocabulary import Label, PaiSpecies, Split
from scf_pipeline.adapters import Adapter, list_lines, media_files
from scf_pipeline.errors import DatasetLayoutError
from scf_pipeline.schema import Sample

SUBJECT = "0[1-9]|1[0-2]"
V1_NAME = re.compile(
    rf"(?P<folder>s(?P<part>[123]))/(?P<subject>{SUBJECT})_0(?P=part)_[0-9]{{2}}\.(?i:mp4|avi|mov)"
)
V2_NAME = re.compile(
    rf"(?P<folder>real|attack)/(?P<subject>{SUBJECT})/0[1-7]_0[1-6]_(?P<again>[0-9]{{1,2}})"
    r"\.(?i:mp4|avi|mov)"
)
BONA_FIDE_FOLDERS = frozenset({"s1", "s2", "real"})
FOLDERS = ("s1", "s2", "s3", "real", "attack")
LIST_NAME = "scf_list.csv"
COLUMNS = ("path", "is_live", "subject")
IS_LIVE = {"1": True, "true": True, "0": False, "false": False}


def scan(root: Path) -> Iterator[Sample]:
    """Yield every video: those of the user's list where there is one, else all, sorted.

    Raises:
        DatasetLayoutError: If the root has none of the folders, a media file is not named as the
            dataset names it, or the user's list is malformed.
    """
    if (root / LIST_NAME).is_file():
        yield from _listed(root)
        return
    if not any((root / folder).is_dir() for folder in FOLDERS):
        raise DatasetLayoutError(
            "HKBU-MARs must have the folders s1, s2 and s3 (or, version 2, real and attack), but "
            "has none of them.",
            where=str(root),
            fix=f"Point the root at the folder that holds them, or write {LIST_NAME} "
            f"({','.join(COLUMNS)}) into it.",
        )
    for path in media_files(root):
        relative = path.relative_to(root).as_posix()
        match = V1_NAME.fullmatch(relative) or V2_NAME.fullmatch(relative)
        # In attack/09 of version 2 the names end in _9.
        if match is None or int(match.groupdict().get("again") or match["subject"]) != int(
            match["subject"]
        ):
            raise DatasetLayoutError(
                "A video must be named like 's3/01_03_05.mp4' (version 2: 'real/01/07_06_01.avi'), "
                f"but is {relative!r}.",
                where=relative,
                fix=f"Remove the stray file, or list the videos in {LIST_NAME} "
                f"({','.join(COLUMNS)}).",
            )
        is_bona_fide = match["folder"] in BONA_FIDE_FOLDERS
        yield _sample(relative, match["subject"], is_bona_fide, match["folder"])


def _listed(root: Path) -> Iterator[Sample]:
    """Yield what the user's list names; crop rejects a video that is not on disk."""
    seen: set[str] = set()
    rows = _rows(root)
    where, header = next(rows, (LIST_NAME, []))
    if sorted(name.lower() for name in header) != sorted(COLUMNS):
        raise _malformed(where, f"columns must be {', '.join(COLUMNS)}, but are {header!r:.80}")
    columns = [name.lower() for name in header]
    for where, row in rows:
        if len(row) != len(columns):
            raise _malformed(where, f"a row must have {len(columns)} fields, but has {len(row)}")
        field = dict(zip(columns, row, strict=True))
        if field["is_live"].lower() not in IS_LIVE:
            raise _malformed(where, f"`is_live` must be 0 or 1, but is {field['is_live'][:80]!r}")
        if not _is_inside(field["path"]):
            raise _malformed(
                where,
                "`path` must lie below the root, written with forward slashes, but is "
                f"{field['path'][:80]!r}",
            )
        path = PurePosixPath(field["path"]).as_posix()
        sample = _sample(
            path, field["subject"] or None, IS_LIVE[field["is_live"].lower()], field["is_live"]
        )
        if sample.sample_id in seen:
            raise _malformed(where, f"a video must be listed once, but {path[:80]!r} is again")
        seen.add(sample.sample_id)
        yield sample


def _rows(root: Path) -> Iterator[tuple[str, list[str]]]:
    reader = csv.reader(list_lines(root, root / LIST_NAME), strict=True)
    try:
        for row in reader:
            fields = [field.strip() for field in row]
            if any(fields):
                yield f"{LIST_NAME}:{reader.line_num}", fields
    except csv.Error as error:
        where = f"{LIST_NAME}:{reader.line_num}"
        raise _malformed(where, f"a line must be valid csv, but is not: {error}") from error


def _malformed(where: str, what: str) -> DatasetLayoutError:
    return DatasetLayoutError(
        f"In a user's list {what}.", where=where, fix=f"Correct that line of {LIST_NAME}."
    )


def _is_inside(path: str) -> bool:
    windows = PureWindowsPath(path)  # knows the absolute paths of both worlds
    outside = windows.anchor or ".." in windows.parts
    return bool(windows.name) and not outside and "\\" not in path and path.isprintable()


def _sample(path: str, subject: str | None, is_bona_fide: bool, native_label: str) -> Sample:
    return Sample(
        sample_id=f"hkbu_mars_v1_plus/{PurePosixPath(path).with_suffix('').as_posix()}",
        dataset="hkbu_mars_v1_plus",
        media_path=path,
        split=Split.TEST,
        subject_id=subject,
        label=Label.BONA_FIDE if is_bona_fide else Label.ATTACK,
        pai_species=None if is_bona_fide else PaiSpecies.MASK,
        fine_type=None if is_bona_fide else "resin_mask",
        native_label=native_label,
    )


ADAPTER = Adapter(
    title="HKBU-MARs V1+",
    citation="Liu, Yang, Yuen & Zhao, 2016; Liu, Lan & Yuen, 2018",
    license="agreement with Hong Kong Baptist University, research use only",
    obtain="Apply at rds.comp.hkbu.edu.hk/mars.",
    layout="""\
HKBU-MARs/                                  version 2: HKBU_MARs_V2/
  s1/<ss>_01_<ii>.mp4    genuine              real/<ss>/<camera>_<light>_<ss>.avi
  s2/<ss>_02_<ii>.mp4    genuine              attack/<ss>/<camera>_<light>_<ss>.avi
  s3/<ss>_03_<ii>.mp4    mask               with other names: scf_list.csv
                                              path,is_live,subject""",
    bona_fide=120,
    attack=60,
    scan=scan,
)
