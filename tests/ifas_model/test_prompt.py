import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifas_model.prompt import QUESTION, answer
from ifas_model.vocabulary import Label


def test_the_question_is_the_papers() -> None:
    assert QUESTION == "Is this photo of a real person?"


@pytest.mark.parametrize(("label", "judgment"), [(Label.BONA_FIDE, "Yes"), (Label.ATTACK, "No")])
def test_the_answer_is_a_judgment_and_an_interpretation(label: Label, judgment: str) -> None:
    found = answer(label, "a man holding a tablet")
    assert found.judgment == judgment
    assert found.interpretation == "This is a man holding a tablet"
    assert found.text == f"{judgment}. This is a man holding a tablet"


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
