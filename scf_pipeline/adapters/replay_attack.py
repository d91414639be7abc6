"""Idiap Replay-Attack (Chingovska, Anjos & Marcel 2012), in its native layout.

    <root>/{train,devel,test}/real/client001_session01_webcam_authenticate_adverse_1.mov
    <root>/{train,devel,test}/attack/{fixed,hand}/
           attack_print_client001_session01_highdef_photo_adverse.mov
    <root>/face-locations/train/real/client001_session01_webcam_authenticate_adverse_1.face

A split may also lie in a folder named like its archive: ``replayattack-train/train/real`` or
``replayattack-train/real``. Enrolment clips belong to face verification and are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from ifas_model.vocabulary import Label, PaiSpecies, Split
from scf_pipeline.adapters import Adapter, Box, Frame, media_files, sidecar_rows, within
from scf_pipeline.errors import DatasetLayoutError
from scf_pipeline.schema import Sample

SPLITS = {"train": Split.TRAIN, "devel": Split.DEV, "test": Split.TEST}
CLIENT = r"client(?P<subject>[0-9]{3})_session[0-9]{2}"
LIGHT = r"(?:controlled|adverse)"
BONA_FIDE = re.compile(rf"real/{CLIENT}_webcam_authenticate_{LIGHT}_[12]\.(?i:mov)")
ATTACK = re.compile(
    rf"(?:attack|attk)/(?:fixed|hand)/(?:attack|attk)_(?P<device>print|mobile|highdef)_{CLIENT}_"
    rf"(?P<shown>(?:highdef|mobile)_(?:photo|video))_{LIGHT}\.(?i:mov)"
)
ENROLMENT = re.compile(rf"{CLIENT}_[^_/]+_enroll_{LIGHT}(?:_[0-9])?\.(?i:mov)")
ATTACKS = {
    ("print", "highdef_photo"): (PaiSpecies.PRINT, "print_photo"),
    ("mobile", "mobile_photo"): (PaiSpecies.REPLAY, "replay_photo"),  # phone screen
    ("mobile", "mobile_video"): (PaiSpecies.REPLAY, "replay_video"),
    ("highdef", "highdef_photo"): (PaiSpecies.REPLAY, "replay_photo"),  # tablet screen
    ("highdef", "highdef_video"): (PaiSpecies.REPLAY, "replay_video"),
}
"""The five kinds of attack that exist, by device and by what it shows."""


def scan(root: Path) -> Iterator[Sample]:
    """Yield the 1,200 presentations of the three official splits.

    Raises:
        DatasetLayoutError: If a split folder is missing or a file name cannot be parsed.
    """
    folders = {split: _folder(root, split) for split in SPLITS}
    for split, folder in folders.items():
        for path in media_files(folder):
            if not ENROLMENT.fullmatch(path.name):
                yield _sample(path, root=root, folder=folder, split=split)


def _folder(root: Path, split: str) -> Path:
    for name in (split, f"replayattack-{split}/{split}", f"replayattack-{split}"):
        if (root / name).is_dir():
            return root / name
    raise DatasetLayoutError(
        f"Replay-Attack must have a {split!r} folder, but it is absent.",
        where=str(root),
        fix="Point the root at the folder that holds train/, devel/ and test/.",
    )


def _sample(path: Path, *, root: Path, folder: Path, split: str) -> Sample:
    native, media_path = path.relative_to(folder), path.relative_to(root).as_posix()
    attack = ATTACK.fullmatch(native.as_posix())
    match = attack or BONA_FIDE.fullmatch(native.as_posix())
    kind = ATTACKS.get((attack["device"], attack["shown"])) if attack else (None, None)
    if match is None or kind is None:
        raise DatasetLayoutError(
            "A video must be named like 'real/client001_session01_webcam_authenticate_adverse_1"
            ".mov' or 'attack/fixed/attack_print_client001_session01_highdef_photo_adverse.mov', "
            f"but is {native.as_posix()!r}.",
            where=media_path,
            fix="Remove the stray file, or report it if it is part of the official release.",
        )
    species, fine_type = kind
    return Sample(
        sample_id=f"replay_attack/{split}/{native.with_suffix('').as_posix()}",
        dataset="replay_attack",
        media_path=media_path,
        split=SPLITS[split],
        subject_id=match["subject"],
        label=Label.ATTACK if attack else Label.BONA_FIDE,
        pai_species=species,
        fine_type=fine_type,
        native_label=attack["device"] if attack else "real",
    )


def boxes(root: Path, media_path: str, frame: Frame) -> Mapping[int, Box]:
    """Read ``face-locations/**.face``: frame, x, y, width, height; zeros where there is no face."""
    found: dict[int, Box] = {}
    for row in sidecar_rows(_sidecar(root, media_path)):
        if len(row) >= 5 and row[0] >= 0:
            number, x, y, width, height = row[:5]
            visible = within(Box(x, y, x + width, y + height), frame)
            if visible is not None:
                found[int(number)] = visible
    return found


def _sidecar(root: Path, media_path: str) -> Path:
    """Return the path of a video's face locations, which lie beside its split."""
    parts = PurePosixPath(media_path).with_suffix(".face").parts
    archive = parts[0].removeprefix("replayattack-")
    if archive in SPLITS and parts[0] != archive:
        native = PurePosixPath(archive, *parts[2 if parts[1] == archive else 1 :])
        own = root / parts[0] / "face-locations" / native
        if own.is_file():
            return own
    else:
        native = PurePosixPath(*parts)
    return root / "face-locations" / native


ADAPTER = Adapter(
    title="Replay-Attack",
    citation="Chingovska, Anjos & Marcel, 2012",
    license="Idiap EULA, research use only",
    obtain="Request it on Idiap's dataset page.",
    layout="""\
replay-attack/
  {train,devel,test}/
    real/client<ccc>_session01_webcam_authenticate_{controlled|adverse}_{1|2}.mov
    attack/{fixed|hand}/attack_{print|mobile|highdef}_client<ccc>_session01_\
{highdef|mobile}_{photo|video}_{controlled|adverse}.mov
  face-locations/<same path>.face
  enroll/   (passed over)""",
    bona_fide=200,
    attack=1000,
    scan=scan,
    boxes=boxes,
)
