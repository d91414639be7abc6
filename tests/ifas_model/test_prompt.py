import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifas_model.prompt import JUDGMENTS, QUESTION, answer
from ifas_model.vocabulary import Label


def test_the_question_is_the_papers() -> None:
    assert QUESTION == "Is this photo of a real person?"


@pytest.mark.parametrize(("label", "judgment"), [(Label.BONA_FIDE, "Yes"), (Label.ATTACK, "No")])
def test_the_answer_is_a_judgment_and_an_interpretation(label: Label, judgment: str) -> None:
    found = answer(label, "a man holding a tablet")
    assert found.judgment == judgment
    assert found.interpretation == "This is a man holding a tablet"
    assert found.text == f"{judgment}. This is a man holding a tablet"


def test_every_label_has_a_judgment_of_its_own_that_its_answer_begins_with() -> None:
    assert list(JUDGMENTS) == [Label.BONA_FIDE, Label.ATTACK]
    assert set(JUDGMENTS) == set(Label)
    assert len(set(JUDGMENTS.values())) == len(Label)
    for label, judgment in JUDGMENTS.items():
        assert answer(label, "a man").judgment == judgment
        assert answer(label, "a man").text.split(". ")[0] == judgment


@pytest.mark.parametrize(
    ("caption", "said"),
    [
        ("A man with a hat", "a man with a hat"),
        ("a man with a hat.", "a man with a hat"),
        ("  a man with a hat . ", "a man with a hat"),
        ("a man...", "a man"),
        ("a man. .", "a man"),
        ("Mr. T. Smith smiles", "mr. T. Smith smiles"),
        ("TV on a wall", "TV on a wall"),
        ("3D mask", "3D mask"),
        ("X", "x"),
        ("3 masks", "3 masks"),
        ("Élodie smiles", "élodie smiles"),
        ("a man, a woman. and a dog", "a man, a woman. and a dog"),
    ],
)
def test_a_caption_goes_on_from_this_is(caption: str, said: str) -> None:
    assert answer(Label.ATTACK, caption).interpretation == f"This is {said}"


@pytest.mark.parametrize("caption", ["", "  ", ".", " .. ", ". .", "\n"])
def test_a_caption_without_words_is_refused(caption: str) -> None:
    with pytest.raises(ValueError, match="`caption` must hold words, but is"):
        answer(Label.ATTACK, caption)


@given(st.text("aB. \u3000\n"), st.sampled_from(Label))
def test_an_answer_is_its_segments_and_never_ends_in_a_full_stop(text: str, label: Label) -> None:
    try:
        found = answer(label, text)
    except ValueError:
        assert not text.replace(".", " ").strip()
        return
    assert found.text == f"{found.judgment}. {found.interpretation}"
    assert found.interpretation.startswith("This is ")
    assert found.interpretation.strip() == found.interpretation
    assert not found.text.endswith(".")
    assert answer(label, found.interpretation.removeprefix("This is ")) == found
