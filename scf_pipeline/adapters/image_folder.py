"""A user's own pictures and videos, sorted into folders.

    <root>/bona_fide/**
    <root>/{print,replay,mask,mannequin,makeup,partial}/[<fine type>/]**
    <root>/{train,dev,test}/bona_fide/**     the same once more, for each split

Media outside the three split folders are of the train split. The fine type is the name of the first
folder below the species, else the species itself. Subjects are unknown.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from ifas_model.vocabulary import Label, PaiSpecies, Split
from scf_pipeline.adapters import Adapter, media_files, text_of
from scf_pipeline.errors import DatasetLayoutError
from scf_pipeline.schema import Sample

SPLITS = {split.value: split for split in Split}
SPECIES = {species.value: species for species in PaiSpecies}
KINDS = (Label.BONA_FIDE.value, *SPECIES)


def scan(root: Path) -> Iterator[Sample]:
    """Yield every picture and video below the root.

    Raises:
        DatasetLayoutError: If one lies in no folder of a known name, if a name is no text, if two
            have the same path but for the suffix, or if there is none.
    """
    first: dict[str, str] = {}
    for path in media_files(root) if root.is_dir() else ():
        sample = _sample(PurePosixPath(text_of(path.relative_to(root))))
        other = first.setdefault(sample.sample_id, sample.media_path)
        if other != sample.media_path:
            raise DatasetLayoutError(
                f"A name must be unique without its suffix, but {other!r} has it too.",
                where=sample.media_path,
                fix="Rename one of the two files.",
            )
        yield sample
    if not first:
        raise DatasetLayoutError(
            "A folder of pictures must hold pictures or videos, but holds none.",
            where=str(root),
            fix=f"Point the root at a folder with sub-folders named {', '.join(KINDS)}.",
        )


def _sample(relative: PurePosixPath) -> Sample:
    media_path, folders = str(relative), relative.parts[:-1]
    split = SPLITS.get(folders[0]) if folders else None
    kind, *finer = folders[1 if split else 0 :] or ("",)
    if kind not in KINDS:
        raise DatasetLayoutError(
            f"A picture or video must lie in [train|dev|test/]<{'|'.join(KINDS)}>/, "
            f"but is {media_path!r}.",
            where=media_path,
            fix="Move it into one of these folders, or out of the root.",
        )
    species = SPECIES.get(kind)
    return Sample(
        sample_id=f"image_folder/{relative.with_suffix('')}",
        dataset="image_folder",
        media_path=media_path,
        split=split or Split.TRAIN,
        subject_id=None,
        label=Label.ATTACK if species else Label.BONA_FIDE,
        pai_species=species,
        fine_type=(finer[0] if finer else species.value) if species else None,
        native_label=kind,
    )


ADAPTER = Adapter(
    title="Folder of pictures",
    citation="The user's own data",
    license="The user's own terms",
    obtain="Sort pictures and videos into folders named as below.",
    layout="""\
<root>/
  [train|dev|test/]
    bona_fide/**
    {print|replay|mask|mannequin|makeup|partial}/[<fine type>/]**""",
    bona_fide=None,
    attack=None,
    scan=scan,
)
