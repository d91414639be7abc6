import json
import logging
from pathlib import Path

import pytest

from ifas_model.vocabulary import Label, PaiSpecies, Split
from scf_pipeline.adapters import Frame, celeba_spoof
from scf_pipeline.adapters.celeba_spoof import ADAPTER, KINDS, boxes, scan
from scf_pipeline.errors import DatasetLayoutError
from scf_pipeline.schema import Sample

SPOOF = "Data/train/4980/spoof/000003.jpg"
NEGATIVE_BOX = "Data/train/3025/spoof/029572.jpg"
LIVE = "Data/train/732/live/040170.jpg"
WRONG_FOLDER = "Data/train/997/live/125049.jpg"
NO_FILE = "Data/train/732/live/040171.jpg"
TEST_SPOOF = "Data/test/6964/spoof/494405.png"
TEST_LIVE = "Data/test/9994/live/558944.png"
FRAME = Frame(448, 112)


def annotation(kind: int, liveness: int | None = None) -> list[int]:
    live = kind == 0
    return [
        *[0] * 40,
        kind,
        int(not live),
        int(not live),
        int(not live) if liveness is None else liveness,
    ]


TRAIN = {
    SPOOF: annotation(5),
    NEGATIVE_BOX: annotation(1),
    LIVE: annotation(0),
    WRONG_FOLDER: annotation(7),
    NO_FILE: annotation(0),
}
TEST = {TEST_SPOOF: annotation(10), TEST_LIVE: annotation(0)}


def touch(path: Path, text: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def write_release(root: Path) -> Path:
    for key in (*TRAIN, *TEST):
        if key != NO_FILE:
            touch(root / key)
    touch(root / "metas/intra_test/train_label.json", json.dumps(TRAIN))
    touch(root / "metas/intra_test/test_label.json", json.dumps(TEST))
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_release(tmp_path / "CelebA_Spoof")


def by_path(root: Path) -> dict[str, Sample]:
    return {sample.media_path: sample for sample in scan(root)}


def test_scan_reads_label_species_split_and_subject(root: Path) -> None:
    samples = by_path(root)
    spoof, live = samples[SPOOF], samples[LIVE]
    assert spoof.sample_id == "celeba_spoof/Data/train/4980/spoof/000003"
    assert (spoof.label, spoof.pai_species) == (Label.ATTACK, PaiSpecies.MASK)
    assert (spoof.fine_type, spoof.native_label) == ("paper_mask_upper_body", "5")
    assert (spoof.split, spoof.subject_id) == (Split.TRAIN, "4980")
    assert (live.label, live.pai_species, live.fine_type) == (Label.BONA_FIDE, None, None)
    assert (live.native_label, live.subject_id) == ("0", "732")
    assert samples[TEST_SPOOF].split is samples[TEST_LIVE].split is Split.TEST
    assert (samples[TEST_SPOOF].fine_type, samples[TEST_SPOOF].subject_id) == ("mask_3d", "6964")


def test_spoof_types_map_as_the_table_of_the_dataset_says() -> None:
    species = {kind: str(species) for kind, (species, _) in KINDS.items()}
    assert species == {
        **dict.fromkeys((1, 2, 3), "print"),
        **dict.fromkeys((4, 5, 6, 10), "mask"),
        **dict.fromkeys((7, 8, 9), "replay"),
    }
    assert [fine_type for _, fine_type in KINDS.values()] == [
        *("print_photo", "print_poster", "print_a4"),
        *("paper_mask_face", "paper_mask_upper_body", "paper_mask_region"),
        *("replay_pc", "replay_pad", "replay_phone"),
        "mask_3d",
    ]


def test_the_annotation_is_believed_and_the_folder_is_not(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        sample = by_path(root)[WRONG_FOLDER]
    assert (sample.label, sample.pai_species) == (Label.ATTACK, PaiSpecies.REPLAY)
    assert sample.native_label == "7"
    assert "1 of 7 pictures lie in a folder that contradicts" in caplog.text


def test_a_listed_picture_without_a_file_is_yielded(root: Path) -> None:
    assert not (root / NO_FILE).exists()
    assert by_path(root)[NO_FILE].label is Label.BONA_FIDE


def test_files_that_no_annotation_lists_are_passed_over(root: Path) -> None:
    before = list(scan(root))
    touch(root / "Data/train_2/4980/spoof/000009.jpg")
    touch(root / "Data/train/4980/spoof/Thumbs.db")
    touch(root / "Data/train/4980/spoof/000010.jpg")
    assert list(scan(root)) == before


def test_samples_are_sorted_whatever_the_order_of_the_annotation(root: Path) -> None:
    before = list(scan(root))
    assert [sample.sample_id for sample in before] == sorted(s.sample_id for s in before)
    reverse = dict(reversed(TRAIN.items()))
    touch(root / "metas/intra_test/train_label.json", json.dumps(reverse))
    assert list(scan(root)) == before


def test_ids_do_not_depend_on_where_the_dataset_lies(root: Path, tmp_path: Path) -> None:
    before = [sample.sample_id for sample in scan(root)]
    moved = root.rename(tmp_path / "moved")
    assert [sample.sample_id for sample in scan(moved)] == before


@pytest.mark.parametrize("above", ["CelebA_Spoof", "CelebA_Spoof/CelebA_Spoof"])
def test_a_doubled_top_folder_changes_paths_but_not_ids(tmp_path: Path, above: str) -> None:
    write_release(tmp_path / "copy" / above)
    sample = next(scan(tmp_path / "copy"))
    assert sample.media_path.startswith(f"{above}/Data/")
    assert sample.sample_id.startswith("celeba_spoof/Data/")


def test_capitalised_folders_are_found_on_disk_and_keep_their_ids(root: Path) -> None:
    before = by_path(root)[SPOOF]
    (root / SPOOF).parent.rename(root / "Data/train/4980/Spoof")
    after = by_path(root)["Data/train/4980/Spoof/000003.jpg"]
    assert (after.sample_id, after.label) == (before.sample_id, before.label)


def test_capitalised_keys_and_either_suffix_are_read(root: Path) -> None:
    key = "Data/train/1/Live/000001.PNG"
    touch(root / "metas/intra_test/train_label.json", json.dumps({key: annotation(0)}))
    assert by_path(root)[key].label is Label.BONA_FIDE


def test_annotations_are_searched_for_where_the_intra_test_is_absent(root: Path) -> None:
    before = list(scan(root))
    (root / "metas/intra_test").rename(root / "metas/somewhere")
    touch(root / "metas/protocol1/all.JSON", json.dumps(TEST))
    touch(root / "metas/protocol1/._all.json", "not json")
    assert list(scan(root)) == before


def test_only_the_intra_test_is_read_where_it_is_there(root: Path) -> None:
    before = list(scan(root))
    touch(root / "metas/protocol1/train_label.json", json.dumps({SPOOF: annotation(1)}))
    assert list(scan(root)) == before


def test_a_lone_official_annotation_is_read_and_reported(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (root / "metas/intra_test/test_label.json").unlink()
    assert {sample.split for sample in scan(root)} == {Split.TRAIN}
    assert "only train_label.json" in caplog.text


def test_annotations_that_contradict_each_other_are_refused(root: Path) -> None:
    touch(root / "metas/intra_test/test_label.json", json.dumps({LIVE: annotation(3)}))
    with pytest.raises(DatasetLayoutError, match="annotated the same everywhere") as caught:
        list(scan(root))
    assert caught.value.where == "metas/intra_test/test_label.json"


@pytest.mark.parametrize(
    "key",
    [
        "../../secret.jpg",
        "/etc/Data/train/1/live/000001.jpg",
        "Data/train/../../../live/000001.jpg",
        "Data/train/4980/spoof/../000003.jpg",
        "Data/train/4980/other/000003.jpg",
        "Data/train/4980/spoof/3.jpg",
        f"Data/train/{'1' * 20}/spoof/000003.jpg",
        "Data/train/٣/spoof/000003.jpg",
        "Data\\train\\4980\\spoof\\000003.jpg",
        "C:Data/train/4980/spoof/000003.jpg",
        "//host/Data/train/4980/spoof/000003.jpg",
        "Data/train/4980/spoof/000003.jpg\0",
        "Data/train/4980/spoof/000003.jpg\n",
        "",
    ],
)
def test_a_key_that_is_no_official_path_is_refused_by_name(root: Path, key: str) -> None:
    touch(root / "metas/intra_test/train_label.json", json.dumps({key: annotation(0)}))
    with pytest.raises(DatasetLayoutError) as caught:
        list(scan(root))
    assert repr(key) in caught.value.what
    assert caught.value.where == "metas/intra_test/train_label.json"


def test_a_key_too_long_for_a_file_is_refused_in_few_words(root: Path) -> None:
    key = f"Data/train/{'1' * 5000}/spoof/000003.jpg"
    touch(root / "metas/intra_test/train_label.json", json.dumps({key: annotation(0)}))
    with pytest.raises(DatasetLayoutError) as caught:
        list(scan(root))
    assert len(caught.value.what) < 300
    assert caught.value.where == "metas/intra_test/train_label.json"


SHORT = annotation(1)[:43]


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(SHORT, id="43 numbers"),
        pytest.param([*annotation(0), 0], id="45 numbers"),
        pytest.param(annotation(0, liveness=1), id="an attack without type"),
        pytest.param(annotation(11), id="an unknown type"),
        pytest.param(annotation(1, liveness=2), id="an unknown liveness"),
        pytest.param([*SHORT, "1"], id="a text"),
        pytest.param([*SHORT, True], id="a truth value"),
        pytest.param([*SHORT, []], id="a list"),
        pytest.param({"liveness": 1}, id="an object"),
        pytest.param(None, id="null"),
    ],
)
def test_a_malformed_annotation_is_refused_with_its_key(root: Path, values: object) -> None:
    touch(root / "metas/intra_test/train_label.json", json.dumps({SPOOF: values}))
    with pytest.raises(DatasetLayoutError, match="must be 44 integers") as caught:
        list(scan(root))
    assert repr(SPOOF) in caught.value.what


def test_liveness_decides_even_where_a_live_row_names_a_spoof_type(root: Path) -> None:
    touch(root / "metas/intra_test/train_label.json", json.dumps({LIVE: annotation(3, liveness=0)}))
    sample = by_path(root)[LIVE]
    assert (sample.label, sample.pai_species, sample.native_label) == (Label.BONA_FIDE, None, "3")


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "[" * 100_000, "\udcff"])
def test_an_unreadable_annotation_is_named(root: Path, text: str) -> None:
    path = root / "metas/intra_test/train_label.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DatasetLayoutError, match="must be a JSON object") as caught:
        list(scan(root))
    assert caught.value.where == "metas/intra_test/train_label.json"


def test_an_annotation_without_end_is_not_read(root: Path, monkeypatch) -> None:
    monkeypatch.setattr(celeba_spoof, "MAX_ANNOTATION_BYTES", 30)
    with pytest.raises(DatasetLayoutError, match="at most 30 bytes, but holds more"):
        list(scan(root))


def test_what_an_error_tells_of_an_annotation_is_short(root: Path) -> None:
    deep = "[" * 900 + "]" * 900
    for text in (
        f'{{"{SPOOF}": {deep}}}',
        f'{{"{SPOOF}": [{"7, " * 99_999} 7]}}',
        f'{{"{"x" * 10**6}": 1}}',
    ):
        touch(root / "metas/intra_test/train_label.json", text)
        with pytest.raises(DatasetLayoutError) as caught:
            list(scan(root))
        assert len(caught.value.what) < 500


def test_a_wrong_root_is_refused_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "Data").mkdir()
    for wrong in (tmp_path, tmp_path / "absent"):
        with pytest.raises(DatasetLayoutError, match="'Data' and 'metas', but 0") as caught:
            next(scan(wrong))
        assert caught.value.where == str(wrong)
        assert "Point the root" in caught.value.fix


def test_two_copies_below_the_root_are_refused(tmp_path: Path) -> None:
    write_release(tmp_path / "a")
    write_release(tmp_path / "b")
    with pytest.raises(DatasetLayoutError, match="but 2 were found"):
        next(scan(tmp_path))


def test_metas_without_annotations_are_refused(tmp_path: Path) -> None:
    touch(tmp_path / "Data/train/1/live/000001.jpg")
    touch(tmp_path / "metas/readme.txt")
    with pytest.raises(DatasetLayoutError, match=r"no \.json file"):
        next(scan(tmp_path))


def test_a_box_is_scaled_from_a_frame_of_224(root: Path) -> None:
    touch(root / "Data/train/4980/spoof/000003_BB.txt", "56 28 112 168.5 0.9987261\n")
    assert boxes(root, SPOOF, FRAME) == {0: (112.0, 14.0, 336.0, 98.25)}


def test_a_negative_box_is_clipped_to_the_picture(root: Path) -> None:
    touch(root / "Data/train/3025/spoof/029572_BB.txt", "-7 -3 240 100 0.99")
    assert boxes(root, NEGATIVE_BOX, FRAME) == {0: (0.0, 0.0, 448.0, 48.5)}


@pytest.mark.parametrize(
    "text",
    ["", "\n", "1 2 3", "a b c d e", "nan 1 2 3 4", "300 0 9 9 1", "9 9 0 0 1", "9 9 -5 9 1"],
)
def test_an_empty_malformed_or_outlying_box_is_no_box(root: Path, text: str) -> None:
    touch(root / "Data/train/4980/spoof/000003_BB.txt", text)
    assert boxes(root, SPOOF, FRAME) == {}


def test_a_picture_without_box_file_has_no_box(root: Path) -> None:
    assert boxes(root, SPOOF, FRAME) == {}


def test_published_counts_are_those_of_the_paper() -> None:
    assert (ADAPTER.bona_fide, ADAPTER.attack) == (156_384, 469_153)
