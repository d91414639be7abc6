from pathlib import Path

import pytest

from ifas_model.vocabulary import Label, PaiSpecies, Split
from scf_pipeline.adapters.hifi_mask import ADAPTER, scan
from scf_pipeline.errors import DatasetLayoutError

UNITS = {
    "1_19_2_1_2_5": (Label.ATTACK, "plaster_mask", "19", Split.TRAIN),
    "2_70_0_1_5_4": (Label.BONA_FIDE, None, "70", Split.TRAIN),
    "2_54_1_6_4_3": (Label.ATTACK, "transparent_mask", "54", Split.TRAIN),
    "1_05_0_2_6_1": (Label.BONA_FIDE, None, "05", Split.DEV),
    "3_61_3_4_0_8": (Label.ATTACK, "resin_mask", "61", Split.TEST),  # outdoors, hence light 0
}
DEV = "05 17 49 51 63 66"
TEST = "01 02 03 04 11 14 15 16 27 28 30 35 36 37 41 42 43 46 47 48 50 57 58 61"


def build(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


@pytest.fixture
def full(tmp_path: Path) -> Path:
    frames = (f"Data/{unit}/{number:04}.png" for unit in UNITS for number in range(10))
    return build(tmp_path / "CASIA_HiFiMask", *frames)


@pytest.fixture
def challenge(tmp_path: Path) -> Path:
    root = build(
        tmp_path / "challenge",
        "train/2_79_0_1_4_4/0000.png",
        "train/2_79_0_1_4_4/0008.png",
        "train/1_24_3_1_3_4/0000.png",
        "val/0000/0001.png",
        "val/0000/0002.png",
        "test/0000/0001.png",
        "test.txt",
    )
    (root / "train_label.txt").write_text(
        "train/2_79_0_1_4_4/0008.png 1\ntrain/2_79_0_1_4_4/0000.png 1\n"
        "train/1_24_3_1_3_4/0000.png 0\ntrain/3_45_1_1_4_3/0003.png 0\n"
    )
    (root / "val_label.txt").write_bytes(b"val/0000/0002.png 0\r\nval/0000/0001.png 1\r\n")
    return root


def write_p1(root: Path, name: str, text: str) -> None:
    (root / "protocol").mkdir(exist_ok=True)
    (root / "protocol" / f"CASIA_HiFiMask@{name}.txt").write_bytes(text.encode())


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_of_the_full_release_is_one_sample(unit: str, full: Path) -> None:
    sample = {s.media_path: s for s in scan(full)}[f"Data/{unit}"]
    label, fine_type, subject, split = UNITS[unit]
    assert (sample.label, sample.fine_type, sample.subject_id) == (label, fine_type, subject)
    assert sample.pai_species is (None if fine_type is None else PaiSpecies.MASK)
    assert sample.split is split
    assert sample.native_label == unit.split("_")[2]
    assert sample.sample_id == f"hifi_mask/Data/{unit}"


def test_without_lists_subjects_tell_the_split_of_protocol_1(tmp_path: Path) -> None:
    build(tmp_path, *(f"Data/1_{n:02}_0_1_1_1/0000.png" for n in range(1, 84)))
    splits = {s.subject_id: s.split for s in scan(tmp_path)}
    assert {n for n, split in splits.items() if split is Split.DEV} == set(DEV.split())
    assert {n for n, split in splits.items() if split is Split.TEST} == set(TEST.split())
    assert splits["06"] is splits["83"] is Split.TRAIN


def test_lists_of_protocol_1_tell_the_split(full: Path) -> None:
    write_p1(full, "p1_video_dev", "\ufeffCASIA_HiFiMask/Data/1_19_2_1_2_5 1\r\n")
    write_p1(full, "p1_video_test", "Data/2_70_0_1_5_4 0\n\n")
    write_p1(
        full,
        "p1_image_test",
        "CASIA_HiFiMask/Data/2_54_1_6_4_3/0000.png 1\nCASIA_HiFiMask/Data/2_54_1_6_4_3/0001.png 1",
    )
    write_p1(full, "p1_image_train", "CASIA_HiFiMask/Data/1_05_0_2_6_1/0009.png 0\n")
    write_p1(full, "p3_video_train", "CASIA_HiFiMask/Data/3_61_3_4_0_8 1\n")
    splits = {s.media_path.removeprefix("Data/"): s.split for s in scan(full)}
    assert splits == {
        "1_19_2_1_2_5": Split.DEV,
        "2_70_0_1_5_4": Split.TEST,
        "2_54_1_6_4_3": Split.TEST,
        "1_05_0_2_6_1": Split.TRAIN,
        "3_61_3_4_0_8": Split.TEST,  # not in these lists; by its subject
    }


def test_in_the_protocol_lists_1_means_attack(full: Path) -> None:
    write_p1(full, "p1_video_train", "CASIA_HiFiMask/Data/2_70_0_1_5_4 1\n")
    with pytest.raises(
        DatasetLayoutError, match="must be 0 exactly for type 0, but is 1"
    ) as caught:
        list(scan(full))
    assert caught.value.where == "protocol/CASIA_HiFiMask@p1_video_train.txt:1"
    assert "opposite signs" in caught.value.fix


def test_in_the_challenge_lists_1_means_bona_fide(challenge: Path) -> None:
    (challenge / "train_label.txt").write_text("train/1_24_3_1_3_4/0000.png 1\n")
    with pytest.raises(
        DatasetLayoutError, match="must be 1 exactly for type 0, but is 1"
    ) as caught:
        list(scan(challenge))
    assert caught.value.where == "train_label.txt:1"


def test_a_unit_in_two_splits_is_refused(full: Path) -> None:
    write_p1(full, "p1_image_dev", "Data/2_70_0_1_5_4/0000.png 0\n")
    write_p1(full, "p1_video_test", "Data/1_19_2_1_2_5 1\nData/2_70_0_1_5_4 0\n")
    with pytest.raises(DatasetLayoutError, match="2_70_0_1_5_4 must be in one split") as caught:
        list(scan(full))
    assert caught.value.where == "protocol/CASIA_HiFiMask@p1_video_test.txt:2"


@pytest.mark.parametrize(
    "line",
    [
        "CASIA_HiFiMask/Data/1_19_2_1_2_5",
        "CASIA_HiFiMask/Data/1_19_2_1_2_5 2",
        "CASIA_HiFiMask/Data/1_19_2_1_2_5 1 1",
        "CASIA_HiFiMask/Data/1_19_9_1_2_5 1",
        "../Data/1_19_2_1_2_5 1",
        "/data/CASIA_HiFiMask/Data/1_19_2_1_2_5 1",
        "train/1_19_2_1_2_5/0000.png 0",
    ],
)
def test_a_malformed_line_is_named_with_its_place(line: str, full: Path) -> None:
    write_p1(full, "p1_video_train", f"Data/2_54_1_6_4_3 1\n{line}\n")
    with pytest.raises(DatasetLayoutError, match="a line must be '<path> <0 or 1>'") as caught:
        list(scan(full))
    assert caught.value.where == "protocol/CASIA_HiFiMask@p1_video_train.txt:2"
    assert repr(line) in caught.value.what


def test_units_of_the_challenge_are_samples_and_for_training(challenge: Path) -> None:
    samples = {s.media_path: s for s in scan(challenge)}
    live, resin = samples["train/2_79_0_1_4_4"], samples["train/1_24_3_1_3_4"]
    assert (live.label, live.subject_id, live.native_label) == (Label.BONA_FIDE, "79", "0")
    assert (resin.label, resin.fine_type, resin.subject_id) == (Label.ATTACK, "resin_mask", "24")
    assert live.split is resin.split is Split.TRAIN
    assert resin.sample_id == "hifi_mask/train/1_24_3_1_3_4"


def test_a_listed_unit_that_is_not_on_disk_is_yielded_all_the_same(challenge: Path) -> None:
    absent = {s.media_path: s for s in scan(challenge)}["train/3_45_1_1_4_3"]
    assert (absent.label, absent.fine_type) == (Label.ATTACK, "transparent_mask")


def test_a_unit_that_is_not_listed_is_told_by_its_name(challenge: Path) -> None:
    build(challenge, "train/2_56_0_4_0_2/0000.png")
    found = {s.media_path: s for s in scan(challenge)}["train/2_56_0_4_0_2"]
    assert (found.label, found.subject_id) == (Label.BONA_FIDE, "56")


def test_anonymous_pictures_are_samples_of_unknown_subject(challenge: Path) -> None:
    live, attack = (s for s in scan(challenge) if s.media_path.startswith("val/"))
    assert (live.media_path, live.label, live.pai_species) == (
        "val/0000/0001.png",
        Label.BONA_FIDE,
        None,
    )
    assert (attack.label, attack.pai_species, attack.fine_type) == (
        Label.ATTACK,
        PaiSpecies.MASK,
        "mask",
    )
    assert (attack.sample_id, attack.native_label) == ("hifi_mask/val/0000/0002", "0")
    assert {live.subject_id, attack.subject_id} == {None}
    assert live.split is attack.split is Split.DEV


def test_the_challenge_without_labels_of_val_is_read(challenge: Path) -> None:
    (challenge / "val_label.txt").unlink()
    assert {s.split for s in scan(challenge)} == {Split.TRAIN}


def test_a_picture_with_two_labels_is_refused(challenge: Path) -> None:
    (challenge / "val_label.txt").write_text("val/0000/0001.png 1\nval/0000/0001.png 0\n")
    with pytest.raises(DatasetLayoutError, match="must have one label, but has two") as caught:
        list(scan(challenge))
    assert caught.value.where == "val_label.txt:2"


@pytest.mark.parametrize("name", ["train_label.txt", "val_label.txt"])
@pytest.mark.parametrize("line", ["val/../../0001.png 1", "train/0000/0001.png 1", "x", "\0 1"])
def test_a_malformed_line_of_the_challenge_is_named(name: str, line: str, challenge: Path) -> None:
    with (challenge / name).open("a") as file:
        file.write(f"\n{line}\n")
    with pytest.raises(DatasetLayoutError, match="a line must be '<path> <0 or 1>'") as caught:
        list(scan(challenge))
    assert caught.value.where.startswith(f"{name}:")


def test_junk_and_other_files_are_passed_over(full: Path, challenge: Path) -> None:
    before = [*scan(full), *scan(challenge)]
    build(full, "readme.md", "Data/Thumbs.db", "Data/.DS_Store", "Data/1_19_2_1_2_5/Thumbs.db")
    build(full, "Data/1_19_2_1_2_5/._0000.png", "Data/Info.txt", "protocol/notes.txt")
    build(challenge, "val/.DS_Store", "train/1_24_3_1_3_4/notes.txt", "README.pdf")
    assert [*scan(full), *scan(challenge)] == before


@pytest.mark.parametrize(
    ("stray", "complaint"),
    [
        ("Data/IMG_0001.png", "must lie in the folder of its unit"),
        ("Data/1_19_2_1_2_5/frame.png", "A frame must be named"),
        ("Data/1_19_2_1_2_5/0000.jpg", "A frame must be named"),
        ("Data/1_19_2_1_2_5/depth/0000.png", "A frame must be named"),
    ],
)
def test_a_stray_file_is_named_with_a_way_out(stray: str, complaint: str, full: Path) -> None:
    with pytest.raises(DatasetLayoutError, match=complaint) as caught:
        list(scan(build(full, stray)))
    assert caught.value.where == stray
    assert repr(stray) in caught.value.what
    assert "Remove the stray" in caught.value.fix


@pytest.mark.parametrize("folder", ["Data/1_19_4_1_2_5", "Data/train", "Data/1_19_2_1_2"])
def test_a_folder_that_is_no_unit_is_refused(folder: str, full: Path) -> None:
    with pytest.raises(DatasetLayoutError, match="A unit must be named like") as caught:
        list(scan(build(full, f"{folder}/0000.png")))
    assert caught.value.where == folder


@pytest.mark.parametrize("stray", ["val/0001.png", "val/0000/1.png", "train/0000/0001.png"])
def test_a_stray_picture_of_the_challenge_is_named(stray: str, challenge: Path) -> None:
    with pytest.raises(DatasetLayoutError, match="must be named like") as caught:
        list(scan(build(challenge, stray)))
    assert stray.startswith(caught.value.where)


@pytest.mark.parametrize(
    "names",
    [
        (),
        ("1_19_2_1_2_5/0000.png",),  # the root of the full release, one folder too deep
        ("train_label.txt",),
        ("train/1_19_2_1_2_5/0000.png",),
    ],
)
def test_a_wrong_root_is_refused(names: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(DatasetLayoutError, match="but has neither") as caught:
        list(scan(build(tmp_path, *names)))
    assert caught.value.where == str(tmp_path)
    assert "not at Data/ itself" in caught.value.fix


def test_ids_do_not_depend_on_where_the_dataset_lies(full: Path, tmp_path: Path) -> None:
    before = [s.sample_id for s in scan(full)]
    assert before == [s.sample_id for s in scan(full.rename(tmp_path / "there"))]


def test_the_adapter_says_that_faces_are_cropped_and_counts_published() -> None:
    assert ADAPTER.is_cropped
    assert (ADAPTER.bona_fide, ADAPTER.attack) == (13_650, 40_950)
