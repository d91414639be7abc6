from pathlib import Path

import pytest

from ifas_model.vocabulary import Label, PaiSpecies, Split
from scf_pipeline.adapters import Frame
from scf_pipeline.adapters.siw import ADAPTER, boxes, scan
from scf_pipeline.errors import DatasetLayoutError
from scf_pipeline.schema import Sample

LIVE = "Train/live/003/003-1-1-1-1.mov"
PRINT = "Train/spoof/003/003-1-2-1-1.mov"
TEST_LIVE = "Test/live/001/001-1-1-2-2.mov"
DOUBLE = "Test/live/153/153-2-1-1-1.m.mov"
REPLAY = "Train/spoof/165/165-2-3-4-2.mov"
MP4 = "Test/spoof/001/001-1-3-1-1.mp4"
NAMES = (LIVE, PRINT, TEST_LIVE, DOUBLE, REPLAY, MP4)
FRAME = Frame(1920, 1080)


def touch(path: Path, text: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in NAMES:
        touch(tmp_path / "SiW" / name)
    return tmp_path / "SiW"


def by_path(root: Path) -> dict[str, Sample]:
    return {sample.media_path: sample for sample in scan(root)}


@pytest.mark.parametrize(
    ("name", "species", "fine_type", "native", "split", "subject"),
    [
        (LIVE, None, None, "1", Split.TRAIN, "003"),
        (TEST_LIVE, None, None, "1", Split.TEST, "001"),
        (DOUBLE, None, None, "1", Split.TEST, "153"),
        (PRINT, PaiSpecies.PRINT, "print", "2", Split.TRAIN, "003"),
        (REPLAY, PaiSpecies.REPLAY, "replay", "3", Split.TRAIN, "165"),
        (MP4, PaiSpecies.REPLAY, "replay", "3", Split.TEST, "001"),
    ],
)
def test_scan_reads_each_naming_case(
    root: Path,
    name: str,
    species: PaiSpecies | None,
    fine_type: str | None,
    native: str,
    split: Split,
    subject: str,
) -> None:
    sample = by_path(root)[name]
    assert sample.sample_id == f"siw/{name.partition('.')[0]}"
    assert sample.label is (Label.ATTACK if species else Label.BONA_FIDE)
    assert (sample.pai_species, sample.fine_type) == (species, fine_type)
    assert (sample.native_label, sample.split, sample.subject_id) == (native, split, subject)


def test_ids_do_not_depend_on_where_the_dataset_lies(root: Path, tmp_path: Path) -> None:
    before = [sample.sample_id for sample in scan(root)]
    moved = root.rename(tmp_path / "SiW-60")
    assert [sample.sample_id for sample in scan(moved)] == before


def test_suffixes_may_be_in_capitals(root: Path) -> None:
    touch(root / "Train/live/004/004-1-1-1-1.MOV")
    assert by_path(root)["Train/live/004/004-1-1-1-1.MOV"].sample_id.endswith("004-1-1-1-1")


def test_other_files_are_passed_over(root: Path) -> None:
    before = list(scan(root))
    for name in ("README.txt", "Train/.DS_Store", "Train/live/003/Thumbs.db", "Dev/x.mov"):
        touch(root / name)
    touch((root / LIVE).with_suffix(".face"))
    assert list(scan(root)) == before


@pytest.mark.parametrize(
    "stray",
    [
        "Train/live/003/IMG_0001.mov",
        "Train/live/003/003_1_1_1_1.mov",
        "Train/live/003/003-1-2-1-1.mov",  # an attack among the bona fide
        "Train/spoof/003/003-1-1-1-1.mov",  # and the reverse
        "Train/spoof/003/003-3-2-1-1.mov",
        "Train/spoof/003/003-1-4-1-1.mov",
        "Train/spoof/003/003-1-2-5-1.mov",
        "Train/spoof/003/003-1-2-1-3.mov",
        "Train/spoof/003/003-1-2-1-1.avi",
        "Train/spoof/003-1-2-1-1.mov",
        "Test/live/001/frame.jpg",
    ],
)
def test_a_stray_file_is_named_with_a_way_out(root: Path, stray: str) -> None:
    touch(root / stray)
    with pytest.raises(DatasetLayoutError, match="<subject>-<sensor>-<type>") as caught:
        list(scan(root))
    assert caught.value.where == stray
    assert "Remove the stray file" in caught.value.fix


def test_a_wrong_root_is_refused_with_a_way_out(tmp_path: Path, root: Path) -> None:
    (tmp_path / "Train").mkdir()
    for wrong, absent in (
        (tmp_path / "absent", "Train"),
        (root / "Train", "Train"),
        (tmp_path, "Test"),
    ):
        with pytest.raises(DatasetLayoutError, match=f"a '{absent}' folder") as caught:
            next(scan(wrong))
        assert caught.value.where == str(wrong)
        assert "Point the root" in caught.value.fix


def test_the_row_of_a_box_is_its_frame_and_zeros_mean_no_face(root: Path) -> None:
    touch(
        (root / LIVE).with_suffix(".face"),
        "785 425 1070 710\n0 0 0 0\n786 426 1071 711\n",
    )
    assert boxes(root, LIVE, FRAME) == {0: (785, 425, 1070, 710), 2: (786, 426, 1071, 711)}


@pytest.mark.parametrize("line", ["", "x", "1 2 3", "1 2 3 4 5", "9 9 1 1", "nan 1 9 9", "\0"])
def test_a_malformed_line_is_skipped_but_keeps_its_place(root: Path, line: str) -> None:
    touch((root / LIVE).with_suffix(".face"), f"{line}\n10 20 30 40\n")
    assert boxes(root, LIVE, FRAME) == {1: (10, 20, 30, 40)}


@pytest.mark.parametrize("name", ["153-2-1-1-1.m.face", "153-2-1-1-1.face"])
def test_boxes_of_a_double_suffix_are_found_under_either_name(root: Path, name: str) -> None:
    touch((root / DOUBLE).with_name(name), "10 20 30 40")
    assert boxes(root, DOUBLE, FRAME) == {0: (10, 20, 30, 40)}


def test_a_clip_without_face_file_has_no_boxes(root: Path) -> None:
    assert boxes(root, LIVE, FRAME) == {}
    assert boxes(root, DOUBLE, FRAME) == {}


def test_published_counts_are_those_of_the_released_lists() -> None:
    assert (ADAPTER.bona_fide, ADAPTER.attack) == (1313, 3165)
