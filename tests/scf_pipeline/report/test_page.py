"""The whole page: self-contained, safe, deterministic, and complete without any input."""

import re
from html.parser import HTMLParser

import pytest

from scf_pipeline.report.page import CONTENTS

VOID = {"meta", "img", "br", "link", "hr"}


class Balanced(HTMLParser):
    """Checks that every element is closed, and gathers ids and tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.tags: set[str] = set()
        self.addresses: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs) -> None:
        told = dict(attrs)
        self.tags.add(tag)
        self.ids += [told["id"]] if "id" in told else []
        self.addresses += [told[key] for key in ("src", "href") if key in told]
        assert not [key for key in told if key.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        self.handle_starttag(tag, attrs)
        self.open = self.open if tag in VOID else self.open[:-1]

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page(write_page, judged, curated) -> str:
    return write_page(judged, curated)


def test_it_is_well_formed_and_every_link_leads_somewhere(page) -> None:
    found = Balanced(page)
    assert set(CONTENTS) <= set(found.ids)
    assert len(set(found.ids)) == len(found.ids)
    assert {one[1:] for one in found.addresses if one.startswith("#")} == set(CONTENTS)


def test_it_needs_neither_network_nor_script(page) -> None:
    found = Balanced(page)
    assert "script" not in found.tags
    assert all(one.startswith(("data:", "#")) for one in found.addresses)
    assert re.search(r"url\(|@import|https?://", page) is None


def test_captions_and_answers_with_markup_stay_text(page) -> None:
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 2


def test_the_warning_stands_before_every_number(page) -> None:
    warning = page.index("Miniature numbers are not the paper")
    assert warning < page.index("<section")


def test_the_same_inputs_give_the_same_bytes(page, write_page, judged, curated) -> None:
    assert write_page(judged, curated) == page


def test_nothing_at_all_still_makes_a_page(write_page) -> None:
    page = write_page()
    assert set(CONTENTS) <= set(Balanced(page).ids)
    assert "<table>" not in page
    assert "<figure>" not in page
    assert page.count('class="absent"') >= 10


def test_wide_things_have_boxes_and_both_schemes_their_colours(page) -> None:
    assert page.count("<table>") == page.count('<div class="box" tabindex="0"><table>')
    assert "prefers-color-scheme: dark" in page
    assert 'name="viewport" content="width=device-width, initial-scale=1"' in page


def test_every_colour_of_a_series_is_defined(page) -> None:
    used = set(re.findall(r'class="((?:line|fill|bar)\d)"', page))
    defined = set(re.findall(r"\.((?:line|fill|bar)\d)", page))
    assert used
    assert used <= defined
