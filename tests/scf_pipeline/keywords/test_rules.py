"""What entries stand for, and which entries are refused."""

import pytest

from scf_pipeline.errors import ConfigError
from scf_pipeline.keywords.rules import MAX_PHRASES, plural, read

HEAD = "keywords:\n  print:\n    - paper\n"


def expand(folder, text):
    path = folder / "words.yaml"
    path.write_text(text)
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


BAD = {
    "upper case": (f"{HEAD}    - Paper\n", "lower-case", ":4: keywords.print.1"),
    "hyphen": (f"{HEAD}    - cell-phone\n", "lower-case", ":4: keywords.print.1"),
    "underscore": (f"{HEAD}    - cell_phone\n", "lower-case", ":4: keywords.print.1"),
    "punctuation": (f"{HEAD}    - paper.\n", "lower-case", ":4: keywords.print.1"),
    "apostrophe": (f'{HEAD}    - "man\'s"\n', "lower-case", ":4: keywords.print.1"),
    "not in normal form": (f"{HEAD}    - \uff50\n", "lower-case", ":4: keywords.print.1"),
    "blank": (f"{HEAD}    - ' '\n", "must be words", ":4: keywords.print.1"),
    "open bracket": (f"{HEAD}    - (a|b\n", "must be words", ":4: keywords.print.1"),
    "empty choice": (f"{HEAD}    - (a| ) b\n", "must be words", ":4: keywords.print.1"),
    "stray bar": (f"{HEAD}    - a | b\n", "must be words", ":4: keywords.print.1"),
    "nested": (f"{HEAD}    - (a|(b|c))\n", "must be words", ":4: keywords.print.1"),
    "only an option": (f"{HEAD}    - '[a]'\n", "must be words", ":4: keywords.print.1"),
    "twice in a table": (f"{HEAD}    - paper\n", "words.yaml:3: ", ":4: keywords.print.1"),
    "twice in an entry": (f"{HEAD}    - (a|a)\n", "words.yaml:4: ", ":4: keywords.print.1"),
    "in two tables": (f"{HEAD}  mask: [paper]\n", "words.yaml:3: ", ":4: keywords.mask.0"),
    "joined and apart": (
        f"{HEAD}    - cell phone\n    - cellphone\n",
        "words.yaml:4: ",
        ":5: keywords.print.2",
    ),
    "keyword excluded": (f"{HEAD}exclusions: [paper]\n", "words.yaml:3: ", ":4: exclusions.0"),
    "exclusion twice": (
        f"{HEAD}exclusions:\n  - a b\n  - a b\n",
        "words.yaml:5: ",
        ":6: exclusions.1",
    ),
    "forms of nothing": (f"{HEAD}forms:\n  papr: [x]\n", "'papr' does not", ":5: forms.papr"),
    "form of two words": (
        f"{HEAD}    - card\nforms:\n  paper: [x]\n  card: [x]\n",
        "'x' is of 'paper' too",
        ":7: forms.card.0",
    ),
    "form that is a word": (
        f"{HEAD}    - card\nforms:\n  paper: [card]\n",
        "'card' is of 'card' too",
        ":6: forms.paper.0",
    ),
    "form in upper case": (f"{HEAD}forms:\n  paper: [X]\n", "lower-case", ":5: forms.paper.0"),
    "negation that is a word": (
        f"{HEAD}negation: {{words: [paper]}}\n",
        "'paper' is",
        ":4: negation.words.0",
    ),
    "negation of two words": (
        f"{HEAD}negation: {{words: [no more]}}\n",
        "lower-case",
        ":4: negation.words.0",
    ),
    "alias without a table": (
        f"{HEAD}aliases:\n  - {{fine_type: x, species: mask, accepts: [print]}}\n",
        "mask has none",
        ":5: aliases.0",
    ),
    "rules for words in a substring file": (
        f"match: substring\n{HEAD}exclusions: [x]\n",
        "`exclusions` must be absent",
        ":5: exclusions",
    ),
    "too many choices": (
        f"{HEAD}    - " + "(a|b|c|d|e|f|g|h) " * 6 + "\n",
        f"at most {MAX_PHRASES}",
        ":4: keywords.print.1",
    ),
    "too many spellings": (
        f"{HEAD}    - a a a a a a\nforms: {{a: [{', '.join(f'b c{n}' for n in range(9))}]}}\n",
        f"at most {MAX_PHRASES}",
        ":4: keywords.print.1",
    ),
    "too many phrases": (
        "keywords:\n  print:\n"
        + "".join(
            f"    - ({'|'.join(f'{letter}{n}' for n in range(30))}) a\n" for letter in "bcdefg"
        )
        + "".join(f"    - x{n} [{'|'.join(f'y{m}' for m in range(45))}] z\n" for n in range(450)),
        f"at most {MAX_PHRASES}",
        "keywords.print",
    ),
}


@pytest.mark.parametrize(("text", "what", "where"), BAD.values(), ids=BAD)
def test_a_bad_entry_is_refused_with_what_and_where(text, what, where, tmp_path) -> None:
    with pytest.raises(ConfigError) as caught:
        expand(tmp_path, text)
    assert what in caught.value.what
    assert where in caught.value.where
    assert str(tmp_path / "words.yaml") in caught.value.where
    assert caught.value.fix


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
