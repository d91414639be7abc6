"""Keyword dictionaries, found without a list: what every one of them promises."""

from pathlib import Path

import pytest

from ifas_model import plugins
from ifas_model.vocabulary import PaiSpecies
from scf_pipeline import captioners
from scf_pipeline.keywords import KeywordDictionary

FOLDER = Path(__file__).parents[2] / "keyword_dicts"
DICTIONARIES = sorted(FOLDER.glob("*.yaml"))
PAPER = {"paper": "print", "screen": "replay", "tablet": "replay", "mannequin": "mannequin"}
"""The words that I-FAS gives."""


def test_there_are_dictionaries() -> None:
    assert {"paper_literal", "spoof_aware"} <= {path.stem for path in DICTIONARIES}


@pytest.fixture(params=DICTIONARIES, ids=lambda path: path.stem)
def dictionary(request) -> KeywordDictionary:
    return KeywordDictionary.load(request.param)


def test_tables_are_pai_species(dictionary) -> None:
    assert {keyword.species for keyword in dictionary.keywords} <= set(PaiSpecies)


def test_words_are_lower_case_and_unique(dictionary) -> None:
    texts = [keyword.text for keyword in dictionary.keywords]
    assert texts == [text.lower() for text in texts]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("name", ["paper_literal", "spoof_aware"])
def test_makeup_and_partial_attacks_have_no_words(name) -> None:
    """F of Algorithm 1 has four species."""
    dictionary = KeywordDictionary.load(FOLDER / f"{name}.yaml")
    species = {keyword.species for keyword in dictionary.keywords}
    assert species.isdisjoint({PaiSpecies.MAKEUP, PaiSpecies.PARTIAL})


def test_every_keyword_is_found_in_itself(dictionary) -> None:
    for number, keyword in enumerate(dictionary.keywords):
        assert number in dictionary.find(keyword.text)


@pytest.mark.parametrize("name", ["paper_literal", "spoof_aware"])
def test_the_words_that_the_paper_gives_are_there(name) -> None:
    dictionary = KeywordDictionary.load(FOLDER / f"{name}.yaml")
    assert PAPER.items() <= {k.text: str(k.species) for k in dictionary.keywords}.items()


@pytest.mark.parametrize("backend", plugins.names(captioners))
def test_no_keyword_occurs_in_a_prompt(backend, dictionary) -> None:
    """The prompt "a photo of" would make "photo" match every caption."""
    prompt = plugins.load(captioners, "BACKEND", backend).prompt
    assert dictionary.find(prompt) == []


def test_each_word_from_the_paper_is_marked() -> None:
    lines = (FOLDER / "spoof_aware.yaml").read_text(encoding="utf-8").splitlines()
    marked = [line.split("#")[0].strip(" -") for line in lines if line.endswith("# PAPER")]
    assert sorted(marked) == sorted(PAPER)


def test_the_readme_tells_of_every_dictionary_and_key() -> None:
    from dataclasses import fields

    from scf_pipeline.keywords.file import KeywordFile

    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    for name in [*(path.name for path in DICTIONARIES), *(f.name for f in fields(KeywordFile))]:
        assert f"`{name}`" in text
