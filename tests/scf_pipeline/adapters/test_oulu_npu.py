from pathlib import Path

import pytest

from ifas_model.vocabulary import Label
from scf_pipeline.adapters import Frame, box_from_eyes
from scf_pipeline.adapters.oulu_npu import ADAPTER, boxes, scan
from scf_pipeline.errors import DatasetLayoutError

FIRST = "Train_files/1_1_01_1.avi"
EXAMPLES = (
    FIRST,
    "Train_files/6_3_20_5.avi",
    "Dev_files/5_2_29_4.avi",
    "Test_files/1_3_38_4.avi",
)
CODES = tuple(f"Test_files/6_2_51_{code}.avi" for code in "12345")
FRAME = Frame(1080, 1920)


def touch(path: Path, text: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in (*EXAMPLES, *CODES):
        touch(tmp_path / "OULU-NPU" / name)
    return tmp_path / "OULU-NPU"


def test_codes_carry_label_species_and_fine_type(root: Path) -> None:
    kinds = {
        sample.native_label: (sample.label, sample.pai_species, sample.fine_type)
        for sample in scan(root)
        if "_51_" in sample.media_path
    }
    assert kinds == {
        "1": (Label.BONA_FIDE, None, None),
        "2": (Label.ATTACK, "print", "print_1"),
        "3": (Label.ATTACK, "print", "print_2"),
        "4": (Label.ATTACK, "replay", "replay_1"),
        "5": (Label.ATTACK, "replay", "replay_2"),
    }


def test_folders_are_splits_and_the_third_number_is_the_subject(root: Path) -> None:
    found = {s.media_path: (s.split, s.subject_id) for s in scan(root)}
    assert [found[name] for name in EXAMPLES] == [
        ("train", "01"),
        ("train", "20"),
        ("dev", "29"),
        ("test", "38"),
    ]


def test_the_whole_release_has_the_published_counts(tmp_path: Path) -> None:
    users = {"Train_files": range(1, 21), "Dev_files": range(21, 36), "Test_files": range(36, 56)}
    for folder in users:
        (tmp_path / folder).mkdir()
    for folder, numbers in users.items():
        for user in numbers:
            for scene in range(18):
                for code in range(1, 6):
                    name = f"{scene % 6 + 1}_{scene // 6 + 1}_{user:02d}_{code}.avi"
                    (tmp_path / folder / name).touch()
    samples = list(scan(tmp_path))
    assert sum(s.label is Label.BONA_FIDE for s in samples) == ADAPTER.bona_fide == 990
    assert sum(s.label is Label.ATTACK for s in samples) == ADAPTER.attack == 3960
    assert sum(s.split == "dev" for s in samples) == 1350


def test_ids_do_not_depend_on_where_the_dataset_lies(root: Path, tmp_path: Path) -> None:
    before = [sample.sample_id for sample in scan(root)]
    assert "oulu_npu/Train_files/1_1_01_1" in before
    moved = root.rename(tmp_path / "moved")
    assert [sample.sample_id for sample in scan(moved)] == before


def test_suffixes_may_be_in_capitals(root: Path) -> None:
    touch(root / "Dev_files/1_1_21_1.AVI")
    assert "oulu_npu/Dev_files/1_1_21_1" in [sample.sample_id for sample in scan(root)]


def test_other_files_are_passed_over(root: Path) -> None:
    before = list(scan(root))
    for name in (
        "Test_files/6_2_51_2.txt",
        "Test_files/Thumbs.db",
        "Protocols/Protocol_1/Train.txt",
        "Protocols/Protocol_3/Test_6.txt",
        "Readme.pdf",
        "Baseline/demo.avi",
    ):
        touch(root / name)
    assert list(scan(root)) == before


@pytest.mark.parametrize(
    "stray",
    [
        "Train_files/7_1_01_1.avi",
        "Train_files/1_4_01_1.avi",
        "Train_files/1_1_1_1.avi",
        "Train_files/1_1_01_6.avi",
        "Train_files/1_1_01_0.avi",
        "Train_files/1_1_01_1.mp4",
        "Train_files/1_1_01_1/0001.png",
        "Dev_files/x/1_1_21_1.avi",
    ],
)
def test_a_stray_file_is_named_with_a_way_out(root: Path, stray: str) -> None:
    touch(root / stray)
    with pytest.raises(DatasetLayoutError, match="<code 1-5>") as caught:
        list(scan(root))
    assert caught.value.where == stray
    assert "Remove the stray file" in caught.value.fix


def test_a_wrong_root_is_refused_with_a_way_out(tmp_path: Path, root: Path) -> None:
    (tmp_path / "Train_files").mkdir()
    for wrong, absent in (
        (tmp_path / "absent", "Train_files"),
        (root / "Train_files", "Train_files"),
        (tmp_path, "Dev_files"),
    ):
        with pytest.raises(DatasetLayoutError, match=f"a '{absent}' folder") as caught:
            next(scan(wrong))
        assert caught.value.where == str(wrong)
        assert "Point the root" in caught.value.fix


def test_boxes_follow_the_eyes_of_the_numbered_frame_and_not_of_the_row(root: Path) -> None:
    touch((root / FIRST).with_suffix(".txt"), "0,400,800,600,800\r\n2,410,800,610,810\r\n")
    assert boxes(root, FIRST, FRAME) == {
        0: box_from_eyes((400, 800), (600, 800)),
        2: box_from_eyes((410, 800), (610, 810)),
    }


def test_eyes_lie_between_the_sides_and_in_the_upper_half_of_their_box(root: Path) -> None:
    touch((root / FIRST).with_suffix(".txt"), "0,400,800,600,820")
    box = boxes(root, FIRST, FRAME)[0]
    middle_y = (box.y0 + box.y1) / 2
    for x, y in ((400, 800), (600, 820)):
        assert box.x0 < x < box.x1
        assert box.y0 < y < middle_y


@pytest.mark.parametrize(
    "line",
    [
        "",
        "1,2,3",
        "a,b,c,d,e",
        "1,0,0,0,0",
        "1,0,0,600,800",
        "1,9,9,0,0",
        "1 4 8 6 8",
        "-1,4,8,60,8",
        "1,1e308,8,-1e308,8",
    ],
)
def test_a_malformed_line_is_skipped(root: Path, line: str) -> None:
    touch((root / FIRST).with_suffix(".txt"), f"{line}\n9,400,800,600,800\n")
    assert list(boxes(root, FIRST, FRAME)) == [9]


def test_eyes_a_world_apart_stop_no_stage(root: Path) -> None:
    touch((root / FIRST).with_suffix(".txt"), "1,1e200,8,-1e200,8\n9,400,800,600,800\n")
    assert boxes(root, FIRST, FRAME)[1] == (0, 0, *FRAME)
    assert list(boxes(root, FIRST, FRAME)) == [1, 9]


def test_a_box_reaching_out_is_clipped(root: Path) -> None:
    touch((root / FIRST).with_suffix(".txt"), "0,10,20,210,20\n1,5000,20,5200,20\n")
    found = boxes(root, FIRST, FRAME)
    assert list(found) == [0]
    assert (found[0].x0, found[0].y0) == (0, 0)


def test_a_clip_without_eye_file_has_no_boxes(root: Path) -> None:
    assert boxes(root, FIRST, FRAME) == {}
