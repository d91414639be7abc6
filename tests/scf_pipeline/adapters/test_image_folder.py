import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifas_model.vocabulary import Label, PaiSpecies, Split
from scf_pipeline.adapters import PICTURES, VIDEOS, no_boxes
from scf_pipeline.adapters.image_folder import ADAPTER, KINDS, scan
from scf_pipeline.errors import DatasetLayoutError
from scf_pipeline.schema import Sample


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def by_path(root: Path) -> dict[str, Sample]:
    return {sample.media_path: sample for sample in scan(root)}


@pytest.mark.parametrize(
    ("name", "species", "fine_type", "split"),
    [
        ("bona_fide/a.jpg", None, None, Split.TRAIN),
        ("bona_fide/office/a.jpg", None, None, Split.TRAIN),
        ("test/bona_fide/a.mp4", None, None, Split.TEST),
        ("print/a.PNG", PaiSpecies.PRINT, "print", Split.TRAIN),
        ("print/poster/a.png", PaiSpecies.PRINT, "poster", Split.TRAIN),
        ("train/replay/a.webm", PaiSpecies.REPLAY, "replay", Split.TRAIN),
        ("dev/mask/paper_mask/anna/1/a.jpeg", PaiSpecies.MASK, "paper_mask", Split.DEV),
        ("test/mannequin/a.b.bmp", PaiSpecies.MANNEQUIN, "mannequin", Split.TEST),
        ("makeup/a b.mov", PaiSpecies.MAKEUP, "makeup", Split.TRAIN),
        ("partial/funny_eye/ä.avi", PaiSpecies.PARTIAL, "funny_eye", Split.TRAIN),
    ],
)
def test_folders_carry_split_label_species_and_fine_type(
    tmp_path: Path, name: str, species: PaiSpecies | None, fine_type: str | None, split: Split
) -> None:
    touch(tmp_path / name)
    (sample,) = scan(tmp_path)
    assert (sample.media_path, sample.split) == (name, split)
    assert sample.sample_id == f"image_folder/{name.rpartition('.')[0]}"
    assert sample.label is (Label.ATTACK if species else Label.BONA_FIDE)
    assert (sample.pai_species, sample.fine_type) == (species, fine_type)
    assert sample.native_label == (species or "bona_fide")
    assert sample.subject_id is None


def test_a_split_may_be_named_for_some_files_only(tmp_path: Path) -> None:
    touch(tmp_path / "print/a.png")
    touch(tmp_path / "test/print/a.png")
    assert [(s.sample_id, s.split) for s in scan(tmp_path)] == [
        ("image_folder/print/a", "train"),
        ("image_folder/test/print/a", "test"),
    ]


def test_ids_do_not_depend_on_where_the_folder_lies(tmp_path: Path) -> None:
    for name in ("bona_fide/b.jpg", "bona_fide/a.jpg", "mask/c.jpg"):
        touch(tmp_path / "one" / name)
    before = [sample.sample_id for sample in scan(tmp_path / "one")]
    assert before == ["image_folder/bona_fide/a", "image_folder/bona_fide/b", "image_folder/mask/c"]
    moved = (tmp_path / "one").rename(tmp_path / "two")
    assert [sample.sample_id for sample in scan(moved)] == before


NAMES = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1
).filter(lambda name: not name.startswith(".") and len(name.encode()) <= 100)
FOLDERS = NAMES.filter(lambda name: Path(name).suffix.lower() not in PICTURES | VIDEOS)
FILES = st.tuples(
    st.sampled_from([(), ("train",), ("dev",), ("test",)]),
    st.sampled_from(KINDS),
    st.lists(FOLDERS, max_size=2),
    NAMES,
    st.sampled_from([".jpg", ".PNG", ".mp4"]),
)


@given(
    st.lists(FILES, min_size=1, max_size=8, unique_by=lambda f: (f[0], f[1], tuple(f[2]), f[3])),
    st.randoms(use_true_random=False),
)
def test_ids_are_unique_and_rest_on_names_alone(files, random) -> None:
    names = ["/".join([*f[0], f[1], *f[2], f"{f[3]}{f[4]}"]) for f in files]
    with TemporaryDirectory() as one, TemporaryDirectory() as other:
        for name in names:
            touch(Path(one) / name)
        random.shuffle(names)
        for name in names:
            touch(Path(other) / "below" / name)
        found = list(scan(Path(one)))
        assert list(scan(Path(other) / "below")) == found
    assert {sample.media_path for sample in found} == set(names)
    assert len({sample.sample_id for sample in found}) == len(names)
    for sample in found:
        assert sample.sample_id == f"image_folder/{sample.media_path.rpartition('.')[0]}"
        assert sample.native_label in sample.media_path.split("/")[:2]


def test_files_that_are_no_media_are_passed_over(tmp_path: Path) -> None:
    touch(tmp_path / "bona_fide/a.jpg")
    for name in ("README.md", "bona_fide/Thumbs.db", "bona_fide/.a.jpg", ".cache/a.jpg", "x/a.txt"):
        touch(tmp_path / name)
    assert list(by_path(tmp_path)) == ["bona_fide/a.jpg"]


@pytest.mark.parametrize(
    "stray", ["a.jpg", "train/a.jpg", "live/a.jpg", "Print/a.jpg", "test/train/print/a.jpg"]
)
def test_media_in_a_folder_of_another_name_are_refused_by_path(tmp_path: Path, stray: str) -> None:
    touch(tmp_path / "print/a.jpg")
    touch(tmp_path / stray)
    with pytest.raises(
        DatasetLayoutError, match=r"\[train\|dev\|test/\]<bona_fide\|print\|"
    ) as caught:
        list(scan(tmp_path))
    assert caught.value.where == stray
    assert repr(stray) in caught.value.what
    assert "Move it" in caught.value.fix


def test_two_files_that_would_share_an_id_are_refused(tmp_path: Path) -> None:
    touch(tmp_path / "print/a.jpg")
    touch(tmp_path / "print/a.png")
    with pytest.raises(DatasetLayoutError, match=r"'print/a\.jpg' has it too") as caught:
        list(scan(tmp_path))
    assert caught.value.where == "print/a.png"
    assert "Rename" in caught.value.fix


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "print").mkdir()
    try:
        Path(os.fsdecode(os.fsencode(tmp_path / "print") + b"/\xff.jpg")).touch()
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    with pytest.raises(DatasetLayoutError, match="must be UTF-8 text") as caught:
        list(scan(tmp_path))
    assert caught.value.where == r"'print/\udcff.jpg'"


@pytest.mark.parametrize("name", ["absent", "empty"])
def test_a_root_without_media_is_refused_with_a_way_out(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetLayoutError, match="holds none") as caught:
        list(scan(tmp_path / name))
    assert caught.value.where == str(tmp_path / name)
    assert "bona_fide, print" in caught.value.fix


def test_counts_are_unknown_and_no_boxes_are_shipped() -> None:
    assert ADAPTER.bona_fide is ADAPTER.attack is None
    assert ADAPTER.boxes is no_boxes
