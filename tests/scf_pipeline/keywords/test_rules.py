"""What entries stand for, and which entries are refused."""

import pytest
import yaml
from dictionary_cases import HEAD, INCONSISTENT, READABLE, encoded
from hypothesis import given
from hypothesis import strategies as st

from scf_pipeline.errors import ConfigError
from scf_pipeline.keywords.rules import plural, read
from scf_pipeline.keywords.search import build


def expand(folder, text):
    path = folder / "words.yaml"
    path.write_bytes(encoded(text))
    return read(path)[1]


def texts(rules):
    return [keyword.text for keyword in rules.keywords]


def phrases(rules, text):
    index = texts(rules).index(text)
    return {" ".join(phrase) for phrase, found in rules.phrases.items() if found == index}


def test_an_entry_is_one_keyword_for_each_choice(tmp_path) -> None:
    rules = expand(tmp_path, "keywords:\n  print:\n    - (cell|mobile) (phone|set)\n")
    assert texts(rules) == ["cell phone", "cell set", "mobile phone", "mobile set"]


def test_an_option_is_found_and_left_out_of_the_name(tmp_path) -> None:
    rules = expand(tmp_path, "keywords:\n  print:\n    - holding [up|out] a photo\n")
    assert texts(rules) == ["holding a photo"]
    assert phrases(rules, "holding a photo") == {
        "holding a photo",
        "holding up a photo",
        "holding out a photo",
    }


def test_choices_may_have_several_words(tmp_path) -> None:
    rules = expand(tmp_path, "keywords:\n  print:\n    - (on|in front of) a wall\n")
    assert texts(rules) == ["on a wall", "in front of a wall"]


def test_two_words_may_be_joined(tmp_path) -> None:
    rules = expand(tmp_path, "keywords:\n  print:\n    - cell phone\n    - a b c\n")
    assert phrases(rules, "cell phone") == {"cell phone", "cellphone"}
    assert phrases(rules, "a b c") == {"a b c"}


def test_a_form_of_several_words_is_another_spelling(tmp_path) -> None:
    text = f"{HEAD}    - smartphone case\nforms: {{smartphone: [smart phone]}}\n"
    assert phrases(expand(tmp_path, text), "smartphone case") == {
        "smartphone case",
        "smartphonecase",
        "smart phone case",
    }


def test_forms_and_plurals_lead_to_the_base_word(tmp_path) -> None:
    text = f"{HEAD}    - holding a man\nforms: {{man: [men], holding: [holds], a: [an, the]}}\n"
    base = expand(tmp_path, text).base
    assert base["men"] == base["man"] == "man"
    assert base["holds"] == "holding"
    assert base["an"] == base["the"] == "a"
    assert base["papers"] == "paper"
    assert "holdings" not in base
    assert "as" not in base


def test_a_word_of_its_own_is_no_plural(tmp_path) -> None:
    rules = expand(tmp_path, "keywords:\n  print: [glass, glasses]\n")
    assert rules.base["glasses"] == "glasses"


def test_exclusions_and_boilerplate_are_no_keywords(tmp_path) -> None:
    rules = expand(tmp_path, f"{HEAD}exclusions: [paper cup]\nboilerplate: [a (photo|print) of]\n")
    assert texts(rules) == ["paper"]
    assert rules.phrases["paper", "cup"] is None
    assert rules.boilerplate == {("a", "photo", "of"), ("a", "print", "of")}


@pytest.mark.parametrize(("content", "keywords"), READABLE.values(), ids=READABLE)
def test_a_good_file_stands_for_its_keywords(content, keywords, tmp_path) -> None:
    found = [(str(keyword.species), keyword.text) for keyword in expand(tmp_path, content).keywords]
    assert found == [(species, text) for species, texts in keywords.items() for text in texts]


@pytest.mark.parametrize(("text", "what", "where"), INCONSISTENT.values(), ids=INCONSISTENT)
def test_a_bad_entry_is_refused_with_what_and_where(text, what, where, tmp_path) -> None:
    with pytest.raises(ConfigError) as caught:
        expand(tmp_path, text)
    assert what in caught.value.what
    assert where in caught.value.where
    assert str(tmp_path / "words.yaml") in caught.value.where
    assert caught.value.fix


WORD = st.sampled_from([*"abcdefgh", "ss", "by", "glass", "tv", "isn", "n95", "old", "ed"])
CHOICES = st.lists(
    st.lists(WORD, min_size=1, max_size=2).map(" ".join), min_size=1, max_size=3, unique=True
)
PART = WORD | CHOICES.map(lambda c: f"({'|'.join(c)})") | CHOICES.map(lambda c: f"[{'|'.join(c)}]")
ENTRIES = st.lists(st.lists(PART, min_size=1, max_size=4).map(" ".join), min_size=1, max_size=3)
TABLES = st.dictionaries(st.sampled_from(["print", "mask"]), ENTRIES, max_size=2)
DATA = st.fixed_dictionaries(
    {"keywords": TABLES.map(lambda tables: {"replay": ["a first"]} | tables)},
    optional={
        "boilerplate": ENTRIES,
        "exclusions": ENTRIES,
        "forms": st.just({"a": ["the", "one of"], "first": ["firsts", "1st"]}),
        "negation": st.just({"words": ["not", "isn't"], "window": 2}),
    },
)


@given(DATA)
def test_any_entries_are_refused_or_every_keyword_is_found_in_itself(
    tmp_path_factory, data
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    try:
        file, rules = read(path)
    except ConfigError as error:
        assert error.where.startswith(f"{path}:")  # noqa: PT017 - most are refused
        return
    find = build(file, rules)
    for number, keyword in enumerate(rules.keywords):
        assert find(f"x, {keyword.text}") == [number]
        assert find(f"x, not {keyword.text}") == ([] if file.negation else [number])
    for phrase, number in rules.phrases.items():
        assert find(f"x, {' '.join(phrase)}") == ([] if number is None else [number])


@given(DATA, st.booleans(), st.booleans())
def test_neither_the_style_of_yaml_nor_the_order_of_its_keys_matters(
    tmp_path_factory, data, flow, by_name
) -> None:
    path = tmp_path_factory.getbasetemp() / "styled.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    try:
        plain = read(path)
    except ConfigError:
        return
    turned = dict(sorted(data.items(), reverse=not by_name))
    path.write_text(yaml.safe_dump(turned, default_flow_style=flow, sort_keys=False, width=20))
    assert read(path) == plain


def test_the_nearest_word_is_offered_for_forms_of_nothing(tmp_path) -> None:
    with pytest.raises(ConfigError, match="Did you mean paper"):
        expand(tmp_path, f"{HEAD}forms: {{papr: [x]}}\n")


def test_substring_entries_are_taken_as_they_stand(tmp_path) -> None:
    rules = expand(tmp_path, "match: substring\nkeywords:\n  print: [cell phone, cellphone]\n")
    assert texts(rules) == ["cell phone", "cellphone"]


@pytest.mark.parametrize(
    ("noun", "expected"),
    [
        ("paper", "papers"),
        ("dummy", "dummies"),
        ("display", "displays"),
        ("wax", "waxes"),
        ("glass", "glasses"),
        ("watch", "watches"),
        ("photo", "photos"),
        ("tv", "tvs"),
    ],
)
def test_plurals_are_regular(noun, expected) -> None:
    assert plural(noun) == expected
