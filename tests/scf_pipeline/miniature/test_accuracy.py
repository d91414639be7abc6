import itertools

import pytest

from scf_pipeline.miniature.accuracy import Accuracy, caption_accuracy
from scf_pipeline.miniature.captions import PLACES


def test_only_captions_that_name_an_attribute_count():
    captions = ["a man with red hair", "a woman with black hair", "a man", "a cat"]
    attributes = [{"hair_colour": "red"}, {"hair_colour": "red"}, {"hair_colour": "red"}, {}]
    found = caption_accuracy(captions, attributes)["hair_colour"]
    assert found == Accuracy(named=2, right=0.5, blind=1.0)


def test_blind_is_the_share_of_the_most_frequent_truth():
    captions = ["a man", "a woman", "a man", "a man"]
    attributes = [{"sex": sex} for sex in ("man", "man", "woman", "woman")]
    assert caption_accuracy(captions, attributes)["sex"] == Accuracy(named=4, right=0.25, blind=0.5)


@pytest.mark.parametrize(
    ("caption", "name", "value"),
    [
        ("a woman with long blond hair and glasses in a red shirt", "hair_length", "long"),
        ("a bald man in a green hat and a red shirt", "hair_length", "bald"),
        ("a bald man in a green hat and a red shirt", "hat_colour", "green"),
        ("a bald man in a green hat and a red shirt", "shirt_colour", "red"),
        ("a woman with long blond hair", "sex", "woman"),
        ("a man in front of a white wall", "background", "studio_white"),
        ("a man near a brick wall", "background", "brick"),
        ("a man against a plain wall", "background", "wall"),
    ],
)
def test_captions_are_read_as_a_person_reads_them(caption, name, value):
    assert caption_accuracy([caption], [{name: value}])[name].right == 1
    assert caption_accuracy([caption], [{name: "other"}])[name].right == 0


def test_no_caption_names_two_places():
    pairs = itertools.permutations(PLACES.items(), 2)
    for (_, ours), (_, theirs) in pairs:
        assert not any(a in b for a in ours for b in theirs)


def test_an_attribute_that_no_caption_names_is_left_out():
    assert caption_accuracy(["a cat"], [{"sex": "man"}]) == {}
