"""Reducers keep what the search can tell apart, and let go of the rest."""

import random
import string

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scf_pipeline.keywords import columns
from scf_pipeline.keywords.columns import ColumnSearch, Reducer, SubstringReducer, Texts
from scf_pipeline.keywords.rules import read
from scf_pipeline.keywords.search import build

SMALL = """
keywords:
  print: [b, a b c, g e]
  mask: [h h]
exclusions: [b d e, c f]
boilerplate: [a d d d g b]
negation: {words: ["no"], window: 2}
forms: {a: [the], b: [bb], e: [e f]}
"""
"""A dictionary whose phrases overlap in every way."""


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    path = tmp_path_factory.mktemp("dictionary") / "words.yaml"
    path.write_text(SMALL)
    return build(*read(path))


def found(captions, search, reducer=Reducer):
    result = searched(captions, search, reducer)
    return [list(result.hits[code]) for code in result.codes]


def searched(captions, search, reducer=Reducer):
    return ColumnSearch(search, reducer(search))(captions)


def reduced(captions, search):
    texts = Texts()
    return [texts.write(key) for key in Reducer(search)(captions, texts).to_pylist()]


WORDS = [*"abcdefgh", "bb", "bs", "the", "no", "x", "y", ",", ".", "-", "b's", "b."]
RUNS = ["a b c", "the bb c", "no x", "no - -", "no . -", "x x x x", "b d e", "a d d d g", "e f"]
CAPTIONS = st.lists(st.sampled_from([*WORDS, *RUNS]), max_size=12).map(" ".join)

HARD = [
    "x x x x x x no x a b c",  # the negation is as far away as it may be
    "x x x x x x no x x a b c",
    "x x x x x x no - - - - b",  # signs are no words
    "x x x x x x no . - - - b",
    "a d d d g b x",  # boilerplate is longer than the search looks back
    "x a d d d g b",
    "x x x x x x b d e f x x",  # an exclusion that another one overlaps
    "x x x x x x h h h",
    "x x x x x x g e f",
    "b-d-e no-b x-b",
    "x g, e",
    "x g , e",
    "x g ,e g- e",
]


def test_hard_captions_are_found_as_in_single_captions(search) -> None:
    assert found(pa.array(HARD), search) == [search(caption) for caption in HARD]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(captions=st.lists(CAPTIONS, min_size=1, max_size=8))
def test_overlapping_phrases_are_found_as_in_single_captions(search, captions) -> None:
    assert found(pa.array(captions), search) == [search(caption) for caption in captions]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(captions=st.lists(CAPTIONS, min_size=1, max_size=8))
def test_a_reduced_caption_holds_the_same_keywords(search, captions) -> None:
    may_hit = Reducer(search).may_hit(pa.array(captions)).to_pylist()
    short_ones = reduced(pa.array(captions), search)
    for caption, short, possible in zip(captions, short_ones, may_hit, strict=True):
        if possible:
            assert search(short) == search(caption)
        else:
            assert search(caption) == []


def test_captions_that_differ_in_unknown_words_become_one(search) -> None:
    captions = [f"tall{n} man{n} with-{n} b hat{n} on{n} z{n}" for n in range(100)]
    assert len(set(reduced(pa.array(captions), search))) == 1


def test_many_phrases_are_looked_for_by_one_word_each(search, monkeypatch) -> None:
    captions = pa.array([*HARD, "a d d d g b", "g x e", "no g e", "h x h"])
    in_full = Reducer(search).may_hit(captions).to_pylist()
    monkeypatch.setattr(columns, "MAX_SPELLED", 0)
    assert Reducer(search).may_hit(captions).to_pylist() != in_full
    assert found(captions, search) == [search(caption) for caption in captions.to_pylist()]


def test_a_caption_that_holds_a_part_of_a_phrase_is_not_read(search) -> None:
    captions = pa.array(["g x", "e g", "h", "h x h", "g e", "g's - e", "x h h's"])
    assert Reducer(search).may_hit(captions).to_pylist() == [False] * 4 + [True] * 3


def test_a_caption_without_a_keyword_is_not_read(search) -> None:
    reducer = Reducer(search)
    captions = pa.array(["x y z", "the no d", "xb bx b_", "c f"])
    assert reducer.may_hit(captions).to_pylist() == [False] * 4


def test_blocks_do_not_change_the_result(search, monkeypatch) -> None:
    captions = pa.array(
        [f"{word} {n}" for n in range(50) for word in ("b", "x", "no b", "\u00e9 b")]
    )
    whole = found(captions, search)
    monkeypatch.setattr(columns, "BLOCK_ROWS", 7)
    assert found(captions, search) == whole
    assert found(pa.chunked_array([captions[:13], captions[13:]]), search) == whole


def test_a_dictionary_of_thousands_of_words_is_searched(tmp_path) -> None:
    path = tmp_path / "words.yaml"
    words = [f"w{n}" for n in range(5_000)]
    path.write_text("keywords:\n  print:\n" + "".join(f"    - {word}\n" for word in words))
    captions = pa.array([f"a {word} here" for word in words[::50]])
    assert found(captions, build(*read(path))) == [[n] for n in range(0, 5_000, 50)]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(captions=st.lists(st.text("abckx\u00e9\u0130\u212a\n"), min_size=1, max_size=6))
def test_substrings_are_found_as_in_single_captions(captions) -> None:
    search = _Substrings(["ab", "bc", "abc", "k"])
    assert found(pa.array(captions), search, SubstringReducer) == [
        search(caption) for caption in captions
    ]


def test_words_that_no_regular_expression_holds_are_looked_for_in_pieces() -> None:
    chance = random.Random(0)  # noqa: S311 - no secret
    words = ["".join(chance.choices(string.ascii_lowercase, k=50)) for _ in range(19_000)]
    reducer = SubstringReducer(_Substrings(words))
    assert len(reducer.patterns) > 1
    assert reducer.may_hit(pa.array([words[0], words[-1], "x"])).to_pylist() == [True, True, False]


def test_pieces_of_a_regular_expression_find_what_the_whole_does(search, monkeypatch) -> None:
    whole = Reducer(search)
    monkeypatch.setattr(columns, "MAX_PATTERN_SIGNS", 3)
    pieces = Reducer(search)
    assert len(pieces.patterns) > len(whole.patterns) == 1
    captions = pa.array([*HARD, *WORDS, *RUNS])
    assert pieces.may_hit(captions) == whole.may_hit(captions)


class _Substrings(columns.SubstringSearch):
    def __init__(self, keywords) -> None:
        self.keywords = keywords


def test_a_substring_caption_is_reduced_to_its_keywords() -> None:
    reducer = SubstringReducer(_Substrings(["ab", "bc"]))
    assert reducer(pa.array(["xabx", "abcd", "x"]), Texts()).to_pylist() == ["ab\n", "ab\nbc", "\n"]


@pytest.mark.parametrize("kept", [0, 3, 1_000])
def test_what_earlier_columns_taught_changes_nothing(search, monkeypatch, kept) -> None:
    monkeypatch.setattr(columns, "KEYS_KEPT", kept)
    remembering = ColumnSearch(search, Reducer(search))
    for start in range(6):
        some = [*HARD, *RUNS, "é b", "x é a b c"][start::3]
        result = remembering(pa.array(some))
        assert [list(result.hits[code]) for code in result.codes] == [search(one) for one in some]


def test_what_is_remembered_is_bounded_from_one_column_to_the_next(search, monkeypatch) -> None:
    monkeypatch.setattr(columns, "KEYS_KEPT", 5)
    remembering = ColumnSearch(search, Reducer(search))
    for number in range(10):
        remembering(pa.array([f"é {number} {other}" for other in range(4)]))
        assert len(remembering._seen) <= 5 + 4


@pytest.mark.parametrize("captions", [["b x"], ["b x", None], [None], ["", "b"], []])
def test_a_block_of_ascii_is_told_from_its_bytes(captions) -> None:
    block = pa.array(["é", *captions, "é"], pa.string())
    assert columns._is_ascii(block.slice(1, len(captions)))
    assert not columns._is_ascii(block)
    assert not columns._is_ascii(block.slice(len(captions)))
