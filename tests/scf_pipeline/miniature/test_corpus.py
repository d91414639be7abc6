import numpy as np
import pyarrow as pa
import pytest

from scf_pipeline.captioners._pictures import encode_png
from scf_pipeline.miniature.corpus import bag_of_phrases, common_phrases, phrases, read_corpus
from scf_pipeline.miniature.generic import GENERIC_SCHEMA
from scf_pipeline.settings import Settings
from scf_pipeline.store import ArtifactWriter


@pytest.fixture
def corpus(tmp_path):
    writer = ArtifactWriter(tmp_path, GENERIC_SCHEMA, settings=Settings("generic", 1, {}, {}))
    rows = [
        {
            "picture_id": f"generic/{n}",
            "split": "test" if n == 3 else "train",
            "image": encode_png(np.full((4, 4, 3), n, np.uint8)),
            "captions": [f"a man {n}", "a man", "a hat"],
            "attributes": [("sex", "man")],
        }
        for n in range(4)
    ]
    for number in (0, 1):
        table = pa.Table.from_pylist(rows[2 * number :][:2], schema=GENERIC_SCHEMA)
        writer.write(number, table)
    return writer.seal()


def test_a_split_is_read_whole_and_in_order(corpus):
    train = read_corpus(corpus, "train")
    assert train.pictures[:, 0, 0, 0].tolist() == [0, 1, 2]
    assert [captions[0] for captions in train.captions] == ["a man 0", "a man 1", "a man 2"]
    assert train.attributes == [{"sex": "man"}] * 3
    assert read_corpus(corpus, "test").pictures[:, 0, 0, 0].tolist() == [3]


def test_a_split_without_pictures_is_refused(corpus):
    with pytest.raises(ValueError, match="'dev' has none"):
        read_corpus(corpus, "dev")


def test_phrases_are_words_and_pairs_that_say_something():
    assert phrases("a man with long red hair") == {
        "man", "long", "red", "hair", "long red", "red hair",
    }  # fmt: skip


def test_rare_phrases_are_left_out_and_a_picture_counts_once():
    captions = [["a man", "a man"]] + [["a cat"]] * 299
    assert common_phrases(captions) == ["cat"]
    assert common_phrases([["a man"]] * 3 + [["a cat"]] * 297) == ["cat", "man"]


def test_a_bag_holds_the_phrases_of_all_captions_of_a_picture():
    bags = bag_of_phrases([["a red hat", "a man"], ["a dog"]], ["hat", "man", "red hat"])
    assert bags.tolist() == [[True, True, True], [False, False, False]]
