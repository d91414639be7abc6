from pathlib import Path

import pytest

from ifas_model.vocabulary import Label, PaiSpecies, Split
from scf_pipeline.adapters import Frame
from scf_pipeline.adapters.replay_attack import ADAPTER, boxes, scan
from scf_pipeline.errors import DatasetLayoutError
from scf_pipeline.schema import Sample

REAL = "train/real/client110_session01_webcam_authenticate_controlled_2.mov"
TABLET = "devel/attack/fixed/attack_highdef_client003_session01_highdef_video_adverse.mov"
PHONE = "train/attack/hand/attack_mobile_client007_session01_mobile_video_controlled.mov"
PRINT = "test/attack/hand/attack_print_client009_session01_highdef_photo_controlled.mov"
PHONE_PHOTO = "test/attack/fixed/attack_mobile_client009_session01_mobile_photo_adverse.mov"
TABLET_PHOTO = "test/attack/fixed/attack_highdef_client009_session01_highdef_photo_adverse.mov"
NAMES = (REAL, TABLET, PHONE, PRINT, PHONE_PHOTO, TABLET_PHOTO)
ENROLMENT = "client001_session01_webcam_enroll_controlled_1.mov"
FRAME = Frame(320, 240)


def touch(path: Path, text: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in NAMES:
        touch(tmp_path / "replay-attack" / name)
    return tmp_path / "replay-attack"


def by_path(root: Path) -> dict[str, Sample]:
    return {sample.media_path: sample for sample in scan(root)}


@pytest.mark.parametrize(
    ("name", "species", "fine_type", "native", "split", "subject"),
    [
        (REAL, None, None, "real", Split.TRAIN, "110"),
        (TABLET, PaiSpecies.REPLAY, "replay_video", "highdef", Split.DEV, "003"),
        (PHONE, PaiSpecies.REPLAY, "replay_video", "mobile", Split.TRAIN, "007"),
        (PRINT, PaiSpecies.PRINT, "print_photo", "print", Split.TEST, "009"),
        (PHONE_PHOTO, PaiSpecies.REPLAY, "replay_photo", "mobile", Split.TEST, "009"),
        (TABLET_PHOTO, PaiSpecies.REPLAY, "replay_photo", "highdef", Split.TEST, "009"),
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
    assert sample.sample_id == f"replay_attack/{name.removesuffix('.mov')}"
    assert sample.label is (Label.ATTACK if species else Label.BONA_FIDE)
    assert (sample.pai_species, sample.fine_type) == (species, fine_type)
    assert (sample.native_label, sample.split, sample.subject_id) == (native, split, subject)


def test_enrolment_clips_are_passed_over_wherever_they_lie(root: Path) -> None:
    before = list(scan(root))
    touch(root / "enroll/train" / ENROLMENT)
    touch(root / "train/enroll" / ENROLMENT)
    touch(root / "train/real" / ENROLMENT.replace("_1.mov", ".mov"))
    assert list(scan(root)) == before


def test_other_files_are_passed_over(root: Path) -> None:
    before = list(scan(root))
    for name in ("protocols/clients.txt", "train/README.txt", "train/real/Thumbs.db", "demo.mov"):
        touch(root / name)
    touch((root / "face-locations" / REAL).with_suffix(".face"))
    assert list(scan(root)) == before


@pytest.mark.parametrize(
    "stray",
    [
        "train/real/IMG_0001.mov",
        "train/real/client001_session01_webcam_authenticate_adverse_3.mov",
        "train/real/client001_session01_webcam_authenticate_adverse_1.avi",
        "train/attack/client001_session01_webcam_authenticate_adverse_1.mov",
        "train/real/attack_print_client001_session01_highdef_photo_adverse.mov",
        "train/attack/attack_print_client001_session01_highdef_photo_adverse.mov",
        "train/attack/hand/attack_print_client001_session01_highdef_video_adverse.mov",
        "train/attack/hand/attack_mobile_client001_session01_highdef_photo_adverse.mov",
        "devel/attack/fixed/frame.png",
    ],
)
def test_a_stray_file_is_named_with_a_way_out(root: Path, stray: str) -> None:
    touch(root / stray)
    with pytest.raises(DatasetLayoutError, match="must be named like 'real/client001_") as caught:
        list(scan(root))
    assert caught.value.where == stray
    assert "Remove the stray file" in caught.value.fix


@pytest.mark.parametrize("pattern", ["replayattack-{0}/{0}", "replayattack-{0}"])
def test_archive_folders_change_paths_but_not_ids(root: Path, tmp_path: Path, pattern: str) -> None:
    before = [sample.sample_id for sample in scan(root)]
    for split in ("train", "devel", "test"):
        folder = tmp_path / "unpacked" / pattern.format(split)
        folder.parent.mkdir(parents=True, exist_ok=True)
        (root / split).rename(folder)
    after = list(scan(tmp_path / "unpacked"))
    assert [sample.sample_id for sample in after] == before
    assert after[0].media_path.startswith(pattern.format("train"))
    assert {sample.split for sample in after} == {"train", "dev", "test"}


def test_copies_that_spell_attk_are_read(root: Path) -> None:
    name = PHONE.replace("attack", "attk")
    touch(root / name)
    assert by_path(root)[name].pai_species is PaiSpecies.REPLAY


def test_suffixes_may_be_in_capitals(root: Path) -> None:
    (root / REAL).rename((root / REAL).with_suffix(".MOV"))
    assert by_path(root)[REAL.replace(".mov", ".MOV")].label is Label.BONA_FIDE


def test_ids_do_not_depend_on_where_the_dataset_lies(root: Path, tmp_path: Path) -> None:
    before = [sample.sample_id for sample in scan(root)]
    moved = root.rename(tmp_path / "moved")
    assert [sample.sample_id for sample in scan(moved)] == before


def test_a_wrong_root_is_refused_with_a_way_out(tmp_path: Path, root: Path) -> None:
    (tmp_path / "train").mkdir()
    for wrong, absent in (
        (tmp_path / "absent", "train"),
        (root / "train", "train"),
        (tmp_path, "devel"),
    ):
        with pytest.raises(DatasetLayoutError, match=f"a '{absent}' folder") as caught:
            next(scan(wrong))
        assert caught.value.where == str(wrong)
        assert "train/, devel/ and test/" in caught.value.fix


def test_boxes_come_from_face_locations_and_zeros_mean_no_face(root: Path) -> None:
    touch(
        (root / "face-locations" / REAL).with_suffix(".face"),
        "0 100 50 80 90\n1 0 0 0 0\n\n4 101 51 80 90\n",
    )
    assert boxes(root, REAL, FRAME) == {0: (100, 50, 180, 140), 4: (101, 51, 181, 141)}


@pytest.mark.parametrize(
    "line", ["1 2 3 4", "a b c d e", "-1 5 5 9 9", "1 5 5 -9 9", "1 inf 5 9 9"]
)
def test_a_malformed_line_is_skipped(root: Path, line: str) -> None:
    touch(
        (root / "face-locations" / REAL).with_suffix(".face"),
        f"{line}\n7 10 20 30 40\n",
    )
    assert boxes(root, REAL, FRAME) == {7: (10, 20, 40, 60)}


@pytest.mark.parametrize("folder", ["replayattack-train/train", "replayattack-train"])
@pytest.mark.parametrize("home", ["", "replayattack-train/"])
def test_boxes_of_archive_folders_are_found(tmp_path: Path, folder: str, home: str) -> None:
    touch(
        (tmp_path / f"{home}face-locations" / REAL).with_suffix(".face"),
        "3 10 20 30 40",
    )
    media_path = REAL.replace("train", folder, 1)
    assert boxes(tmp_path, media_path, FRAME) == {3: (10, 20, 40, 60)}


def test_a_clip_without_face_file_has_no_boxes(root: Path) -> None:
    assert boxes(root, REAL, FRAME) == {}


def test_published_counts_are_those_of_the_paper() -> None:
    assert (ADAPTER.bona_fide, ADAPTER.attack) == (200, 1000)
