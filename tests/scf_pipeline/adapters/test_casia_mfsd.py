from pathlib import Path

import pytest

from ifas_model.vocabulary import Label
from scf_pipeline.adapters.casia_mfsd import ADAPTER, scan
from scf_pipeline.errors import DatasetLayoutError

CODES = (*"12345678", "HR_1", "HR_2", "HR_3", "HR_4")
EXAMPLES = (
    "train_release/1/1.avi",
    "train_release/17/HR_1.avi",
    "test_release/30/4.avi",
    "test_release/5/HR_3.avi",
)


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    names = (*EXAMPLES, *(f"test_release/1/{code}.avi" for code in CODES))
    for name in names:
        touch(tmp_path / "CASIA_faceAntisp" / name)
    return tmp_path / "CASIA_faceAntisp"


def test_codes_carry_label_species_and_fine_type(root: Path) -> None:
    kinds = {
        sample.native_label: (sample.label, sample.pai_species, sample.fine_type)
        for sample in scan(root)
        if sample.media_path.startswith("test_release/1/")
    }
    bona_fide = (Label.BONA_FIDE, None, None)
    assert kinds == {
        **dict.fromkeys(("1", "2", "HR_1"), bona_fide),
        **dict.fromkeys(("3", "4", "HR_2"), (Label.ATTACK, "print", "print_warped")),
        **dict.fromkeys(("5", "6", "HR_3"), (Label.ATTACK, "print", "print_cut")),
        **dict.fromkeys(("7", "8", "HR_4"), (Label.ATTACK, "replay", "replay_tablet")),
    }


def test_subjects_of_the_test_folder_are_other_people(root: Path) -> None:
    found = {s.media_path: (s.split, s.subject_id) for s in scan(root)}
    assert found["train_release/1/1.avi"] == ("train", "1")
    assert found["test_release/1/1.avi"] == ("test", "21")
    assert found["train_release/17/HR_1.avi"] == ("train", "17")
    assert found["test_release/5/HR_3.avi"] == ("test", "25")
    assert found["test_release/30/4.avi"] == ("test", "50")


def test_the_whole_release_has_600_samples_of_50_subjects(tmp_path: Path) -> None:
    for part, subjects in (("train_release", 20), ("test_release", 30)):
        for subject in range(1, subjects + 1):
            for code in CODES:
                touch(tmp_path / part / str(subject) / f"{code}.avi")
    samples = list(scan(tmp_path))
    assert len({sample.sample_id for sample in samples}) == len(samples) == 600
    assert {sample.subject_id for sample in samples} == {str(n) for n in range(1, 51)}
    assert sum(s.label is Label.BONA_FIDE for s in samples) == ADAPTER.bona_fide == 150
    assert sum(s.label is Label.ATTACK for s in samples) == ADAPTER.attack == 450


def test_ids_do_not_depend_on_where_the_dataset_lies(root: Path, tmp_path: Path) -> None:
    before = [sample.sample_id for sample in scan(root)]
    assert "casia_mfsd/train_release/17/HR_1" in before
    moved = root.rename(tmp_path / "CASIA-FASD")
    assert [sample.sample_id for sample in scan(moved)] == before


def test_suffixes_may_be_in_capitals(root: Path) -> None:
    touch(root / "train_release/2/HR_2.AVI")
    ids = [sample.sample_id for sample in scan(root)]
    assert "casia_mfsd/train_release/2/HR_2" in ids


def test_other_files_are_passed_over(root: Path) -> None:
    before = list(scan(root))
    for name in ("train_release/1/Thumbs.db", "train_release/.DS_Store", "README.txt", "demo.avi"):
        touch(root / name)
    assert list(scan(root)) == before


@pytest.mark.parametrize(
    "stray",
    [
        "train_release/1/9.avi",
        "train_release/1/HR_5.avi",
        "train_release/1/1.mp4",
        "train_release/1.avi",
        "train_release/1/x/1.avi",
        "train_release/21/1.avi",
        "train_release/0/1.avi",
        "test_release/31/1.avi",
        "test_release/٣/1.avi",
        "test_release/1/photo.jpg",
    ],
)
def test_a_stray_file_is_named_with_a_way_out(root: Path, stray: str) -> None:
    touch(root / stray)
    with pytest.raises(DatasetLayoutError, match=r"like '\w+_release/1/HR_1\.avi'") as caught:
        list(scan(root))
    assert caught.value.where == stray
    assert "Remove the stray file" in caught.value.fix


@pytest.mark.parametrize(
    "name",
    [
        "train/live/s1v1f0.png",
        "train/spoof/s12vHR_1f30.png",
        "test/spoof/fs3v5f2.png",
        "test/live/bss3v2f10.PNG",
    ],
)
def test_copies_repacked_as_small_pictures_are_refused(tmp_path: Path, name: str) -> None:
    touch(tmp_path / name)
    with pytest.raises(DatasetLayoutError, match="re-packed as pictures of 112 x 112") as caught:
        list(scan(tmp_path))
    assert caught.value.where == name
    assert "original release" in caught.value.fix


def test_repacked_pictures_among_the_videos_are_refused_as_such(root: Path) -> None:
    touch(root / "train_release/1/s1v1f0.png")
    with pytest.raises(DatasetLayoutError, match="re-packed"):
        list(scan(root))


def test_a_wrong_root_is_refused_with_a_way_out(tmp_path: Path, root: Path) -> None:
    (tmp_path / "half/train_release").mkdir(parents=True)
    for wrong, absent in (
        (tmp_path / "absent", "train_release"),
        (tmp_path, "train_release"),
        (root / "train_release", "train_release"),
        (tmp_path / "half", "test_release"),
    ):
        with pytest.raises(DatasetLayoutError, match=f"a '{absent}' folder") as caught:
            next(scan(wrong))
        assert caught.value.where == str(wrong)
        assert "Point the root" in caught.value.fix
