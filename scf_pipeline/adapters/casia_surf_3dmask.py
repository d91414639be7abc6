"""CASIA-SURF 3DMask (Yu et al. 2020), in its native layout.

    <root>/Real/<MMDD_NNN>/<1|15|16|17|22|23>.MOV
    <root>/Fake/<MMDD_NNN>/<decoration 1-3>/<environment 1-6>.MOV

The same 48 subjects are on both sides. No split is official: the whole set is for test.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ifas_model.vocabulary import Label, PaiSpecies, Split
from scf_pipeline.adapters import Adapter, media_files
from scf_pipeline.errors import DatasetLayoutError
from scf_pipeline.schema import Sample

NAME = re.compile(
    r"(?:(?P<real>Real)/(?P<real_subject>[0-9]{4}_[0-9]{3})/(?:1|15|16|17|22|23)"
    r"|Fake/(?P<fake_subject>[0-9]{4}_[0-9]{3})/[1-3]/[1-6])\.(?i:mov|mp4)"
)


def scan(root: Path) -> Iterator[Sample]:
    """Yield every video, sorted by its path.

    Raises:
        DatasetLayoutError: If ``Real`` and ``Fake`` are not both there, or a media file is not
            named as the dataset names it.
    """
    for side in ("Real", "Fake"):
        if not (root / side).is_dir():
            raise DatasetLayoutError(
                f"CASIA-SURF 3DMask must have a {side!r} folder, but it is absent.",
                where=str(root),
                fix="Point the root at the folder that holds Real/ and Fake/; the multi-modal "
                "CASIA-SURF is another dataset.",
            )
    for path in media_files(root):
        relative = path.relative_to(root)
        match = NAME.fullmatch(relative.as_posix())
        if match is None:
            raise DatasetLayoutError(
                "A video must be named like 'Real/0928_018/16.MOV' or 'Fake/0928_018/2/4.MOV', "
                f"but is {relative.as_posix()!r}.",
                where=relative.as_posix(),
                fix="Remove the stray file, or report it if it is part of the official release.",
            )
        yield _sample(relative, match)


def _sample(relative: Path, match: re.Match[str]) -> Sample:
    is_bona_fide = match["real"] is not None
    return Sample(
        sample_id=f"casia_surf_3dmask/{relative.with_suffix('').as_posix()}",
        dataset="casia_surf_3dmask",
        media_path=relative.as_posix(),
        split=Split.TEST,
        subject_id=match["real_subject"] or match["fake_subject"],
        label=Label.BONA_FIDE if is_bona_fide else Label.ATTACK,
        pai_species=None if is_bona_fide else PaiSpecies.MASK,
        fine_type=None if is_bona_fide else "mask_3d_print",
        native_label="Real" if is_bona_fide else "Fake",
    )


ADAPTER = Adapter(
    title="CASIA-SURF 3DMask",
    citation="Yu, Wan, Qin, Li, Li & Zhao, 2020",
    license="agreement with CASIA, research use only",
    obtain="Request it from the authors of NAS-FAS at CASIA.",
    layout="""\
CASIA_SURF_3DMask/
  Real/<MMDD_NNN>/{1,15,16,17,22,23}.MOV
  Fake/<MMDD_NNN>/<decoration 1-3>/<environment 1-6>.MOV""",
    bona_fide=288,
    attack=864,
    scan=scan,
)
