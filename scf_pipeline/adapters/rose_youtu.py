"""Rose-Youtu (Li et al. 2018), in its native layout.

    <root>/<subject>/<type>_<T|NT>_<device>_<g|wg>_E_<subject>_<index>.mp4

Some copies put ``train`` or ``test`` above the subjects, or an underscore before them (``_10/``).
The derived challenge release of single pictures is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ifas_model.vocabulary import Label, PaiSpecies, Split
from scf_pipeline.adapters import Adapter, media_files
from scf_pipeline.errors import DatasetLayoutError
from scf_pipeline.schema import Sample

SUBJECT_FOLDER = re.compile(r"_?[0-9]{1,2}")
NAME = re.compile(
    r"(?:(?P<split>train|test)/)?_?(?P<folder>[0-9]{1,2})/"
    r"(?P<type>G|Ps|Pq|Vl|Vm|Mc|Mf|Mu|Ml)_(?:T|NT)_(?:HS|HW|IP|5s|ZTE)_(?:g|wg)_[A-Z]_"
    r"(?P<subject>[0-9]{1,2})_[0-9]{1,3}\.(?i:mp4)"
)
KINDS = {
    "Ps": (PaiSpecies.PRINT, "print_still"),
    "Pq": (PaiSpecies.PRINT, "print_quiver"),
    "Vl": (PaiSpecies.REPLAY, "replay_lenovo"),
    "Vm": (PaiSpecies.REPLAY, "replay_mac"),
    # Some authors count a paper mask as print; ingest can map it by its fine type.
    "Mc": (PaiSpecies.MASK, "paper_mask_cropped"),
    "Mf": (PaiSpecies.MASK, "paper_mask_full"),
    "Mu": (PaiSpecies.MASK, "paper_mask_upper"),
    "Ml": (PaiSpecies.MASK, "paper_mask_lower"),  # defined, but absent from the release
}
"""Attack types; ``G`` is genuine."""

TRAIN_SUBJECTS = frozenset({2, 3, 4, 5, 6, 7, 9, 10, 11, 12})
"""The first ten of the twenty released subjects; all others are for test."""


def scan(root: Path) -> Iterator[Sample]:
    """Yield every video, sorted by its path.

    Raises:
        DatasetLayoutError: If there is no subject folder, if this is the derived release of
            pictures, or if a media file is not named as the dataset names it.
    """
    _check_root(root)
    for path in media_files(root):
        relative = path.relative_to(root)
        match = NAME.fullmatch(relative.as_posix())
        if match is None or int(match["folder"]) != int(match["subject"]):
            raise DatasetLayoutError(
                "A video must be named like '10/Mc_NT_5s_g_E_10_26.mp4', in the folder of its "
                f"subject, but is {relative.as_posix()!r}.",
                where=relative.as_posix(),
                fix="Remove the stray file, or report it if it is part of the official release.",
            )
        yield _sample(relative, match)


def _check_root(root: Path) -> None:
    if (root / "client" / "rgb").is_dir() or (root / "rgb" / "adaptation").is_dir():
        raise DatasetLayoutError(
            "Rose-Youtu must be the release of videos, but this is the derived release of "
            "pictures (client/rgb).",
            where=str(root),
            fix="Obtain the videos from the ROSE Lab and point the root at them.",
        )
    levels = [level for level in (root, root / "train", root / "test") if level.is_dir()]
    folders = (path for level in levels for path in level.iterdir() if path.is_dir())
    if not any(SUBJECT_FOLDER.fullmatch(path.name) for path in folders):
        raise DatasetLayoutError(
            "Rose-Youtu must have a folder for each subject ('10' or 'train/10'), but has none.",
            where=str(root),
            fix="Point the root at the folder that holds the subjects 2, 3, 4 and so on.",
        )


def _sample(relative: Path, match: re.Match[str]) -> Sample:
    species, fine_type = KINDS.get(match["type"], (None, None))
    subject = int(match["subject"])
    by_subject = Split.TRAIN if subject in TRAIN_SUBJECTS else Split.TEST
    return Sample(
        sample_id=f"rose_youtu/{relative.with_suffix('').as_posix()}",
        dataset="rose_youtu",
        media_path=relative.as_posix(),
        split=Split(match["split"]) if match["split"] else by_subject,
        subject_id=str(subject),
        label=Label.ATTACK if species else Label.BONA_FIDE,
        pai_species=species,
        fine_type=fine_type,
        native_label=match["type"],
    )


ADAPTER = Adapter(
    title="Rose-Youtu",
    citation="Li, Li, Cao, Wang, Huang & Kot, 2018",
    license="agreement with the ROSE Lab, NTU Singapore; academic research only",
    obtain="Sign the agreement of the ROSE Lab (NTU Singapore) and send it to them.",
    layout="""\
ROSE-YOUTU/
  <subject>/                                     2-7, 9-18, 20-23; also _<subject>/,
    G_NT_5s_g_E_<subject>_<index>.mp4            also below train/ and test/
    {Ps,Pq,Vl,Vm,Mc,Mf,Mu}_{T,NT}_{HS,HW,IP,5s,ZTE}_{g,wg}_E_<subject>_<index>.mp4""",
    bona_fide=897,
    attack=2_600,
    scan=scan,
    # `rotation` stays upright: the decoder applies the rotation tags of these phone recordings.
    # A public script turns untagged pixels by type and device, but nobody vouches for its rule,
    # and with the tags applied it would turn the pictures a second time.
)
