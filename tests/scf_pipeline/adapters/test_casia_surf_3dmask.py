from pathlib import Path

import pytest

from ifas_model.vocabulary import Label, PaiSpecies, Split
from scf_pipeline.adapters.casia_surf_3dmask import ADAPTER, scan
from scf_pipeline.errors import DatasetLayoutError

REAL = ("Real/0927_013/1.MOV", "Real/0928_018/16.MOV")
FAKE = ("Fake/0927_013/1/1.MOV", "Fake/0928_018/2/4.MOV")
INCOMPLETE = tuple(
    f"Fake/0927_021/{decoration}/{environment}.MOV"
    for decoration in "123"
    for environment in "1234"
)


def build(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return build(tmp_path / "CASIA_SURF_3DMask", *REAL, *FAKE)


@pytest.mark.parametrize("name", REAL)
def test_real_is_bona_fide(name: str, root: Path) -> None:
    sample = {s.media_path: s for s in scan(root)}[name]
    assert (sample.label, sample.pai_species, sample.fine_type) == (Label.BONA_FIDE, None, None)
    assert (sample.subject_id, sample.native_label) == (name.split("/")[1], "Real")
    assert sample.sample_id == f"casia_surf_3dmask/{name.removesuffix('.MOV')}"


@pytest.mark.parametrize("name", FAKE)
def test_fake_is_a_printed_mask(name: str, root: Path) -> None:
    sample = {s.media_path: s for s in scan(root)}[name]
    assert (sample.label, sample.pai_species) == (Label.ATTACK, PaiSpecies.MASK)
    assert sample.fine_type == "mask_3d_print"
    assert (sample.subject_id, sample.native_label) == (name.split("/")[1], "Fake")
    assert sample.sample_id == f"casia_surf_3dmask/{name.removesuffix('.MOV')}"


def test_all_is_for_test_since_no_split_is_official(root: Path) -> None:
    assert {s.split for s in scan(root)} == {Split.TEST}


def test_a_subject_has_six_bona_fide_and_eighteen_attack_videos(root: Path) -> None:
    build(root, *(f"Real/0927_013/{n}.MOV" for n in (1, 15, 16, 17, 22, 23)))
    build(root, *(f"Fake/0927_013/{d}/{e}.MOV" for d in "123" for e in "123456"))
    labels = [s.label for s in scan(root) if s.subject_id == "0927_013"]
    assert labels.count(Label.BONA_FIDE) == 6
    assert labels.count(Label.ATTACK) == 18


def test_the_subject_without_two_environments_is_read(root: Path) -> None:
    build(root, *INCOMPLETE)
    assert sum(s.subject_id == "0927_021" for s in scan(root)) == 12


@pytest.mark.parametrize("suffix", ["mov", "MOV", "mp4", "MP4"])
def test_extensions_may_be_of_either_case(suffix: str, root: Path) -> None:
    name = f"Real/0929_031/23.{suffix}"
    build(root, name)
    assert name in [s.media_path for s in scan(root)]


def test_junk_and_other_files_are_passed_over(root: Path) -> None:
    build(root, "Real/Thumbs.db", "Fake/.DS_Store", "Real/0927_013/._1.MOV", "README.txt", "a.pdf")
    assert sorted(s.media_path for s in scan(root)) == sorted(REAL + FAKE)


@pytest.mark.parametrize(
    "stray",
    [
        "Real/0927_013/2.MOV",  # not one of the six indices
        "Real/0927_013/1.avi",
        "Fake/0927_013/4/1.MOV",
        "Fake/0927_013/1/7.MOV",
        "Fake/0927_013/1.MOV",
        "Fake_0927_013_1_1.MOV",
        "Real/013/1.MOV",
        "Real/0927_013/1.jpg",
    ],
)
def test_a_stray_file_is_named_with_a_way_out(stray: str, root: Path) -> None:
    build(root, stray)
    with pytest.raises(DatasetLayoutError) as caught:
        list(scan(root))
    assert caught.value.where == stray
    assert repr(stray) in caught.value.what
    assert "Remove the stray file" in caught.value.fix


@pytest.mark.parametrize(
    ("names", "absent"),
    [((), "Real"), (FAKE, "Real"), (REAL, "Fake"), (("Training/real_part/1.jpg",), "Real")],
)
def test_a_wrong_root_is_refused(names: tuple[str, ...], absent: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetLayoutError, match=f"must have a '{absent}' folder") as caught:
        list(scan(build(tmp_path, *names)))
    assert caught.value.where == str(tmp_path)
    assert "multi-modal" in caught.value.fix


def test_ids_do_not_depend_on_where_the_dataset_lies(root: Path, tmp_path: Path) -> None:
    before = [s.sample_id for s in scan(root)]
    assert before == [s.sample_id for s in scan(root.rename(tmp_path / "there"))]


def test_published_counts_are_declared() -> None:
    assert (ADAPTER.bona_fide, ADAPTER.attack) == (288, 864)
    assert not ADAPTER.is_cropped
