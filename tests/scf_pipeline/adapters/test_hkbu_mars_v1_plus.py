from pathlib import Path

import pytest

from ifas_model.vocabulary import Label, PaiSpecies, Split
from scf_pipeline.adapters.hkbu_mars_v1_plus import ADAPTER, scan
from scf_pipeline.errors import DatasetLayoutError

BONA_FIDE = {
    "s1/06_01_01.mp4": ("06", "s1"),
    "s2/01_02_05.mp4": ("01", "s2"),
    "s1/12_01_03.avi": ("12", "s1"),
    "real/01/07_06_01.avi": ("01", "real"),
    "real/09/01_01_09.avi": ("09", "real"),
}
ATTACKS = {
    "s3/01_03_05.mp4": ("01", "s3"),
    "s3/08_03_04.mp4": ("08", "s3"),
    "s3/09_03_01.MOV": ("09", "s3"),
    "attack/09/01_01_9.avi": ("09", "attack"),
    "attack/12/03_02_12.AVI": ("12", "attack"),
}


def build(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return build(tmp_path / "HKBU-MARs", *BONA_FIDE, *ATTACKS)


def write_list(root: Path, text: str) -> Path:
    root.mkdir(exist_ok=True)
    (root / "scf_list.csv").write_bytes(text.encode())
    return root


@pytest.mark.parametrize("name", BONA_FIDE)
def test_both_visits_are_bona_fide(name: str, root: Path) -> None:
    sample = {s.media_path: s for s in scan(root)}[name]
    assert (sample.label, sample.pai_species, sample.fine_type) == (Label.BONA_FIDE, None, None)
    assert (sample.subject_id, sample.native_label) == BONA_FIDE[name]
    assert sample.sample_id == f"hkbu_mars_v1_plus/{name.rpartition('.')[0]}"


@pytest.mark.parametrize("name", ATTACKS)
def test_the_third_part_holds_resin_masks(name: str, root: Path) -> None:
    sample = {s.media_path: s for s in scan(root)}[name]
    assert (sample.label, sample.pai_species) == (Label.ATTACK, PaiSpecies.MASK)
    assert sample.fine_type == "resin_mask"
    assert (sample.subject_id, sample.native_label) == ATTACKS[name]
    assert sample.sample_id == f"hkbu_mars_v1_plus/{name.rpartition('.')[0]}"


def test_all_is_for_test_since_no_split_is_official(root: Path) -> None:
    samples = list(scan(root))
    assert len(samples) == len(BONA_FIDE) + len(ATTACKS)
    assert {s.split for s in samples} == {Split.TEST}


@pytest.mark.parametrize("suffix", ["mp4", "avi", "mov", "MP4"])
@pytest.mark.parametrize("stem", ["s1/02_01_02", "attack/03/05_06_03"])
def test_any_of_the_known_extensions_will_do(stem: str, suffix: str, tmp_path: Path) -> None:
    (sample,) = scan(build(tmp_path, f"{stem}.{suffix}"))
    assert sample.sample_id == f"hkbu_mars_v1_plus/{stem}"


def test_junk_and_other_files_are_passed_over(root: Path) -> None:
    before = list(scan(root))
    build(root, "Thumbs.db", "s1/.DS_Store", "s1/._06_01_01.mp4", "readme.txt", "s3/agreement.pdf")
    assert list(scan(root)) == before


@pytest.mark.parametrize(
    "stray",
    [
        "s1/IMG_0001.mp4",
        "s1/06_03_01.mp4",  # the session of a mask in a folder of faces
        "s3/06_01_01.mp4",
        "s3/13_03_01.mp4",
        "s4/06_04_01.mp4",
        "s1/06_01_01.mkv",
        "real/01/08_01_01.avi",
        "attack/09/01_01_8.avi",  # another subject's folder
        "demo.mp4",
        "s1/06_01_01.jpg",
    ],
)
def test_a_stray_file_is_named_with_a_way_out(stray: str, root: Path) -> None:
    with pytest.raises(DatasetLayoutError) as caught:
        list(scan(build(root, stray)))
    assert caught.value.where == stray
    assert repr(stray) in caught.value.what
    assert "Remove the stray file, or list the videos in scf_list.csv" in caught.value.fix


@pytest.mark.parametrize("names", [(), ("readme.txt",), ("train/real/client001.mov",)])
def test_a_wrong_root_is_refused(names: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(DatasetLayoutError, match="must have the folders s1, s2 and s3") as caught:
        list(scan(build(tmp_path, *names)))
    assert caught.value.where == str(tmp_path)
    assert "scf_list.csv (path,is_live,subject)" in caught.value.fix


def test_a_list_of_the_users_own_tells_what_names_do_not(tmp_path: Path) -> None:
    build(tmp_path, "clips/a.mp4", "clips/b.mp4")
    write_list(
        tmp_path,
        "\ufeffpath,is_live,subject\r\nclips/a.mp4,1,09\r\n\r\n"
        '"clips/b.mp4", 0 ,\r\n./clips/absent.avi,FALSE,10\r\n',
    )
    a, b, absent = scan(tmp_path)
    assert (a.label, a.subject_id, a.native_label) == (Label.BONA_FIDE, "09", "1")
    assert (a.pai_species, a.fine_type, a.split) == (None, None, Split.TEST)
    assert (b.label, b.pai_species, b.fine_type) == (Label.ATTACK, PaiSpecies.MASK, "resin_mask")
    assert (b.subject_id, b.native_label) == (None, "0")
    assert (absent.label, absent.media_path) == (Label.ATTACK, "clips/absent.avi")
    assert absent.sample_id == "hkbu_mars_v1_plus/clips/absent"


def test_a_list_wins_over_the_names(tmp_path: Path) -> None:
    build(tmp_path, "s1/subject six, take one.mp4", "s3/06_03_01.mp4")
    write_list(tmp_path, 'subject,is_live,path\n06,true,"s1/subject six, take one.mp4"\n')
    (sample,) = scan(tmp_path)
    assert (sample.subject_id, sample.label) == ("06", Label.BONA_FIDE)
    assert sample.media_path == "s1/subject six, take one.mp4"


@pytest.mark.parametrize(
    "path",
    [
        "../other/a.mp4",
        "s1/../../a.mp4",
        "/data/a.mp4",
        "C:/data/a.mp4",
        "C:a.mp4",
        "//host/share/a.mp4",
        "\\\\host\\share\\a.mp4",
        "s1/\x1b[2Ja.mp4",
        "s1/\u202ea.mp4",
        "s1\\a.mp4",
        "..\\a.mp4",
        "a\0.mp4",
        ".",
        "",
    ],
)
def test_a_listed_path_stays_below_the_root(path: str, tmp_path: Path) -> None:
    write_list(tmp_path, f"path,is_live,subject\ngood.mp4,1,01\n{path},1,01\n")
    with pytest.raises(DatasetLayoutError, match="`path` must lie below the root") as caught:
        list(scan(tmp_path))
    assert caught.value.where == "scf_list.csv:3"


@pytest.mark.parametrize(
    ("text", "line", "complaint"),
    [
        ("", "", "columns must be path, is_live, subject"),
        ("a.mp4,1,01\n", ":1", "columns must be path, is_live, subject"),
        ("path,is_live\n", ":1", "columns must be"),
        ("path,is_live,subject\na.mp4,1\n", ":2", "must have 3 fields, but has 2"),
        ("path,is_live,subject\na.mp4,1,01,x\n", ":2", "must have 3 fields, but has 4"),
        ("path,is_live,subject\n\na.mp4,live,01\n", ":3", "must be 0 or 1, but is 'live'"),
        ("path,is_live,subject\na.mp4,-1,01\n", ":2", "must be 0 or 1, but is '-1'"),
        ('path,is_live,subject\n"a.mp4,1,01\n', ":3", "must be valid csv"),
        ("path,is_live,subject\na.mp4,1,01\n./a.avi,0,01\n", ":3", "must be listed once"),
    ],
)
def test_a_malformed_list_is_named_with_its_line(
    text: str, line: str, complaint: str, tmp_path: Path
) -> None:
    write_list(tmp_path, text)
    with pytest.raises(DatasetLayoutError, match=complaint) as caught:
        list(scan(tmp_path))
    assert caught.value.where == f"scf_list.csv{line}"
    assert "scf_list.csv" in caught.value.fix


def test_ids_do_not_depend_on_where_the_dataset_lies(root: Path, tmp_path: Path) -> None:
    before = [s.sample_id for s in scan(root)]
    assert before == [s.sample_id for s in scan(root.rename(tmp_path / "there"))]


def test_published_counts_are_declared() -> None:
    assert (ADAPTER.bona_fide, ADAPTER.attack) == (120, 60)
    assert not ADAPTER.is_cropped
