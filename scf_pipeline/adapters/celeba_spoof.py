"""CelebA-Spoof (Zhang et al. 2020), in its native layout.

    <root>/Data/train/<subject>/{live,spoof}/000003.jpg    and 000003_BB.txt
    <root>/Data/test/<subject>/{live,spoof}/494405.png     and 494405_BB.txt
    <root>/metas/intra_test/{train_label,test_label}.json

The annotation decides, not the disk: it lists the pictures, and its liveness is right where the
folder name is wrong. A listed picture without a file is yielded too; crop rejects it as missing.
"""

from __future__ import annotations

import json
import logging
import re
import reprlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from ifas_model import json_data
from ifas_model.vocabulary import Label, PaiSpecies, Split
from scf_pipeline.adapters import Adapter, Box, Frame, sidecar_rows, text_of, within
from scf_pipeline.errors import DatasetLayoutError
from scf_pipeline.schema import Sample

logger = logging.getLogger(__name__)

KEY = re.compile(r"Data/(?:train|test)/[0-9]{1,6}/(?i:live|spoof)/[0-9]{6}\.(?i:jpg|png)")
KINDS = {
    1: (PaiSpecies.PRINT, "print_photo"),
    2: (PaiSpecies.PRINT, "print_poster"),
    3: (PaiSpecies.PRINT, "print_a4"),
    4: (PaiSpecies.MASK, "paper_mask_face"),
    5: (PaiSpecies.MASK, "paper_mask_upper_body"),
    6: (PaiSpecies.MASK, "paper_mask_region"),
    7: (PaiSpecies.REPLAY, "replay_pc"),
    8: (PaiSpecies.REPLAY, "replay_pad"),
    9: (PaiSpecies.REPLAY, "replay_phone"),
    10: (PaiSpecies.MASK, "mask_3d"),
}
"""Number 40 of an annotation: the spoof type; 0 where number 43 says live."""

NUM_VALUES = 44
"""Numbers of an annotation: 40 attributes, spoof type, illumination, environment, liveness."""

MAX_ANNOTATION_BYTES = 2**29
"""Largest annotation file that is read; the official one of training takes about 90 MB."""

BOX_FRAME = 224
"""Side of the square that box files measure every picture by, in pixels."""


class _Annotation(NamedTuple):
    kind: int
    is_attack: bool


def scan(root: Path) -> Iterator[Sample]:
    """Yield every picture that the annotation lists, sorted by its path.

    Raises:
        DatasetLayoutError: If ``Data`` and ``metas`` are not found, or an annotation is malformed.
    """
    home = _home(root)
    annotations = _annotations(root, home / "metas")
    folders: dict[str, str] = {}
    contradicted = 0
    for key in sorted(annotations):
        folder = key.rpartition("/")[0]
        if folder not in folders:
            folders[folder] = text_of(_spelling(home, folder).relative_to(root))
        annotation = annotations[key]
        contradicted += annotation.is_attack is not folder.lower().endswith("spoof")
        yield _sample(key, annotation, folders[folder])
    if contradicted:
        logger.warning(
            "CelebA-Spoof: %d of %d pictures lie in a folder that contradicts their annotation, "
            "which is believed.",
            contradicted,
            len(annotations),
        )


def _home(root: Path) -> Path:
    """Find the folder that holds ``Data`` and ``metas``: unpacking often doubles the top one."""
    for pattern in ("Data", "*/Data", "*/*/Data"):
        homes = [path.parent for path in root.glob(pattern) if (path.parent / "metas").is_dir()]
        if len(homes) == 1:
            return homes[0]
        if homes:
            break
    raise DatasetLayoutError(
        "CelebA-Spoof must have one folder that holds 'Data' and 'metas', "
        f"but {len(homes)} were found.",
        where=str(root),
        fix="Point the root at the folder that holds Data/ and metas/.",
    )


def _annotations(root: Path, metas: Path) -> dict[str, _Annotation]:
    official = [metas / "intra_test" / f"{part}_label.json" for part in ("train", "test")]
    files = [path for path in official if path.is_file()]
    if len(files) == 1:
        logger.warning("CelebA-Spoof: only %s of metas/intra_test is there.", files[0].name)
    files = files or sorted(
        path
        for path in metas.rglob("*")
        if path.suffix.lower() == ".json" and not path.name.startswith(".")
    )
    if not files:
        raise DatasetLayoutError(
            "CelebA-Spoof must have annotations, but 'metas' holds no .json file.",
            where=str(metas),
            fix="Unpack metas/intra_test/train_label.json and test_label.json.",
        )
    merged: dict[str, _Annotation] = {}
    for path in files:
        where = path.relative_to(root).as_posix()
        for key, values in _load(path, where).items():
            annotation = _annotation(key, values, where)
            if merged.setdefault(key, annotation) != annotation:
                raise DatasetLayoutError(
                    f"A picture must be annotated the same everywhere, but {key!r} is not.",
                    where=where,
                    fix="Unpack the official metas/ again.",
                )
    return merged


def _load(path: Path, where: str) -> dict[str, object]:
    try:
        raw = json_data.read_bytes(path, max_bytes=MAX_ANNOTATION_BYTES)
        loaded = json.loads(raw.decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        problem = str(error)
    else:
        if isinstance(loaded, dict):
            return loaded
        problem = f"a {type(loaded).__name__}"
    raise DatasetLayoutError(
        f"An annotation must be a JSON object of pictures, but is: {problem}.",
        where=where,
        fix="Unpack the official metas/ again.",
    )


def _annotation(key: str, values: object, where: str) -> _Annotation:
    if KEY.fullmatch(key) is None:
        raise DatasetLayoutError(
            "An annotated picture must be named like 'Data/train/4980/spoof/000003.jpg', "
            f"but is {key[:80]!r}.",
            where=where,
            fix="Unpack the official metas/ again.",
        )
    if isinstance(values, list) and len(values) == NUM_VALUES:
        kind, liveness = values[40], values[43]
        if type(kind) is type(liveness) is int and (
            liveness == 0 or (liveness == 1 and kind in KINDS)
        ):
            return _Annotation(kind, liveness == 1)
    raise DatasetLayoutError(
        f"An annotation must be {NUM_VALUES} integers, the last 0, or 1 where number 40 is a spoof "
        f"type from 1 to 10, but is {reprlib.repr(values)} for {key!r}.",
        where=where,
        fix="Unpack the official metas/ again.",
    )


def _spelling(home: Path, folder: str) -> Path:
    """Return a folder as the disk spells it: some copies write ``Live`` and ``Spoof``."""
    path = home / folder
    other = path.with_name(path.name.capitalize())
    return other if not path.is_dir() and other.is_dir() else path


def _sample(key: str, annotation: _Annotation, folder: str) -> Sample:
    _, split, subject, _, name = key.split("/")
    species, fine_type = KINDS[annotation.kind] if annotation.is_attack else (None, None)
    return Sample(
        sample_id=f"celeba_spoof/{key.rpartition('.')[0]}",
        dataset="celeba_spoof",
        media_path=f"{folder}/{name}",
        split=Split(split),
        subject_id=subject,
        label=Label.ATTACK if annotation.is_attack else Label.BONA_FIDE,
        pai_species=species,
        fine_type=fine_type,
        native_label=str(annotation.kind),
    )


def boxes(root: Path, media_path: str, frame: Frame) -> Mapping[int, Box]:
    """Read ``<number>_BB.txt``: x, y, width, height and score, for a picture of 224 x 224."""
    picture = root / media_path
    across, down = frame.width / BOX_FRAME, frame.height / BOX_FRAME
    for row in sidecar_rows(picture.with_name(f"{picture.stem}_BB.txt")):
        if len(row) >= 4:
            x, y, width, height = row[:4]
            box = Box(x * across, y * down, (x + width) * across, (y + height) * down)
            visible = within(box, frame)
            return {} if visible is None else {0: visible}
    return {}


ADAPTER = Adapter(
    title="CelebA-Spoof",
    citation="Zhang et al., 2020",
    license="Non-commercial research only, no redistribution",
    obtain="Follow the Google Drive or Baidu link in the README of the authors' project.",
    layout="""\
CelebA_Spoof/
  Data/
    train/<subject>/{live,spoof}/<6 digits>.jpg   and <6 digits>_BB.txt
    test/<subject>/{live,spoof}/<6 digits>.png    and <6 digits>_BB.txt
  metas/
    intra_test/{train_label.json,test_label.json}""",
    bona_fide=156_384,
    attack=469_153,
    scan=scan,
    boxes=boxes,
)
