"""How a caption is read, and what the search does with dictionaries of a few words."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scf_pipeline.keywords.rules import read
from scf_pipeline.keywords.search import (
    BROKEN,
    ENDED,
    JOINED,
    SubstringSearch,
    WordSearch,
    build,
    read_words,
)


def search_for(folder, text):
    path = folder / "words.yaml"
    path.write_text(text)
    file, rules = read(path)
    search = build(file, rules)
    return lambda caption: [rules.keywords[number].text for number in search(caption)]


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("A man", ["a", "man"]),
        ("man's men's", ["man", "men"]),
        ("isn't isn\u2019t", ["isn't", "isn't"]),
        ("x-ray n95 a_b", ["x", "ray", "n95", "a_b"]),
        ("'quoted'", ["quoted"]),
        ("stra\u00dfe", ["strasse"]),
        ("\u041c\u0410\u0421\u041a\u0410", ["\u043c\u0430\u0441\u043a\u0430"]),
        ("\ufb01gure", ["figure"]),
        ("e\u0301t\u00e9", ["\u00e9t\u00e9"]),
        ("q\u0301", ["q\u0301"]),
        ("a\0b\ud800c", ["a", "b", "c"]),
        ("", []),
        ("...", []),
    ],
)
def test_a_caption_is_read_as_words(caption, words) -> None:
    assert read_words(caption).words == words


SEPARATORS = {
    JOINED: [" ", "-", " - ", "\n\t", "\u2011", "\u00a0", "' "],
    BROKEN: [", ", "/", "\0", ' "', " & "],
    ENDED: [". ", "!", " ?", "; ", '."', ", .", "\u2026 "],
}


@pytest.mark.parametrize(
    ("gap", "sign"), [(gap, sign) for sign, gaps in SEPARATORS.items() for gap in gaps]
)
def test_what_lies_between_words_is_told(gap, sign) -> None:
    assert read_words(f"a{gap}b").before == [JOINED, sign, JOINED]


@given(st.text())
@settings(max_examples=200, deadline=None, derandomize=True)
def test_any_text_can_be_read(text) -> None:
    reading = read_words(text)
    assert len(reading.before) == len(reading.words) + 1
    assert all(reading.words)


def test_the_longest_phrase_is_taken_first_wherever_it_stands(tmp_path) -> None:
    find = search_for(tmp_path, "keywords: {print: [a b, b c d, c]}\n")
    assert find("a b c d") == ["b c d"]
    assert find("a b c") == ["a b", "c"]


def test_of_equally_long_phrases_the_first_takes_its_words(tmp_path) -> None:
    find = search_for(tmp_path, "keywords: {print: [a b, b c]}\n")
    assert find("a b c") == ["a b"]
    assert find("b c") == ["b c"]


def test_an_exclusion_takes_its_words_too(tmp_path) -> None:
    text = "keywords: {print: [paper, cup holder]}\nexclusions: [paper cup]\n"
    find = search_for(tmp_path, text)
    assert find("paper cup holder") == []
    assert find("paper, cup holder") == ["paper", "cup holder"]


@pytest.mark.parametrize("window", [1, 2, 10])
def test_a_negation_reaches_as_far_as_its_window(window, tmp_path) -> None:
    text = f"keywords: {{print: [paper]}}\nnegation: {{words: [not], window: {window}}}\n"
    find = search_for(tmp_path, text)
    assert find("not " + "x " * (window - 1) + "paper") == []
    assert find("not " + "x " * window + "paper") == ["paper"]


def test_a_word_that_is_negated_once_may_count_elsewhere(tmp_path) -> None:
    find = search_for(tmp_path, "keywords: {print: [paper]}\nnegation: {words: [not]}\n")
    assert find("paper, not paper") == ["paper"]


def test_boilerplate_hides_only_what_lies_within_it(tmp_path) -> None:
    text = "keywords: {print: [photo, photo of a photo]}\nboilerplate: [a photo of]\n"
    find = search_for(tmp_path, text)
    assert find("a photo of a man") == []
    assert find("a photo of a man in a photo") == ["photo"]
    assert find("a photo of a photo") == ["photo of a photo"]
    assert find("a photo, of a man") == ["photo"]
    assert find("here is a photo of a man") == ["photo"]


def test_boilerplate_takes_no_words_from_a_keyword(tmp_path) -> None:
    text = "keywords: {print: [of paper]}\nboilerplate: [a photo of]\n"
    assert search_for(tmp_path, text)("a photo of paper") == ["of paper"]


def test_words_of_other_scripts_are_whole_words_too(tmp_path) -> None:
    find = search_for(tmp_path, "keywords: {mask: [\u043c\u0430\u0441\u043a\u0430]}\n")
    assert find("\u041c\u0410\u0421\u041a\u0410!") == ["\u043c\u0430\u0441\u043a\u0430"]
    assert find("\u043c\u0430\u0441\u043a\u0430\u0440\u0430\u0434") == []


def test_a_dictionary_chooses_its_search(tmp_path) -> None:
    path = tmp_path / "words.yaml"
    path.write_text("keywords: {print: [paper]}\n")
    assert isinstance(build(*read(path)), WordSearch)
    path.write_text("match: substring\nkeywords: {print: [paper]}\n")
    assert isinstance(build(*read(path)), SubstringSearch)


def test_a_caption_of_a_megabyte_takes_time_in_proportion(tmp_path) -> None:
    text = "keywords: {print: [a b c, b c a, c a b]}\nnegation: {words: [not]}\n"
    find = search_for(tmp_path, text)
    start = time.process_time()
    assert find("a b c " * 170_000) == ["a b c"]
    assert time.process_time() - start < 10
