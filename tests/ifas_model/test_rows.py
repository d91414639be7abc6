"""Claims about whole columns: which row breaks one, and what is said of it."""

import io

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from PIL import Image

from ifas_model.rows import (
    Claim,
    breach,
    given,
    null_exactly_for,
    numbers,
    one_of,
    png_side,
    repeated,
    square_pngs,
    unique,
)


def table(**columns) -> pa.Table:
    size = len(next(iter(columns.values())))
    return pa.table({"face_id": [f"f{n}" for n in range(size)]} | columns)


def told(rows: pa.Table, *claims: Claim) -> str | None:
    return breach(rows, claims, key="face_id")


def picture(width: int, height: int, form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height)).save(buffer, form)
    return buffer.getvalue()


def pictures(*encoded: bytes | None) -> pa.Table:
    return table(image=pa.array(encoded, pa.binary()))


def test_the_first_row_that_breaks_a_rule_is_named_with_its_value() -> None:
    rows = table(label=["attack", "atack", "bonafide"])
    assert told(rows, one_of(rows, "label", ["attack", "bona_fide"])) == (
        "`label` must be one of attack, bona_fide, but is 'atack' of 'f1'"
    )


def test_rows_that_keep_every_rule_are_not_spoken_of() -> None:
    rows = table(label=["attack", None])
    assert told(rows, one_of(rows, "label", ["attack"]), unique(rows, "face_id")) is None
    assert told(rows.slice(0, 0), one_of(rows.slice(0, 0), "label", ["attack"])) is None


def test_a_column_of_dictionaries_is_asked_as_a_plain_one() -> None:
    words = pa.chunked_array([["attack", None], ["atack"], []], pa.string()).dictionary_encode()
    rows = table(label=words)
    assert told(rows, one_of(rows, "label", ["attack"])) == (
        "`label` must be one of attack, but is 'atack' of 'f2'"
    )
    for kept in (rows.slice(0, 2), rows.slice(0, 0), rows.slice(3)):
        assert told(kept, one_of(kept, "label", ["attack"])) is None


@pytest.mark.parametrize(
    ("ids", "broken"),
    [
        (["a", "b", "c"], []),
        (["c", "a", "b"], []),
        (["a", "b", "b"], ["b", "b"]),
        (["b", "a", "b"], ["b", "b"]),
        (["a", None, "b", "a"], ["a", "a"]),
        (["a", None, "b", "c"], []),
        (["a"], []),
        ([], []),
    ],
    ids=str,
)
@pytest.mark.parametrize("cut", [0, 1, 2])
def test_ids_are_unique_in_any_order(ids: list[str | None], broken: list[str], cut: int) -> None:
    rows = pa.table({"face_id": pa.array(ids, pa.string())})
    rows = pa.concat_tables([rows.slice(0, cut), rows.slice(cut)])
    assert rows["face_id"].filter(unique(rows, "face_id").broken).to_pylist() == broken


def test_a_broken_key_is_named_by_its_row() -> None:
    rows = pa.table({"face_id": ["a", None, "b", "b"]})
    assert told(rows, *given(rows, ["face_id"])) == "`face_id` must be given, but is None in row 1"
    assert told(rows, unique(rows, "face_id")) == "`face_id` must be unique, but is 'b' in row 2"


def test_claims_are_asked_in_order_and_no_further_than_the_first_that_is_broken() -> None:
    rows = table(size=[1, 2])

    def claims():
        yield Claim(column="size", rule="1", broken=pc.not_equal(rows["size"], 1))
        raise AssertionError("asked too much")

    assert breach(rows, claims(), key="face_id") == "`size` must be 1, but is 2 of 'f1'"


def test_a_row_without_a_key_column_is_named_by_its_place() -> None:
    rows = pa.table({"size": [1, None]})
    assert breach(rows, given(rows, ["size"]), key="face_id") == (
        "`size` must be given, but is None in row 1"
    )


def test_repeated_values_are_told_once_each() -> None:
    values = pa.chunked_array([["a", "b", "a"], ["c", "a", "c"]])
    assert repeated(values).to_pylist() == ["a", "c"]
    assert repeated(pa.chunked_array([], pa.string())).to_pylist() == []


@pytest.mark.parametrize("chunks", [1, 2])
def test_a_column_is_null_exactly_where_it_should_be(chunks: int) -> None:
    rows = table(species=["print", None, None], good=[False, True, False])
    rows = pa.concat_tables([rows.slice(0, chunks), rows.slice(chunks)])
    claim = null_exactly_for(rows, "species", rows["good"], who="the good")
    assert told(rows, claim) == "`species` must be null exactly for the good, but is None of 'f2'"
    kept = rows.slice(0, 2)
    assert told(kept, null_exactly_for(kept, "species", kept["good"], who="the good")) is None


def test_nan_is_no_number_and_null_is_not_asked() -> None:
    rows = table(size=[1.0, None, float("nan")], name=["a", "b", "c"])
    assert told(rows, *numbers(rows)) == "`size` must be a number, but is nan of 'f2'"
    assert told(rows.slice(0, 2), *numbers(rows.slice(0, 2))) is None


@pytest.mark.parametrize(
    ("others", "problem"),
    [
        ([b"no picture"], r"must be a PNG, but is b'no picture' of 'f1'"),
        ([b""], r"must be a PNG"),
        ([picture(8, 8, "JPEG")], r"must be a PNG"),
        ([picture(8, 9)], r"must be square, but is 8 x 9 px of 'f1'"),
        ([picture(8, 8), picture(300, 300)], r"must be 8 px wide, as the others, but is 300 x 300"),
    ],
    ids=["garbage", "nothing", "jpeg", "oblong", "larger"],
)
def test_pictures_are_known_by_their_heads(others, problem: str) -> None:
    rows = pictures(picture(8, 8), *others)
    assert problem in told(rows, *square_pngs(rows, "image"))


def test_square_pngs_of_one_size_and_absent_ones_are_fine() -> None:
    for rows in (pictures(None, picture(8, 8), picture(8, 8)), pictures(None), pictures()):
        assert told(rows, *square_pngs(rows, "image")) is None


def test_the_side_can_be_told_beforehand() -> None:
    rows = pictures(picture(300, 300))
    assert png_side(picture(300, 300)) == 300
    assert told(rows, *square_pngs(rows, "image", side=300)) is None
    assert "must be 8 px wide" in told(rows, *square_pngs(rows, "image", side=8))
