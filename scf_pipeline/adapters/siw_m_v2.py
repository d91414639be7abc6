"""SiW-M-v2 (Guo et al. 2022), in its native layout.

    <root>/Live/Live_<n>.{mov,mp4,avi}
    <root>/Spoof/<class folder>/<class prefix>_<n>.{mov,mp4,avi}

The prefix of a file tells its class; the folder must agree. The official lists
(``trainlist_*.txt``, ``testlist_*.txt``, from the authors' code repository) may lie anywhere below
the root. What they do not list is for test. No name tells the subject.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from ifas_model.vocabulary import Label, PaiSpecies, Split
from scf_pipeline.adapters import Adapter, list_lines, media_files
from scf_pipeline.errors import DatasetLayoutError
from scf_pipeline.schema import Sample

CLASSES = {
    "Live": (("Live",), None, None),
    "Paper": (("Spoof/Paper", "Spoof/Print"), PaiSpecies.PRINT, "print"),
    "Replay": (("Spoof/Replay",), PaiSpecies.REPLAY, "replay"),
    "Mask_Half": (("Spoof/Mask_HalfMask",), PaiSpecies.MASK, "half_mask"),
    "Mask_Paper": (("Spoof/Mask_PaperMask",), PaiSpecies.MASK, "paper_mask"),
    "Mask_Trans": (("Spoof/Mask_TransparentMask",), PaiSpecies.MASK, "transparent_mask"),
    "Mask_Silicone": (("Spoof/Silicone",), PaiSpecies.MASK, "silicone_mask"),
    "Mask_Mann": (("Spoof/Mannequin",), PaiSpecies.MANNEQUIN, "mannequin"),
    "Makeup_Co": (("Spoof/Makeup_Cosmetic",), PaiSpecies.MAKEUP, "makeup_cosmetic"),
    "Makeup_Im": (("Spoof/Makeup_Impersonation",), PaiSpecies.MAKEUP, "makeup_impersonation"),
    "Makeup_Ob": (("Spoof/Makeup_Obfuscation",), PaiSpecies.MAKEUP, "makeup_obfuscation"),
    "Partial_Funnyeye": (
        ("Spoof/Partial_FunnyeyeGlasses",),
        PaiSpecies.PARTIAL,
        "partial_funnyeye",
    ),
    "Partial_Paperglass": (
        ("Spoof/Partial_PaperGlasses",),
        PaiSpecies.PARTIAL,
        "partial_paper_glasses",
    ),
    "Partial_Eye": (("Spoof/Partial_Eye",), PaiSpecies.PARTIAL, "partial_eye_cut"),
    "Partial_Mouth": (("Spoof/Partial_Mouth",), PaiSpecies.PARTIAL, "partial_mouth_cut"),
}
"""File prefix -> folders that may hold it, PAI species, fine type."""

STEM = rf"(?P<prefix>{'|'.join(CLASSES)})_[0-9]+"
NAME = re.compile(rf"(?P<folder>Live|Spoof/[A-Za-z_]+)/(?P<stem>{STEM})\.(?i:mov|mp4|avi)")
LIST = re.compile(r"(?P<split>train|test)list_.+\.txt")
FIRST_VERSION = ("Live/Train", "Live/Test", "Makeup", "Mask", "Partial")


def scan(root: Path) -> Iterator[Sample]:
    """Yield every video, sorted by its path.

    Raises:
        DatasetLayoutError: If the root is not that of this version, if a media file is not named
            as the dataset names it or lies in the folder of another class, or if a list is
            malformed.
    """
    _check_root(root)
    splits = _splits(root)
    for path in media_files(root):
        relative = path.relative_to(root)
        match = NAME.fullmatch(relative.as_posix())
        if match is None:
            raise DatasetLayoutError(
                "A video must be named like 'Live/Live_1.mov' or 'Spoof/Mannequin/Mask_Mann_12.mov'"
                f", but is {relative.as_posix()!r}.",
                where=relative.as_posix(),
                fix="Remove the stray file, or report it if it is part of the official release.",
            )
        yield _sample(relative, match, splits.get(match["stem"], Split.TEST))


def _check_root(root: Path) -> None:
    for folder in FIRST_VERSION:
        if (root / folder).is_dir():
            raise DatasetLayoutError(
                "SiW-M-v2 must have its attacks below Spoof/ and its videos right in Live/, but "
                f"has {folder!r}, a folder of the first version (SiW-M, 2019).",
                where=str(root),
                fix="Obtain the second version, and point the root at it.",
            )
    for folder in ("Live", "Spoof"):
        if not (root / folder).is_dir():
            raise DatasetLayoutError(
                f"SiW-M-v2 must have a {folder!r} folder, but it is absent.",
                where=str(root),
                fix="Point the root at the folder that holds Live/ and Spoof/.",
            )


def _splits(root: Path) -> Mapping[str, Split]:
    """Read the official lists: stems, in part repeated, in part without a file."""
    splits: dict[str, Split] = {}
    for path in sorted(root.rglob("*list_*.txt")):
        name = LIST.fullmatch(path.name)
        if name is None or not path.is_file():
            continue
        split = Split(name["split"])
        for number, line in enumerate(list_lines(root, path), start=1):
            stem = line.strip()
            if not stem:
                continue
            where = f"{path.relative_to(root).as_posix()}:{number}"
            if re.fullmatch(STEM, stem) is None:
                raise DatasetLayoutError(
                    f"A list must hold stems like 'Mask_Mann_12', but holds {stem[:80]!r}.",
                    where=where,
                    fix="Replace the list by the official one.",
                )
            if splits.setdefault(stem, split) is not split:
                raise DatasetLayoutError(
                    f"A video must be in one split, but {stem!r} is in train and in test.",
                    where=where,
                    fix="Keep the lists of one protocol below the root.",
                )
    return splits


def _sample(relative: Path, match: re.Match[str], split: Split) -> Sample:
    folders, species, fine_type = CLASSES[match["prefix"]]
    if match["folder"] not in folders:
        raise DatasetLayoutError(
            f"A video named {match['prefix']}_* must lie in {' or '.join(folders)}, but lies in "
            f"{match['folder']}.",
            where=relative.as_posix(),
            fix="Unpack the official archive again; the file or its folder was renamed.",
        )
    return Sample(
        sample_id=f"siw_m_v2/{relative.with_suffix('').as_posix()}",
        dataset="siw_m_v2",
        media_path=relative.as_posix(),
        split=split,
        subject_id=None,
        label=Label.ATTACK if species else Label.BONA_FIDE,
        pai_species=species,
        fine_type=fine_type,
        native_label=match["prefix"],
    )


ADAPTER = Adapter(
    title="SiW-M-v2",
    citation="Guo, Liu, Jain & Liu, 2022",
    license="signed release agreement with Michigan State University, research use only",
    obtain="Sign the release agreement (DRA) and e-mail it to the Computer Vision Lab of MSU.",
    layout="""\
SiW-Mv2/
  Live/Live_<n>.{mov,mp4,avi}
  Spoof/{Paper or Print,Replay}/{Paper,Replay}_<n>.*
  Spoof/Mask_{HalfMask,PaperMask,TransparentMask}/Mask_{Half,Paper,Trans}_<n>.*
  Spoof/{Silicone,Mannequin}/Mask_{Silicone,Mann}_<n>.*
  Spoof/Makeup_{Cosmetic,Impersonation,Obfuscation}/Makeup_{Co,Im,Ob}_<n>.*
  Spoof/Partial_{FunnyeyeGlasses,PaperGlasses,Eye,Mouth}/Partial_{Funnyeye,Paperglass,Eye,Mouth}_<n>.*
  {train,test}list_{live,all}.txt       (anywhere; from the authors' code repository)""",
    bona_fide=785,
    attack=915,
    scan=scan,
)
