from pathlib import Path

import pytest

from ifas_model.vocabulary import Label, PaiSpecies, Split
from scf_pipeline import adapters
from scf_pipeline.adapters.siw_m_v2 import ADAPTER, scan
from scf_pipeline.errors import DatasetLayoutError

PRINT, REPLAY, MASK = PaiSpecies.PRINT, PaiSpecies.REPLAY, PaiSpecies.MASK
MAKEUP, PARTIAL = PaiSpecies.MAKEUP, PaiSpecies.PARTIAL

BONA_FIDE = ("Live/Live_1.mov", "Live/Live_889.mp4", "Live/Live_902.avi")
ATTACKS = {
    "Spoof/Paper/Paper_20.mov": (PRINT, "print", "Paper"),
    "Spoof/Print/Paper_21.mov": (PRINT, "print", "Paper"),
    "Spoof/Replay/Replay_98.mp4": (REPLAY, "replay", "Replay"),
    "Spoof/Mask_HalfMask/Mask_Half_72.mov": (MASK, "half_mask", "Mask_Half"),
    "Spoof/Mask_PaperMask/Mask_Paper_17.mov": (MASK, "paper_mask", "Mask_Paper"),
    "Spoof/Mask_TransparentMask/Mask_Trans_60.mov": (MASK, "transparent_mask", "Mask_Trans"),
    "Spoof/Silicone/Mask_Silicone_3.mov": (MASK, "silicone_mask", "Mask_Silicone"),
    "Spoof/Mannequin/Mask_Mann_12.mov": (PaiSpecies.MANNEQUIN, "mannequin", "Mask_Mann"),
    "Spoof/Makeup_Cosmetic/Makeup_Co_5.mov": (MAKEUP, "makeup_cosmetic", "Makeup_Co"),
    "Spoof/Makeup_Impersonation/Makeup_Im_1.mov": (MAKEUP, "makeup_impersonation", "Makeup_Im"),
    "Spoof/Makeup_Obfuscation/Makeup_Ob_22.mov": (MAKEUP, "makeup_obfuscation", "Makeup_Ob"),
    "Spoof/Partial_FunnyeyeGlasses/Partial_Funnyeye_158.mov": (
        PARTIAL,
        "partial_funnyeye",
        "Partial_Funnyeye",
    ),
    "Spoof/Partial_PaperGlasses/Partial_Paperglass_76.mov": (
        PARTIAL,
        "partial_paper_glasses",
        "Partial_Paperglass",
    ),
    "Spoof/Partial_Eye/Partial_Eye_57.mov": (PARTIAL, "partial_eye_cut", "Partial_Eye"),
    "Spoof/Partial_Mouth/Partial_Mouth_29.mov": (PARTIAL, "partial_mouth_cut", "Partial_Mouth"),
}


def build(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return build(tmp_path / "SiW-Mv2", *BONA_FIDE, *ATTACKS)


def splits(root: Path) -> dict[str, Split]:
    return {Path(s.media_path).stem: s.split for s in scan(root)}


@pytest.mark.parametrize("name", ATTACKS)
def test_the_prefix_of_an_attack_tells_its_class(name: str, root: Path) -> None:
    sample = {s.media_path: s for s in scan(root)}[name]
    assert sample.label is Label.ATTACK
    assert (sample.pai_species, sample.fine_type, sample.native_label) == ATTACKS[name]
    assert sample.sample_id == f"siw_m_v2/{name.rpartition('.')[0]}"
    assert sample.dataset == "siw_m_v2"


@pytest.mark.parametrize("name", BONA_FIDE)
def test_live_is_bona_fide(name: str, root: Path) -> None:
    sample = {s.media_path: s for s in scan(root)}[name]
    assert (sample.label, sample.pai_species, sample.fine_type) == (Label.BONA_FIDE, None, None)
    assert sample.native_label == "Live"


def test_no_name_tells_the_subject(root: Path) -> None:
    assert {s.subject_id for s in scan(root)} == {None}


def test_without_lists_all_is_for_test(root: Path) -> None:
    assert set(splits(root).values()) == {Split.TEST}
    assert len(splits(root)) == len(BONA_FIDE) + len(ATTACKS)


def test_lists_tell_the_split_wherever_they_lie(root: Path) -> None:
    lists = root / "source_SiW_Mv2" / "pro_3_text"
    lists.mkdir(parents=True)
    (lists / "trainlist_live.txt").write_bytes(b"\xef\xbb\xbfLive_1\r\nLive_7\r\n\r\nLive_1")
    (lists / "testlist_live.txt").write_text("Live_889\n")
    (root / "trainlist_all.txt").write_text("Paper_20\nMask_Mann_12\nPaper_20\n")
    (root / "testlist_all.txt").write_text("Replay_98\n")
    (lists / "train_A_pretrain.txt").write_text("not a stem, not a list of this study\n")
    found = splits(root)
    assert {n for n, s in found.items() if s is Split.TRAIN} == {
        "Live_1",
        "Paper_20",
        "Mask_Mann_12",
    }
    assert found["Live_889"] is found["Replay_98"] is Split.TEST
    assert found["Live_902"] is Split.TEST  # a leftover
    assert "Live_7" not in found  # listed, but not on disk


def test_a_video_in_both_lists_is_refused(root: Path) -> None:
    (root / "testlist_all.txt").write_text("Replay_98\n")
    (root / "trainlist_all.txt").write_text("Paper_20\nReplay_98\n")
    with pytest.raises(DatasetLayoutError, match="'Replay_98' is in train and in test") as caught:
        list(scan(root))
    assert caught.value.where == "trainlist_all.txt:2"


@pytest.mark.parametrize("line", ["../Live_1", "/data/Live_1", "Live_1.mov", "Live 1", "0 Live_1"])
def test_a_malformed_line_is_named_with_its_place(line: str, root: Path) -> None:
    (root / "trainlist_live.txt").write_text(f"Live_1\n{line}\n")
    with pytest.raises(DatasetLayoutError, match="A list must hold stems") as caught:
        list(scan(root))
    assert caught.value.where == "trainlist_live.txt:2"
    assert repr(line) in caught.value.what


def test_a_list_that_is_no_text_is_refused(root: Path) -> None:
    (root / "trainlist_live.txt").write_bytes(b"Live_1\n\xff\xfe")
    with pytest.raises(DatasetLayoutError, match="must be UTF-8 text") as caught:
        list(scan(root))
    assert caught.value.where == "trainlist_live.txt"


def test_an_oversized_list_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapters, "MAX_LIST_BYTES", 10)
    (root / "trainlist_live.txt").write_text("Live_1\nLive_2\n")
    with pytest.raises(DatasetLayoutError, match="at most 10 bytes, but holds 14") as caught:
        list(scan(root))
    assert caught.value.where == "trainlist_live.txt"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Spoof/Replay/Paper_1.mov", "Spoof/Paper or Spoof/Print"),
        ("Spoof/Mask_PaperMask/Paper_1.mov", "Spoof/Paper or Spoof/Print"),
        ("Spoof/Paper/Mask_Paper_1.mov", "Spoof/Mask_PaperMask"),
        ("Spoof/Paper/Live_1.mov", "Live"),
        ("Live/Paper_1.mov", "Spoof/Paper or Spoof/Print"),
        ("Spoof/Print/Partial_Paperglass_1.mov", "Spoof/Partial_PaperGlasses"),
    ],
)
def test_a_folder_of_another_class_is_refused(name: str, expected: str, root: Path) -> None:
    with pytest.raises(DatasetLayoutError, match=f"must lie in {expected}, but lies in") as caught:
        list(scan(build(root, name)))
    assert caught.value.where == name


def test_extensions_may_be_upper_case(root: Path) -> None:
    build(root, "Live/Live_5.MOV")
    assert "Live_5" in splits(root)


def test_junk_and_other_files_are_passed_over(root: Path) -> None:
    before = splits(root)
    build(root, "DRA_form_SIWMv2.pdf", "Live/Thumbs.db", "Live/._Live_1.mov", "Spoof/README.txt")
    assert splits(root) == before


@pytest.mark.parametrize(
    "stray",
    [
        "Live/IMG_0001.mov",
        "Live/Live_1.mkv",
        "Spoof/Live_3.mov",
        "Spoof/Paper/sub/Paper_1.mov",
        "Spoof/Mannequin/Mask_Doll_1.mov",
        "Live/Live_1.png",
        "clip.mp4",
    ],
)
def test_a_stray_file_is_named_with_a_way_out(stray: str, root: Path) -> None:
    with pytest.raises(DatasetLayoutError) as caught:
        list(scan(build(root, stray)))
    assert caught.value.where == stray
    assert repr(stray) in caught.value.what
    assert "Remove the stray file" in caught.value.fix


@pytest.mark.parametrize(
    "name",
    ["Live/Train/1.mov", "Partial/PaperCut/1.mov", "Mask/MannequinHead/1.mov", "Makeup/Co/1.mov"],
)
def test_the_first_version_is_refused(name: str, tmp_path: Path) -> None:
    build(tmp_path, "Paper/1.mov", name)
    with pytest.raises(DatasetLayoutError, match=r"first version \(SiW-M, 2019\)") as caught:
        list(scan(tmp_path))
    assert "second version" in caught.value.fix


@pytest.mark.parametrize(
    ("names", "absent"),
    [((), "Live"), (("Live/Live_1.mov",), "Spoof"), (("Spoof/Paper/Paper_1.mov",), "Live")],
)
def test_a_wrong_root_is_refused(names: tuple[str, ...], absent: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetLayoutError, match=f"must have a '{absent}' folder") as caught:
        list(scan(build(tmp_path, *names)))
    assert caught.value.where == str(tmp_path)
    assert "Point the root at" in caught.value.fix


def test_ids_do_not_depend_on_where_the_dataset_lies(root: Path, tmp_path: Path) -> None:
    before = [s.sample_id for s in scan(root)]
    assert before == [s.sample_id for s in scan(root.rename(tmp_path / "there"))]


def test_published_counts_are_declared() -> None:
    assert (ADAPTER.bona_fide, ADAPTER.attack) == (785, 915)
    assert not ADAPTER.is_cropped
