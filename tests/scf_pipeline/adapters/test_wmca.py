from collections import Counter
from pathlib import Path

import pytest

from ifas_model.vocabulary import Label, PaiSpecies, Split
from scf_pipeline.adapters.wmca import ADAPTER, scan
from scf_pipeline.errors import DatasetLayoutError

RGB = "preprocessed-face-station_RGB/face-station"
CDIT = "preprocessed-face-station_CDIT/face-station"
MASK, REPLAY = PaiSpecies.MASK, PaiSpecies.REPLAY

CASES = {
    "12.02.18/005_03_000_0_01": (Label.BONA_FIDE, None, None, "005", "0_01"),
    "31.01.18/514_01_035_1_05": (
        Label.ATTACK,
        PaiSpecies.PARTIAL,
        "partial_glasses",
        "514",
        "1_05",
    ),
    "17.01.18/002_01_003_2_81": (Label.ATTACK, MASK, "silicone_mask", "002", "2_81"),
    "12.02.18/100_03_015_2_10": (Label.ATTACK, MASK, "paper_mask", "100", "2_10"),
    "31.01.18/098_01_035_3_13": (Label.ATTACK, PaiSpecies.PRINT, "print_flat", "098", "3_13"),
    "15.05.18/019_05_069_4_07": (Label.ATTACK, REPLAY, "replay_video", "019", "4_07"),
    "14.03.18/505_04_010_2_06": (Label.ATTACK, PaiSpecies.MANNEQUIN, "fake_head", "505", "2_06"),
    "24.01.18/001_01_014_2_12": (Label.ATTACK, MASK, "rigid_mask", "001", "2_12"),
    "24.01.18/001_01_014_1_02": (Label.ATTACK, MASK, "rigid_mask", "001", "1_02"),
    "15.03.18/001_04_000_3_05": (Label.ATTACK, REPLAY, "replay_photo", "001", "3_05"),
}


def build(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return build(tmp_path / "WMCA", *(f"{RGB}/{key}.hdf5" for key in CASES))


def splits(root: Path) -> dict[str, Split]:
    return {"/".join(s.sample_id.split("/")[-2:]): s.split for s in scan(root)}


@pytest.mark.parametrize("key", CASES)
def test_type_and_instrument_tell_label_species_and_kind(key: str, root: Path) -> None:
    name = f"{RGB}/{key}.hdf5"
    s = {s.media_path: s for s in scan(root)}[name]
    found = (s.label, s.pai_species, s.fine_type, s.subject_id, s.native_label)
    assert found == CASES[key]
    assert (s.dataset, s.sample_id) == ("wmca", f"wmca/{RGB}/{key}")


def test_each_category_has_its_instruments_and_no_other(tmp_path: Path) -> None:
    known: Counter[tuple[str, str | None]] = Counter()
    for kind in "01234":
        for pai in range(100):
            root = build(tmp_path / f"{kind}_{pai}", f"01.01.18/001_01_001_{kind}_{pai:02}.hdf5")
            build(root, "01.01.18/001_01_000_0_00.hdf5")
            try:
                samples = {s.native_label: s for s in scan(root)}
            except DatasetLayoutError as error:
                assert "a known type and instrument" in error.what  # noqa: PT017 - most pairs do raise
                continue
            known[kind, samples[f"{kind}_{pai:02}"].fine_type] += 1
    assert known == {
        ("0", None): 3,
        ("1", "partial_glasses"): 7,
        ("1", "rigid_mask"): 3,
        ("2", "fake_head"): 7,
        ("2", "paper_mask"): 4,
        ("2", "rigid_mask"): 6,
        ("2", "silicone_mask"): 26,
        ("3", "print_flat"): 12,
        ("3", "replay_photo"): 3,
        ("4", "replay_video"): 18,
    }


@pytest.mark.parametrize("pair", ["0_03", "1_03", "1_17", "2_00", "2_19", "2_74", "3_16", "4_19"])
def test_an_unknown_instrument_is_refused(pair: str, root: Path) -> None:
    stray = f"{RGB}/01.01.18/001_01_001_{pair}.hdf5"
    with pytest.raises(DatasetLayoutError, match="a known type and instrument") as caught:
        list(scan(build(root, stray)))
    assert caught.value.where == stray


@pytest.mark.parametrize(
    "folder",
    [
        "preprocessed-face-station_RGB",
        "WMCA_preprocessed_RGB/WMCA/face-station",
        "face-station",
        "WMCA_RGB_CDIT/RGB/face-station",
        "WMCA_CDIT_too/preprocessed_rgb",
    ],
)
def test_the_rgb_pack_is_found_below_any_folder(folder: str, tmp_path: Path) -> None:
    name = f"{folder}/12.02.18/100_03_015_2_10.hdf5"
    (sample,) = scan(build(tmp_path, name))
    assert sample.media_path == name


def test_the_rgb_pack_may_lie_right_in_the_root(tmp_path: Path) -> None:
    (sample,) = scan(build(tmp_path, "12.02.18/100_03_015_2_10.HDF5"))
    assert sample.sample_id == "wmca/12.02.18/100_03_015_2_10"


def test_the_pack_of_other_channels_is_passed_over(root: Path) -> None:
    before = list(scan(root))
    build(root, *(f"{CDIT}/{key}.hdf5" for key in CASES), f"{CDIT}/stray.hdf5")
    build(root, "WMCA_RGB_and_CDIT/CDIT/12.02.18/005_03_000_0_00.hdf5")
    assert list(scan(root)) == before


def test_without_a_list_all_is_for_test(root: Path) -> None:
    assert set(splits(root).values()) == {Split.TEST}


@pytest.mark.parametrize("header", ["", "path,label,group\r\n", "\ufefffilename,set\n\n"])
@pytest.mark.parametrize("folder", ["face-station/", "", "WMCA/face-station/"])
def test_the_official_list_tells_the_split(header: str, folder: str, root: Path) -> None:
    path = root / "protocols" / "PROTOCOL-grandtest.csv"
    path.parent.mkdir()
    path.write_bytes(
        f"{header}{folder}12.02.18/005_03_000_0_01,0,train\r\n"
        f"{folder}31.01.18/514_01_035_1_05,1,dev\r\n"
        f"{folder}17.01.18/002_01_003_2_81,1,eval\r\n"
        f"{folder}17.01.18/999_01_003_2_81,1,train\r\n".encode()
    )
    (root / "PROTOCOL-LOO_glasses.csv").write_text("15.05.18/019_05_069_4_07,train\n")
    found = splits(root)
    assert found.pop("12.02.18/005_03_000_0_01") is Split.TRAIN
    assert found.pop("31.01.18/514_01_035_1_05") is Split.DEV
    assert set(found.values()) == {Split.TEST}  # eval, and what the list leaves out
    assert len(found) == len(CASES) - 2


@pytest.mark.parametrize("name", ["PROTOCOL-grandtest.csv", "WMCA_Grandtest.txt"])
def test_the_list_of_the_casia_repository_tells_the_split(name: str, root: Path) -> None:
    (root / name).write_text(
        ",client_id,filepath,group,label\n"
        "7,5,face-station/12.02.18/005_03_000_0_01,train,bonafide\n"
        "1473,514,face-station/31.01.18/514_01_035_1_05,dev,attack\n"
    )
    found = splits(root)
    assert found["12.02.18/005_03_000_0_01"] is Split.TRAIN
    assert found["31.01.18/514_01_035_1_05"] is Split.DEV


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("face-station/12.02.18/005_03_000_0_01,trian", "one path and train, dev or eval"),
        ("face-station/12.02.18/005_03_000_0_01", "one path and train, dev or eval"),
        ("005_03_000_0_01,train", "one path and train, dev or eval"),
        ("train", "one path and train, dev or eval"),
        ("words", "one path and train, dev or eval"),
        ("../12.02.18/005_03_000_0_01,train", "must lie below the root"),
        ("/data/12.02.18/005_03_000_0_01,train", "must lie below the root"),
        ("1,5,12.02.18/005_03_000_0_01,train,attack", "label must agree"),
        ("1,514,31.01.18/514_01_035_1_05,train,bonafide", "label must agree"),
        ("x/12.02.18/005_03_000_0_00,eval", "must be in one split, but is in two"),
    ],
)
def test_a_malformed_row_is_named_with_its_place(row: str, complaint: str, root: Path) -> None:
    (root / "PROTOCOL-grandtest.csv").write_text(f"12.02.18/005_03_000_0_00,train\n{row}\n")
    with pytest.raises(DatasetLayoutError, match=complaint) as caught:
        list(scan(root))
    assert caught.value.where == "PROTOCOL-grandtest.csv:2"
    assert "official" in caught.value.fix


def test_a_sequence_that_lies_there_twice_is_refused(root: Path) -> None:
    copy = "unpacked_RGB/12.02.18/005_03_000_0_01.hdf5"
    with pytest.raises(DatasetLayoutError, match="once, but is also 'preprocessed") as caught:
        list(scan(build(root, copy)))
    assert caught.value.where == copy


def test_junk_and_other_files_are_passed_over(root: Path) -> None:
    before = list(scan(root))
    build(root, "documentation/attack_illustration_files.csv", "README.txt", f"{RGB}/Thumbs.db")
    build(root, f"{RGB}/12.02.18/._005_03_000_0_01.hdf5", f"{RGB}/.DS_Store")
    assert list(scan(root)) == before


@pytest.mark.parametrize(
    "stray",
    [
        f"{RGB}/12.02.18/frames.hdf5",
        f"{RGB}/12.02.18/005_03_000_5_01.hdf5",
        f"{RGB}/005_03_000_0_01.hdf5",
        f"{RGB}/12.02.18_005_03_000_0_01.hdf5",
        f"{RGB}/06.05.19/1_03_0005_0000_00_00_000-54e6d0d6.h5",  # HQ-WMCA
        f"{RGB}/12.02.18/0001.png",
    ],
)
def test_a_stray_file_is_named_with_a_way_out(stray: str, root: Path) -> None:
    with pytest.raises(DatasetLayoutError) as caught:
        list(scan(build(root, stray)))
    assert caught.value.where == stray
    assert repr(stray) in caught.value.what
    assert "Remove the stray file; HQ-WMCA" in caught.value.fix


@pytest.mark.parametrize(
    "names", [(), ("Data/train/1/live/000001.jpg",), (f"{CDIT}/12.02.18/005_03_000_0_01.hdf5",)]
)
def test_a_wrong_root_is_refused(names: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(DatasetLayoutError, match="must have sequences of its RGB pack") as caught:
        list(scan(build(tmp_path, *names)))
    assert caught.value.where == str(tmp_path)
    assert "preprocessed-face-station_RGB" in caught.value.fix


def test_an_absent_root_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetLayoutError, match="must have sequences of its RGB pack"):
        list(scan(tmp_path / "nowhere"))


def test_ids_do_not_depend_on_where_the_dataset_lies(root: Path, tmp_path: Path) -> None:
    before = [s.sample_id for s in scan(root)]
    there = tmp_path / "CDIT" / "there"
    there.parent.mkdir()
    assert before == [s.sample_id for s in scan(root.rename(there))]


def test_the_adapter_says_that_faces_are_cropped_and_counts_published() -> None:
    assert ADAPTER.is_cropped
    assert (ADAPTER.bona_fide, ADAPTER.attack) == (347, 1_332)
