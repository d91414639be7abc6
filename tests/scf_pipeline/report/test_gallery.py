"""Captions and answers beside their faces, keywords marked, markup escaped."""

from dataclasses import replace

import pytest

from scf_pipeline.report.gallery import EACH, _image, captions, mark, responses
from scf_pipeline.report.material import Evaluation


@pytest.fixture(scope="module")
def dictionary(material):
    return material().dictionary


@pytest.mark.parametrize(
    ("caption", "marked"),
    [
        ("a poster of a man", "a <mark>poster</mark> of a man"),
        ("a man with no mask", "a man with no mask"),
        ("a sheet of paper, a tablet", "a <mark>sheet of paper,</mark> a <mark>tablet</mark>"),
        ("<mark>poster</mark>", "<mark>&lt;mark&gt;poster&lt;/mark&gt;</mark>"),
        ("nothing here", "nothing here"),
        ("", ""),
    ],
)
def test_keywords_are_marked_where_they_count(dictionary, caption, marked) -> None:
    assert mark(caption, dictionary) == marked


def test_every_kind_has_faces_with_both_captions(material, curated) -> None:
    told = captions(material((), curated))
    assert told.count("<article>") == 6 * EACH
    assert told.count('<span class="who">C_G</span>') == told.count('class="who">C_S<') == 6 * EACH
    assert told.count("data:image/png;base64,") == 6 * EACH
    assert "of held-out subjects" in told


def test_a_caption_is_untrusted(material, curated) -> None:
    told = captions(material((), curated))
    assert "<script" not in told
    assert "&lt;script&gt;" in told


def test_of_a_text_without_end_only_the_beginning_is_shown(dictionary) -> None:
    told = mark("a poster of a man " * 60_000, dictionary)
    assert len(told) < 2_000
    assert told.startswith("a <mark>poster</mark> of a man")
    assert told.endswith("...")


@pytest.mark.parametrize(
    "image", [b"<svg onload=alert(1)>", b"", b"GIF89a", b"\x89PNG\r\n\x1a\n" + bytes(2**23)]
)
def test_what_is_no_picture_of_ours_is_not_shown(image) -> None:
    assert _image(image, "Face") == '<div class="blank">no picture</div>'


def test_faces_are_not_picked_but_drawn_by_their_names(material, curated) -> None:
    assert captions(material((), curated)) == captions(material((), tuple(reversed(curated))))


def test_without_pictures_the_captions_stay(material, curated) -> None:
    without = [one for one in curated if one.stage != "crop"]
    told = captions(material((), without))
    assert told.count("no picture") == 6 * EACH


def test_one_captioner_alone_is_not_compared(material, curated) -> None:
    without = [one for one in curated if one.manifest["inputs"].get("model") != "blip2@aware"]
    assert "no captions of two captioners" in captions(material((), without))
    assert "No captions are among the inputs" in captions(material())


def test_answers_are_told_right_or_wrong(material, judged_once, curated) -> None:
    one = Evaluation.read(judged_once[0])
    told = responses(material([one], curated))
    assert told.count("<article>") == 4
    assert told.count('class="right"') == 4
    assert told.count("data:image/png;base64,") == 4
    assert "This is a printed photo" in told
    assert "<script" not in told
    wrong = replace(one, responses=[dict(one.responses[0]) | {"judgment": "No"}])
    assert 'class="wrong"' in responses(material([wrong], curated))


def test_faces_of_the_same_name_are_told_apart_by_their_shards(
    material, judged_once, curated, tmp_path, curate_world
) -> None:
    other = curate_world(tmp_path, seed=1)
    one = Evaluation.read(judged_once[0])
    assert "base64" not in responses(material([one], (*curated, *other)))
    (shard,) = [artifact for artifact in other if artifact.stage == "shard"]
    results = [replace(result, inputs={"shards": shard.name}) for result in one.results]
    named = replace(one, results=results)
    told = responses(material([named], (*curated, *other)))
    assert told == responses(material([named], other))
    assert told != responses(material([named], curated))


def test_a_face_of_another_world_lends_no_picture(material, judged, curated) -> None:
    easy = [one for one in judged if one.results[0].world == "easy"]
    assert "base64" not in responses(material(easy, curated))


def test_without_responses_a_sentence_says_so(material) -> None:
    assert "No answers were generated" in responses(material())
