"""JSON of strangers: what is too much is a `ValueError`, and nothing worse."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifas_model import json_data
from ifas_model.json_data import MAX_DEPTH, parse, read, read_bytes

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda below: st.lists(below) | st.dictionaries(st.text(), below),
    max_leaves=20,
)


@given(PLAIN)
def test_plain_data_comes_back(data) -> None:
    assert parse(json.dumps(data).encode()) == data


def nested(depth: int, *, pair: tuple[bytes, bytes] = (b"[", b"]")) -> bytes:
    return pair[0] * depth + b"1" + pair[1] * depth


@pytest.mark.parametrize("pair", [(b"[", b"]"), (b'{"a":', b"}")], ids=["lists", "mappings"])
def test_the_deepest_that_is_read_and_one_level_more(pair) -> None:
    assert parse(nested(MAX_DEPTH, pair=pair))
    for depth in (MAX_DEPTH + 1, 900, 100_000):
        with pytest.raises(ValueError, match=f"at most {MAX_DEPTH} levels, but nests deeper"):
            parse(nested(depth, pair=pair))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"9" * 5_000,
        b'{"a": -' + b"1" * 5_000 + b"}",
        b"\xff\xfe\xfd",
        b"\0" * 9,
        b'"\\ud800"',
        b'{"\\udFFF": 1}',
        b'["\\uDC00\\ud800"]',
        b'"\xed\xa0\x80"',
    ],
    ids=[
        "nothing",
        "half",
        "a long number",
        "a long number within",
        "no text",
        "zeros",
        "half a sign",
        "half a sign as key",
        "halves in the wrong order",
        "half a sign as bytes",
    ],
)
def test_what_is_no_json_or_no_text_is_a_value_error(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        parse(raw)


def test_both_halves_of_a_sign_are_text() -> None:
    assert parse(b'"\\ud83d\\ude00 \\\\ud800"') == "\N{GRINNING FACE} \\ud800"


def test_a_file_is_read_up_to_its_bound(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": 1}')
    assert read(tmp_path / "a.json", max_bytes=8) == {"a": 1}
    with pytest.raises(ValueError, match="at most 7 bytes, but holds more"):
        read(tmp_path / "a.json", max_bytes=7)


def test_no_more_of_a_file_than_the_bound_is_ever_held() -> None:
    """The device has no end: reading it whole would never return."""
    with pytest.raises(ValueError, match="but holds more"):
        read_bytes(Path("/dev/zero"), max_bytes=1000)


def test_the_bound_holds_without_being_asked_for() -> None:
    assert json_data.MAX_BYTES < 2**27
    with pytest.raises(ValueError, match=f"at most {json_data.MAX_BYTES} bytes"):
        read(Path("/dev/zero"))


def test_a_file_that_is_not_there_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "absent.json")
