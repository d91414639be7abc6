"""SiW, Spoof in the Wild, first version (Liu, Jourabloo & Liu 2018), in its native layout.

    <root>/{Train,Test}/live/<subject>/003-1-1-1-1.mov      and .face
    <root>/{Train,Test}/spoof/<subject>/003-1-2-1-1.mov     and .face

The five numbers are subject, sensor, type, medium and session. Sixteen clips end in ``.m.mov``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from ifas_model.vocabulary import Label, PaiSpecies, Split
from scf_pipeline.adapters import Adapter, Box, Frame, media_files, sidecar_rows, within
from scf_pipeline.errors import DatasetLayoutError
from scf_pipeline.schema import Sample

SPLITS = {"Train": Split.TRAIN, "Test": Split.TEST}
NAME = re.compile(
    r"(?P<stem>(?:(?P<live>live)|spoof)/[0-9]{3}/(?P<subject>[0-9]{3})-[12]-"
    r"(?P<type>(?(live)1|[23]))-[1-4]-[12])(?:\.m)?\.(?i:mov|mp4)"
)
SPECIES = {"2": PaiSpecies.PRINT, "3": PaiSpecies.REPLAY}
"""Species by type; type 1 is bona fide. What the medium of an attack means is not published."""


def scan(root: Path) -> Iterator[Sample]:
    """Yield the presentations of both official splits: 4,478 in the whole release.

    Raises:
        DatasetLayoutError: If a split folder is missing or a file name cannot be parsed.
    """
    for folder in SPLITS:
        if not (root / folder).is_dir():
            raise DatasetLayoutError(
                f"SiW must have a {folder!r} folder, but it is absent.",
                where=str(root),
                fix="Point the root at the folder that holds Train/ and Test/.",
            )
    for folder, split in SPLITS.items():
        for path in media_files(root / folder):
            yield _sample(path, root=root, folder=folder, split=split)


def _sample(path: Path, *, root: Path, folder: str, split: Split) -> Sample:
    relative = path.relative_to(root).as_posix()
    match = NAME.fullmatch(path.relative_to(root / folder).as_posix())
    if match is None:
        raise DatasetLayoutError(
            "A video must be named <subject>-<sensor>-<type>-<medium>-<session>.mov, like "
            f"'{folder}/live/003/003-1-1-1-1.mov' or '{folder}/spoof/003/003-1-2-1-1.mov', "
            f"but is {relative!r}.",
            where=relative,
            fix="Remove the stray file, or report it if it is part of the official release.",
        )
    species = SPECIES.get(match["type"])
    return Sample(
        sample_id=f"siw/{folder}/{match['stem']}",
        dataset="siw",
        media_path=relative,
        split=split,
        subject_id=match["subject"],
        label=Label.ATTACK if species else Label.BONA_FIDE,
        pai_species=species,
        fine_type=species.value if species else None,
        native_label=match["type"],
    )


def boxes(root: Path, media_path: str, frame: Frame) -> Mapping[int, Box]:
    """Read ``.face``: line n is left, top, right, bottom of frame n; zeros if there is no face."""
    video = root / media_path
    sidecar = video.with_suffix(".face")
    if not sidecar.is_file() and video.stem.endswith(".m"):
        sidecar = video.with_name(f"{video.stem.removesuffix('.m')}.face")
    found: dict[int, Box] = {}
    for number, row in enumerate(sidecar_rows(sidecar)):
        visible = within(Box(*row), frame) if len(row) == 4 else None
        if visible is not None:
            found[number] = visible
    return found


ADAPTER = Adapter(
    title="SiW",
    citation="Liu, Jourabloo & Liu, 2018",
    license="Database release agreement with MSU CVLab, research only",
    obtain="Sign the database release agreement of MSU's Computer Vision Lab.",
    layout="""\
SiW/
  Train/{live,spoof}/<sss>/<sss>-<sensor>-<type>-<medium>-<session>.{mov|mp4}   and .face
  Test/{live,spoof}/<sss>/...""",
    bona_fide=1313,
    attack=3165,
    scan=scan,
    boxes=boxes,
)
