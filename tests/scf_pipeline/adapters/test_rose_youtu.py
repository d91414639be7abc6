from pathlib import Path

import pytest

from ifas_model.vocabulary import Label, PaiSpecies, Split
from scf_pipeline.adapters.rose_youtu import ADAPTER, scan
from scf_pipeline.errors import DatasetLayoutError

BONA_FIDE, ATTACK = Label.BONA_FIDE, Label.ATTACK
PRINT, REPLAY, MASK = PaiSpecies.PRINT, PaiSpecies.REPLAY, PaiSpecies.MASK

CASES = {
    "13/G_NT_5s_g_E_13_1.mp4": (BONA_FIDE, None, None, Split.TEST, "13", "G"),
    "10/G_NT_5s_wg_E_10_1.mp4": (BONA_FIDE, None, None, Split.TRAIN, "10", "G"),
    "10/Mc_NT_5s_g_E_10_26.mp4": (ATTACK, MASK, "paper_mask_cropped", Split.TRAIN, "10", "Mc"),
    "10/Vl_NT_5s_wg_E_10_115.mp4": (ATTACK, REPLAY, "replay_lenovo", Split.TRAIN, "10", "Vl"),
    "10/Pq_NT_5s_wg_E_10_75.mp4": (ATTACK, PRINT, "print_quiver", Split.TRAIN, "10", "Pq"),
    "9/Vm_NT_ZTE_wg_E_9_180.mp4": (ATTACK, REPLAY, "replay_mac", Split.TRAIN, "9", "Vm"),
    "2/Ps_NT_HS_g_E_2_50.mp4": (ATTACK, PRINT, "print_still", Split.TRAIN, "2", "Ps"),
    "12/Mf_NT_HW_wg_E_12_40.mp4": (ATTACK, MASK, "paper_mask_full", Split.TRAIN, "12", "Mf"),
    "20/Mu_T_IP_g_E_20_30.mp4": (ATTACK, MASK, "paper_mask_upper", Split.TEST, "20", "Mu"),
    "23/Ml_NT_IP_g_E_23_31.mp4": (ATTACK, MASK, "paper_mask_lower", Split.TEST, "23", "Ml"),
}


def build(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


@pytest.mark.parametrize("name", CASES)
def test_each_name_tells_label_species_kind_split_and_subject(name: str, tmp_path: Path) -> None:
    (s,) = scan(build(tmp_path, name))
    found = (s.label, s.pai_species, s.fine_type, s.split, s.subject_id, s.native_label)
    assert found == CASES[name]
    assert (s.media_path, s.sample_id) == (name, f"rose_youtu/{name.removesuffix('.mp4')}")
    assert s.dataset == "rose_youtu"


def test_the_whole_tree_is_read_in_a_stable_order(tmp_path: Path) -> None:
    build(tmp_path, *reversed(CASES))
    found = [s.media_path for s in scan(tmp_path)]
    assert sorted(found) == sorted(CASES)
    assert found == [s.media_path for s in scan(tmp_path)]


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("_2/G_NT_5s_g_E_2_1.mp4", Split.TRAIN),
        ("_13/G_NT_5s_g_E_13_1.mp4", Split.TEST),
        ("train/13/G_NT_5s_g_E_13_1.mp4", Split.TRAIN),  # the level decides, not the subject
        ("test/_2/G_NT_5s_g_E_2_1.mp4", Split.TEST),
        ("8/G_NT_5s_g_E_8_1.mp4", Split.TEST),  # not among the twenty released subjects
    ],
)
def test_variants_of_the_tree_are_read(name: str, split: Split, tmp_path: Path) -> None:
    (sample,) = scan(build(tmp_path, name))
    assert sample.split is split
    assert sample.subject_id == name.split("_E_")[1].split("_")[0]


def test_twenty_subjects_split_into_ten_and_ten(tmp_path: Path) -> None:
    subjects = [*range(2, 8), *range(9, 19), *range(20, 24)]
    build(tmp_path, *(f"{n}/G_NT_5s_g_E_{n}_1.mp4" for n in subjects))
    splits = {int(str(s.subject_id)): s.split for s in scan(tmp_path)}
    train = {n for n, split in splits.items() if split is Split.TRAIN}
    assert train == {2, 3, 4, 5, 6, 7, 9, 10, 11, 12}
    assert len(splits) - len(train) == 10


def test_extensions_may_be_upper_case(tmp_path: Path) -> None:
    (sample,) = scan(build(tmp_path, "10/G_NT_5s_wg_E_10_1.MP4"))
    assert sample.media_path.endswith(".MP4")


def test_junk_and_other_files_are_passed_over(tmp_path: Path) -> None:
    name = "10/G_NT_5s_wg_E_10_1.mp4"
    build(tmp_path, name, "Thumbs.db", "10/.DS_Store", "10/._G_NT_5s_wg_E_10_1.mp4", "README.pdf")
    assert [s.media_path for s in scan(tmp_path)] == [name]


@pytest.mark.parametrize(
    "stray",
    [
        "10/IMG_0001.mp4",
        "clip.avi",
        "10/G_NT_5s_wg_E_10_1.avi",
        "10/Xx_NT_5s_wg_E_10_1.mp4",
        "10/G_NT_5s_wg_E_11_1.mp4",  # another subject's folder
        "10/frames/0001.jpg",
    ],
)
def test_a_stray_file_is_named_with_a_way_out(stray: str, tmp_path: Path) -> None:
    build(tmp_path, "10/G_NT_5s_wg_E_10_2.mp4", stray)
    with pytest.raises(DatasetLayoutError) as caught:
        list(scan(tmp_path))
    assert caught.value.where == stray
    assert repr(stray) in caught.value.what
    assert "Remove the stray file" in caught.value.fix


@pytest.mark.parametrize("names", [(), ("Train/live/003/003-1-1-1-1.mov",), ("readme.txt",)])
def test_a_wrong_root_is_refused(names: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(DatasetLayoutError, match="a folder for each subject") as caught:
        list(scan(build(tmp_path, *names)))
    assert caught.value.where == str(tmp_path)
    assert "Point the root at" in caught.value.fix


def test_an_absent_root_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetLayoutError, match="a folder for each subject"):
        list(scan(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    "name",
    ["client/rgb/test/2_G_NT_5s_g_E_2_1.jpg", "rgb/adaptation/2_G_NT_5s_g_E_2_1.jpg"],
)
def test_the_derived_release_of_pictures_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetLayoutError, match="derived release of pictures") as caught:
        list(scan(build(tmp_path, name)))
    assert "Obtain the videos" in caught.value.fix


def test_ids_do_not_depend_on_where_the_dataset_lies(tmp_path: Path) -> None:
    root = build(tmp_path / "here", *CASES)
    before = [s.sample_id for s in scan(root)]
    assert before == [s.sample_id for s in scan(root.rename(tmp_path / "there"))]


def test_the_decoder_alone_turns_the_pictures() -> None:
    assert {ADAPTER.rotation(name) for name in CASES} == {0}


def test_published_counts_are_declared() -> None:
    assert (ADAPTER.bona_fide, ADAPTER.attack) == (897, 2_600)
    assert not ADAPTER.is_cropped
