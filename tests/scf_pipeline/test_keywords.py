"""What the default dictionary finds in captions, one case a line; and that columns agree."""

import pickle
import re
import string
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest
from caption_cases import ALIASES, CASES
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from upath import UPath

from ifas_model.vocabulary import PaiSpecies
from scf_pipeline.errors import ConfigError
from scf_pipeline.keywords import KeywordDictionary
from scf_pipeline.keywords.file import ConflictPolicy

FOLDER = Path(__file__).parents[2] / "keyword_dicts"
DEFAULT = KeywordDictionary.load(FOLDER / "spoof_aware.yaml")
LITERAL = KeywordDictionary.load(FOLDER / "paper_literal.yaml")

TRAPS = (
    "handsome", "headphones", "microphone", "sunscreen", "unmasked", "fingerprint", "photographed",
    "blueprint", "knowledgeable", "dollar", "wallpaper",
)  # fmt: skip
"""Words that hold a keyword, and are none."""


def short(value: object) -> str:
    return ascii(value)[:40]


@pytest.mark.parametrize(("caption", "species", "expected"), CASES, ids=short)
def test_the_default_dictionary_finds(caption, species, expected) -> None:
    assert DEFAULT.matches(caption, species) == expected


@pytest.mark.parametrize("word", TRAPS)
def test_a_word_that_only_holds_a_keyword_is_found_in_no_species(word) -> None:
    for caption in (word, f"{word}s", word.upper(), f"a man, {word}-like", f"not a {word}"):
        assert DEFAULT.find(caption) == []


@pytest.mark.parametrize(("caption", "species", "fine_type", "expected"), ALIASES)
def test_paper_masks_may_be_called_either(caption, species, fine_type, expected) -> None:
    assert DEFAULT.matches(caption, species, fine_type) == expected


def test_a_species_may_be_given_as_enumeration() -> None:
    assert DEFAULT.matches("a mask", PaiSpecies.MASK) == ["mask"]


def test_an_unknown_species_is_refused() -> None:
    with pytest.raises(ValueError, match="fakery"):
        DEFAULT.matches("a mask", "fakery")
    with pytest.raises(ValueError, match="fakery"):
        DEFAULT.match_columns(pa.array(["a mask"]), pa.array(["fakery"]), pa.nulls(1))


@pytest.mark.parametrize(
    ("caption", "species", "expected"),
    [
        ("a newspaper", "print", ["paper"]),
        ("sunscreen on a tablet", "replay", ["screen", "tablet"]),
        ("no paper", "print", ["paper"]),
        ("NEWSPAPER", "print", ["paper"]),
        ("a sheet of pap-er", "print", []),
        ("a mask", "mask", []),
        ("two mannequins", "mannequin", ["mannequin"]),
        ("a \ud800 paper\0", "print", ["paper"]),
    ],
)
def test_the_literal_dictionary_is_the_papers_substring(caption, species, expected) -> None:
    assert LITERAL.matches(caption, species) == expected


@pytest.mark.parametrize("dictionary", [DEFAULT, LITERAL], ids=["words", "substring"])
def test_columns_agree_with_single_captions_on_every_case(dictionary) -> None:
    rows = [(c, s, f) for c, s, f, _ in [*((c, s, None, e) for c, s, e in CASES), *ALIASES]]
    rows = [row for row in rows if row[0].encode("utf-8", "replace").decode() == row[0]]
    check_columns(dictionary, rows)


def check_columns(dictionary, rows):
    own, other = match_rows(dictionary, rows)
    for (caption, species, fine_type), found, others in zip(rows, own, other, strict=True):
        accepted = dictionary.accepted(species, fine_type)
        keywords = [dictionary.keywords[number] for number in dictionary.find(caption)]
        assert found == [k.text for k in keywords if k.species in accepted]
        assert others == [k.text for k in keywords if k.species not in accepted]
        if len(caption) < 1000:
            assert found == dictionary.matches(caption, species, fine_type)


def match_rows(dictionary, rows):
    columns = [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]
    return [column.to_pylist() for column in dictionary.match_columns(*columns)]


WORDS = sorted(
    {*DEFAULT.rules.base, "man", "paperback", "no", "not", "isn't", "x", "n95", "\u00e9"}
)
GAPS = [" ", " ", " ", " ", "-", "  ", "\n", ", ", ". ", "!", "\0", "\x1c", "'", "_", "\u2019s "]
GAPS += ["\u2011", "\u00a0", "\u0301", " - ", " , ", " . ", "/", '"', "", "\x0b", "\u2028"]


@st.composite
def captions(draw) -> str:
    """Words of the dictionary and others in a row: what all the rules have to tell apart."""
    pairs = st.tuples(st.sampled_from(WORDS), st.sampled_from(GAPS))
    text = "".join(word + gap for word, gap in draw(st.lists(pairs, max_size=14)))
    return draw(st.sampled_from(["", " ", "a photo of ", ".", '"'])) + draw(
        st.sampled_from([text, text.upper(), text.title()])
    )


ROWS = st.tuples(
    captions() | st.text(st.characters(exclude_categories=["Cs"])),
    st.sampled_from([None, *map(str, PaiSpecies)]),
    st.sampled_from([None, "paper_mask_face", "print_flat"]),
)


@pytest.mark.parametrize("dictionary", [DEFAULT, LITERAL], ids=["words", "substring"])
@settings(max_examples=150, deadline=None, derandomize=True)
@given(rows=st.lists(ROWS, min_size=1, max_size=12))
def test_columns_agree_with_single_captions(dictionary, rows) -> None:
    check_columns(dictionary, rows)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(captions(), captions())
def test_keywords_are_told_once_and_in_order(one, other) -> None:
    numbers = DEFAULT.find(f"{one} {other} {one}")
    assert numbers == sorted(set(numbers))


STRANGERS = st.lists(st.text("abcdefghijklmnop\u00e9\u0436 -'", min_size=1, max_size=8), max_size=9)


@given(STRANGERS.map(" ".join))
def test_words_from_outside_all_rules_never_hit(text) -> None:
    assume(DEFAULT.rules.base.keys().isdisjoint(re.split("[ '-]+", text)))
    assert DEFAULT.find(text) == []
    assert match_rows(DEFAULT, [(text, "print", None)]) == [[[]], [[]]]


PLAIN = st.lists(st.sampled_from([w for w in WORDS if w.isascii()]), max_size=10).map(" ".join)
FULL_WIDTH = {ord(letter): ord(letter) + 0xFEE0 for letter in string.ascii_letters}


@given(PLAIN)
def test_case_spaces_hyphens_quotes_and_typography_do_not_matter(caption) -> None:
    found = DEFAULT.find(caption)
    same = [caption.upper(), caption.title(), f"  {caption}\n", f'"{caption}"', f"{caption}!"]
    same += [
        caption.replace(" ", gap) for gap in ("  ", "\n", "\t", "-", " - ", "\u00a0", "\u2011")
    ]
    same += [caption.replace("'", "\u2019"), caption.translate(FULL_WIDTH)]
    same += [unicodedata.normalize("NFD", caption), "\u200b".join(caption)]
    assert [DEFAULT.find(one) for one in same] == [found] * len(same)


@given(captions(), captions())
def test_another_sentence_takes_no_hit_away(caption, other) -> None:
    found = set(DEFAULT.find(caption))
    assert found <= set(DEFAULT.find(f"{caption}. {other}"))
    assert found <= set(DEFAULT.find(f"{other}. {caption}"))


@given(captions())
def test_the_species_share_out_what_is_found(caption) -> None:
    own = [DEFAULT.matches(caption, species) for species in PaiSpecies]
    texts = sorted(keyword for words in own for keyword in words)
    assert texts == sorted(DEFAULT.keywords[number].text for number in DEFAULT.find(caption))
    assert DEFAULT.matches(caption, None) == []
    assert set(DEFAULT.matches(caption, "mask")) <= set(
        DEFAULT.matches(caption, "mask", "paper_mask_face")
    )


@pytest.mark.parametrize("negation", DEFAULT.file.negation.words)
def test_every_keyword_is_taken_back_by_a_negation_before_it(negation) -> None:
    for keyword in DEFAULT.keywords:
        assert DEFAULT.find(f"{negation} {keyword.text}") == []
        assert DEFAULT.find(f"{negation}. {keyword.text}") != []


def test_a_null_caption_has_no_keywords() -> None:
    own, other = match_rows(DEFAULT, [(None, "print", None), ("paper", "print", None)])
    assert own == [[], ["paper"]]
    assert other == [[], []]


def test_columns_may_be_empty_chunked_or_sliced() -> None:
    nothing = pa.array([], pa.string())
    assert [len(c) for c in DEFAULT.match_columns(nothing, nothing, nothing)] == [0, 0]
    texts = pa.array(["a mask", "on paper", "a man", "\u00e9 paper"])
    species = pa.array(["mask", "print", "print", "print"])
    chunked = pa.chunked_array([texts[:1], nothing, texts[1:]])
    for column in (texts, chunked, texts.cast(pa.large_string()), texts.dictionary_encode()):
        own, _ = DEFAULT.match_columns(column, species, pa.nulls(4, pa.string()))
        assert own.to_pylist() == [["mask"], ["paper"], [], ["paper"]]
    own, _ = DEFAULT.match_columns(texts[1:3], species[1:3], pa.nulls(2))
    assert own.to_pylist() == [["paper"], []]


def test_threads_may_search_columns_at_once() -> None:
    dictionary = KeywordDictionary.load(FOLDER / "spoof_aware.yaml")
    rows = [(caption, species, None) for caption, species, _ in CASES if caption.isprintable()]
    shares = [rows[start:] + rows[:start] for start in range(0, len(rows), len(rows) // 16)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(partial(match_rows, dictionary), shares))
    assert found == [match_rows(DEFAULT, share) for share in shares]


def test_a_dictionary_can_be_sent_to_a_worker() -> None:
    twin = pickle.loads(pickle.dumps(DEFAULT))
    assert twin == DEFAULT
    assert twin.matches("a mask", "mask") == ["mask"]


def test_it_loads_from_any_kind_of_path() -> None:
    path = FOLDER / "spoof_aware.yaml"
    remote = UPath("memory://keywords/spoof_aware.yaml")
    remote.parent.mkdir(parents=True, exist_ok=True)
    remote.write_bytes(path.read_bytes())
    hashes = {KeywordDictionary.load(p).sha256 for p in (path, str(path), UPath(path), remote)}
    assert len(hashes) == 1


def test_the_hash_follows_the_file(tmp_path) -> None:
    text = (FOLDER / "spoof_aware.yaml").read_text()
    (tmp_path / "other.yaml").write_text(text + "\n# a comment\n")
    other = KeywordDictionary.load(tmp_path / "other.yaml")
    assert other.sha256 != DEFAULT.sha256
    assert other.keywords == DEFAULT.keywords


def test_an_absent_file_is_named(tmp_path) -> None:
    with pytest.raises(ConfigError) as caught:
        KeywordDictionary.load(tmp_path / "absent.yaml")
    assert "absent.yaml" in caught.value.where
    with pytest.raises(ConfigError, match=r"must be readable, but: .*absent"):
        KeywordDictionary.load("memory://absent.yaml")


def test_conflicts_are_kept_by_default() -> None:
    assert DEFAULT.policy is ConflictPolicy.KEEP
