"""A dictionary file is read strictly: what is wrong is told with file, line and key."""

import pytest
from dictionary_cases import ALL_KEYS, MALFORMED, READABLE, encoded

from scf_pipeline.errors import ConfigError
from scf_pipeline.keywords.file import ConflictPolicy, Match, read_file


def write(folder, content):
    path = folder / "words.yaml"
    path.write_bytes(encoded(content))
    return path


@pytest.mark.parametrize(("content", "what", "where"), MALFORMED.values(), ids=MALFORMED)
def test_a_bad_file_is_refused_with_what_and_where(content, what, where, tmp_path) -> None:
    path = write(tmp_path, content)
    with pytest.raises(ConfigError) as caught:
        read_file(path)
    assert what in caught.value.what
    assert f"{path}{where}" in caught.value.where
    assert caught.value.fix


@pytest.mark.parametrize(("content", "keywords"), READABLE.values(), ids=READABLE)
def test_a_good_file_is_read(content, keywords, tmp_path) -> None:
    file = read_file(write(tmp_path, content))
    assert list(file.keywords) == list(keywords)


def test_what_is_left_out_has_a_default(tmp_path) -> None:
    file = read_file(write(tmp_path, "keywords: {print: [paper]}\n"))
    assert (file.match, file.conflict_policy) == (Match.WORDS, ConflictPolicy.KEEP)
    assert file.negation is None
    assert [*file.boilerplate, *file.forms, *file.exclusions, *file.aliases] == []


def test_all_keys_are_read(tmp_path) -> None:
    file = read_file(write(tmp_path, ALL_KEYS))
    assert file.conflict_policy is ConflictPolicy.DROP
    assert file.negation is not None
    assert (file.negation.words, file.negation.window) == (["no"], 1)
    assert file.forms == {"paper": ["papyrus"]}
    assert file.aliases[0].accepts == ["print"]


@pytest.mark.parametrize(
    ("content", "near"),
    [
        ("keywords: {print: [a]}\nconflict_polcy: keep\n", "conflict_policy"),
        ("keywords: {print: [a]}\nnegation: {words: [not], windows: 1}\n", "window"),
        ("keywords: {print: [a]}\naliases: [{finetype: x}]\n", "fine_type"),
    ],
)
def test_an_unknown_key_is_answered_with_the_nearest(content, near, tmp_path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_file(write(tmp_path, content))
    assert caught.value.fix == f"Did you mean {near}?"


def test_an_unknown_species_is_answered_with_the_nearest(tmp_path) -> None:
    with pytest.raises(ConfigError, match="Did you mean mannequin"):
        read_file(write(tmp_path, "keywords:\n  manequin: [a]\n"))
