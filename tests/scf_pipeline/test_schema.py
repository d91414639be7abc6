import io
import re
from dataclasses import asdict, fields, replace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ifas_model.vocabulary import Label, PaiSpecies, Split
from scf_pipeline import schema
from scf_pipeline.errors import SchemaError
from scf_pipeline.schema import (
    CAPTION_SCHEMA,
    FACE_SCHEMA,
    FAILURES,
    FILTER_SCHEMA,
    SAMPLE_SCHEMA,
    Reject,
    Sample,
    check_columns,
    check_rows,
    coded,
    conform,
    is_below,
    is_held_out,
    plain,
)

TABLES = {name: value for name, value in vars(schema).items() if isinstance(value, pa.Schema)}
KEYS = {
    "SAMPLE_SCHEMA": "sample_id",
    "FACE_SCHEMA": "face_id",
    "CAPTION_SCHEMA": "face_id",
    "FILTER_SCHEMA": "face_id",
}
ATTACK = Sample(
    sample_id="toy/a/1",
    dataset="toy",
    media_path="a/1.png",
    split=Split.TRAIN,
    subject_id=None,
    label=Label.ATTACK,
    pai_species=PaiSpecies.PRINT,
    fine_type="print_flat",
    native_label="photo",
)
BONA_FIDE = replace(ATTACK, label=Label.BONA_FIDE, pai_species=None, fine_type=None)


@pytest.mark.parametrize(
    ("sample", "field", "value"),
    [
        (ATTACK, "pai_species", None),
        (ATTACK, "fine_type", None),
        (BONA_FIDE, "pai_species", PaiSpecies.MASK),
        (BONA_FIDE, "fine_type", "print_flat"),
    ],
)
def test_a_sample_cannot_contradict_itself(sample: Sample, field: str, value: str | None) -> None:
    with pytest.raises(ValueError, match=f"`{field}` must be None exactly for bona fide") as caught:
        replace(sample, **{field: value})
    assert repr(value) in str(caught.value)
    assert "'toy/a/1'" in str(caught.value)


LEAVING = (
    "../a.png",
    "a/../../b.png",
    "/etc/passwd",
    "//host/share/a.png",
    "..",
    "",
    ".",
    "a\0.png",
)


@pytest.mark.parametrize("path", LEAVING)
def test_a_sample_lies_below_its_root(path: str) -> None:
    assert not is_below(path)
    with pytest.raises(ValueError, match="`media_path` must lie below the dataset's root"):
        replace(ATTACK, media_path=path)


@given(st.lists(st.text(st.characters(exclude_characters="/\0"), min_size=1), min_size=1))
def test_a_path_is_below_exactly_if_following_it_stays_there(names: list[str]) -> None:
    depths = [-1 if name == ".." else int(name != ".") for name in names]
    path = "/".join(names)
    assert is_below(path) is (-1 not in depths and sum(depths) > 0)


def test_samples_are_rows_of_their_table() -> None:
    names = {field.name for field in fields(Sample)}
    assert names | {"media_bytes", "reject"} == set(SAMPLE_SCHEMA.names)
    made = [asdict(sample) | {"media_bytes": 1} for sample in (ATTACK, BONA_FIDE)]
    table = pa.Table.from_pylist(made, schema=SAMPLE_SCHEMA)
    table.validate(full=True)
    assert table["label"].to_pylist() == ["attack", "bona_fide"]
    assert table["pai_species"].to_pylist() == ["print", None]


@pytest.mark.parametrize("name", TABLES)
def test_every_table_has_a_key_a_dataset_and_a_reason_of_rejection(name: str) -> None:
    table = TABLES[name]
    for required in (KEYS[name], "sample_id", "dataset", "split", "label"):
        assert not table.field(required).nullable, required
    for nullable in ("subject_id", "pai_species", "fine_type", "reject"):
        assert table.field(nullable).nullable, nullable
    assert len(set(table.names)) == len(table.names)


def test_a_rejected_face_needs_no_picture() -> None:
    for name in ("box", "box_source", "image", "sha256"):
        assert FACE_SCHEMA.field(name).nullable, name


def test_filter_adds_two_columns_to_captions() -> None:
    assert FILTER_SCHEMA.names == [*CAPTION_SCHEMA.names, "keywords", "other_keywords"]


def test_failures_speak_of_input_and_decisions_do_not() -> None:
    assert set(Reject) - FAILURES == {Reject.DEGENERATE, Reject.NO_KEYWORD, Reject.CONFLICT}


@given(st.text(), st.text())
def test_nobody_and_everybody_can_be_held_out(dataset: str, subject: str) -> None:
    assert not is_held_out(dataset, subject, 0.0)
    assert is_held_out(dataset, subject, 1.0)


@given(st.text(), st.text(), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_holds_out_whom_a_smaller_one_does(dataset, subject, a, b) -> None:
    assert is_held_out(dataset, subject, min(a, b)) <= is_held_out(dataset, subject, max(a, b))


def test_about_the_share_asked_for_is_held_out_in_every_dataset() -> None:
    for dataset in ("oulu_npu", "msu_mfsd"):
        held_out = sum(is_held_out(dataset, f"{n:04d}", 0.2) for n in range(2000))
        assert 0.17 < held_out / 2000 < 0.23


def test_the_same_name_in_two_datasets_is_two_subjects() -> None:
    answers = {is_held_out(f"dataset_{n}", "001", 0.5) for n in range(20)}
    assert answers == {True, False}


def test_the_answer_is_the_same_on_every_machine() -> None:
    held_out = [n for n in range(40) if is_held_out("oulu_npu", str(n), 0.1)]
    assert held_out == [8, 20, 26]


def test_conform_orders_casts_and_leaves_out() -> None:
    wanted = pa.schema([("face_id", pa.string()), ("size", pa.int32())], metadata={"made": "by us"})
    table = pa.table({"more": [1], "size": pa.array([1], pa.int64()), "face_id": ["x"]})
    expected = pa.Table.from_pylist([{"face_id": "x", "size": 1}], schema=wanted)
    assert conform(table, wanted).equals(expected, check_metadata=True)


def test_conform_names_what_does_not_fit_and_where() -> None:
    wanted = pa.schema([("size", pa.int32())])
    for table, problem in [
        (pa.table({"size": ["no number"]}), "no number"),
        (pa.table({"other": [1]}), "'Field \"size\" does not exist in schema'"),
    ]:
        with pytest.raises(SchemaError, match=problem) as caught:
            conform(table, wanted, where="part-00007.parquet")
        assert caught.value.what.startswith("Rows must fit the schema (size), but: ")
        assert caught.value.where == "part-00007.parquet"


# What is asked of rows that are read


def picture(width: int = 8, height: int = 8) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height)).save(buffer, "PNG")
    return buffer.getvalue()


def face(number: int, **changes: Any) -> dict[str, Any]:
    made = asdict(ATTACK) | {"face_id": f"toy/a/{number}#0", "frame": 0}
    return made | {"image": picture(), "sha256": "0"} | changes


def faces(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=FACE_SCHEMA)


def test_columns_are_asked_for_by_name_and_type_and_others_may_be_there() -> None:
    found = FACE_SCHEMA.append(pa.field("note", pa.string()))
    check_columns(found, FACE_SCHEMA, None, where="a part")
    check_columns(CAPTION_SCHEMA, FACE_SCHEMA, ["face_id", "label"], where="a part")
    for names in (None, ["face_id", "image"]):
        with pytest.raises(SchemaError, match=r"must be .*, but is absent") as caught:
            check_columns(CAPTION_SCHEMA, FACE_SCHEMA, names, where="a part")
        assert caught.value.where == "a part"
        assert "Name the artifact that this stage reads" in caught.value.fix


@pytest.mark.parametrize(
    "kind",
    [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string()), pa.int64()],
    ids=str,
)
def test_other_types_of_text_are_other_types(kind: pa.DataType) -> None:
    index = FACE_SCHEMA.get_field_index("label")
    found = FACE_SCHEMA.set(index, pa.field("label", kind))
    with pytest.raises(SchemaError, match=f"`label` must be string, but is {re.escape(str(kind))}"):
        check_columns(found, FACE_SCHEMA, None, where="a part")


def test_a_file_has_no_dictionaries_where_its_reader_wants_them() -> None:
    check_columns(FACE_SCHEMA, coded(FACE_SCHEMA), None, where="a part")
    with pytest.raises(SchemaError, match=r"`\w+` must be string, but is dictionary"):
        check_columns(coded(FACE_SCHEMA), coded(FACE_SCHEMA), None, where="a part")


@pytest.mark.parametrize("schema", TABLES.values(), ids=TABLES)
def test_a_coded_schema_stands_for_the_plain_one(schema: pa.Schema) -> None:
    noted = schema.with_metadata({"made": "by us"})
    assert plain(coded(schema)).equals(schema)
    assert plain(noted).equals(noted, check_metadata=True)
    assert coded(schema).field("label").type == pa.dictionary(pa.int32(), pa.string())
    assert coded(schema).names == schema.names


@pytest.mark.parametrize("wanted", [FACE_SCHEMA, coded(FACE_SCHEMA)], ids=["plain", "coded"])
@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"face_id": "toy/a/0#0"}, "`face_id` must be unique, but is 'toy/a/0#0' in row 0"),
        ({"label": "fake"}, "`label` must be one of attack, bona_fide, but is 'fake'"),
        ({"split": "val"}, "`split` must be one of train, dev, test, but is 'val' of 'toy/a/1#0'"),
        ({"reject": "ugly"}, "`reject` must be one of missing, unreadable, no_frame, degenerate"),
        ({"pai_species": None}, "`pai_species` must be null exactly for bona fide faces"),
        ({"image": None}, "`image` must be given in live rows, but is None of 'toy/a/1#0'"),
        ({"sha256": None}, "`sha256` must be given in live rows"),
        ({"image": picture(8, 9)}, "`image` must be square, but is 8 x 9 px of 'toy/a/1#0'"),
        ({"image": picture(9, 9)}, "`image` must be 8 px wide, as the others"),
    ],
)
def test_a_row_that_no_stage_wrote_is_named(
    changes: dict[str, Any], problem: str, wanted: pa.Schema
) -> None:
    check_rows(faces(face(0), face(1)).cast(wanted), wanted, where="a part")
    with pytest.raises(SchemaError) as caught:
        check_rows(faces(face(0), face(1, **changes)).cast(wanted), wanted, where="a part")
    assert problem in caught.value.what
    assert caught.value.where == "a part"


def test_a_rejected_row_may_have_nothing() -> None:
    lost = face(1, image=None, sha256=None, reject="missing")
    check_rows(faces(face(0), lost), FACE_SCHEMA, where="a part")


@pytest.mark.parametrize(
    ("caption", "log_probability", "problem"),
    [
        (None, -1.0, "`caption` must be given in live rows"),
        (" . ", -1.0, "`caption` must be of words in live rows, but is ' . '"),
        ("a man", float("nan"), "`mean_log_probability` must be a number, but is nan"),
    ],
)
def test_a_live_caption_is_of_words_and_as_probable_as_a_number(
    caption: str | None, log_probability: float, problem: str
) -> None:
    said = {"num_tokens": 2, "mean_log_probability": log_probability, "captioner": "blip2@0"}
    row = asdict(ATTACK) | said | {"face_id": "toy/a/1#0", "caption": caption}
    table = pa.Table.from_pylist([row], schema=CAPTION_SCHEMA)
    with pytest.raises(SchemaError) as caught:
        check_rows(table, CAPTION_SCHEMA, where="a part")
    assert problem in caught.value.what
    silent = row | {"caption": "", "mean_log_probability": 0.0, "reject": "degenerate"}
    table = pa.Table.from_pylist([silent], schema=CAPTION_SCHEMA)
    check_rows(table, CAPTION_SCHEMA, where="a part")


@given(st.lists(st.text(" \t\n\r\f.-,/a", max_size=3), min_size=1, max_size=4))
def test_blank_captions_are_told_from_others(captions: list[str]) -> None:
    rows = [
        {"face_id": str(number), "caption": caption, "reject": None}
        for number, caption in enumerate(captions)
    ]
    columns = [CAPTION_SCHEMA.field(name) for name in rows[0]]
    table = pa.Table.from_pylist(rows, schema=pa.schema(columns))
    if all(caption.strip(" \t\n\r\f.") for caption in captions):
        check_rows(table, CAPTION_SCHEMA, where="a part")
    else:
        with pytest.raises(SchemaError, match="`caption` must be of words"):
            check_rows(table, CAPTION_SCHEMA, where="a part")


def test_some_columns_are_asked_what_they_alone_can_tell() -> None:
    table = faces(face(0), face(1, pai_species=None))
    check_rows(table.select(["sample_id", "pai_species"]), FACE_SCHEMA, where="a part")
    check_rows(faces().select(["image"]), FACE_SCHEMA, where="a part")
