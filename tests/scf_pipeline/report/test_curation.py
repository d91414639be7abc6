"""The funnel, the audit and the words: counted against the tables they come from."""

import re

import pytest

from scf_pipeline.report.curation import curation


@pytest.fixture(scope="module")
def told(material, curated) -> str:
    return curation(material((), curated))


def rows(html: str, caption: str) -> dict[str, list[str]]:
    """Return the cells of a table by the heading of their row."""
    (table,) = [one for one in html.split("<table>")[1:] if f"<caption>{caption}" in one]
    found = {}
    for row in re.findall(r'<tr><th scope="row">.*?</tr>', table):
        heading, *cells = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)
        found[re.sub("<.*?>", "", heading)] = [re.sub("<.*?>", "", cell) for cell in cells]
    return found


def test_the_funnel_counts_live_rows_after_each_step(told) -> None:
    by_dataset, by_kind = rows(told, "The funnel by dataset"), rows(told, "The funnel by kind")
    # 48 presentations; the last caption of each label is degenerate; of the 40 attacks, 8 of 3 of
    # the 5 species name their own, in two of three captions
    assert by_dataset["all"][:3] == ["48", "48", "46"]
    assert by_dataset["all"][4] == "46"
    assert [int(n) for n in by_dataset["all"]] == [
        int(a) + int(b) for a, b in zip(by_dataset["SIW"], by_dataset["WMCA"], strict=True)
    ]
    assert by_kind["print"][0] == "8"
    assert int(by_kind["attack"][3]) == int(by_dataset["all"][3])
    assert by_kind["makeup"][3] == "0"


def test_rejections_are_told_by_reason(told) -> None:
    assert "caption rejected 4 degenerate." in told
    assert re.search(r"filter rejected \d+ no_keyword", told)


def test_the_audit_names_captioners_and_says_of_whom(told) -> None:
    table = rows(told, "Audit over all datasets")
    assert "held-out subjects" in told
    assert table["bona fide"][0].startswith("C_S")  # the last row of that name
    assert "C_G <small>blip2@general</small>" in told


def test_two_audits_of_a_captioner_count_it_once(material, curated, told) -> None:
    (judged,) = [one for one in curated if one.stage == "stats"]
    assert curation(material((), (*curated, judged))) == told


def test_words_are_counted_by_kind_for_each_captioner(told) -> None:
    table = rows(told, "Hits of keywords")
    assert table["poster"][0] == "print"
    assert "8" in table["poster"][1:]
    assert "mask" not in table  # "no mask" takes the word back
    assert "keywords never hit" in told


def test_words_of_the_paper_are_marked(told) -> None:
    assert '<th scope="row">tablet <sup>P</sup></th>' in told
    assert '<th scope="row">poster</th>' in told


def test_markup_in_a_caption_stays_text(told) -> None:
    assert "<script>" not in told


def test_what_is_absent_is_said(material, curated) -> None:
    assert "No curated artifacts" in curation(material())
    without = [one for one in curated if one.stage != "stats"]
    assert "There is no audit of captioners of hard world" in curation(material((), without))


def test_a_step_that_is_not_known_is_left_blank(material, curated) -> None:
    without = [one for one in curated if one.stage not in ("filter", "shard")]
    table = rows(curation(material((), without)), "The funnel by dataset")
    assert table["all"][3:] == ["&ndash;", "&ndash;"]
