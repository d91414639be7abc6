from pathlib import Path

import pytest

from ifas_model.vocabulary import Label, PaiSpecies, Split
from scf_pipeline.adapters import Frame
from scf_pipeline.adapters.msu_mfsd import ADAPTER, boxes, rotation, scan
from scf_pipeline.errors import DatasetLayoutError
from scf_pipeline.schema import Sample

REAL = "scene01/real/real_client001_android_SD_scene01.mp4"
LAPTOP = "scene01/real/real_client055_laptop_SD_scene01.mov"
TABLET = "scene01/attack/attack_client001_android_SD_ipad_video_scene01.mp4"
PHONE = "scene01/attack/attack_client050_laptop_SD_iphone_video_scene01.mov"
PRINT = "scene01/attack/attack_client013_laptop_SD_printed_photo_scene01.mov"
TURNED = "scene01/real/real_client003_android_SD_scene01.mp4"
NAMES = (REAL, LAPTOP, TABLET, PHONE, PRINT, TURNED)
FRAME = Frame(720, 480)


def touch(path: Path, text: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in NAMES:
        touch(tmp_path / "MSU-MFSD" / name)
    return tmp_path / "MSU-MFSD"


def by_path(root: Path) -> dict[str, Sample]:
    return {sample.media_path: sample for sample in scan(root)}


@pytest.mark.parametrize(
    ("name", "species", "fine_type", "native", "split", "subject"),
    [
        (REAL, None, None, "real", "test", "001"),
        (LAPTOP, None, None, "real", "train", "055"),
        (TURNED, None, None, "real", "train", "003"),
        (TABLET, PaiSpecies.REPLAY, "replay_ipad", "ipad_video", "test", "001"),
        (PHONE, PaiSpecies.REPLAY, "replay_iphone", "iphone_video", "test", "050"),
        (PRINT, PaiSpecies.PRINT, "print_photo", "printed_photo", "test", "013"),
    ],
)
def test_scan_reads_each_naming_case(
    root: Path,
    name: str,
    species: PaiSpecies | None,
    fine_type: str | None,
    native: str,
    split: str,
    subject: str,
) -> None:
    sample = by_path(root)[name]
    assert sample.sample_id == f"msu_mfsd/{name.rpartition('.')[0]}"
    assert sample.label is (Label.ATTACK if species else Label.BONA_FIDE)
    assert (sample.pai_species, sample.fine_type) == (species, fine_type)
    assert (sample.native_label, sample.split, sample.subject_id) == (native, split, subject)


def test_the_official_lists_are_built_in(tmp_path: Path) -> None:
    train = [2, 3, 5, 6, 7, 8, 9, 11, 12, 21, 22, 34, 53, 54, 55]
    test = [1, 13, 14, 23, 24, 26, 28, 29, 30, 32, 33, 35, 36, 37, 39, 42, 48, 49, 50, 51]
    (tmp_path / "scene01/attack").mkdir(parents=True)
    for number in (*train, *test):
        touch(tmp_path / f"scene01/real/real_client{number:03d}_laptop_SD_scene01.mov")
    splits = {int(sample.subject_id or 0): sample.split for sample in scan(tmp_path)}
    assert splits == {**dict.fromkeys(train, Split.TRAIN), **dict.fromkeys(test, Split.TEST)}


def test_lists_have_two_digits_windows_line_ends_and_no_last_newline(root: Path) -> None:
    touch(root / "train_sub_list.txt", "01\r\n50\r\n13")
    touch(root / "test_sub_list.txt", "03\r\n55")
    splits = {sample.subject_id: sample.split for sample in scan(root)}
    train, test = Split.TRAIN, Split.TEST
    assert splits == {"001": train, "050": train, "013": train, "003": test, "055": test}


@pytest.mark.parametrize(
    ("train", "problem"),
    [
        ("01\n03\n13\n50", "'03'"),  # also a test subject
        ("01\nabc", "'abc'"),
        ("-1", "'-1'"),
        ("0001", "'0001'"),
    ],
)
def test_a_list_that_splits_nobody_safely_is_refused(root: Path, train: str, problem: str) -> None:
    touch(root / "train_sub_list.txt", train)
    touch(root / "test_sub_list.txt", "03\n55")
    with pytest.raises(DatasetLayoutError, match="each in one list only") as caught:
        list(scan(root))
    assert problem in caught.value.what


def test_a_subject_in_neither_list_is_named(root: Path) -> None:
    touch(root / "train_sub_list.txt", "")
    touch(root / "test_sub_list.txt", "01\n50\n13\n03")
    with pytest.raises(DatasetLayoutError, match="'055' is in neither") as caught:
        list(scan(root))
    assert caught.value.where == LAPTOP


def test_other_files_are_passed_over(root: Path) -> None:
    before = list(scan(root))
    for name in (
        "README.txt",
        "ffmpeg/sample.mov",
        "scene01/real/Thumbs.db",
        "scene01/real/.DS_Store",
        "scene01/real/._real_client001_android_SD_scene01.mp4",
        "scene01/real/real_client001_android_SD_scene01.face",
    ):
        touch(root / name)
    assert list(scan(root)) == before


@pytest.mark.parametrize(
    "stray",
    [
        "scene01/real/IMG_0001.mov",
        "scene01/real/frame.jpg",
        "scene01/real/real_client001_android_SD_scene01.avi",
        "scene01/real/real_client001_android_SD_printed_photo_scene01.mp4",
        "scene01/attack/attack_client001_android_SD_scene01.mp4",
        "scene01/real/attack_client001_android_SD_printed_photo_scene01.mp4",
        "scene01/attack/real_client001_android_SD_scene01.mp4",
        "scene01/attack/attack_client01_android_SD_printed_photo_scene01.mp4",
        "scene01/other/real_client001_android_SD_scene01.mp4",
    ],
)
def test_a_stray_file_is_named_with_a_way_out(root: Path, stray: str) -> None:
    touch(root / stray)
    with pytest.raises(DatasetLayoutError) as caught:
        list(scan(root))
    assert caught.value.where == stray
    assert "real_client001_android_SD_scene01.mp4" in caught.value.what
    assert "Remove the stray file" in caught.value.fix


def test_suffixes_may_be_in_capitals_and_either_camera_may_write_either(root: Path) -> None:
    touch(root / "scene01/real/real_client055_android_SD_scene01.MOV")
    assert "scene01/real/real_client055_android_SD_scene01.MOV" in by_path(root)


def test_the_root_is_found_by_scene01_and_ids_stay(root: Path, tmp_path: Path) -> None:
    before = [sample.sample_id for sample in scan(root)]
    moved = root.rename(tmp_path / "MSU-MFSD-Publish.zip")
    touch(moved / "train_sub_list.txt", "03\n55")
    assert [sample.sample_id for sample in scan(moved)] == before
    above = list(scan(tmp_path))
    assert [sample.sample_id for sample in above] == before
    assert above[0].media_path.startswith("MSU-MFSD-Publish.zip/scene01/")


def test_a_wrong_root_is_refused_with_a_way_out(tmp_path: Path, root: Path) -> None:
    for wrong in (tmp_path / "absent", root / "scene01"):
        with pytest.raises(DatasetLayoutError, match="scene01/attack', but 0") as caught:
            next(scan(wrong))
        assert caught.value.where == str(wrong)
        assert "Point the root" in caught.value.fix


def test_six_clips_are_turned_and_no_others() -> None:
    turned = [
        number
        for number in range(1, 56)
        if rotation(f"scene01/real/real_client{number:03d}_android_SD_scene01.mp4") == 180
    ]
    assert turned == [3, 5, 6, 7, 8, 9]
    assert rotation(f"copy/{TURNED}") == 180
    assert rotation(TURNED.replace("android", "laptop")) == 0
    assert rotation("scene01/attack/attack_client003_android_SD_ipad_video_scene01.mp4") == 0


def test_boxes_are_read_by_frame_number(root: Path) -> None:
    touch(
        (root / REAL).with_suffix(".face"),
        "0, 10, 20, 110, 140, 40, 60, 80, 60\r\n3,11.5,21,111,141,40,60,80,60\r\n",
    )
    assert boxes(root, REAL, FRAME) == {0: (10, 20, 110, 140), 3: (11.5, 21, 111, 141)}


@pytest.mark.parametrize(
    "line",
    [
        "",
        "4",
        "x,1,2,3,4",
        "4,,20,110,140,1",
        "4 10 20 110 140",
        "-1,1,2,30,40",
        "4,nan,2,3,4",
        "\0",
    ],
)
def test_a_malformed_line_is_skipped(root: Path, line: str) -> None:
    touch((root / REAL).with_suffix(".face"), f"{line}\n5,10,20,110,140\n6,0,0,0,0\n7,90,9,10,99\n")
    assert boxes(root, REAL, FRAME) == {5: (10, 20, 110, 140)}


def test_boxes_of_a_turned_clip_are_upright_whichever_way_they_were_taken(root: Path) -> None:
    upright = "0,100,50,300,350,240,150,160,150"
    stored = "0,420,130,620,430,480,330,560,330"
    for line in (upright, stored):
        touch((root / TURNED).with_suffix(".face"), line)
        assert boxes(root, TURNED, FRAME) == {0: (100, 50, 300, 350)}


def test_a_box_reaching_out_is_clipped_and_one_outside_is_none(root: Path) -> None:
    touch((root / REAL).with_suffix(".face"), "0,-5,-5,800,100\n1,900,0,950,100\n")
    assert boxes(root, REAL, FRAME) == {0: (0, 0, 720, 100)}


def test_a_clip_without_face_file_has_no_boxes(root: Path) -> None:
    assert boxes(root, REAL, FRAME) == {}


def test_published_counts_are_those_of_the_paper() -> None:
    assert (ADAPTER.bona_fide, ADAPTER.attack) == (70, 210)
